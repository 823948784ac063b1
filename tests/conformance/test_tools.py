"""The tools here find what they look for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import CodeType

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import positions
import run
import suites

PLAIN = """
class A:
    def m(self, x):
        return [f(x) + y for y in g(x)]
def f(x):
    a = 1
    return a + x
"""


def compiled(source: str) -> CodeType:
    return compile(source, "a.py", "exec", dont_inherit=True)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("a = 1", "a =  1"),
        PLAIN.replace("a = 1", "a = 2"),
        PLAIN.replace("    a = 1\n", "    a = 1\n\n"),
        PLAIN.replace("g(x)", "h(x)"),
        PLAIN.replace("def m(self, x)", "def m(self, z)"),
        PLAIN.replace("def f(x)", "def e(x)"),
        PLAIN + "f(2)\n",
    ],
)
def test_code_that_is_not_the_same_differs(other: str) -> None:
    assert not list(positions.compare(compiled(PLAIN), compiled(PLAIN)))
    assert list(positions.compare(compiled(PLAIN), compiled(other))) or list(
        positions.compare(compiled(other), compiled(PLAIN))
    )


def test_woven_code_is_the_same_apart_from_the_advice() -> None:
    woven = positions.weave(PLAIN.encode(), module="a", path="a.py").code
    assert not list(positions.compare(compiled(PLAIN), woven))
    # the advice itself is no part of the plain code
    assert list(positions.compare(woven, compiled(PLAIN)))
    elsewhere = positions.weave(("\n" + PLAIN).encode(), module="a", path="a.py").code
    assert list(positions.compare(compiled(PLAIN), elsewhere))


def result(name: str, policy: str, differences: list[str]) -> run.Result:
    return run.Result(name, "1.0", policy, 5, 5, 5 - len(differences), 1, differences, 0, 1.0, 2.0)


def test_rows_take_the_place_of_older_ones(tmp_path: Path) -> None:
    file = tmp_path / "doc.md"
    file.write_text(f"before\n{run.BEGIN}\n{run.END}\nafter\n")
    order = ["a", "stdlib:b"]
    run.write(file, [result("stdlib:b", "remote", ["x::y: passed plain, failed woven"])], order)
    run.write(file, [result("a", "local", []), result("stdlib:b", "local", [])], order)
    rows = [line for line in file.read_text().splitlines() if "1.0" in line]
    assert [row.split("|")[1:3] for row in rows] == [
        [" a 1.0 ", " local "],
        [" stdlib:b 1.0 ", " local "],
        [" stdlib:b 1.0 ", " remote "],
    ]
    assert "- stdlib:b, remote: x::y" in file.read_text()
    run.write(file, [result("stdlib:b", "remote", [])], order)
    assert "x::y" not in file.read_text()
    assert file.read_text().startswith("before\n") and file.read_text().endswith("after\n")


def test_only_steady_tests_are_compared() -> None:
    def outcomes(**ends: str) -> suites.Outcomes:
        return {name: suites.Counter([end]) for name, end in ends.items()}

    first, second = outcomes(a="passed", b="passed", c="failed"), outcomes(a="passed", b="failed", c="failed")
    assert run.compare([first, second], outcomes(a="failed", b="failed", c="failed")) == (
        ["a: passed plain, failed woven"],
        1,
    )
    assert run.compare([first, first], outcomes(a="passed", b="passed")) == (
        ["c: failed plain, missing woven"],
        0,
    )
