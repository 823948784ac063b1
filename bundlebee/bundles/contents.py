"""What one value contains; and whether a copy would do for it.

`children` is the one place that knows which values may travel.
"""

from __future__ import annotations

import copyreg
import math
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from datetime import tzinfo
from enum import Enum, EnumMeta
from sys import getrefcount
from types import BuiltinFunctionType, FunctionType
from typing import Any

from bundlebee.bundles import own, replicas

ATOMS: frozenset[type] = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range}
)
"""Exact types of immutable values that contain nothing."""

NUMBERS = frozenset({int, float, complex, bool})
_UNSTABLE_NONE = sys.version_info < (3, 12)  # hash(None) was an address
_HASHED_BY_VALUE = ATOMS - {type(...), type(NotImplemented)} - ({type(None)} if _UNSTABLE_NONE else set())
_LEAVES = frozenset({("array", "array"), ("builtins", "bytearray"), ("random", "Random")})
#: what a defaultdict may be filled by: they make something new and do nothing else
_FACTORIES = (
    int,
    float,
    complex,
    bool,
    str,
    bytes,
    tuple,
    frozenset,
    list,
    dict,
    set,
    Counter,
    OrderedDict,
    deque,
)
VALUES = frozenset(
    {
        ("fractions", "Fraction"),
        ("datetime", "date"),
        ("datetime", "timedelta"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timezone"),
        ("uuid", "UUID"),
        ("re", "Pattern"),
    }
)
#: dtypes that say all there is to say by their name: no fields, no objects, no metadata
_PLAIN_KINDS = frozenset("biufcmMSU")
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8
_PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs_ex__")
_TRAPS = ("__del__", "__getattribute__")
#: a time zone has no state beside its attributes
_BASES = (object, list, tuple, dict, int, float, complex, str, bytes, tzinfo)
_GENERATED = frozenset({("dataclasses", "_dataclass_getstate"), ("dataclasses", "_dataclass_setstate")})
#: pickle uses these of a subclass of a container; an override would run there and not here
_CONTAINER_METHODS = ("__iter__", "items", "__setitem__", "append", "extend", "add", "__init__", "update")


def by_python(kind: type) -> bool:
    """Whether a class statement made the class. Types written in C may look like it, with their state out of sight."""
    if kind.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) != _HEAP_TYPE:
        return False
    members = kind.__dict__
    # A class statement adds a dictionary, a list of weak references, or the slots that it names; else nothing.
    known = "__slots__" in members or "__dict__" in members or "__weakref__" in members
    return known or (kind.__base__ is not None and kind.__basicsize__ == kind.__base__.__basicsize__)


_ENUM_HASH: Any = Enum.__hash__


class Refused(Exception):
    """Somewhere in the structure is a value that cannot travel."""

    def __init__(self, value: Any, why: str) -> None:
        self.value = value
        self.why = why


def is_callable(value: Any) -> bool:
    return type(value) is FunctionType or type(value) is BuiltinFunctionType or isinstance(value, type)


def is_known(kind: type) -> bool:
    """Builtin data, and value types of the standard library."""
    return kind in _CONTAINERS or (
        ((key := (kind.__module__, kind.__qualname__)) in VALUES or key in _LEAVES)
        and own.by_name(*key) is kind
    )


_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, deque, defaultdict, OrderedDict, Counter})


def travelling() -> list[type]:
    """The types of builtin data, as far as their modules are loaded: there are no values of the others."""
    named = (own.by_name(*key) for key in (*VALUES, *_LEAVES))
    return [*ATOMS, *_CONTAINERS, *(kind for kind in named if isinstance(kind, type))]


def is_array(kind: type) -> bool:
    """Whether it is NumPy's array itself, and no subclass."""
    return (
        kind.__module__ == "numpy"
        and kind.__qualname__ == "ndarray"
        and own.by_name("numpy", "ndarray") is kind
    )


def is_number_of_numpy(kind: type) -> bool:
    """Whether it is one of NumPy's own types of numbers and texts."""
    if kind.__module__ != "numpy":
        return False
    generic = own.by_name("numpy", "generic")
    return generic is not None and issubclass(kind, generic) and own.by_name("numpy", kind.__name__) is kind


def _check_number(value: Any) -> None:
    if value.dtype.kind not in _PLAIN_KINDS or value.dtype.metadata is not None:
        raise Refused(value, f"a {type(value).__name__} of NumPy's")
    if value != value:
        raise Refused(value, "a nan is compared by identity, which a copy does not keep")


def _check_array(value: Any) -> None:
    dtype = value.dtype
    if dtype.kind not in _PLAIN_KINDS or dtype.metadata is not None:
        raise Refused(value, f"an array of {dtype}")
    if not value.flags.aligned or value.strides != _strides(value):
        # its copy would have other strides, and with them other layouts and roundings of what is computed from it
        raise Refused(value, "an array with gaps, whose copy would lie otherwise in memory")


def _strides(value: Any) -> tuple[int, ...]:
    """Those of a copy: numbers follow each other in the order of C, or of Fortran."""
    step, strides = value.itemsize, []
    fortran = value.flags.fnc
    for extent in value.shape if fortran else reversed(value.shape):
        strides.append(step)
        step *= extent or 1
    return tuple(strides if fortran else reversed(strides))


def check_by_name(value: Any) -> None:
    module = getattr(value, "__module__", None) or ""
    if own.by_name(module, value.__qualname__) is not value:
        raise Refused(value, f"{value!r} cannot be found by its name {module}.{value.__qualname__}")


def children(value: Any) -> Iterator[Any]:
    """What a value contains. Raises Refused if it cannot travel."""
    kind = type(value)
    if kind is list or kind is tuple or kind is deque:
        yield from value
    elif kind is dict or kind is Counter or kind is OrderedDict:
        yield from value
        yield from value.values()
        if kind is not dict and value.__dict__:
            raise Refused(value, f"a {kind.__name__} with attributes of its own")
    elif kind is set or kind is frozenset:
        _check_order(value)
        yield from value
    elif kind is defaultdict:
        if value.default_factory is not None and value.default_factory not in _FACTORIES:
            raise Refused(value, "a defaultdict whose factory may do anything")
        yield from value
        yield from value.values()
    elif is_known(kind):
        zone = getattr(value, "tzinfo", None)
        if zone is not None and type(zone) is not own.by_name("datetime", "timezone"):
            raise Refused(value, "its time zone is looked up in the machine's own tables")
        if kind.__qualname__ == "Fraction" and not _in_lowest_terms(value):
            raise Refused(value, "a fraction that somebody wrote into; pickle would put it in lowest terms")
    elif is_callable(value):
        return
    elif is_array(kind):
        _check_array(value)
    elif is_number_of_numpy(kind):
        _check_number(value)
    else:
        yield from _instance(value, kind)


def _check_order(value: set[Any] | frozenset[Any]) -> None:
    elements = list(value)
    if not set(map(type, elements)) <= _HASHED_BY_VALUE:
        for element in elements:
            if not _hashed_by_value(element):
                raise Refused(value, "a set whose order depends on addresses")


def keeps_order(value: set[Any] | frozenset[Any]) -> bool:
    """Whether a set that is made of the elements, one by one, iterates as this one does."""
    copy = set()
    for element in value:
        copy.add(element)
    return all(left is right for left, right in zip(value, copy, strict=True))


def sets_in(root: Any) -> Iterator[set[Any] | frozenset[Any]]:
    seen: set[int] = set()
    stack = [root]
    while stack:
        value = stack.pop()
        if id(value) not in seen and type(value) not in ATOMS:
            seen.add(id(value))
            if type(value) in (set, frozenset):
                yield value
            if not is_callable(value):
                stack.extend(children(value))


def _hashed_by_value(value: Any) -> bool:
    kind = type(value)
    if kind in _HASHED_BY_VALUE:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_hashed_by_value, value))
    if isinstance(value, Enum):
        return getattr(kind, "__hash__", None) is _ENUM_HASH
    return (
        (kind.__module__, kind.__qualname__) in VALUES and kind.__qualname__ != "Pattern" and is_known(kind)
    )


def hashed_by_address(value: Any) -> bool:
    """Whether ``hash(value)`` is the address of the object, or may be: it has another one there. What it holds is not looked at."""
    kind = type(value)
    if kind in ATOMS:
        return kind not in _HASHED_BY_VALUE
    owner = _owner(kind, "__hash__")
    return is_callable(value) or owner is None or owner is object or kind.__qualname__ == "Pattern"


def _in_lowest_terms(fraction: Any) -> bool:
    n, d = fraction._numerator, fraction._denominator
    return type(n) is int and type(d) is int and d > 0 and math.gcd(n, d) == 1


def cannot_travel(kind: type) -> str | None:
    """Why no instance of a bundle's class may travel, whatever it holds; None where it is up to what it holds."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if own.by_name(kind.__module__, kind.__qualname__) is not kind:
        return f"its class {name} cannot be found by that name"
    if not issubclass(kind, Enum) and (not by_python(kind) or kind in copyreg.dispatch_table):
        return f"a {name} cannot travel"
    if kind not in _CHECKED:
        reason = _refusal(kind)
        if len(_CHECKED) > 10_000:
            _CHECKED.clear()
        _CHECKED[kind] = reason
    reason = _CHECKED[kind]
    return None if reason is None else f"a {name} cannot travel: {reason}"


def _is_found_by_value(kind: type) -> bool:
    """Whether the members of an enumeration come back as themselves in the way of the standard library: class and value."""
    owner = _owner(kind, "__reduce_ex__")
    if type(kind) is not EnumMeta or owner is None or (by_python(owner) and owner.__module__ != "enum"):
        return False
    values = [object.__getattribute__(one, "_value_") for one in kind.__dict__["_member_map_"].values()]
    return all(type(value) in ATOMS and value == value for value in values)


def forget() -> None:
    """Let go of the program's classes: it is over, and who is known here would never be deleted."""
    _CHECKED.clear()


def _instance(value: Any, kind: type) -> Iterator[Any]:
    """The state of an instance of a bundle's class: what its builtin base holds, and its attributes."""
    reason = cannot_travel(kind)
    if reason is not None:
        raise Refused(value, reason)
    if isinstance(value, Enum):
        return
    base = _builtin_base(kind)
    if base is list or base is tuple:
        yield from base.__iter__(value)
    elif base is dict:
        yield from dict.keys(value)
        yield from dict.values(value)
    elif base in (float, complex) and value != value:
        raise Refused(value, "a nan is compared by identity, which a copy does not keep")
    state = own.attributes(value)
    if state is not None:
        if getrefcount(state) > _ALONE:
            raise Refused(value, "its __dict__ is also held elsewhere, and a copy would have one of its own")
        yield from state.values()
    for _slot, held in own.slots(value):
        yield held


def _alone() -> int:
    """How often the ``__dict__`` of an instance is held that nobody else holds, as `_instance` counts it."""

    class Sample:
        pass

    sample = Sample()
    held = own.attributes(sample)
    return getrefcount(held)


_ALONE = _alone()
_CHECKED: dict[type, str | None] = {}


def _builtin_base(kind: type) -> type:
    return next(base for base in kind.__mro__ if not by_python(base))


def _owner(kind: type, name: str) -> type | None:
    return next((base for base in kind.__mro__ if name in base.__dict__), None)


def _refusal(kind: type) -> str | None:
    """Why no instance of the class can be copied, or None."""
    if issubclass(kind, Enum):
        if not _is_found_by_value(kind):
            replicas.register_members(kind)
        return None
    base = _builtin_base(kind)
    if base not in _BASES:
        return f"it is a subclass of {base.__name__}"
    for name in _TRAPS:
        owner = _owner(kind, name)
        if owner is not None and by_python(owner):
            return f"it has its own {name}"
    # the pickling of time zones asks the class for arguments, and calls it with them
    custom = "it pickles as time zones do" if base is tzinfo else _own_pickling(kind, base)
    if custom is not None:
        if kind.__module__.partition(".")[0] in sys.stdlib_module_names and kind.__module__ != "__main__":
            return custom  # a logger, for example, which is found by its name
        replicas.register(kind, base)
    return None


def _own_pickling(kind: type, base: type) -> str | None:
    """What keeps instances of the class from being pickled in the plain way, or None."""
    fields = base is tuple and getattr(kind, "_fields", None) is not None
    for name in _PICKLING:
        owner = _owner(kind, name)
        if owner is None or not by_python(owner):
            continue
        raw = owner.__dict__[name]
        code = getattr(raw, "__code__", None)
        if (getattr(raw, "__module__", None), getattr(code, "co_name", None)) not in _GENERATED:
            return f"it has its own {name}"
    for name in ("__new__", "__getnewargs__"):
        owner = _owner(kind, name)
        if (
            owner is None
            or not by_python(owner)
            or (owner.__module__, owner.__qualname__) == ("typing", "Generic")
        ):
            continue
        if not (fields and "_fields" in owner.__dict__ and "_make" in owner.__dict__):
            return f"it has its own {name}"
    if base in (list, dict):
        for name in _CONTAINER_METHODS:
            owner = _owner(kind, name)
            if name != "__init__" and owner is not None and by_python(owner):
                return f"it has its own {name}"
    owner = _owner(kind, "__setattr__")
    by_itself = owner is not None and by_python(owner)
    # pickle sets slots one by one, through __setattr__
    if by_itself and own.slot_names(kind) and _owner(kind, "__setstate__") in (None, object):
        return "it has __slots__ and its own __setattr__"
    return None
