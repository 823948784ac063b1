"""Functions with gaps (`bundlebee.bundles.gaps`), compiled so that the calls there go through a gate.

``f(x)`` becomes ``GATE.call(number, f, x)``: the function and its arguments are evaluated as before and in the same
order, and it is the gate that makes the call. Lines and columns stay those of the source. The gate is a constant of the
code, so no name of ours is in sight of the program.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.bundles.facts import collect
from bundlebee.bundles.gaps import imprint
from bundlebee.errors import Unshippable

if TYPE_CHECKING:
    from bundlebee.bundles.gaps import Gap

_MARK = "<bundlebee: the gate>"
_FAR = 1 << 24
"""Lines from here on are no lines, but numbers of calls."""

CO_OPTIMIZED = 1  #: of functions, as in `inspect`; the code of a class has run

Key = tuple[str, int]
"""Which function of a module: qualified name and first line of its code."""


class Gated(msgspec.Struct, frozen=True):
    """The code of one function, as it was written, and with its gaps gated."""

    plain: CodeType
    gated: CodeType


def gate(
    source: bytes, path: str, module: str, gaps: Sequence[Gap], numbers: Sequence[int], gatekeeper: object
) -> dict[Key, Gated]:
    """Compile the functions of a module that have gaps, or have functions in them that do.

    Args:
        gaps: those in this module.
        numbers: what the gate is told of each.
        gatekeeper: has the methods ``call`` and ``spread``, see `bundlebee.calls.gate.Gate`.

    Raises:
        Unshippable: a gap is no call that can be rewritten.
        SyntaxError: the source is none.
    """
    tree = ast.parse(source, path)
    calls = _calls(tree)
    lines = [node.lineno for node in calls]
    for number, node in enumerate(calls):
        node.lineno = _FAR + number
    facts = collect(tree, module)
    for node, line in zip(calls, lines, strict=True):
        node.lineno = line
    plain = _codes(compile(tree, path, "exec", dont_inherit=True))
    for (_, qualname, line, place, _, mark), number in zip(gaps, numbers, strict=True):
        found = facts.find(qualname, line)
        if len(found) != 1 or imprint(facts[found[0]]) != mark:
            raise Unshippable(f"{qualname} is another function here")
        operation = facts[found[0]].operations[place]
        which = operation[1] - _FAR
        if operation[0] != "call" or which < 0:
            raise Unshippable(
                f"a call in {qualname} cannot be guarded", why="it is written as something else"
            )
        _rewrite(calls[which], number, qualname)
    gated = _codes(compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True))
    return {
        key: Gated(plain[key], _with(code, gatekeeper))
        for key, code in gated.items()
        if key in plain and _has_mark(code) and code.co_flags & CO_OPTIMIZED
    }


def _calls(tree: ast.Module) -> list[ast.Call]:
    """All calls but those whose line says where a function begins."""
    decorators = {
        id(decorator) for node in ast.walk(tree) for decorator in getattr(node, "decorator_list", ())
    }
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in decorators]


def _rewrite(node: ast.Call, number: int, qualname: str) -> None:
    stars = [isinstance(argument, ast.Starred) for argument in node.args]
    doubles = [keyword.arg is None for keyword in node.keywords]
    if any(stars[:-1]) or any(doubles[:-1]):
        raise Unshippable(
            f"a call in {qualname} cannot be guarded", why="it unpacks several things into its arguments"
        )
    name = "call"
    arguments = node.args
    if any(stars) or any(doubles):
        # What goes wrong in unpacking is told in words that name the function: so it is left to the gate.
        name = "spread"
        star = arguments.pop().value if any(stars) else ast.Tuple([], ast.Load())  # type: ignore[attr-defined]
        double = node.keywords.pop().value if any(doubles) else ast.Dict([], [])
        words: list[ast.expr] = [ast.Constant(keyword.arg) for keyword in node.keywords]
        values = [keyword.value for keyword in node.keywords]
        arguments = [
            ast.Tuple(arguments, ast.Load()),
            star,
            ast.Tuple(words, ast.Load()),
            ast.Tuple(values, ast.Load()),
            double,
        ]
        node.keywords = []
    node.args = [ast.Constant(number), node.func, *arguments]
    node.func = ast.Attribute(ast.Constant(_MARK), name, ast.Load())
    for part in (node.func, node.func.value, node.args[0]):
        ast.copy_location(part, node)


def _codes(code: CodeType) -> dict[Key, CodeType]:
    """Those of all functions; not of two that share a name and a line."""
    found: dict[Key, CodeType] = {}
    twice: set[Key] = set()
    for part in _inside(code):
        key = part.co_qualname, part.co_firstlineno
        if key in found:
            twice.add(key)
        found[key] = part
    return {key: part for key, part in found.items() if key not in twice}


def _inside(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inside(constant)


def _has_mark(code: CodeType) -> bool:
    return _MARK in code.co_consts or any(_MARK in part.co_consts for part in _inside(code))


def _with(code: CodeType, gatekeeper: object) -> CodeType:
    """The code with the gate in place of its mark."""
    constants: list[Any] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            constants.append(_with(constant, gatekeeper))
        else:
            constants.append(gatekeeper if type(constant) is str and constant == _MARK else constant)
    return code.replace(co_consts=tuple(constants))
