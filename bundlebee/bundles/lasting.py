"""Whether the results of a caching function can ever become stale."""

from __future__ import annotations

import sys
from types import FunctionType, ModuleType
from typing import Any

from bundlebee.bundles.contents import ATOMS
from bundlebee.bundles.originals import original_code, used_names


def depends_on(cached: Any) -> str | None:
    """What the results of a function under `functools.lru_cache` depend on, beside its arguments; None for nothing.

    Itself (a recursion), builtins and modules of the standard library do not count: they stay what they are. A name may be an
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
    for name in sorted(used_names(code)):
        if name in function.__globals__ and not _stays(function.__globals__[name], cached):
            return name
    return None


def _stays(value: Any, cached: Any) -> bool:
    if value is cached:
        return True
    return isinstance(value, ModuleType) and value.__name__.partition(".")[0] in sys.stdlib_module_names
