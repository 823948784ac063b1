"""What about a call's arguments may tell how long it takes: their kinds, and a few sizes.

``fib(10)`` and ``fib(35)`` are different calls, and so are ``sort(list of 10)`` and ``sort(list of 10**6)``.
A feature set has two parts: the *shape* (kinds of the arguments, hashable) and the *sizes* (a flat vector of
floats, one entry per number, length or dimension). Calls with equal features are expected to cost the same.

Looking must be harmless and cheap, since it happens for every sampled call: only exact built-in types are
looked into, never a subclass whose methods the program wrote; containers are judged by their length and their
first element, two levels deep; at most `MAX_SIZES` numbers are kept.
"""

from __future__ import annotations

import gc
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

MAX_DEPTH = 2  #: containers in containers are looked into this far; deeper ones seldom decide the cost
MAX_SIZES = 8  #: longest vector; the estimators look at every entry, so this bounds their work too
MAX_ATTRIBUTES = 6  #: attributes of an instance that are looked at
EXACT_BELOW = 256  #: integers and lengths below this are kept as they are: fib(30) and fib(31) differ much


class Features(NamedTuple):
    """Kinds and sizes of the arguments of one call. Hashable: equal features share one bucket of samples."""

    shape: tuple[Any, ...]  #: names of kinds, nested as the arguments are; keyword names included
    sizes: tuple[float, ...]  #: numbers, lengths, dimensions, in order of appearance


def features(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Features:
    """Features of a call. Never raises and never runs code of the program."""
    sizes: list[float] = []
    shape = [_look(value, sizes, 0) for value in args]
    if kwargs:
        for name in sorted(kwargs):
            shape.append(name)
            shape.append(_look(kwargs[name], sizes, 0))
    return Features(tuple(shape), tuple(sizes[:MAX_SIZES]))


def volume(values: Iterable[Any]) -> int:
    """About how many bytes they are as a pickle, as far as that is to be seen at a glance."""
    return sum([_volume(value, 0) for value in values])


def _volume(value: Any, depth: int) -> int:
    kind = type(value)
    if kind in _TEXTS:
        return len(value)
    if kind in _HOLDERS and depth < MAX_DEPTH and value:
        try:
            first = next(iter(value.values() if kind is dict else value))
        except (RuntimeError, StopIteration):  # another thread changes it just now
            return 0
        return len(value) * (4 + _volume(first, depth + 1))
    return int(value.nbytes) if type(kind) is type and _is_numpy_array(kind) else 4


_TEXTS = frozenset({str, bytes, bytearray})
_HOLDERS = frozenset({list, tuple, dict, set, frozenset})


def _look(value: Any, sizes: list[float], depth: int) -> Any:
    handler = _HANDLERS.get(type(value))
    if handler is not None:
        return handler(value, sizes, depth)
    return _look_at_object(value, sizes, depth)


def coarse(number: int) -> float:
    """A number with four leading bits, so that near sizes share a bucket; exact below `EXACT_BELOW`."""
    if -EXACT_BELOW < number < EXACT_BELOW:
        return float(number)
    size = abs(number)
    shift = size.bit_length() - 4
    if shift > 1000:  # beyond what a float holds: the order of magnitude is what counts
        return 1e300 if number > 0 else -1e300
    rounded = float((size >> shift) << shift)
    return rounded if number > 0 else -rounded


def _int(value: int, sizes: list[float], depth: int) -> str:
    sizes.append(coarse(value))
    return "int"


def _float(value: float, sizes: list[float], depth: int) -> str:
    # Each float of a plot differs and few decide the cost (1e-9 as a tolerance does): the magnitude counts.
    sizes.append(float(math.frexp(value)[1] & ~1))
    return "float"


def _constant(value: object, sizes: list[float], depth: int) -> Any:
    return value


def _sized(kind: str) -> Callable[[Any, list[float], int], Any]:
    def look(value: Any, sizes: list[float], depth: int) -> str:
        sizes.append(coarse(len(value)))
        return kind

    return look


def _sequence(kind: str) -> Callable[[Any, list[float], int], Any]:
    def look(value: Any, sizes: list[float], depth: int) -> Any:
        sizes.append(coarse(len(value)))
        if depth >= MAX_DEPTH or not value or len(sizes) >= MAX_SIZES:
            return kind
        return (kind, _look(value[0], sizes, depth + 1))

    return look


def _tuple(value: tuple[Any, ...], sizes: list[float], depth: int) -> Any:
    # A short tuple is a record: all its fields count. A long one is a list that happens to be frozen.
    if len(value) > 4:
        return _long_tuple(value, sizes, depth)
    if depth >= MAX_DEPTH:
        return ("tuple", len(value))
    return ("tuple", *[_look(item, sizes, depth + 1) for item in value])


_long_tuple = _sequence("tuple*")


def _dict(value: dict[Any, Any], sizes: list[float], depth: int) -> Any:
    sizes.append(coarse(len(value)))
    if depth >= MAX_DEPTH or not value or len(sizes) >= MAX_SIZES:
        return "dict"
    try:
        first = next(iter(value.values()))
    except (RuntimeError, StopIteration):  # another thread changes it just now
        return "dict"
    return ("dict", _look(first, sizes, depth + 1))


def _range(value: range, sizes: list[float], depth: int) -> str:
    try:
        sizes.append(coarse(len(value)))
    except OverflowError:  # longer than any machine counts
        sizes.append(1e300)
    return "range"


_HANDLERS: dict[type, Callable[[Any, list[float], int], Any]] = {
    int: _int,
    float: _float,
    bool: _constant,
    type(None): _constant,
    str: _sized("str"),
    bytes: _sized("bytes"),
    bytearray: _sized("bytearray"),
    list: _sequence("list"),
    tuple: _tuple,
    dict: _dict,
    set: _sized("set"),
    frozenset: _sized("frozenset"),
    range: _range,
}


def _look_at_object(value: Any, sizes: list[float], depth: int) -> Any:
    kind = type(value)
    module = type.__getattribute__(kind, "__module__") if type(kind) is type else None
    if module == "numpy" and _is_numpy_array(kind):
        sizes.extend(coarse(n) for n in value.shape)
        return ("ndarray", value.dtype.str)
    name = f"{module}.{kind.__qualname__}" if isinstance(module, str) else "?"
    if depth >= MAX_DEPTH or module == "builtins" or not _is_object(kind):
        return name
    # Not by `__dict__`: in 3.11 and 3.12 that makes one, and each later use of an attribute is slower by a third.
    held = [item for item in gc.get_referents(value) if item is not kind][:MAX_ATTRIBUTES]
    if len(held) == 1 and type(held[0]) is dict:  # the dictionary has been made, or is the one attribute
        sizes.append(coarse(len(held[0])))
        held = list(itertools.islice(held[0].values(), MAX_ATTRIBUTES))
    return (name, *[_look(item, sizes, depth + 1) for item in held if type(item) in _HANDLERS])


def _is_object(kind: type) -> bool:
    """Whether instances hold attributes only, and no items of a list, a dictionary or a type written in C."""
    look = type.__getattribute__  # a metaclass may have its own
    return all(base is object or look(base, "__flags__") & _FLAGS == _HEAP for base in look(kind, "__mro__"))


_HEAP, _IMMUTABLE = 1 << 9, 1 << 8
_FLAGS = _HEAP | _IMMUTABLE  # what a class statement makes is on the heap, and can be changed


def _is_numpy_array(kind: type) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind is getattr(numpy, "ndarray", None)
