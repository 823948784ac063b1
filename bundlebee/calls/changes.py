"""Copy-restore: what a shipped call changed in its arguments, done again to the caller's own.

A call that writes its arguments (`Summary.writes`) gets copies in the worker. `Before` takes down what each mutable
object among them holds when the call begins; `Before.changes` compares when it has returned, or raised. The changes travel with the
answer, in one pickle in which objects of the arguments are references (`pickling.dumps_referring`), and
`restore` does them to the objects themselves: whoever else holds one of them sees the change, as after a plain call.

Only what changed is written. Another thread of the program may have written something else meanwhile; a plain call would
not have undone that either. So instances and mappings are changed by entries, lists by the stretch between the first
change and the last. The order of mappings and of attributes is kept.

A set cannot be changed in this way: how it iterates depends on all that ever happened to it.

R. Y. Wang and others call this copy-restore; see Tilevich and Smaragdakis, "NRMI: Natural and Efficient Middleware" (2003),
for why all objects that were reachable *before* the call must be restored, not those that still are.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from operator import is_
from random import Random
from types import MemberDescriptorType
from typing import Any, TypeAlias

from bundlebee.bundles import own
from bundlebee.bundles.contents import is_array
from bundlebee.bundles.values import Walk
from bundlebee.errors import Unshippable

Change: TypeAlias = tuple[Any, ...]
"""``(kind, number of the object, …)``: what follows is up to the kind, see `_DO`; of ``bytes`` it is all of a buffer."""

_BYTES = (bytearray, array)
_GONE = object()


class Before:
    """What mutable objects hold before a call.

    Args:
        found: what there is among its arguments.
    """

    def __init__(self, found: Walk) -> None:
        self.objects = found.objects
        self._containers = found.containers
        self._content = [_content(value) for value in found.containers]
        self._attributes = [_attributes(value) for value in found.containers]
        # members of an enumeration travel by name: what is written to them here would stay here
        self._members = [
            (member, dict(own.attributes(member) or {}))
            for kind in found.classes
            if issubclass(kind, Enum)
            for member in kind.__members__.values()
        ]

    def changes(self) -> list[Change]:
        """What the objects hold that they did not before.

        Raises:
            Unshippable: something was changed of which the caller's own cannot be changed likewise.
        """
        for member, had in self._members:
            now = own.attributes(member) or {}
            if now.keys() != had.keys() or not _same(list(had.values()), [now[name] for name in had]):
                raise Unshippable(f"it writes {member}", why="members of an enumeration travel by name")
        found: list[Change] = []
        for number, value in enumerate(self._containers):
            old = self._content[number]
            if old is not None:
                found += _content_changes(number, value, old)
            held = self._attributes[number]
            if held is not None:
                found += _attribute_changes(number, value, held)
        return found


def restore(objects: Sequence[Any], changes: Iterable[Change]) -> None:
    """Do the changes to the caller's objects.

    Args:
        objects: the caller's own, in the order of `values.Walk.objects`.

    Raises:
        Unshippable: a buffer cannot change its size; nothing was changed.
    """
    changes = list(changes)
    # Buffers are the only ones that can fail, as they would in the program's own hands: so they come first.
    undo: list[tuple[Any, bytes]] = []
    for kind, number, *rest in changes:
        if kind == "bytes":
            value = objects[number]
            undo.append((value, bytes(value) if isinstance(value, bytearray) else value.tobytes()))
            try:
                _bytes(value, *rest)
            except BufferError as error:
                for changed, data in reversed(undo[:-1]):
                    _bytes(changed, data)
                raise Unshippable("an argument cannot be changed", why=str(error)) from None
    for kind, number, *rest in changes:
        if kind != "bytes":
            _DO[kind](objects[number], *rest)


# -- what is held --------------------------------------------------------------------------------------------


def _content(value: Any) -> Any:
    """What a container holds, as something that does not change with it; None for what is no container."""
    if isinstance(value, list):
        return list(list.__iter__(value))
    if isinstance(value, deque):
        return list(deque.__iter__(value))
    if isinstance(value, OrderedDict):
        return list(OrderedDict.keys(value)), list(OrderedDict.values(value))
    if isinstance(value, dict):
        return list(dict.keys(value)), list(dict.values(value))
    if isinstance(value, set):
        return list(set.__iter__(value))
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, array):
        return value.tobytes()
    if type(value) is Random:
        return value.getstate()
    if is_array(type(value)):
        return value.copy(order="K")
    return None


def _base(value: Any) -> Any:
    """The builtin class by whose methods a mapping is read and written, whatever its own class does."""
    return OrderedDict if isinstance(value, OrderedDict) else dict


def _attributes(value: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Attributes of an instance: from its dictionary, and from slots."""
    attributes = own.attributes(value)
    if attributes is None and not own.slot_names(type(value)):
        return None
    return dict(attributes or {}), dict(own.slots(value))


def _same(old: Sequence[Any], new: Sequence[Any]) -> bool:
    return len(old) == len(new) and all(map(is_, old, new))


# -- what has changed ----------------------------------------------------------------------------------------


def _content_changes(number: int, value: Any, old: Any) -> Iterable[Change]:
    new = _content(value)
    if isinstance(value, dict):
        if not _same(old[0], new[0]) or not _same(old[1], new[1]):
            yield "entries", number, *_entry_changes(old, new)
    elif isinstance(value, _BYTES):
        if old != new:
            yield "bytes", number, new
    elif type(value) is Random:
        if old != new:
            yield "random", number, new
    elif is_array(type(value)):
        if (old.shape, old.dtype, old.strides) != (value.shape, value.dtype, value.strides):
            raise Unshippable("it changes the shape of an array among its arguments")
        if not _same_bytes(old, value):
            yield "array", number, new
    elif _same(old, new):
        return
    elif isinstance(value, set):
        raise Unshippable(
            "it writes a set among its arguments",
            why="how a set iterates depends on its history, which a copy does not have",
        )
    elif isinstance(value, list):
        shorter = min(len(old), len(new))
        start = next((at for at in range(shorter) if old[at] is not new[at]), shorter)
        tail = next(
            (at for at in range(shorter - start) if old[-1 - at] is not new[-1 - at]), shorter - start
        )
        yield "stretch", number, start, len(old) - tail, new[start : len(new) - tail]
    else:
        yield "queue", number, new


def _entry_changes(
    old: tuple[list[Any], list[Any]], new: tuple[list[Any], list[Any]]
) -> tuple[list[Any] | None, list[Any], list[Any]]:
    """Keys that went (None: all), then keys and values to be put."""
    before = {id(key): at for at, key in enumerate(old[0])}
    after = set(map(id, new[0]))
    gone = [key for key in old[0] if id(key) not in after]
    stayed = [key for key in old[0] if id(key) in after]
    if not _same(stayed, new[0][: len(stayed)]):
        return None, new[0], new[1]  # in another order
    changed = [
        at
        for at, key in enumerate(new[0])
        if id(key) not in before or old[1][before[id(key)]] is not new[1][at]
    ]
    return gone, [new[0][at] for at in changed], [new[1][at] for at in changed]


def _attribute_changes(
    number: int, value: Any, old: tuple[dict[str, Any], dict[str, Any]]
) -> Iterable[Change]:
    new = _attributes(value)
    assert new is not None
    gone, put = _named(old[0], new[0], ordered=True)
    gone_slots, put_slots = _named(old[1], new[1], ordered=False)
    if gone or put or gone_slots or put_slots:
        yield "attributes", number, gone + gone_slots, put | put_slots


def _named(
    old: Mapping[str, Any], new: Mapping[str, Any], *, ordered: bool
) -> tuple[list[str], dict[str, Any]]:
    if ordered and [name for name in old if name in new] != list(new)[: sum(name in new for name in old)]:
        return list(old), dict(new)
    gone = [name for name in old if name not in new]
    return gone, {name: held for name, held in new.items() if old.get(name, _GONE) is not held}


def _same_bytes(one: Any, other: Any) -> bool:
    """Of two arrays of the same layout; nan equals itself here."""
    left, right = (value.ravel(order="K").view("u1") for value in (one, other))
    return bool((left == right).all())


# -- at the caller -------------------------------------------------------------------------------------------


def _stretch(value: list[Any], start: int, stop: int, items: list[Any]) -> None:
    list.__setitem__(value, slice(start, stop), items)


def _queue(value: deque[Any], items: list[Any]) -> None:
    deque.clear(value)
    deque.extend(value, items)


def _entries(value: Any, gone: list[Any] | None, keys: list[Any], held: list[Any]) -> None:
    base = _base(value)
    if gone is None:
        base.clear(value)
    for key in gone or ():
        base.pop(value, key, None)
    for key, item in zip(keys, held, strict=True):
        base.__setitem__(value, key, item)


def _bytes(value: Any, data: bytes) -> None:
    value[:] = data if isinstance(value, bytearray) else array(value.typecode, data)


def _array(value: Any, data: Any) -> None:
    value[...] = data


def _set_attributes(value: Any, gone: list[str], put: dict[str, Any]) -> None:
    for name in gone:
        if _computed(value, name):
            value.__dict__.pop(name, None)
            continue
        try:
            object.__delattr__(value, name)
        except AttributeError:
            pass  # another thread was first
    for name, held in put.items():
        if _computed(value, name):
            value.__dict__[name] = held
        else:
            # not through the dictionary, which CPython 3.11 and 3.12 would have to make first
            object.__setattr__(value, name, held)


def _computed(value: Any, name: str) -> bool:
    """Whether setting it would run code: a property, with what is held in the dictionary behind it."""
    for owner in type(value).__mro__:
        if name in vars(owner):
            raw = vars(owner)[name]
            return not isinstance(raw, MemberDescriptorType) and (
                hasattr(type(raw), "__set__") or hasattr(type(raw), "__delete__")
            )
    return False


_DO: dict[str, Callable[..., None]] = {
    "stretch": _stretch,  #: start, stop, items: of a list
    "queue": _queue,  #: items: all of a deque
    "entries": _entries,  #: keys that went (None: all), keys, values: of a mapping
    "array": _array,  #: all of an array of NumPy's
    "random": Random.setstate,  #: state: of a generator of random numbers
    "attributes": _set_attributes,  #: names that went, names with values
}
