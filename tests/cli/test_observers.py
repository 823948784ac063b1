"""Debuggers and coverage see a program's functions run, wherever the grid would have them run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Home

CALC = """\
def mean(xs):
    total = 0
    for x in xs:
        total += x
    return total / len(xs)

def median(xs):
    return sorted(xs)[len(xs) // 2]
"""

TRACED = """
import sys

lines = []

def trace(frame, event, arg):
    if frame.f_code.co_filename.endswith(("calc.py", "later.py")):
        lines.append((frame.f_code.co_name, event, frame.f_lineno))
        return trace

import calc
print(calc.mean([0]), calc.median([5]))  # nobody follows
sys.settrace(trace)
calc.mean([1])
lines.clear()
print(calc.mean([1, 2, 3]))
print([calc.mean(xs) for xs in [[1], [2, 4]]])
import later
print(later.double(4))
sys.settrace(None)
print(calc.median([3]))
print(lines)
"""


@pytest.mark.parametrize("policy", ["remote", "chaos:1.0:1"])
def test_a_trace_function_sees_each_line(
    home: Home, bundles: Callable[[dict[str, str]], Path], policy: str
) -> None:
    directory = bundles({"calc.py": CALC, "later.py": "def double(x):\n    return 2 * x\n"})
    (home.path / "p.py").write_text(TRACED)
    plain = home.run([sys.executable, "p.py"], env={"PYTHONPATH": str(directory)})
    assert plain.returncode == 0, plain.stderr
    ours = home.bee("exec", "--policy", policy, "-v", "p.py")
    assert (ours.stdout, ours.returncode) == (plain.stdout, 0), ours.stderr
    assert re.findall(r"calc:mean → (\S+)  (\S+)", ours.stderr) == [
        ("own-cores", "forced"),
        ("here", "observed"),
    ]
    assert re.search(r"calc:median: 2 calls in .*: 2 own-cores", ours.stderr)
    assert "later:double →" not in ours.stderr


def test_a_profile_has_each_function(home: Home, bundles: Callable[[dict[str, str]], Path]) -> None:
    bundles({"calc.py": CALC})
    (home.path / "p.py").write_text("import calc\nprint(calc.mean([40, 44]), calc.mean([1]))\n")
    ours = home.bee("exec", "--policy", "remote", "-m", "cProfile", "p.py")
    assert re.search(r" 2 .*calc\.py:1\(mean\)", ours.stdout), ours.stdout


def test_a_breakpoint_in_a_bundle_is_met(home: Home, bundles: Callable[[dict[str, str]], Path]) -> None:
    calc = bundles({"calc.py": CALC}) / "calc.py"
    (home.path / "p.py").write_text("import calc\nprint(calc.mean([40, 44]))\n")
    typed = f"b {calc}:5\nc\np total\nc\nq\n"
    ours = home.bee("exec", "--policy", "remote", "-m", "pdb", "p.py", input=typed)
    assert "-> return total / len(xs)" in ours.stdout
    assert "(Pdb) 84\n" in ours.stdout
    assert "42.0" in ours.stdout
