"""What a catalogued function of the standard library looks at that a program may set.

The catalogue says that `json.dumps` computes, and not how. But a program may give ``json._default_encoder`` an indent, put a
method of its own into `textwrap.TextWrapper`, or append to ``calendar.mdays``; then the call means something else than in a fresh
process. So what such a function names among the globals of its package counts as state that it reads: with the functions
and classes among these, and what they name in turn. What is found by other ways (``getattr`` with a text that is put together,
other packages) is not seen.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from bundlebee.bundles import own
from bundlebee.bundles.contents import by_python

_CACHES = frozenset(
    {("base64", name) for name in ("_b32rev", "_b32tab2", "_a85chars", "_a85chars2")}
    | {("base64", name) for name in ("_b85chars", "_b85chars2", "_b85dec")}
)
"""Globals that change with use, and change no result."""

_LEFT_OUT = frozenset({"re"})
"""Modules that have nothing to set but their caches."""

_LRU = type(functools.lru_cache(lambda: None))


@functools.lru_cache(maxsize=1024)
def settable(function: FunctionType) -> frozenset[tuple[str, str]]:
    """``(module, global)`` of what it reads, for `Summary.reads`. Of a function that is no module's: nothing."""
    top = str(function.__globals__.get("__name__")).partition(".")[0]
    found: set[tuple[str, str]] = set()
    if top in _LEFT_OUT:
        return frozenset()
    waiting: list[Any] = [function]
    seen: set[int] = set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        for one in _functions(thing):
            module = str(one.__globals__.get("__name__"))
            for name in _names(one.__code__):
                if name not in one.__globals__ or name.startswith("__") or (module, name) in _CACHES:
                    continue
                value = one.__globals__[name]
                if isinstance(value, ModuleType):
                    continue
                if type(value) is _LRU:
                    waiting.append(value.__wrapped__)
                    continue
                where = value if isinstance(value, FunctionType | type) else type(value)
                ours = str(where.__module__).partition(".")[0] == top
                if ours:
                    waiting.append(where)
                # a class of another package is what it is, and looking at it takes long
                if (ours or where is not value) and own.by_name(module, name) is value:
                    found.add((module, name))
    return frozenset(found)


def _functions(thing: Any) -> Iterator[FunctionType]:
    """A function itself, or those that a class written in Python holds."""
    if isinstance(thing, FunctionType):
        yield thing
    elif isinstance(thing, type) and by_python(thing):
        for member in list(thing.__dict__.values()):
            if type(member) is property:
                member = member.fget
            elif type(member) in (staticmethod, classmethod):
                member = member.__func__
            if type(member) is FunctionType:
                yield member


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
