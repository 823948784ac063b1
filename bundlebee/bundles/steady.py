"""Is the state behind a fingerprint still the same? Asked before every call, so it has to be cheap; and it has to be right.

While a fingerprint is made, each object that is looked at leaves a *sight*: the object, and what it held, by identity.
What an object holds is compared with ``is``, and so on down to values that never change; so if every sight is as it
was, a new fingerprint would be the old one. A sight costs some 100 ns to check, where the digest of a function with
its globals costs 20 µs.

For kinds of objects of which that cannot be told, there are no sights (`Sights.steady` is False): their
fingerprint is made anew each time.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterable
from operator import is_
from types import FunctionType
from typing import Any

from bundlebee.bundles import own
from bundlebee.bundles.originals import original_code

MISSING: Any = object()
MOST = 5_000
"""Objects that the sights of one fingerprint hold. They live on until it is asked for again, which must not be felt."""


class Sights:
    """What was seen while one fingerprint was made."""

    __slots__ = ("_left", "_seen", "steady")

    def __init__(self) -> None:
        self._left = MOST
        self._seen: list[tuple[Callable[[Any, Any], bool], Any, Any]] = []
        self.steady = True  #: all of it can be checked

    def blur(self) -> None:
        """Something is part of the state whose changes do not show."""
        self.steady = False
        self._seen.clear()

    def still(self) -> bool:
        """Whether all is as it was. False where that cannot be told, and from the first change on."""
        if not self.steady:
            return False
        for same, thing, held in self._seen:
            if not same(thing, held):
                self.blur()
                return False
        return True

    def _add(self, same: Callable[[Any, Any], bool], thing: Any, held: Any, size: int = 1) -> None:
        self._left -= size
        if self._left < 0:
            self.blur()
        elif self.steady:
            self._seen.append((same, thing, held))

    # -- one for each kind of object ----------------------------------------------------------------------

    def key(self, holder: dict[str, Any], key: str, found: Any = MISSING) -> None:
        """A dictionary holds this, or nothing, under that name."""
        self._add(_key, holder, (key, found))

    def items(self, thing: Any) -> None:
        """A list, a deque, a set: these items in this order."""
        self._add(_items, thing, tuple(thing), len(thing))

    def items_of(self, base: type, thing: Any) -> None:
        """The same for a subclass, by the method of the builtin class."""
        held = tuple(base.__iter__(thing))  # type: ignore[attr-defined]
        self._add(_items_of, thing, (base, held), len(held))

    def mapping(self, thing: Any) -> None:
        """A dictionary: these keys and values in this order."""
        # by its own order: the dictionary below an OrderedDict has another
        base: Any = OrderedDict if isinstance(thing, OrderedDict) else dict
        keys, values = tuple(base.keys(thing)), tuple(base.values(thing))
        self._add(_mapping, thing, (base, keys, values), 2 * len(keys))

    def attributes(self, thing: Any, *names: str) -> None:
        """These attributes."""
        self._add(_attributes, thing, tuple([(name, getattr(thing, name, MISSING)) for name in names]))

    def equal(self, read: Callable[[Any], Any], thing: Any) -> None:
        """What is read from it has equal values; ``read`` gives texts, bytes and the like."""
        self._add(_equal, thing, (read, read(thing)))

    def function(self, thing: FunctionType) -> None:
        """A function with its code, defaults, closure and attributes."""
        cells = thing.__closure__ or ()
        held = tuple([_cell(cell) for cell in cells])
        attributes = thing.__dict__
        self._add(
            _function,
            thing,
            (
                thing.__code__,
                original_code(thing),
                thing.__defaults__,
                thing.__kwdefaults__,
                thing.__globals__.get("__name__"),
                cells,
                held,
                (tuple(attributes), tuple(attributes.values())) if attributes else None,
                gc.get_referents(thing),
            ),
        )

    def kind(self, thing: type) -> None:
        """A class with its bases and all that it holds."""
        members = thing.__dict__
        held = thing.__mro__, type(thing), thing.__qualname__, tuple(members), tuple(members.values())
        self._add(_kind, thing, held, len(members))

    def instance(self, thing: Any, attributes: dict[str, Any], slots: Iterable[str]) -> None:
        """An instance of a class that is written in Python: its class, its attributes, its slots."""
        held = tuple([(slot, own.slot(thing, slot)) for slot in slots])
        names, values = tuple(attributes), tuple(attributes.values())
        self._add(_instance, thing, (type(thing), names, values, held), len(names) + len(held))


def _same(one: Any, held: tuple[Any, ...]) -> bool:
    return len(one) == len(held) and all(map(is_, one, held))


def _key(holder: Any, held: tuple[str, Any]) -> bool:
    return holder.get(held[0], MISSING) is held[1]


def _items(thing: Any, held: tuple[Any, ...]) -> bool:
    return _same(thing, held)


def _items_of(thing: Any, held: tuple[Any, tuple[Any, ...]]) -> bool:
    return _same(tuple(held[0].__iter__(thing)), held[1])


def _mapping(thing: Any, held: tuple[Any, tuple[Any, ...], tuple[Any, ...]]) -> bool:
    base, keys, values = held
    return _same(base.keys(thing), keys) and _same(base.values(thing), values)


def _attributes(thing: Any, held: tuple[tuple[str, Any], ...]) -> bool:
    return all(getattr(thing, name, MISSING) is found for name, found in held)


def _equal(thing: Any, held: tuple[Callable[[Any], Any], Any]) -> bool:
    return bool(held[0](thing) == held[1])


def _function(thing: FunctionType, held: tuple[Any, ...]) -> bool:
    code, original, defaults, keywords, name, cells, contents, attributes, parts = held
    # all parts in one look: to ask for code and defaults one by one raises an audit event each, which in a worker costs
    if not _same(gc.get_referents(thing), parts) and (
        (thing.__code__ is not code and original_code(thing) is not original)
        or thing.__defaults__ is not defaults
        or thing.__kwdefaults__ is not keywords
    ):
        return False
    if thing.__globals__.get("__name__") is not name:
        return False
    if cells and not all(_cell(cell) is found for cell, found in zip(cells, contents, strict=True)):
        return False
    now = thing.__dict__
    if attributes is None:
        return not now
    return _same(now, attributes[0]) and _same(now.values(), attributes[1])


def _kind(thing: type, held: tuple[Any, ...]) -> bool:
    mro, meta, qualname, names, values = held
    members = thing.__dict__
    return (
        thing.__mro__ is mro
        and type(thing) is meta
        and thing.__qualname__ == qualname
        and _same(members, names)
        and _same(members.values(), values)
    )


def _instance(thing: Any, held: tuple[Any, ...]) -> bool:
    kind, names, values, slots = held
    if type(thing) is not kind:
        return False
    attributes = own.attributes(thing) or {}
    return (
        _same(attributes, names)
        and _same(attributes.values(), values)
        and all(own.slot(thing, slot) is found for slot, found in slots)
    )


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
