"""What may travel as an argument: *plain* values, of which a copy does as well as the original.

`walk` goes through the arguments of a call once. It refuses what cannot travel, naming it by its path, and tells
what the effect analysis and the identity of results need to know: the mutable objects, in an order that is the
same for every equal structure, the classes of the instances, and the functions and classes among the values.

Some values pickle well and still would not be the same there:

- ``nan``: containers compare by identity first, and a copy of a nan is another object
- a set whose elements hash by address; and a set whose copy would iterate in another order, because its table has a history:
  as an argument it may travel to a call that does not iterate over it (`Walk.fragile`), as a result it may not
- decimals: their arithmetic depends on a context that does not travel
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import chain
from typing import Any, TypeAlias

import msgspec

from bundlebee.bundles import own
from bundlebee.bundles.contents import (
    ATOMS,
    NUMBERS,
    VALUES,
    Refused,
    check_by_name,
    children,
    hashed_by_address,
    is_array,
    is_callable,
    is_known,
    is_number_of_numpy,
    keeps_order,
    sets_in,
)
from bundlebee.bundles.paths import path_of
from bundlebee.errors import Unshippable

Shape: TypeAlias = Any
"""What a value is, in a few words: `NUMBER`, `DATA`, ``(type, shape of its elements)``, for mappings ``(type, shape
of its keys, shape of its values)``, a `Reach`, `ANYTHING`, or a frozenset of shapes, any of which it may have. Two values
of equal shape are alike to the effect analysis."""

NUMBER, DATA, ANYTHING = "number", "data", "anything"
NOTHING = "nothing"
"""Of a parameter that is left out, so that it has its default."""
_DEPTH = 3
_SHAPED = (list, set, deque, tuple, frozenset)
_SEQUENCES = frozenset({list, tuple})
_MAPPINGS = (dict, Counter, OrderedDict)
_WITH_NAN = frozenset({float, complex})
_REAL = frozenset({int, float, bool})


class Reach(msgspec.Struct, frozen=True, eq=False):
    """The shape of an argument of which more is known than what all arguments hold together (`refined`)."""

    kind: type | None  #: the class of which it is an instance itself; None: not an instance, or anything
    classes: frozenset[type]  #: of the instances that can be reached from it
    callables: tuple[Any, ...]  #: functions and classes that can be reached from it
    hides: frozenset[str] = (
        frozenset()
    )  #: of an instance: attributes of its own under names that its class has, too
    itself: bool = False  #: whether it is the one function or class that can be reached

    @property
    def _key(self) -> tuple[Any, ...]:
        # by identity: a metaclass may have an __eq__ of its own
        return self.kind, self.classes, frozenset(map(id, self.callables)), self.hides, self.itself

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reach) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Walk(msgspec.Struct):
    """What `walk` found."""

    containers: list[Any]  #: mutable objects, each once, in an order that depends on the structure only
    classes: frozenset[type]  #: classes of the instances that are not builtin data
    callables: tuple[Any, ...]  #: functions, builtin functions and classes that are among the values
    shapes: tuple[Shape, ...]  #: of the positional arguments
    named: dict[str, Shape]  #: of the keyword arguments
    #: whether there is a set among the values whose copy would iterate in another order
    fragile: bool = False
    tuples: list[Any] = []  #: tuples, each once, in such an order, too
    fills: frozenset[type] = frozenset()  #: factories of the defaultdicts: looking up in these writes them

    @property
    def objects(self) -> list[Any]:
        """The containers and then the tuples: what has an identity that a result may show."""
        return [*self.containers, *self.tuples]

    @property
    def atoms(self) -> bool:
        """Whether there is nothing that has an identity, and nothing that has a class of the program's."""
        return not (self.containers or self.tuples or self.classes or self.callables)

    def arrays(self) -> list[Any]:
        """The arrays of NumPy's among the containers."""
        if not any(map(is_array, self.classes)):
            return []
        return [value for value in self.containers if is_array(type(value))]

    def check_writable(self) -> None:
        """Whether what a call writes to copies of these can be written to them afterwards, each by itself.

        Raises:
            Unshippable: some lie on the same memory, which copies do not share.
        """
        arrays = self.arrays()
        if not arrays:
            return
        shared = any(one is not other for one, other in overlapping(arrays, arrays))
        if shared or any(
            isinstance(value, bytearray | array) and value for value in self.containers
        ):  # an array may lie on one of them
            raise Unshippable(
                "an array that the call may write cannot travel", why="another argument may lie on its memory"
            )

    @property
    def simple(self) -> bool:
        """Whether there is nothing but builtin data."""
        return not self.classes and not self.callables


def walk(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Walk:
    """Go through the arguments of a call.

    Raises:
        Unshippable: something in them cannot travel; the message names it by its path, as in ``args[0].lock``.
    """
    found = Walk([], frozenset(), (), (), {})
    try:
        kinds = set(map(type, args))
        if kwargs:
            kinds.update(map(type, kwargs.values()))
        if kinds <= ATOMS:
            if not kinds.isdisjoint(_WITH_NAN):
                _check_nan(args)
                _check_nan(kwargs.values())
            found.shapes = tuple([NUMBER if type(value) in NUMBERS else DATA for value in args])
            if kwargs:
                found.named = {
                    name: NUMBER if type(value) in NUMBERS else DATA for name, value in kwargs.items()
                }
            return found
        _walk(chain(args, kwargs.values()), found)
        found.shapes = tuple([_shape((value,)) for value in args])
        found.named = {name: _shape((value,)) for name, value in kwargs.items()}
    except Refused as refused:
        raise Unshippable(f"{path_of(args, kwargs, refused.value)}: {refused.why}") from None
    except RecursionError:
        raise
    except RuntimeError:  # a dictionary, set or deque has changed its size
        raise Unshippable("an argument cannot travel", why="another thread changes it just now") from None
    return found


def refined(found: Walk, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Walk:
    """What was found, and for each argument of no simple shape what can be reached from it. Takes as long as the walk.

    A method whose object holds nothing but data compares data; nobody's ``__eq__`` runs. That is not to be seen from the
    classes of all arguments taken together.

    Args:
        found: what `walk` said of these arguments.
    """
    if not found.classes and not found.callables:
        return found
    shapes = tuple([_reach(value, shape) for value, shape in zip(args, found.shapes, strict=True)])
    named = {name: _reach(kwargs[name], shape) for name, shape in found.named.items()}
    return msgspec.structs.replace(found, shapes=shapes, named=named)


def _reach(root: Any, shape: Shape) -> Shape:
    if shape != ANYTHING:
        return shape
    if is_callable(root):
        return Reach(None, frozenset(), (root,), itself=True)
    classes: set[type] = set()
    callables: dict[int, Any] = {}
    seen: set[int] = set()
    stack = [root] if _has_no_class(root) else _branches(root)
    while stack:
        value = stack.pop()
        if type(value) in ATOMS or id(value) in seen:
            continue
        seen.add(id(value))
        if is_callable(value):
            callables[id(value)] = value
            continue
        if not is_known(type(value)):
            classes.add(type(value))
        stack.extend(_branches(value))
    if _has_no_class(root):
        return Reach(None, frozenset(classes), tuple(callables.values()))
    members = [base.__dict__ for base in type(root).__mro__]
    hides = frozenset(name for name in own.attributes(root) or () if any(name in each for each in members))
    return Reach(type(root), frozenset(classes), tuple(callables.values()), hides)


def keep_identities(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether no number is in these arguments twice: of all values that may travel, only numbers are one object before and two
    afterwards. (What is two objects stays two, but where the interpreter has but one of a kind.) Takes as long as `walk`.

    Args:
        args: arguments that may travel.
    """
    numbers: set[int] = set()
    seen: set[int] = set()
    stack = [*args, *kwargs.values()]
    while stack:
        value = stack.pop()
        kind = type(value)
        if kind in NUMBERS:
            if kind is bool or (kind is int and -5 <= value <= 256):
                continue
            if id(value) in numbers:
                return False
            numbers.add(id(value))
        elif kind not in ATOMS and id(value) not in seen and not is_callable(value):
            seen.add(id(value))
            stack.extend(children(value))
    return True


def keep_hashes(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether nothing in these arguments has an address for a hash. Takes as long as `walk`.

    Args:
        args: arguments that may travel.
    """
    seen: set[int] = set()
    stack = [*args, *kwargs.values()]
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        if hashed_by_address(value):
            return False
        if type(value) not in ATOMS:
            seen.add(id(value))
            stack.extend(children(value))
    return True


def _branches(value: Any) -> list[Any]:
    """What a value contains, but for the atoms; a long list of numbers is looked at in one step."""
    inner = value if type(value) in _SEQUENCES else list(children(value))
    return [] if ATOMS.issuperset(map(type, inner)) else list(inner)


def _has_no_class(value: Any) -> bool:
    kind = type(value)
    return is_callable(value) or is_known(kind) or is_array(kind) or is_number_of_numpy(kind)


def walk_result(result: Any) -> Walk:
    """Go through a result, or an exception's arguments, in the same way; paths begin with ``result``.

    Raises:
        Unshippable: a copy would not do for something in it.
    """
    found = Walk([], frozenset(), (), (), {})
    try:
        _walk((result,), found)
        if found.fragile:
            fragile = next(value for value in sets_in(result) if not keeps_order(value))
            raise Refused(fragile, "a set whose copy would iterate in another order")
        arrays = found.arrays()
        for one, other in overlapping(arrays, arrays):
            if one is not other:
                raise Refused(other, "an array on the memory of another one, which a copy would not share")
    except Refused as refused:
        place = path_of((result,), {}, refused.value).replace("args[0]", "result", 1)
        raise Unshippable(f"{place}: {refused.why}") from None
    return found


def overlapping(some: Iterable[Any], others: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Pairs of arrays, of the ones and of the others, that lie on the same memory. They have no gaps (`contents`)."""
    spans = [(*_span(value), value) for value in others]
    for one in some:
        start, end = _span(one)
        for begin, stop, other in spans:
            if max(start, begin) < min(end, stop):
                yield one, other


def _span(array: Any) -> tuple[int, int]:
    start = array.__array_interface__["data"][0]
    return start, start + array.nbytes


def _walk(roots: Iterable[Any], found: Walk) -> None:
    """Level by level, so that large plain structures are looked at in a few steps."""
    seen: dict[int, Any] = {}
    classes: dict[type, None] = {}
    callables: dict[int, Any] = {}
    level = _composite(list(roots))
    while level:
        kinds = set(map(type, level))
        fresh = dict(zip(map(id, level), level, strict=True))
        if (
            len(kinds) == 1
            and kinds <= _SEQUENCES
            and len(fresh) == len(level)
            and seen.keys().isdisjoint(fresh)
        ):
            seen |= fresh
            if kinds == {tuple}:
                found.tuples += level
            else:
                found.containers += level
            level = _composite(list(chain.from_iterable(level)))
            continue
        below: list[Any] = []
        for value in level:
            if id(value) not in seen:
                seen[id(value)] = value
                below += _look(value, found, classes, callables)
        level = _composite(below)
    found.classes = frozenset(classes)
    found.callables = tuple(callables.values())


def _look(value: Any, found: Walk, classes: dict[type, None], callables: dict[int, Any]) -> Iterable[Any]:
    """Take one value down; returns what it contains."""
    kind = type(value)
    if kind is list or kind is deque:
        found.containers.append(value)
        return value  # type: ignore[no-any-return]
    if kind is tuple:
        if value:  # there is but one empty tuple
            found.tuples.append(value)
        return value  # type: ignore[no-any-return]
    if kind is dict:
        found.containers.append(value)
    elif kind is set or kind is frozenset:
        if kind is set:
            found.containers.append(value)
        found.fragile = found.fragile or not keeps_order(value)
    elif is_callable(value):
        check_by_name(value)
        callables[id(value)] = value
        return ()
    elif kind is defaultdict:
        found.containers.append(value)
        if value.default_factory is not None:
            found.fills |= {value.default_factory}
    elif not is_known(kind):
        classes[kind] = None
        if not isinstance(value, Enum) and not is_number_of_numpy(kind):
            found.containers.append(value)
    elif (kind.__module__, kind.__qualname__) not in VALUES:
        found.containers.append(value)
    return children(value)


def _composite(values: list[Any]) -> list[Any]:
    """The values that need a look inside. Refuses nan."""
    types = set(map(type, values))
    if float in types or complex in types:
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
            raise Refused(value, "a nan is compared by identity, which a copy does not keep")


def _shape(values: Iterable[Any], depth: int = _DEPTH) -> Shape:
    """What is common to all of the values."""
    values = list(values)
    kinds = set(map(type, values))
    if kinds <= ATOMS:
        return NUMBER if kinds <= NUMBERS else DATA
    others = kinds - ATOMS
    if len(others) > 1 or not depth or (others != kinds and others != {tuple}):
        return ANYTHING
    if others != kinds:
        values = [value for value in values if type(value) is tuple]
    kind = others.pop()
    shape: Shape = ANYTHING
    if kind in _SHAPED:
        inside = _shape(chain.from_iterable(values), depth - 1)
        shape = DATA if kind is tuple and inside in (NUMBER, DATA) else (kind, inside)
    elif kind in _MAPPINGS:
        held = chain.from_iterable([value.values() for value in values])
        shape = kind, _shape(chain.from_iterable(values), depth - 1), _shape(held, depth - 1)
    elif is_array(kind) or is_number_of_numpy(kind):
        shape = kind, NUMBER
    # Atoms beside tuples are told apart only where the tuples hold nothing but atoms.
    return shape if len(kinds) == 1 or shape == DATA else ANYTHING
