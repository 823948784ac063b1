"""There is one guard for a process, and it cannot be removed: all cases run in another process."""

from __future__ import annotations

import subprocess
import sys

import pytest

DRIVER = """
import sys
from bundlebee.calls.guard import GuardStop, guard
guard.install()
def run(code):
    guard.tripped = None
    stopped = False
    program = compile(code, "program", "exec")
    guard.active = True
    try:
        exec(program, {"__name__": "program"})
    except BaseException as error:
        stopped = isinstance(error, GuardStop)
    guard.active = False
    return stopped, guard.tripped
import json
print(json.dumps([run(code) for code in json.load(sys.stdin)]))
"""

STOPPED = {
    "open('/tmp/bundlebee-guard-test', 'w')": "opens '/tmp/bundlebee-guard-test'",
    "open('/etc/hostname').read()": "opens",
    "import os; os.open('/tmp', 0)": "opens",
    "import os; os.listdir('.')": "os.listdir",
    "import os; os.remove('/tmp/bundlebee-no-such-file')": "os.remove",
    "import os; os.putenv('A', 'b')": "os.putenv",
    "import os; os.environ['A'] = 'b'": "os.putenv",
    "import os; os.system('true')": "starts the process",
    "import subprocess; subprocess.run(['true'])": "starts",
    "import os; os.fork()": "forks",
    "import os; os.kill(os.getpid(), 0)": "os.kill",
    "import socket; socket.socket()": "socket",
    "import socket; socket.getaddrinfo('localhost', 1)": "socket",
    "import threading; threading.Thread(target=print).start()": "starts a thread",
    "import ctypes; ctypes.CDLL(None)": "ctypes",
    "input()": "input",
    "import pathlib; pathlib.Path('/etc/hostname').read_text()": "opens",
}

ALLOWED = [
    "import colorsys, wave, json.tool",  # imports read their files
    "sum(range(100)); sorted('abc'); {}.get(1)",
    "import random; random.Random(4).random()",
    "import hashlib; hashlib.sha256(b'x').hexdigest()",
    "id(object()); compile('1', 'x', 'eval'); exec('1')",
]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, tuple[bool, str | None]]:
    import json

    codes = [*STOPPED, *ALLOWED]
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return {code: tuple(verdict) for code, verdict in zip(codes, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize("code", STOPPED)
def test_it_stops(code: str, verdicts: dict[str, tuple[bool, str | None]]) -> None:
    stopped, tripped = verdicts[code]
    assert stopped and tripped is not None and STOPPED[code] in tripped


@pytest.mark.parametrize("code", ALLOWED)
def test_it_lets_pass(code: str, verdicts: dict[str, tuple[bool, str | None]]) -> None:
    assert verdicts[code] == (False, None)
