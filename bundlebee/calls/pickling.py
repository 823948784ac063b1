"""Arguments and results as bytes.

Pickle protocol 5; buffers of 16 KiB and more (of arrays, for example) are not copied into the pickle but
travel as frames of their own, and the receiver's objects are built on the received frames, writable where
the original was.

*Identity.* A function may return one of its arguments, or something that holds one, and its caller may rely
on ``is``. So a result is pickled with references: a mutable object or a tuple that is part of the item's arguments
(`values.walk` lists them, at both ends in the same order) travels as its number and comes back as the
caller's own object. The same goes for a result that *is* an argument, whatever it is.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable, Iterable, Sequence
from types import CoroutineType
from typing import Any

from bundlebee.bundles import own
from bundlebee.bundles.contents import is_array
from bundlebee.bundles.replicas import TABLE
from bundlebee.bundles.values import Walk, overlapping, walk, walk_result
from bundlebee.errors import Unshippable, told
from bundlebee.interrupts import let_pass

IN_BAND = 16 << 10  #: bytes; a frame of its own costs some 10 µs, copying this much 2 µs, twice

Item = tuple[tuple[Any, ...], dict[str, Any]]

#: instances cannot hold anything, so a result of these types holds no argument
ATOMS = frozenset({int, float, complex, bool, str, bytes, type(None)})


def dumps(value: Any) -> list[Any]:
    """``value`` as frames: the pickle, then its large buffers.

    Raises:
        Exception: whatever pickling it raises; `blame` finds out where.
    """
    buffers: list[pickle.PickleBuffer] = []

    def large(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous: pickle copies it
            return True
        if raw.nbytes < IN_BAND:
            return True
        buffers.append(buffer)
        return False

    if TABLE:
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream, 5, buffer_callback=large)
        pickler.dispatch_table = _dispatch_table()
        pickler.dump(value)
        # no view (`getbuffer`): one that is garbage in a cycle crashes CPython 3.12.1, and 3.13.0 complains of it
        body = stream.getvalue()
    else:
        body = pickle.dumps(value, 5, buffer_callback=large)
    return [body, *(buffer.raw() for buffer in buffers)]


def snapshot(args: tuple[Any, ...], kwargs: dict[str, Any], found: Walk) -> list[Any]:
    """The arguments of a call as they are now, for `transport.Channel.submit`.

    Raises:
        Unshippable: one of them cannot travel.
    """
    items = [(args, kwargs)]
    try:
        if found.atoms:
            return [pickle.dumps(items, 5)]
        body, *buffers = dumps(items)
    except Exception as error:
        let_pass(error)
        raise blame_items(items, error) from None
    return [bytes(body), *map(bytes, buffers)]


def dumps_whole(value: Any) -> bytes:
    """``value`` as one pickle, buffers inside."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 5)
    pickler.dispatch_table = _dispatch_table()
    pickler.dump(value)
    return stream.getvalue()


def _dispatch_table() -> dict[type, Any]:
    return {**copyreg.dispatch_table, **TABLE}


def loads(frames: Sequence[Any]) -> Any:
    """The inverse of `dumps`; takes bytes or writable memoryviews, which the result may go on using."""
    return pickle.loads(frames[0], buffers=frames[1:])


def objects(args: Sequence[Any], kwargs: dict[str, Any]) -> Sequence[Any]:
    """The mutable objects among the arguments, then the tuples, in an order that is the same at both ends.

    Raises:
        Unshippable: an argument may not travel; the message names it by its path.
    """
    return walk(tuple(args), kwargs).objects


def refers(result: Any, item: Item, state: frozenset[int]) -> bool:
    """Whether a result must be pickled with references: it is, or holds, an object of the item's arguments.

    Args:
        state: ids of the mutable objects in the module state that the function reads.

    Raises:
        Unshippable: a copy of the result would not do.
    """
    if type(result) in ATOMS:
        return _is_one_of(result, item)
    found = walk_result(result)
    args, kwargs = item
    if any(result is argument for argument in args) or any(
        result is argument for argument in kwargs.values()
    ):
        return True
    held = set(map(id, found.containers))
    if state and not held.isdisjoint(state):
        raise Unshippable("the result holds a module-level object", why="the caller has one of its own")
    held.update(map(id, found.tuples))
    if not held:
        return False
    theirs = objects(args, kwargs)
    if arrays := found.arrays():
        for one, other in overlapping(arrays, [value for value in theirs if is_array(type(value))]):
            if one is not other:
                raise Unshippable("the result is an array on the memory of an argument")
    return any(id(value) in held for value in theirs)


def _is_one_of(atom: Any, item: Item) -> bool:
    """Whether an atom is an argument, and a copy of it would be another object."""
    args, kwargs = item
    if not (any(atom is one for one in args) or any(atom is one for one in kwargs.values())):
        return False
    return not _is_the_only(atom)


def _is_the_only(atom: Any) -> bool:
    """Whether the interpreter has one object only for that value."""
    if type(atom) is int:
        return -5 <= atom <= 256
    return atom is None or type(atom) is bool or (type(atom) in (str, bytes) and len(atom) < 1)


def share(one: Any, other: Any) -> bool:
    """Whether two values hold a mutable object in common.

    Raises:
        Unshippable: a copy of something in them would not do.
    """
    held = {id(value) for value in walk_result(one).containers}
    return bool(held) and any(id(value) in held for value in walk_result(other).containers)


# Not made anew for each call: a class is a cycle, which keeps what it refers to until the next collection of garbage.


class _Referring(pickle.Pickler):
    numbers: dict[int, int]  #: by id of an object

    def persistent_id(self, value: Any) -> int | None:
        return self.numbers.get(id(value))


class _Resolving(pickle.Unpickler):
    values: dict[int, Any]  #: by the number of an object

    def persistent_load(self, number: Any) -> Any:
        return self.values[number]


def dumps_referring(result: Any, item: Item, known: Sequence[Any] | None = None) -> list[Any]:
    """As `dumps`; objects of the item's arguments become references.

    Args:
        known: the `objects` of its arguments when it began; None: they have not been changed.
    """
    numbers = {id(value): number for number, value in _shared(item, known)}
    buffers: list[memoryview] = []

    def large(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < IN_BAND:
            return True
        buffers.append(raw)
        return False

    stream = io.BytesIO()
    pickler = _Referring(stream, 5, buffer_callback=large)
    pickler.numbers = numbers
    if TABLE:
        pickler.dispatch_table = _dispatch_table()
    pickler.dump(result)
    return [stream.getvalue(), *buffers]


def loads_referring(frames: Sequence[Any], item: Item, known: Sequence[Any] | None = None) -> Any:
    """The inverse of `dumps_referring`; references become the objects of this end's ``item``."""
    unpickler = _Resolving(io.BytesIO(frames[0]), buffers=frames[1:])
    unpickler.values = dict(_shared(item, known))
    return unpickler.load()


def _shared(item: Item, known: Sequence[Any] | None) -> Iterable[tuple[int, Any]]:
    args, kwargs = item
    arguments = [*args, *kwargs.values()]
    # negative: an argument itself, by position
    for position, value in enumerate(arguments):
        if type(value) not in ATOMS or not _is_the_only(value):
            yield -1 - position, value
    yield from enumerate(objects(args, kwargs) if known is None else known)


# -- when it does not work --------------------------------------------------------------------------------


Dumps = Callable[[Any], object]


def _dumps(value: Any) -> object:
    return dumps(value)


def blame(value: Any, error: BaseException, root: str, dumps: Dumps = _dumps) -> Unshippable:
    """The error to raise for a value that pickle refused: it names the culprit by its path.

    Args:
        root: what the path begins with, such as ``result``.
        dumps: what pickles it.
    """
    if isinstance(error, MemoryError):  # to look closer takes memory, too
        return Unshippable(f"{root} cannot travel", why="MemoryError: its pickle does not fit into memory")
    path, culprit, why = _search(value, root, error, set(), 0, dumps)
    kind = type(culprit)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    hint = "run it there: submit a function that calls asyncio.run" if kind is CoroutineType else None
    return Unshippable(f"{path} cannot travel", why=f"a {name}: {why}", hint=hint)


def blame_items(items: Sequence[Item], error: BaseException, dumps: Dumps = _dumps) -> Unshippable:
    """As `blame`, for the arguments of a chunk."""
    if isinstance(error, MemoryError):
        return Unshippable(
            "the arguments cannot travel", why="MemoryError: their pickle does not fit into memory"
        )
    for number, (args, kwargs) in enumerate(items):
        where = "" if len(items) == 1 else f" of item {number}"
        named = [(f"args[{position}]", value) for position, value in enumerate(args)]
        for name, value in (*named, *kwargs.items()):
            try:
                dumps(value)
            except Exception as problem:
                return blame(value, problem, f"{name}{where}", dumps)
    return Unshippable("the arguments cannot travel", why=f"{told(error)}")


# An error outlives no ``except`` in here: it knows the frames that it passed. A frame that still knew the error would
# be a cycle, and what cannot travel, which may be large, would stay until the next collection of garbage.


def _search(
    value: Any, path: str, error: BaseException, seen: set[int], depth: int, dumps: Dumps
) -> tuple[str, Any, str]:
    if depth < 30 and id(value) not in seen:
        seen.add(id(value))
        for step, part in _parts(value):
            try:
                dumps(part)
            except Exception as problem:
                return _search(part, path + step, problem, seen, depth + 1, dumps)
    return path, value, told(error)


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.40}"
    except Exception:
        return type(value).__qualname__


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    """The parts of a value with the step to each."""
    if isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
    elif isinstance(value, dict):
        for key, part in value.items():
            yield f"[{_shown(key)}]", part
            yield f".key({_shown(key)})", key
    elif isinstance(value, (set, frozenset)):
        yield from ((f".element({_shown(part)})", part) for part in value)
    if not isinstance(value, type):
        yield from ((f".{name}", part) for name, part in (own.attributes(value) or {}).items())
        yield from ((f".{name}", part) for name, part in own.slots(value))
