"""The code that the author wrote, under what the weaver made of it."""

from __future__ import annotations

import re
import sys
from types import CodeType, FunctionType
from typing import Any

_WOVEN_NAMES = re.compile(r"__bee.*|scatter|each|args|again|s\d+")
"""What the weaver adds to a function: ``__bee__.scatter(…)``, ``each``, ``args``, ``again``, ``s0``."""

_IMPLIED = frozenset({"super", "__class__", "AssertionError"})


standing_in: dict[CodeType, CodeType] = {}
"""In a worker, while a guarded call runs: what is behind code that looks at some of its calls (`bundlebee.bundles.gated`)."""


def original_code(function: FunctionType) -> CodeType:
    """The code that the author wrote, also while a dispatcher stands in for it."""
    if standing_in:
        return standing_in.get(function.__code__, function.__code__)
    joinpoint = sys.modules.get("bundlebee.weaving.joinpoint")
    lookup = getattr(joinpoint, "original_code", None)
    if lookup is None:
        return function.__code__
    code: CodeType = lookup(function)
    return code


_USED: dict[CodeType, frozenset[str]] = {}


def names_and_texts(code: CodeType) -> frozenset[str]:
    """Names, texts and fractions that code and the functions in it use; the same for woven and plain code."""
    known = _USED.get(code)
    if known is None:
        found: set[str] = set()
        stack = [code]
        while stack:
            part = stack.pop()
            found.update(name for name in part.co_names if not _WOVEN_NAMES.fullmatch(name))
            for constant in part.co_consts:
                if isinstance(constant, CodeType):
                    stack.append(constant)
                elif type(constant) in (str, float, bytes) and not _is_qualname(constant):
                    found.add(f"{constant!r}")
        known = frozenset(found)
        if len(_USED) > 10_000:
            _USED.clear()
        _USED[code] = known
    return known


def _is_qualname(constant: Any) -> bool:
    """3.11 and older keep the names of inner functions among the constants."""
    return type(constant) is str and ("<locals>" in constant or constant.startswith("<"))


def used_names(code: CodeType) -> set[str]:
    """Globals and attributes that code mentions, nested functions included; what the weaver added left out."""
    found = {name for name in code.co_names if not _WOVEN_NAMES.fullmatch(name) and name not in _IMPLIED}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= used_names(constant)
    return found
