"""What may travel as an argument: *plain* values, of which a copy does as well as the original.

`walk` goes through the arguments of a call once. It refuses what cannot travel, naming it by its path, and tells
what the effect analysis and the identity of results need to know: the mutable objects, in an order that is the
same for every equal structure, the classes of the instances, and the functions and classes among the values.

Some values pickle well and still would not be the same there:

- ``nan``: containers compare by identity first, and a copy of a nan is another object
- a set whose copy would iterate in another order (its table has a history), or whose elements hash by address
- decimals: their arithmetic depends on a context that does not travel
"""

from __future__ import annotations

import copyreg
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from types import BuiltinFunctionType, FunctionType
from typing import Any, TypeAlias

from bundlebee.errors import Unshippable

ATOMS: frozenset[type] = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range}
)
"""Exact types of immutable values that contain nothing."""

NUMBERS = frozenset({int, float, complex, bool})
_REAL = frozenset({int, float, bool})
_UNSTABLE_NONE = sys.version_info < (3, 12)  # hash(None) was an address
_HASHED_BY_VALUE = ATOMS - {type(...), type(NotImplemented)} - ({type(None)} if _UNSTABLE_NONE else set())
_LEAVES = frozenset({("array", "array"), ("builtins", "bytearray")})
_VALUES = frozenset(
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
_HEAP_TYPE = 1 << 9
_PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__")
_TRAPS = ("__setstate__", "__getnewargs_ex__", "__del__", "__getattribute__")
_GENERATED = frozenset({("dataclasses", "_dataclass_getstate"), ("dataclasses", "_dataclass_setstate")})
#: pickle uses these of a subclass of a container; an override would run there and not here
_CONTAINER_METHODS = ("__iter__", "items", "__setitem__", "append", "extend", "add", "__init__", "update")


Shape: TypeAlias = Any
"""What a value is, in a few words: `NUMBER`, `DATA`, ``(type, shape of its elements)``, for mappings ``(type, shape
of its keys, shape of its values)``, or `ANYTHING`. Two values of equal shape are alike to the effect analysis."""

NUMBER, DATA, ANYTHING = "number", "data", "anything"
_DEPTH = 3
_IMMUTABLE = ATOMS | {tuple, frozenset}
_SHAPED = (list, set, deque, tuple, frozenset)


@dataclass(slots=True)
class Walk:
    """What `walk` found."""

    containers: list[Any]  #: mutable objects, each once, in an order that depends on the structure only
    classes: frozenset[type]  #: classes of the instances that are not builtin data
    callables: tuple[Any, ...]  #: functions, builtin functions and classes that are among the values
    shapes: tuple[Shape, ...]  #: of the positional arguments
    named: dict[str, Shape]  #: of the keyword arguments

    @property
    def simple(self) -> bool:
        """Whether there is nothing but builtin data."""
        return not self.classes and not self.callables


_ENUM_HASH: Any = Enum.__hash__


class _Refused(Exception):
    """Somewhere in the structure is a value that cannot travel."""

    def __init__(self, value: Any, why: str) -> None:
        self.value = value
        self.why = why


def walk(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Walk:
    """Go through the arguments of a call.

    Raises:
        Unshippable: something in them cannot travel; the message names it by its path, as in ``args[0].lock``.
    """
    found = Walk([], frozenset(), (), (), {})
    try:
        if set(map(type, args)) <= ATOMS and set(map(type, kwargs.values())) <= ATOMS:
            _check_nan(args)
            _check_nan(kwargs.values())
        else:
            _walk(chain(args, kwargs.values()), found)
        found.shapes = tuple([_shape(value) for value in args])
        found.named = {name: _shape(value) for name, value in kwargs.items()}
    except _Refused as refused:
        raise Unshippable(f"{_path(args, kwargs, refused.value)}: {refused.why}") from None
    return found


def walk_result(result: Any) -> Walk:
    """Go through a result, or an exception's arguments, in the same way; paths begin with ``result``.

    Raises:
        Unshippable: a copy would not do for something in it.
    """
    found = Walk([], frozenset(), (), (), {})
    try:
        _walk((result,), found)
    except _Refused as refused:
        place = _path((result,), {}, refused.value).replace("args[0]", "result", 1)
        raise Unshippable(f"{place}: {refused.why}") from None
    return found


def _walk(roots: Any, found: Walk) -> None:
    seen: dict[int, Any] = {}
    classes: dict[type, None] = {}
    callables: dict[int, Any] = {}
    queue = list(_composite(list(roots)))
    for value in queue:  # grows while we go
        if id(value) in seen:
            continue
        seen[id(value)] = value
        kind = type(value)
        if kind is list or kind is dict or kind is deque:
            found.containers.append(value)
        elif kind is tuple or kind is frozenset:
            pass
        elif _is_callable(value):
            _check_by_name(value)
            callables[id(value)] = value
            continue
        elif not _is_known(kind):
            classes[kind] = None
            if not isinstance(value, Enum):
                found.containers.append(value)
        elif (kind.__module__, kind.__qualname__) not in _VALUES:
            found.containers.append(value)
        queue.extend(_composite(list(_children(value))))
    found.classes = frozenset(classes)
    found.callables = tuple(callables.values())


def _composite(values: list[Any]) -> list[Any]:
    """The values that need a look inside. Refuses nan."""
    types = set(map(type, values))
    if float in types:
        _check_nan(values)
    if types <= ATOMS:
        return []
    return [value for value in values if type(value) not in ATOMS]


def _check_nan(values: Any) -> None:
    values = list(values)
    if set(map(type, values)) <= _REAL:
        try:
            total = sum(values)
        except OverflowError:
            pass
        else:
            if total == total:  # one nan makes the sum nan
                return
    for value in values:
        kind = type(value)
        if (kind is float or kind is complex) and value != value:
            raise _Refused(value, "a nan is compared by identity, which a copy does not keep")


def _shape(value: Any, depth: int = _DEPTH) -> Shape:
    kind = type(value)
    if kind in ATOMS:
        return NUMBER if kind in NUMBERS else DATA
    if depth:
        if kind is dict or kind is Counter or kind is OrderedDict:
            return kind, _shape_of_all(value, depth - 1), _shape_of_all(value.values(), depth - 1)
        if kind in _SHAPED:
            inside = _shape_of_all(value, depth - 1)
            if kind in (tuple, frozenset) and inside in (NUMBER, DATA):
                return DATA
            return kind, inside
    return ANYTHING


def _shape_of_all(values: Iterable[Any], depth: int) -> Shape:
    kinds = set(map(type, values))
    shape: Shape = None
    if kinds & ATOMS:
        shape = NUMBER if kinds <= NUMBERS else DATA
    if kinds <= ATOMS:
        return shape or NUMBER
    if (len(kinds) > 1 and not kinds <= _IMMUTABLE) or not depth:
        return ANYTHING
    for value in values:
        if type(value) not in ATOMS:
            found = _shape(value, depth)
            if shape in (NUMBER, DATA) and found in (NUMBER, DATA):
                shape = DATA
            elif shape is not None and found != shape:
                return ANYTHING
            else:
                shape = found
    return shape


def _is_callable(value: Any) -> bool:
    return type(value) is FunctionType or type(value) is BuiltinFunctionType or isinstance(value, type)


def _is_known(kind: type) -> bool:
    """Builtin data, and value types of the standard library."""
    return kind in _CONTAINERS or (
        ((key := (kind.__module__, kind.__qualname__)) in _VALUES or key in _LEAVES)
        and _by_name(*key) is kind
    )


_CONTAINERS = frozenset({list, tuple, dict, set, frozenset, deque, defaultdict, OrderedDict, Counter})


def _by_name(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _check_by_name(value: Any) -> None:
    module = getattr(value, "__module__", None) or ""
    if _by_name(module, value.__qualname__) is not value:
        raise _Refused(value, f"{value!r} cannot be found by its name {module}.{value.__qualname__}")


def _children(value: Any) -> Iterator[Any]:
    """What a value contains. Raises _Refused if it cannot travel."""
    kind = type(value)
    if kind is list or kind is tuple or kind is deque:
        yield from value
    elif kind is dict or kind is Counter or kind is OrderedDict:
        yield from value
        yield from value.values()
        if kind is not dict and value.__dict__:
            raise _Refused(value, f"a {kind.__name__} with attributes of its own")
    elif kind is set or kind is frozenset:
        _check_order(value)
        yield from value
    elif kind is defaultdict:
        if value.default_factory is not None:
            raise _Refused(value, "a defaultdict is written by looking up")
        yield from value
        yield from value.values()
    elif _is_known(kind):
        zone = getattr(value, "tzinfo", None)
        if zone is not None and type(zone) is not _by_name("datetime", "timezone"):
            raise _Refused(value, "its time zone is looked up in the machine's own tables")
    elif _is_callable(value):
        return
    else:
        yield from _instance(value, kind)


def _check_order(value: set[Any] | frozenset[Any]) -> None:
    elements = list(value)
    if not set(map(type, elements)) <= _HASHED_BY_VALUE:
        for element in elements:
            if not _hashed_by_value(element):
                raise _Refused(value, "a set whose order depends on addresses")
    if len(elements) > 1:
        copy = set()
        for element in elements:
            copy.add(element)
        if not all(left is right for left, right in zip(elements, copy, strict=True)):
            raise _Refused(value, "a set whose copy would iterate in another order")


def _hashed_by_value(value: Any) -> bool:
    kind = type(value)
    if kind in _HASHED_BY_VALUE:
        return True
    if kind is tuple or kind is frozenset:
        return all(map(_hashed_by_value, value))
    if isinstance(value, Enum):
        return getattr(kind, "__hash__", None) is _ENUM_HASH
    return (
        (kind.__module__, kind.__qualname__) in _VALUES and kind.__qualname__ != "Pattern" and _is_known(kind)
    )


def _instance(value: Any, kind: type) -> Iterator[Any]:
    """The state of an instance of a bundle's class, as pickle takes it."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if _by_name(kind.__module__, kind.__qualname__) is not kind:
        raise _Refused(value, f"its class {name} cannot be found by that name")
    if isinstance(value, Enum):
        return
    if not kind.__flags__ & _HEAP_TYPE or kind in copyreg.dispatch_table:
        raise _Refused(value, f"a {name} cannot travel")
    if kind not in _CHECKED:
        reason = _trap(kind)
        if len(_CHECKED) > 10_000:
            _CHECKED.clear()
        _CHECKED[kind] = reason
    reason = _CHECKED[kind]
    if reason is not None:
        raise _Refused(value, f"a {name} cannot travel: {reason}")
    base = _builtin_base(kind)
    if base is list or base is tuple:
        yield from base.__iter__(value)
    elif base is dict:
        yield from dict.keys(value)
        yield from dict.values(value)
    elif base in (float, complex) and value != value:
        raise _Refused(value, "a nan is compared by identity, which a copy does not keep")
    state = getattr(value, "__dict__", None)
    if state:
        yield from state.values()
    for slot in copyreg._slotnames(kind):  # type: ignore[attr-defined]
        try:
            yield object.__getattribute__(value, slot)
        except AttributeError:
            continue


_CHECKED: dict[type, str | None] = {}


def _builtin_base(kind: type) -> type:
    return next(base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE)


def _owner(kind: type, name: str) -> type | None:
    return next((base for base in kind.__mro__ if name in base.__dict__), None)


def _trap(kind: type) -> str | None:
    """Why instances of the class do not pickle in the plain way, or None."""
    base = _builtin_base(kind)
    if base is not object and base not in (list, tuple, dict, int, float, complex, str, bytes):
        return f"it is a subclass of {base.__name__}"
    fields = base is tuple and getattr(kind, "_fields", None) is not None
    for name in (*_PICKLING, *_TRAPS):
        owner = _owner(kind, name)
        if owner is None or not owner.__flags__ & _HEAP_TYPE:
            continue
        raw = owner.__dict__[name]
        code = getattr(raw, "__code__", None)
        if (getattr(raw, "__module__", None), getattr(code, "co_name", None)) not in _GENERATED:
            return f"it has its own {name}"
    for name in ("__new__", "__getnewargs__"):
        owner = _owner(kind, name)
        if (
            owner is None
            or not owner.__flags__ & _HEAP_TYPE
            or (owner.__module__, owner.__qualname__) == ("typing", "Generic")
        ):
            continue
        if not (fields and "_fields" in owner.__dict__ and "_make" in owner.__dict__):
            return f"it has its own {name}"
    if base in (list, dict):
        for name in _CONTAINER_METHODS:
            owner = _owner(kind, name)
            if name != "__init__" and owner is not None and owner.__flags__ & _HEAP_TYPE:
                return f"it has its own {name}"
    owner = _owner(kind, "__setattr__")
    own = owner is not None and owner.__flags__ & _HEAP_TYPE
    # pickle sets slots one by one, through __setattr__
    if own and copyreg._slotnames(kind) and _owner(kind, "__setstate__") in (None, object):  # type: ignore[attr-defined]
        return "it has __slots__ and its own __setattr__"
    return None


def _path(args: tuple[Any, ...], kwargs: dict[str, Any], target: Any) -> str:
    """Where in the arguments a value is. Slow; for messages."""
    queue: list[tuple[str, Any]] = [(f"args[{number}]", value) for number, value in enumerate(args)]
    queue += list(kwargs.items())
    seen: set[int] = set()
    for path, value in queue:
        if value is target:
            return path
        if id(value) in seen or type(value) in ATOMS or len(queue) > 1_000_000:
            continue
        seen.add(id(value))
        queue.extend(_labelled(path, value))
    return "args"


def _labelled(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in dict.keys(value):
            yield f"a key of {path}", key
        for key, item in dict.items(value):
            shown = repr(key) if type(key) in ATOMS else "…"
            yield f"{path}[{shown[:40]}]", item
    elif isinstance(value, list | tuple | deque):
        names = getattr(value, "_fields", None) if isinstance(value, tuple) else None
        for number, item in enumerate(value):
            yield f"{path}.{names[number]}" if names else f"{path}[{number}]", item
    elif isinstance(value, set | frozenset):
        for item in value:
            yield f"an element of {path}", item
    if type(value).__flags__ & _HEAP_TYPE and not isinstance(value, type | Enum):
        for name, item in (getattr(value, "__dict__", None) or {}).items():
            yield f"{path}.{name}", item
        for slot in copyreg._slotnames(type(value)):  # type: ignore[attr-defined]
            if hasattr(value, slot):
                yield f"{path}.{slot}", getattr(value, slot)
