"""Finding the function that a call names, in this process.

A call names the function that was woven, which is the innermost one: below the decorators, below
`staticmethod` and `property`. So the name is looked up first, and then everything that it wraps is searched
for the function that begins on the line given.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections import deque
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from bundlebee.bundles.own import mangled
from bundlebee.errors import UnknownFunction, told
from bundlebee.words import FunctionRef

_CO_COROUTINE = 0x80  # as in `inspect`
_DEPTH = 64  # wrappers looked into; real code has three


def find_function(ref: FunctionRef, line: int = 0) -> Callable[..., Any]:
    """The function, imported if need be.

    Args:
        line: ``co_firstlineno`` of its code; 0 takes whatever carries the name.

    Raises:
        UnknownFunction: there is none of that name, or none that begins on that line.
    """
    module = sys.modules.get(ref.module)
    if module is None:
        try:
            module = importlib.import_module(ref.module)
        except Exception as error:
            raise UnknownFunction(f"cannot import {ref.module}", why=told(error)) from error
    owner: Any = None
    found: Any = module
    around: str | None = None
    for part in ref.qualname.split("."):
        owner = found
        try:
            found = _attribute(owner, part, around)
        except AttributeError:
            raise UnknownFunction(f"{ref.module} has no {ref.qualname}", hint=_offer(owner, part)) from None
        around = part
    for candidate in _inside(found):
        code = candidate.__code__
        if code.co_qualname == ref.qualname and (not line or code.co_firstlineno == line):
            return candidate
    if not line and callable(found):
        return found  # type: ignore[no-any-return]
    if not line:
        raise UnknownFunction(f"{ref.name} is not a function", why=f"it is a {type(found).__qualname__}")
    raise UnknownFunction(f"{ref.name} is another function here", why=f"none begins on line {line}")


def _attribute(owner: Any, name: str, around: str | None) -> Any:
    """What an object has under a name, as that is written in the class ``around``."""
    if not isinstance(owner, type):
        return getattr(owner, name)
    name = mangled(name, around)
    # not through the descriptor: a property would hand out its value
    return vars(owner)[name] if name in vars(owner) else getattr(owner, name)


def is_coroutine_function(function: Any) -> bool:
    """Whether its calls are coroutines. (Without `inspect`, which takes longer to import than a worker to start.)"""
    return isinstance(function, FunctionType) and bool(function.__code__.co_flags & _CO_COROUTINE)


def _offer(owner: Any, missed: str) -> str:
    """What might have been meant, for people."""
    import difflib

    names = [name for name, value in vars(owner).items() if callable(value) and not name.startswith("_")]
    close = difflib.get_close_matches(missed, names, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return f"it has {', '.join(sorted(names)[:12])}" if names else "it has no functions"


def _inside(found: Any) -> Iterable[FunctionType]:
    """Every function that an object is or wraps, nearest first."""
    waiting: deque[Any] = deque([found])
    seen: set[int] = set()
    while waiting and len(seen) < _DEPTH:
        value = waiting.popleft()
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            yield value
            for cell in value.__closure__ or ():
                try:
                    inner = cell.cell_contents
                except ValueError:
                    continue
                if callable(inner) and not isinstance(inner, type):
                    waiting.append(inner)
        elif isinstance(value, property):
            waiting.extend((value.fget, value.fset, value.fdel))
        elif isinstance(value, (functools.partial, functools.partialmethod, functools.cached_property)):
            waiting.append(value.func)
        for name in ("__func__", "__wrapped__", "func"):
            if not isinstance(value, type) and (inner := getattr(value, name, None)) is not None:
                waiting.append(inner)
