"""Attributes by names that are computed: what ``getattr`` and ``setattr`` would do with this object and this name."""

from __future__ import annotations

from collections import namedtuple
from enum import Enum
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, TypeAlias

from bundlebee.bundles import own
from bundlebee.bundles.contents import ATOMS, by_python, is_known
from bundlebee.bundles.stdlib import is_standard
from bundlebee.bundles.values import walk
from bundlebee.errors import Unshippable

Reads: TypeAlias = tuple[tuple[str, str], ...]
"""State, as (module, global)."""

_FIELDS = (GetSetDescriptorType, MemberDescriptorType)
_TUPLE_FIELD: type = type(namedtuple("_Example", "field").__dict__["field"])


def read(functions: bool, thing: Any, name: Any, *default: Any) -> Reads:
    """What ``getattr`` reads, if it does nothing else; what it gives is part of the object then, or immutable.

    Args:
        functions: whether it may also be a function that its class holds.

    Raises:
        Unshippable: it may do more.
    """
    kind = type(thing)
    if is_known(kind) or kind in ATOMS:
        _check_data(kind, thing, name)
        return ()
    _check_object(thing, name)
    walk((thing, *default), {})
    if _own_method(kind, "__getattr__") or _own_method(kind, "__getattribute__"):
        raise Unshippable(f"looks at {kind.__qualname__}.{name}, which may be computed")
    raw = _raw(kind, name)
    if raw is own.MISSING or type(raw) in ATOMS or type(raw) in (MemberDescriptorType, _TUPLE_FIELD):
        return _classes(kind)
    if type(raw) not in (FunctionType, staticmethod):
        raise Unshippable(f"looks at {kind.__qualname__}.{name}, a {type(raw).__qualname__}")
    if not functions and name not in (own.attributes(thing) or ()):
        raise Unshippable(f"looks at {kind.__qualname__}.{name}, a function")
    return _classes(kind)


def _check_data(kind: type, thing: Any, name: Any) -> None:
    """Of builtin data: fields that hold data, such as ``real`` and ``year``, and what is not there."""
    if type(name) is not str or name.startswith("__"):
        raise Unshippable(f"looks at {name!r} of a {kind.__qualname__}")
    if _raw(kind, name) is own.MISSING and not own.attributes(thing):
        return
    if type(_raw(kind, name)) not in _FIELDS or type(getattr(thing, name)) not in ATOMS:
        raise Unshippable(f"looks at {kind.__qualname__}.{name}")


def written(by_itself: bool, thing: Any, name: Any, _value: Any) -> Reads:
    """What ``setattr`` reads, if it does nothing but write the object.

    Args:
        by_itself: whether a ``__setattr__`` of its class has a say.

    Raises:
        Unshippable: it may do more.
    """
    _check_object(thing, name)
    kind = type(thing)
    if by_itself and _own_method(kind, "__setattr__"):
        raise Unshippable(f"writes {kind.__qualname__}.{name} by a __setattr__ of its own")
    raw = _raw(kind, name)
    if type(raw) is not MemberDescriptorType and (
        hasattr(type(raw), "__set__") or hasattr(type(raw), "__delete__")
    ):
        raise Unshippable(f"writes {kind.__qualname__}.{name}, a {type(raw).__qualname__}")
    return _classes(kind)


def _check_object(thing: Any, name: Any) -> None:
    kind = type(thing)
    if type(name) is not str:
        raise Unshippable("looks at an attribute whose name is no text")
    ours = kind.__module__ == "__main__" or not is_standard(kind.__module__)
    if not (ours and by_python(kind)) or isinstance(thing, type | Enum):
        raise Unshippable(f"looks at {name!r} of a {kind.__module__}.{kind.__qualname__}")
    if type(kind).__module__ not in ("builtins", "abc"):
        raise Unshippable(f"looks at {name!r} of a {kind.__qualname__}, whose metaclass is its own")
    if name.startswith("__"):
        raise Unshippable(f"looks at {name}")


def by_name(module: str, qualname: str) -> Any:
    """The function of that name, as its author wrote it."""
    found = own.by_name(module, qualname)
    return found.__func__ if isinstance(found, classmethod) else found


def _raw(kind: type, name: str) -> Any:
    return next((base.__dict__[name] for base in kind.__mro__ if name in base.__dict__), own.MISSING)


def _own_method(kind: type, name: str) -> bool:
    """Whether a class statement gives it a method of that name."""
    return any(name in base.__dict__ for base in kind.__mro__ if by_python(base))


def _classes(kind: type) -> Reads:
    """The classes that say what an attribute is."""
    found = {
        (base.__module__, base.__qualname__.partition(".")[0]) for base in kind.__mro__ if by_python(base)
    }
    return tuple(sorted(found))
