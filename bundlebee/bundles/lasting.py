"""Whether the results of a caching function can ever become stale."""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from bundlebee.bundles import own
from bundlebee.bundles.contents import ATOMS
from bundlebee.bundles.originals import original_code, used_names


def depends_on(cached: Any) -> str | None:
    """What the results of a function under `functools.lru_cache` depend on, beside its arguments; None for nothing.

    Itself (a recursion), builtins, modules of the standard library and what these define do not count: they stay what they are. A
    name may be an
    attribute that only looks like a global; then the answer is too careful, never too bold.
    """
    function = cached.__wrapped__
    if not isinstance(function, FunctionType):
        return "what it wraps"
    code = original_code(function)
    if code.co_freevars:
        return code.co_freevars[0]
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    if any(type(default) not in ATOMS for default in defaults):
        return "a default"
    ours = not _is_standard(function.__globals__.get("__name__"))
    for name in sorted(used_names(code)):
        if name in function.__globals__:
            value = function.__globals__[name]
            if not (_stays(value, cached) or (not ours and _is_settled(name, value))):
                return name
    return None


def _is_standard(module: Any) -> bool:
    return (
        isinstance(module, str)
        and module.partition(".")[0] in sys.stdlib_module_names
        and module != "__main__"
    )


def _stays(value: Any, cached: Any) -> bool:
    if value is cached:
        return True
    if isinstance(value, ModuleType):
        return _is_standard(value.__name__)
    if isinstance(value, type):
        return _is_standard(value.__module__) and own.by_name(value.__module__, value.__qualname__) is value
    if isinstance(value, FunctionType):
        return _is_standard(value.__globals__.get("__name__"))
    return isinstance(value, BuiltinFunctionType) and _is_standard(value.__module__)


def _is_settled(name: str, value: Any) -> bool:
    """Whether a global of a library's module is nothing that programs change: its constants, and what it keeps for itself."""
    kind = type(value)
    if kind in (tuple, frozenset):
        return all(type(part) in ATOMS for part in value)
    return kind in ATOMS or (name.startswith("_") and kind in (list, set, dict))
