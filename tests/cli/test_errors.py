"""Bad input: each gets a clear error, names the next step, and nothing else is lost."""

from __future__ import annotations

import os
import signal
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Home

Write = Callable[[dict[str, str]], Path]

GOOD = {"good.py": "def double(x):\n    return 2 * x\n"}


def clear(stderr: str) -> None:
    """An error as a person wants it: ours, without a traceback, with a next step."""
    assert "bundlebee: error: " in stderr, stderr
    assert "Traceback" not in stderr
    assert "next: " in stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nowhere"], 1, "nowhere"),
        (["exec", "--bundles", "nowhere", "-c", "pass"], 1, "nowhere"),
        (["run", "--interface", "tin0"], 1, "tin0"),
        (["exec", "--policy", "sometimes", "-c", "pass"], 2, "sometimes"),
        (["exec", "--policy", "chaos:7", "-c", "pass"], 2, "chaos:7"),
        (["run", "--peer", "somewhere"], 2, "somewhere"),
        (["exec"], 2, "no program"),
        (["call", "good", "1"], 2, "MODULE:FUNCTION"),
        (["call", "good:double", "one"], 2, "'one'"),
        (["call", "good:double", "--x=one"], 2, "'one'"),
        (["run", "--grid", "no/slash"], 2, "no/slash"),
        (["exec", "--key-file", "nokey", "-c", "pass"], 1, "nokey"),
        (["exec", "--weave", "nosuchdistribution", "-c", "pass"], 1, "nosuchdistribution"),
        (["exec", "--decisions", "no/such/place", "-c", "pass"], 1, "no/such/place"),
    ],
)
def test_a_wrong_option_is_named(home: Home, arguments: list[str], code: int, words: str) -> None:
    done = home.bee(*arguments)
    clear(done.stderr)
    assert words in done.stderr
    assert done.returncode == code
    assert done.stdout == ""


def test_an_unknown_variable_is_an_error_with_a_guess(home: Home) -> None:
    done = home.bee("nodes", env={"BUNDLEBEE_INTERFASE": "lo"})
    clear(done.stderr)
    assert "BUNDLEBEE_INTERFACE?" in done.stderr
    assert done.returncode == 2


def test_a_port_in_use(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = home.bee("run", "--port", str(port))
    clear(done.stderr)
    assert str(port) in done.stderr
    assert done.returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX file modes")
def test_a_key_file_that_others_can_read(home: Home) -> None:
    key = home.path / "key"
    node = home.node("--key-file", key)
    node.wait_for("serves at")
    node.stop()
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o644)
    done = home.bee("run", "--key-file", key)
    clear(done.stderr)
    assert "chmod" in done.stderr
    key.write_text("not a key\n")
    key.chmod(0o600)
    clear(home.bee("exec", "--key-file", key, "-c", "pass").stderr)


def test_bad_bundles_are_named_and_the_good_ones_served(home: Home, bundles: Write) -> None:
    directory = bundles(
        {
            **GOOD,
            "broken.py": "def f(:\n    pass\n",
            "rival/__init__.py": "",
            "torn.whl": "this is no zip file",
        }
    )
    with zipfile.ZipFile(directory / "second-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("rival/__init__.py", "x = 1\n")
        archive.writestr(
            "second-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: second\nVersion: 1.0\n"
        )
    with zipfile.ZipFile(directory / "needy-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("needy.py", "import nothing_like_it\n")
        archive.writestr(
            "needy-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: needy\nVersion: 1.0\nRequires-Dist: nothing-like-it>=3\n",
        )
    node = home.node(directory)
    node.wait_for("bundle good")
    for words in ("broken.py:1", "torn.whl", "rival", "nothing-like-it"):
        node.wait_for(words)
    assert home.bee("call", "good:double", "21").stdout == "42\n"
    listed = home.bee("bundles", "--json").stdout
    assert '"good"' in listed
    assert '"broken"' not in listed
    assert node.stop(signal.SIGINT) == 0
    assert "Traceback" not in node.log.read_text()


def test_calls_that_cannot_be_made(home: Home, bundles: Write) -> None:
    directory = bundles(
        {
            "good.py": "import threading\n\ndef double(x):\n    return 2 * x\n\n"
            "def lock():\n    return {'inner': threading.Lock()}\n\ndef fail(x):\n    raise ValueError('no ' + x)\n"
        }
    )
    node = home.node(directory)
    node.wait_for("bundle good")

    unknown = home.bee("call", "good:triple", "1")
    clear(unknown.stderr)
    assert "triple" in unknown.stderr
    assert unknown.returncode == 1

    missing = home.bee("call", "nothere:f")
    clear(missing.stderr)
    assert "nothere" in missing.stderr

    unpicklable = home.bee("call", "good:lock")
    assert unpicklable.returncode == 1
    assert "Traceback" not in unpicklable.stderr
    assert "result['inner']" in unpicklable.stderr

    failed = home.bee("call", "good:fail", "'way'")
    assert failed.returncode == 1
    assert "ValueError: no way" in failed.stderr
    assert "good.py" in failed.stderr
    assert "/calls/" not in failed.stderr

    assert home.bee("call", "good:double", "-4").stdout == "-8\n"
    assert home.bee("call", "good:double", "--x='ab'").stdout == "'abab'\n"


HELD = """
import gc, sys

class Node:
    def __init__(self, value):
        self.value = value
    def fail(self):
        raise ValueError(self.value)
    def echo(self, things):
        return things
    def put(self, thing):
        self.thing = thing
        return self

def rounds(what, times):
    for i in range(times):
        node = Node(1)
        if what == "fail":
            try:
                node.fail()
            except ValueError:
                pass
        else:
            getattr(node, what)([1, 2])

for what in ("fail", "echo", "put"):
    rounds(what, 3)  # what is only done once
    gc.collect()
    gc.disable()
    held = [what]
    before = sys.getrefcount(held)
    rounds(what, 100)
    Node(1).echo(held)
    Node(1).put(held)
    try:
        Node(held).fail()
    except ValueError:
        pass
    print(what, gc.collect() < 100, sys.getrefcount(held) - before)
    gc.enable()
"""


@pytest.mark.parametrize("how", [["--policy", "remote"], ["--policy", "remote", "--transport", "in-process"]])
def test_a_call_keeps_nothing_for_the_collector_of_garbage(home: Home, how: list[str]) -> None:
    """Programs see when their objects go, by `__del__`, weak references, and `sys.getrefcount`."""
    (home.path / "p.py").write_text(HELD)
    done = home.bee("exec", *how, "p.py")
    assert (done.stdout, done.stderr) == ("fail True 0\necho True 0\nput True 0\n", "")
