"""Modules that are nowhere to be found: to import one raises ImportError, and does nothing else.

Many packages import another one where they can do without, inside of a function. Such a call may run where that package is missing,
too. So its absence is part of the state that the call reads (`ABSENT`), and is compared with the worker's.
"""

from __future__ import annotations

import sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
from typing import Any

ABSENT = "(absent)"
"""In the place of a global's name: that the module cannot be found."""

_STANDARD: tuple[Any, ...] = (BuiltinImporter, FrozenImporter, PathFinder)
#: of installers: these look a name up in a table, and that is all
_HARMLESS = ("_distutils_hack", "__editable__")


def absent(name: str) -> bool:
    """Whether importing it would surely fail now. False where that cannot be told without running somebody's code."""
    top = name.partition(".")[0]
    if top in sys.modules or top in sys.stdlib_module_names or not top.isidentifier():
        return False
    return all(_lacks(finder, top) for finder in list(sys.meta_path))


def _lacks(finder: Any, top: str) -> bool:
    kind = type(finder)
    module = str(finder.__module__ if isinstance(finder, type) else kind.__module__)
    if any(finder is standard for standard in _STANDARD) or module.startswith(_HARMLESS):
        return finder.find_spec(top, None) is None
    if module == "bundlebee.hooks.finder":
        return bool(finder.lacks(top))
    return False
