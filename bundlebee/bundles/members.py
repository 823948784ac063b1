"""Of all that a class holds: which members are part of the state behind a call.

Its dictionary also holds what the interpreter notes there for itself, and a class of the library the library's own methods, which
are the same everywhere. Neither is compared; what a program has put into a class is.
"""

from __future__ import annotations

import sys
import types
from types import FunctionType
from typing import Any

from bundlebee.bundles import own
from bundlebee.bundles.originals import original_code

NOTED = frozenset(
    {
        "__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__",
        "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "_abc_impl", "__orig_bases__", "__parameters__",
        "__firstlineno__", "__static_attributes__", "__type_params__", "__conditional_annotations__", "__classdictcell__",
        "__slotnames__",  # pickle's memory
        "_value2member_map_",  # an enumeration's memory: flags that were combined
    }
)  # fmt: skip
"""What the interpreter and the library note in a class."""

SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
C_METHODS = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)


def full_name(value: type) -> tuple[str, str, bool]:
    """What a class is called, and whether it is the one that is found under that name."""
    return (
        value.__module__,
        value.__qualname__,
        own.by_name(value.__module__, value.__qualname__) is value,
    )


def is_method_of(kind: type, name: str, member: Any) -> bool:
    """Whether a member of a class is a method that was written in it, unchanged."""
    function = member.__func__ if type(member) in (staticmethod, classmethod) else member
    if type(function) is property:
        parts = [part for part in (function.fget, function.fset, function.fdel) if part is not None]
        return all(is_method_of(kind, name, part) for part in parts)
    if type(function) is not FunctionType or function.__dict__:
        return type(function) in C_METHODS or type(function) in SLOTS
    code = original_code(function)
    module = sys.modules.get(kind.__module__)
    return (
        code.co_qualname == f"{kind.__qualname__}.{name}"
        and module is not None
        and function.__globals__ is module.__dict__
        and function.__closure__ is None
    )


def registered(value: type) -> list[str]:
    """Names of the classes that were registered with an abstract base class."""
    if "_abc_impl" not in value.__dict__:
        return []
    try:
        import _abc  # type: ignore[import-not-found]
    except ImportError:
        return []
    registered = [ref() for ref in _abc._get_dump(value)[0]]
    return sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in registered if kind is not None)
