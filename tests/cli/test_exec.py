"""`bundlebee exec` is python, seen from outside: output, exit codes, arguments, standard input, signals, tracebacks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Home

SHOW = "import sys; print(sys.argv, __name__, sys.path[0] == '', sorted(k for k in globals() if k[:2] == '__'))\n"

PROGRAMS = {
    "plain": "print('hello')\n",
    "arguments": "import sys\nprint(sys.argv, __name__, __file__)\n",
    "status": "import sys\nsys.exit(3)\n",
    "words": "import sys\nsys.exit('no more')\n",
    "error": "def f(x):\n    return 1 / x\n\n\ndef g():\n    try:\n        f(0)\n    except ZeroDivisionError as error:\n"
    "        raise KeyError('k') from error\n\n\ng()\n",
    "syntax": "x = (\n",
    "stdin": "import sys\nprint(sys.stdin.read()[::-1])\n",
    "loop": "def f(x):\n    if x == 5:\n        raise ValueError(x)\n    return x\n\n\nprint([f(x) for x in range(3)])\n"
    "print([f(x) for x in range(9)])\n",
    "modules": "import sys\nm = sys.modules['__main__']\nprint(m.__name__, m.__spec__, m.__package__)\n"
    "class A:\n    pass\nimport pickle\nprint(pickle.loads(pickle.dumps(A())).__class__ is A)\n",
    "exits": "import atexit, threading\natexit.register(print, 'last')\n"
    "threading.Thread(target=lambda: print('thread')).start()\nprint('main')\n",
    "environment": "import os\nprint(sorted(k for k in os.environ if 'HASH' in k or k.startswith('BUNDLEBEE_H')))\n",
}


@pytest.mark.parametrize("policy", ["auto", "local", "remote"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script_is_as_under_python(home: Home, name: str, policy: str) -> None:
    script = home.path / "script.py"
    script.write_text(PROGRAMS[name])
    plain = home.python("script.py", "a", "-m", "--policy", input="some text")
    ours = home.bee("exec", "--policy", policy, "script.py", "a", "-m", "--policy", input="some text")
    assert (ours.stdout, ours.returncode) == (plain.stdout, plain.returncode)
    # an error that was raised elsewhere says so; all else is the same
    assert ours.stderr.replace("raised on node 'own-cores'\n", "") == plain.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", SHOW, "x", "-y"],
        ["-m", "package", "--flag", "1"],
        ["-m", "package.module", "-c"],
        ["-m", "nosuch"],
        ["nosuch.py"],
        ["package", "z"],
        ["-c", "import package.module as m; print(m.__name__, m.twice(4))"],
    ],
)
def test_other_ways_to_name_a_program(home: Home, arguments: list[str]) -> None:
    package = home.path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(SHOW + "print(__package__, __spec__ and __spec__.name)\n")
    (package / "module.py").write_text(SHOW + "def twice(x):\n    return 2 * x\n")
    plain = home.python(*arguments)
    ours = home.bee("exec", *arguments)
    # __main__ keeps one name more, through which the woven code finds its advice
    assert ours.stdout.replace(" '__bee__',", "") == plain.stdout
    assert (ours.stderr, ours.returncode) == (plain.stderr, plain.returncode)


def test_standard_input_may_be_the_program(home: Home) -> None:
    assert home.bee("exec", "-", "q", input="import sys\nprint(sys.argv)\n").stdout == "['-', 'q']\n"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_ends_it_as_it_ends_python(home: Home) -> None:
    script = home.path / "wait.py"
    script.write_text("import time\nprint('ready', flush=True)\nwhile True:\n    time.sleep(0.01)\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "bundlebee", "exec", str(script)],
        env=home.env,
        cwd=home.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    home.running.append(process)  # type: ignore[arg-type]
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _out, error = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert "bundlebee/" not in error


HEAVY = """\
def work(number):
    total = 0
    for i in range(40_000):
        total = (total * 31 + number * i) % 1_000_003
    return total


class Grid:
    def __init__(self, scale):
        self.scale = scale

    def cell(self, x, y):
        return sum(work(self.scale * x + i) for i in range(3)) + y


if __name__ == "__main__":
    grid = Grid(3)
    print([work(number) for number in range(40)])
    print({number: work(number) % 7 for number in range(20) if number % 2})
    print(sum(work(a + b) for a in range(5) for b in range(5)), max(map(work, range(30))))
    print([grid.cell(x, 1) for x in range(8)], sorted({work(n) % 5 for n in (1, 2, 3, 4, 5, 6)}))
"""


@pytest.mark.parametrize("policy", ["auto", "remote", "chaos:0.3:7", "local"])
def test_without_a_grid_this_machines_cores_do_it(home: Home, policy: str) -> None:
    script = home.path / "heavy.py"
    script.write_text(HEAVY)
    plain = home.python(script)
    ours = home.bee("exec", "--policy", policy, "--decisions", "d.jsonl", script)
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, "", 0)
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    where = {record["where"] for record in records}
    assert where == {"here"} if policy == "local" else "here" in where or policy == "remote"
    if policy in ("remote", "chaos:0.3:7"):
        assert "own-cores" in where
    for record in records:
        assert set(record) >= {
            "function", "bundle", "where", "why", "estimate", "seconds", "bytes_out", "bytes_back", "time",
        }  # fmt: skip
        assert record["function"].startswith("__main__:")


def test_prints_and_errors_of_shipped_calls_come_home(home: Home) -> None:
    script = home.path / "talk.py"
    script.write_text(
        "def talk(n):\n    print('line', n)\n    return n\n\n\ndef fail(n):\n    print('before')\n"
        "    return [1, 2][n]\n\n\nfor n in range(3):\n    print('got', talk(n))\nfail(7)\n"
    )
    plain = home.python(script)
    ours = home.bee("exec", "--policy", "remote", "--decisions", "d.jsonl", script)
    assert ours.stdout == plain.stdout
    assert ours.returncode == 1
    assert "IndexError: list index out of range" in ours.stderr
    assert 'talk.py", line 8, in fail' in ours.stderr
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    assert {(record["function"], record["where"]) for record in records} == {
        ("__main__:talk", "own-cores"),
        ("__main__:fail", "own-cores"),
    }


def test_nothing_is_left_behind(home: Home, tmp_path: Path) -> None:
    import psutil

    script = home.path / "heavy.py"
    script.write_text(HEAVY)
    assert home.bee("exec", "--policy", "remote", script).returncode == 0
    end = time.monotonic() + 10
    while True:
        left = [
            process.info
            for process in psutil.process_iter(["pid", "cmdline", "environ"])
            if "bundlebee.worker" in (process.info["cmdline"] or ())
            and (process.info["environ"] or {}).get("HOME") == str(home.path)
        ]
        if not left:
            break
        assert time.monotonic() < end, left
        time.sleep(0.05)
