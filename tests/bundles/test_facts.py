"""Lowering: what the facts say about a function."""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from types import CodeType
from typing import Any

import pytest

from bundlebee.bundles.facts import (
    COROUTINE,
    GENERATOR,
    PLAIN,
    FunctionFacts,
    collect,
    decode,
    encode,
    facts_of_source,
)


def facts(source: str) -> list[FunctionFacts]:
    found = decode(encode(collect(ast.parse(dedent(source)), "m")))
    return [found[number] for number in range(len(found))]


def operations(source: str, code: str) -> list[tuple[Any, ...]]:
    return [op[2:] for op in facts(source)[0].operations if op[0] == code]


def test_names_kinds_and_lines() -> None:
    found = facts(
        """
        def plain(a, /, b, *c, d=1, **e): pass
        class C:
            @decorated
            @again
            def method(self):
                def inner():
                    yield 1
                return lambda x: x
            class D:
                async def wait(self): pass
        if True:
            other = lambda: 0
        """
    )
    assert [(f.qualname, f.line, f.kind) for f in found] == [
        ("plain", 2, PLAIN),
        ("C.method", 4, PLAIN),
        ("C.method.<locals>.inner", 7, GENERATOR),
        ("C.method.<locals>.<lambda>", 9, PLAIN),
        ("C.D.wait", 11, COROUTINE),
        ("<lambda>", 13, PLAIN),
    ]
    first = found[0]
    assert (first.positional, first.keyword_only, first.star, first.double_star) == (
        ("a", "b"),
        ("d",),
        "c",
        "e",
    )
    assert [first.variables[name] for name in "abdce"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "source, names",
    [
        ("def f(a):\n    b = a\n    return b + C", ["C"]),
        ("def f():\n    global a\n    return a", ["a"]),
        ("def f():\n    return [x for x in xs if x]", ["xs"]),
        ("def f():\n    [x for x in ()]\n    return x", ["x"]),
        ("def f():\n    [y := 1 for x in ()]\n    return y", []),
        ("def f():\n    for x in (): pass\n    return x", []),
        ("def f():\n    with o() as x: pass\n    return x", ["o"]),
        ("def f():\n    try: pass\n    except E as e: return e", ["E"]),
        ("def f():\n    import a.b\n    from c import d as e\n    return a, e, d", ["d"]),
        ("def f():\n    def g(): return h\n    return g", []),
        ("def f(x):\n    match x:\n        case [a, *b] | {'k': a, **b}: return a, b, c", ["c"]),
        ("def f():\n    return (lambda y=z: y)()", ["z"]),
    ],
)
def test_scopes(source: str, names: list[str]) -> None:
    assert [op[1] for op in operations(source, "name")] == names


def test_free_variables() -> None:
    outer, inner, innermost = facts(
        """
        def f(a):
            b = 1
            def g():
                nonlocal b
                b = a
                return lambda: b
            return g
        """
    )
    assert (outer.free, inner.free, innermost.free) == ((), ("a", "b"), ("b",))
    assert ("setfree", 6, "b", next(op[2] for op in inner.operations if op[0] == "free")) in inner.operations


def test_comprehension_variables_are_seen_by_functions_inside() -> None:
    outer, inner = facts("def f(xs):\n    return [lambda: x for x in xs]")
    assert inner.free == ("x",)
    assert "x" in outer.variables


def test_private_names_are_mangled() -> None:
    found = facts("class _C:\n    def f(self):\n        self.__x = __y\n        return self.__z__")[0]
    assert ("name", 3, 2, "_C__y") in found.operations
    assert any(op[0] == "setattr" and op[3] == "_C__x" for op in found.operations)
    assert any(op[0] == "attr" and op[4] == "__z__" for op in found.operations)


@pytest.mark.parametrize(
    "body, reason",
    [
        ("global a\n    a = 1", "writes module global 'a'"),
        ("global a\n    del a", "deletes module global 'a'"),
        ("class C: pass", "defines class 'C'"),
        ("raise", "re-raises"),
        ("return __class__", "__class__"),
    ],
)
def test_what_is_always_unsafe(body: str, reason: str) -> None:
    assert reason in operations(f"def f():\n    {body}", "bad")[0][0]


@pytest.mark.parametrize(
    "body, absent",
    [
        ("x is None", "is"),
        ("None is not x", "is"),
        ("1 + 2", "op"),
        ("if 1: pass", "truth"),
        ("1 < 2", "compare"),
    ],
)
def test_what_needs_no_operation(body: str, absent: str) -> None:
    assert operations(f"def f(x):\n    {body}", absent) == []


def test_calls() -> None:
    ((_, function, args, named),) = operations("def f(g, a, b, c):\n    g(a, *b, k=c, **a)", "call")
    assert (function, args, named) == (1, (2, -4), (("k", 4), (None, 2))) or (
        function,
        list(args),
        [tuple(pair) for pair in named],
    ) == (1, [2, -4], [("k", 4), (None, 2)])


def test_damaged_and_foreign_bytes() -> None:
    good = encode(facts_of_source("def f(): pass", "m"))
    for bad in (b"", b"\xff", good[:-3], good.replace(b"\x94\x03", b"\x94\x63", 1)):
        with pytest.raises(ValueError):
            decode(bad)
    assert decode(good).qualnames() == ["f"]


def test_functions_are_decoded_on_demand() -> None:
    found = decode(encode(facts_of_source("def f(): pass\ndef g(): pass", "m")))
    assert found.find("g", 2) == (1,)
    assert found.find("g", 1) == ()
    assert len(found._decoded) == 0
    assert found[1].qualname == "g"
    assert len(found._decoded) == 1


def codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes(constant)


def globals_of(code: CodeType) -> set[str]:
    """Names that code takes from its module, comprehensions included."""
    found = {one.argval for one in dis.get_instructions(code) if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType) and constant.co_name.startswith(
            ("<listcomp", "<genexpr", "<setcomp", "<dictcomp")
        ):
            found |= globals_of(constant)
    return found - {"super"}


def library() -> list[str]:
    names = "ast argparse collections contextlib csv dataclasses difflib enum fractions functools heapq inspect json.decoder "
    names += "logging pprint random re._compiler shlex statistics string subprocess textwrap threading typing unittest.mock"
    return names.split()


@pytest.mark.parametrize("name", library())
def test_agrees_with_the_compiler(name: str) -> None:
    """Names, parameters and free variables of every function of a module are those that the compiler sees."""
    module = __import__(name, fromlist=["x"])
    assert module.__file__ is not None
    source = Path(module.__file__).read_bytes()
    found = facts_of_source(source, name)
    checked = missed = 0
    for code in codes(compile(source, name, "exec")):
        hidden = ("<listcomp>", "<genexpr>", "<setcomp>", "<dictcomp>", "<module>", "<generic parameters")
        if (
            code.co_name.startswith(hidden)
            or not code.co_flags & 1
            or any(part in code.co_qualname for part in hidden)
        ):
            continue
        numbers = found.find(code.co_qualname, code.co_firstlineno)
        if len(numbers) != 1:  # lambdas that share a line, functions in local classes, type aliases
            missed += 1
            continue
        one = found[numbers[0]]
        count = code.co_argcount + code.co_kwonlyargcount
        assert (*one.positional, *one.keyword_only) == code.co_varnames[:count]
        assert set(one.free) == set(code.co_freevars) - {"__class__"}, code.co_qualname
        if not any(op[0] == "bad" and op[2].startswith("defines class") for op in one.operations):
            assert {op[3] for op in one.operations if op[0] == "name"} - {"super"} == globals_of(code), (
                code.co_qualname
            )
        kinds = {PLAIN: 0, GENERATOR: 0x20, COROUTINE: 0x80}
        if not code.co_flags & 0x200:
            assert code.co_flags & 0xA0 == kinds[one.kind], code.co_qualname
        checked += 1
    assert checked > 3
    assert missed <= 5 + checked / 5
    assert found.qualnames()
    assert sys.getsizeof(encode(found)) < 2 * len(source)
