"""Functions that look far up the stack, and who calls them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from bundlebee.weaving.stack import below_lookers

PROGRAM = """
    import sys, inspect, traceback
    def helper():
        return sys._getframe(2).f_code.co_name
    def api():
        return helper()
    def outer():
        return api()
    def near():
        return sys._getframe(1).f_code.co_name, sys._getframe().f_code.co_name
    def near_outer():
        return near()
    class Here:
        def __init__(self):
            self.place = self.find()
        def find(self):
            frame = inspect.currentframe()
            names = []
            while frame and frame.f_code.co_name != "<module>":
                names.append(frame.f_code.co_name)
                frame = frame.f_back
            return names
    def make():
        return Here().place
    def stack():
        return [entry.name for entry in traceback.extract_stack()[-3:]]
    def above():
        return stack()
    def none(stack):
        return stack.stack(), 1
    if __name__ == "__main__":
        print(outer(), near_outer(), make(), above())
"""


def found(source: str) -> dict[str, str]:
    source = dedent(source)
    return {node.name: why for node, why in below_lookers(ast.parse(source), source.split("\n")).items()}


def test_lookers_and_their_callers() -> None:
    assert found(PROGRAM) == {
        "helper": "looks up the stack",
        "api": "calls helper, which looks up the stack",
        "outer": "calls helper, which looks up the stack",
        "find": "looks up the stack",
        "__init__": "calls find, which looks up the stack",
        "make": "calls find, which looks up the stack",
        "stack": "looks up the stack",
        "above": "looks up the stack",  # ``stack`` may be that of inspect
        "none": "calls stack, which looks up the stack",  # by name: careful
    }


@pytest.mark.parametrize(
    "source",
    [
        "def f(): return sys._getframe()\ndef g(): return f()",
        "def f(): return sys._getframe(1).f_globals\ndef g(): return f()",
        "def f(stack): return stack.stack()\ndef g(): return f()",
        "def f(x): return x",
    ],
)
def test_who_looks_no_further_than_its_caller_harms_nobody(source: str) -> None:
    assert found(source) == {}


@pytest.mark.parametrize("policy", ["local", "remote"])
def test_they_find_what_they_find_under_python(tmp_path: Path, policy: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(dedent(PROGRAM))
    said = [
        subprocess.run([sys.executable, *command, str(program)], capture_output=True, text=True, timeout=60)
        for command in ([], ["-m", "bundlebee", "exec", "-q", "--policy", policy])
    ]
    assert said[0].stdout.startswith("outer ('near_outer', 'near')"), said[0].stderr
    assert said[1].stdout == said[0].stdout


WITHOUT = """
import sys

def add(a, b):
    return a + b

before = sys._getframe
del sys._getframe
print([add(n, 1) for n in range(20)], add(2, 3))
sys._getframe = before
"""


@pytest.mark.parametrize("policy", ["local", "remote"])
def test_a_program_may_take_getframe_away(tmp_path: Path, policy: str) -> None:
    program, decisions = tmp_path / "program.py", tmp_path / "decisions.jsonl"
    program.write_text(WITHOUT)
    command = [
        sys.executable,
        "-m",
        "bundlebee",
        "exec",
        "-q",
        "--policy",
        policy,
        "--decisions",
        str(decisions),
    ]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"{list(range(1, 21))} 5\n", "")
    assert "failed" not in decisions.read_text()
