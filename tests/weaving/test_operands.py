"""Which expressions may stand around a spread call."""

from __future__ import annotations

import ast

import libcst as cst
import pytest

from bundlebee.weaving.names import Names
from bundlebee.weaving.operands import calls_in, dotted, objection, once_only, repeats


def names(source: str = "") -> Names:
    return Names(ast.parse(source))


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "1 + 2.0 * 3j",
        "...",
        "'a' 'b' f'{c!r:>{d}}'",
        "a.b[c][1:d, e]",
        "-a if not b else ~c",
        "a and b or c",
        "a < b in c is not d",
        "(a, *b), [*c], {d, *e}, {f: g, **h}",
        "len(a) + max(b, key=c) + isinstance(d, int)",
        "sorted(a, reverse=True)",
    ],
)
def test_harmless(text: str) -> None:
    assert objection(cst.parse_expression(text), names()) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f(a)", "also calls f"),
        ("a + b.c(d)", "also calls b.c"),
        ("a[f(b)]", "also calls f"),
        ("f'{g(a)}'", "also calls g"),
        ("len(a, key=f(b))", "also calls f"),
        ("f()()", "also calls something"),
        ("lambda: a", "holds a lambda"),
        ("[a for a in b]", "holds another comprehension"),
        ("(a := b)", "waits, yields or assigns inside"),
        ("iter(a)", "also calls iter"),
        ("next(a)", "also calls next"),
        ("print(a)", "also calls print"),
    ],
)
def test_objections(text: str, reason: str) -> None:
    assert objection(cst.parse_expression(text), names()) == reason


@pytest.mark.parametrize(
    ("source", "name", "is_builtin"),
    [
        ("", "sum", True),
        ("", "nothing", False),
        ("sum = 1", "sum", False),
        ("def f(sum): pass", "sum", False),
        ("def f():\n  global sum", "sum", False),
        ("import a.sum", "sum", True),
        ("import a.sum as sum", "sum", False),
        ("from a import b as sum", "sum", False),
        ("from a import *", "sum", False),
        ("class sum: pass", "sum", False),
        ("class A:\n  sum = 1", "sum", True),
        ("class A:\n  def sum(self): pass", "sum", True),
        ("class A:\n  def f(self): sum = 1", "sum", False),
        ("class A:\n  if 1:\n    sum = 1", "sum", True),
        ("[sum for sum in a]", "sum", False),
        ("try: pass\nexcept E as sum: pass", "sum", False),
        ("match a:\n  case [sum, *_]: pass", "sum", False),
        ("match a:\n  case {**sum}: pass", "sum", False),
        ("(sum := 1)", "sum", False),
        ("for sum in a: pass", "sum", False),
        ("del sum", "sum", False),
        ("a.sum = 1", "sum", True),
    ],
)
def test_who_binds_a_name(source: str, name: str, is_builtin: bool) -> None:
    assert names(source).is_builtin(name) is is_builtin


def test_origins_of_imports() -> None:
    known = names(
        "import math, os.path as p, a.b\nfrom math import sqrt as s\nfrom . import c\nimport d\nd = 1"
    )
    assert [known.origin(name) for name in ("math", "p", "a", "s", "c", "d", "e")] == [
        "math",
        "os.path",
        "a",
        "math.sqrt",
        "..c",
        None,
        None,
    ]
    assert known.is_standard("p") and known.is_standard("len") and not known.is_standard("a")


def operands(text: str) -> list[str]:
    call = cst.ensure_type(cst.parse_expression(text), cst.Call)
    return [cst.Module([]).code_for_node(operand) for operand in once_only(call.args, names())]


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        ("f(a, b.c, d[0])", []),
        ("f(*a)", ["a"]),
        ("f(**a)", []),
        ("f(sum(a), max(b), max(c, d))", ["a", "b"]),
        ("f(sum(list(a)))", ["a"]),
        ("f(sum(range(a)), tuple([1, 2]), list(b[1:]))", []),
        ("f([*a], (*b, 1))", ["a", "b"]),
        ("f(a in b, a in (1, 2))", ["b"]),
        ("f(zip(a, b))", ["a", "b"]),
        ("f(len(a))", []),
        ("f(k=sum(a.b))", ["a.b"]),
    ],
)
def test_operands_that_a_look_may_use_up(call: str, asked: list[str]) -> None:
    assert operands(call) == asked


@pytest.mark.parametrize(
    ("text", "expected"),
    [("range(3)", True), ("[1]", True), ("a[1:]", True), ("a[1]", False), ("a", False), ("f(a)", False)],
)
def test_what_can_be_iterated_anew(text: str, expected: bool) -> None:
    assert repeats(cst.parse_expression(text), names()) is expected


def test_dotted() -> None:
    texts = ["a", "a.b.c", "a[0].b", "a().b", "(a).b", "(a.b).c"]
    assert [dotted(cst.parse_expression(text)) for text in texts] == ["a", "a.b.c", None, None, "a.b", None]


def test_calls_and_whether_they_are_always_made() -> None:
    tree = cst.parse_expression("a(b()) if c() else d() and (e() or f() < g() < h())")
    found = {dotted(call.func): always for call, always in calls_in(tree)}
    assert found == {
        "a": False,
        "b": False,
        "c": True,
        "d": False,
        "e": False,
        "f": False,
        "g": False,
        "h": False,
    }
