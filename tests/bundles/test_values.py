"""What may travel, and what the walk tells about it."""

from __future__ import annotations

import datetime
import functools
import logging
import math
import pickle
import random
import re
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.bundles.values import ANYTHING, DATA, NUMBER, walk, walk_result
from bundlebee.calls.pickling import dumps, dumps_referring, loads, loads_referring
from bundlebee.errors import Unshippable

T = TypeVar("T")
Pair = namedtuple("Pair", "a b")


class Triple(NamedTuple):
    a: int
    b: int
    c: Any


class Colour(Enum):
    RED = 1


class Bits(Flag):
    A = 1
    B = 2


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ("a", "b")


class Stack(list[Any]):
    pass


class Table(dict[Any, Any]):
    def area(self) -> int:
        return 1


class Box(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value


@dataclass
class Data:
    a: int
    b: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    a: int


class Ordered:
    def __init__(self, key: int) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordered) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class Reduced(Plain):
    def __reduce__(self) -> Any:
        raise AssertionError("it ran")


class WithState(Plain):
    def __getstate__(self) -> Any:
        return {}

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("it ran")


class WithNew(Plain):
    def __new__(cls, **attributes: Any) -> WithNew:
        if not attributes:
            raise AssertionError("it ran")
        return super().__new__(cls)


class Deleted:
    def __del__(self) -> None:
        pass


class Setter:
    __slots__ = ("__private", "a")

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "a":
            object.__setattr__(self, name, value)


class Iterating(list[Any]):
    def __iter__(self) -> Any:
        return iter(())

    def extend(self, values: Any) -> None:
        raise AssertionError("it ran")


class Counting(dict[Any, Any]):
    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("it ran")


class Metres(float):
    def __getnewargs__(self) -> Any:
        return (0.0,)


class Name(str):
    def __new__(cls, *parts: str) -> Name:
        return super().__new__(cls, ".".join(parts))


class Point(tuple[int, ...]):
    def __new__(cls, x: int, y: int) -> Point:
        return super().__new__(cls, (x, y))


class Failing(Exception):
    pass


def function() -> None:
    pass


def slotted() -> Slots:
    made = Slots()
    made.a = [1]
    return made


def setter() -> Setter:
    made = Setter()
    object.__setattr__(made, "a", [1])
    made._Setter__private = 2  # type: ignore[attr-defined]
    return made


def circle() -> Reduced:
    made = Reduced(a=[1])
    made.self = made  # type: ignore[attr-defined]
    return made


def counting() -> Counting:
    made = Counting()
    dict.__setitem__(made, "a", made)
    made.extra = [made]  # type: ignore[attr-defined]
    return made


OWN_PICKLING = {
    "reduce": circle(),
    "getstate and setstate": WithState(a=[1], b=2),
    "new": WithNew(a=1),
    "slots behind a setter": setter(),
    "a list with an iteration of its own": Iterating([1, [2]]),
    "a dict with an assignment of its own": counting(),
    "a number": Metres(2.5),
    "a text": Name("a", "b"),
    "a tuple": Point(1, 2),
}


@pytest.mark.parametrize("name", OWN_PICKLING)
def test_instances_are_copied_as_they_are(name: str) -> None:
    """Whatever their classes say about pickling: no code of theirs runs."""
    value = OWN_PICKLING[name]
    found = walk((value,), {})
    (copied,) = loads(dumps([value]))
    assert type(copied) is type(value)
    assert inside(copied) == inside(value)
    again = walk((copied,), {})
    assert [type(one) for one in found.containers] == [type(one) for one in again.containers]
    (same,) = loads_referring(dumps_referring([value], ((value,), {})), ((value,), {}))
    assert same is value


def inside(value: Any, seen: tuple[int, ...] = ()) -> Any:
    if id(value) in seen:
        return seen.index(id(value))
    seen = (*seen, id(value))
    held: list[Any] = []
    for base, read in ((list, list.__iter__), (dict, dict.items), (tuple, tuple.__iter__)):
        if isinstance(value, base):
            held = [inside(one, seen) for one in read(value)]
    slots = {name: getattr(value, name) for name in ("a", "_Setter__private") if isinstance(value, Setter)}
    own = {**getattr(value, "__dict__", {}), **slots}
    exact = value if isinstance(value, int | float | str) else None
    return type(value), exact, held, [(name, inside(one, seen)) for name, one in own.items()]


GOOD = {
    "nothing": (),
    "atoms": (1, 1.5, 2j, True, "a", b"a", None, ..., range(3)),
    "lists": ([1, [2, ["a"]]], (1, (2, [3]))),
    "mappings": ({"a": {1: [2]}}, Counter("abc"), OrderedDict(a=1)),
    "a set": ({1, 2, 3}, frozenset("abc"), {(1, "a")}),
    "a deque": (deque([1], maxlen=3), bytearray(b"x")),
    "named tuples": (Pair(1, [2]), Triple(1, 2, {})),
    "enum members": (Colour.RED, [Colour.RED], Bits.A | Bits.B),
    "instances": (Plain(a=1, b=[Plain()]), slotted(), Data(1), Frozen(1)),
    "subclasses of containers": (Stack([1]), Table(a=1)),
    "generic": (Box([1]),),
    "standard values": (Fraction(1, 2), datetime.date(2020, 1, 1), datetime.timedelta(1), re.compile("x")),
    "functions and classes": (function, len, Plain, int, [math.sqrt]),
    "a set of enum members": ({Colour.RED},),
    "defaultdicts": (defaultdict(list, a=[1]), [defaultdict(int)], defaultdict(None)),
    "a random generator": (random.Random(1),),
    "infinity": (math.inf, [-math.inf, math.inf]),
}


@pytest.mark.parametrize("name", GOOD)
def test_travels(name: str) -> None:
    args = GOOD[name]
    found = walk(args, {"key": args[0]} if args else {})
    copied = pickle.loads(pickle.dumps(args, 5))
    again = walk(copied, {"key": copied[0]} if args else {})
    assert [type(value) for value in found.containers] == [type(value) for value in again.containers]
    assert found.classes == again.classes
    assert found.shapes == again.shapes


class Borg:
    shared: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.__dict__ = self.shared


class Namespace(dict[str, Any]):
    """Keys that are attributes, too."""

    def __init__(self, **names: Any) -> None:
        super().__init__(names)
        self.__dict__ = self


class Known:
    def __init__(self) -> None:
        self.me = self.__dict__


BAD = {
    "attributes that several objects share": ((Borg(),), "args[0]"),
    "an object that is its own attributes": ((Namespace(a=1),), "args[0]"),
    "attributes that are held as a dictionary, too": (([Known()],), "args[0][0]"),
    "a lock": ((threading.Lock(),), "args[0]"),
    "a lock inside": (({"k": [1, threading.Lock()]},), "args[0]['k'][1]"),
    "a lock in an object": ((1, Plain(lock=threading.Lock())), "args[1].lock"),
    "a lock in slots": ((Pair(1, [threading.Lock()]),), "args[0].b[0]"),
    "a file": ((sys.stdout,), "args[0]"),
    "a module": ((math,), "args[0]"),
    "a lambda": ((lambda: 1,), "args[0]"),
    "a bound method": (([].append,), "args[0]"),
    "a method": ((Ordered(1).__eq__,), "args[0]"),
    "a partial": ((functools.partial(len),), "args[0]"),
    "a generator": ((iter(()),), "args[0]"),
    "an iterator": ((iter([1]),), "args[0]"),
    "a random generator that takes the system's randomness": ((random.SystemRandom(),), "args[0]"),
    "an object": ((object(),), "args[0]"),
    "a decimal": ((Decimal(1),), "args[0]"),
    "nan": (([1.0, math.nan],), "args[0][1]"),
    "nan among others": ((["a", math.nan],), "args[0][1]"),
    "nan in an object": ((Plain(x=float("nan")),), "args[0].x"),
    "a complex nan": ((complex(0, math.nan),), "args[0]"),
    "a set of objects": (({Ordered(1), Ordered(2)},), "args[0]"),
    "a set of functions": (({len, max},), "args[0]"),
    "a defaultdict that runs code": ((defaultdict(function),), "args[0]"),
    "a memoryview": ((memoryview(b"x"),), "args[0]"),
    "a logger": ((logging.getLogger("x"),), "args[0]"),
    "del": ((Deleted(),), "args[0]"),
    "an exception": ((Failing(),), "args[0]"),
    "a key": (({(1, threading): 2},), "a key of args[0]"),
}


@pytest.mark.parametrize("name", BAD)
def test_stays(name: str) -> None:
    args, path = BAD[name]
    with pytest.raises(Unshippable) as raised:
        walk(args, {})
    assert raised.value.what.startswith(path)


def test_keyword_arguments_are_named() -> None:
    with pytest.raises(Unshippable, match=r"^depth\[0\]: "):
        walk((), {"depth": [threading.Lock()]})


def test_a_local_class_cannot_be_found() -> None:
    class Local:
        pass

    with pytest.raises(Unshippable, match="cannot be found"):
        walk((Local(),), {})


def test_a_set_with_a_history_is_told() -> None:
    """Its table is larger than that of a fresh copy, so it iterates in another order."""
    seen = set(range(1000))
    for number in range(1000):
        if number not in (3, 16):
            seen.discard(number)
    assert list(seen) != list(set(seen))
    assert walk((1, [seen]), {}).fragile
    with pytest.raises(Unshippable, match=r"^result\['k'\]: .*another order"):
        walk_result({"k": seen})
    assert not walk((set(seen),), {}).fragile


@given(
    st.sets(
        st.one_of(st.integers(), st.text(), st.floats(allow_nan=False), st.tuples(st.integers(), st.text()))
    )
)
def test_sets_that_travel_keep_their_order(values: set[Any]) -> None:
    if not walk((values,), {}).fragile:
        assert list(pickle.loads(pickle.dumps(values, 5))) == list(values)


def test_recursive_and_shared_structure() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    shared = [2]
    found = walk((ring, shared, {"k": shared}), {})
    assert len(found.containers) == 3
    assert found.containers[0] is ring


def test_shapes() -> None:
    found = walk(
        (
            1,
            "a",
            (1, (2, "x")),
            [1, 2.5],
            ["a", 1],
            [[1], [2]],
            [[1], ["a"]],
            {"a": 1},
            {"a": [1]},
            Plain(),
            [Plain()],
            [[[[1]]]],
        ),
        {"k": [1, []]},
    )
    assert found.shapes == (
        NUMBER,
        DATA,
        DATA,
        (list, NUMBER),
        (list, DATA),
        (list, (list, NUMBER)),
        (list, (list, DATA)),
        (dict, DATA, NUMBER),
        (dict, DATA, (list, NUMBER)),
        ANYTHING,
        (list, ANYTHING),
        (list, (list, (list, ANYTHING))),
    )
    assert found.named == {"k": (list, ANYTHING)}


def test_classes_and_callables() -> None:
    found = walk(([Plain(x=Data(1)), len, function, Plain],), {})
    assert found.classes == {Plain, Data}
    assert set(found.callables) == {len, function, Plain}
    assert not found.simple
    assert walk(([1],), {}).simple


def test_results_are_named_as_such() -> None:
    with pytest.raises(Unshippable, match=r"^result\['x'\]\[0\]: "):
        walk_result({"x": [threading.Lock()]})
    assert walk_result([1, [2]]).containers == [[1, [2]], [2]]


plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner, inner),
        st.dictionaries(st.text(), inner),
        st.builds(lambda x: Plain(x=x), inner),
    ),
    max_leaves=20,
)


@given(st.lists(plain).map(tuple))
def test_both_ends_count_alike(args: tuple[Any, ...]) -> None:
    """The caller and the worker, which has a copy, number the mutable objects in the same way."""
    try:
        found = walk(args, {})
    except Unshippable as error:
        assert "nan" in str(error)
        return
    copied = pickle.loads(pickle.dumps(args, 5))
    again = walk(copied, {})
    assert list(map(type, found.containers)) == list(map(type, again.containers))
    assert [len(c) for c in found.containers if isinstance(c, list | dict)] == [
        len(c) for c in again.containers if isinstance(c, list | dict)
    ]
    assert found.shapes == again.shapes


def test_a_fraction_that_was_written_into_stays() -> None:
    written: Any = Fraction(1, 3)
    written._numerator = 6
    with pytest.raises(Unshippable, match="somebody wrote into"):
        walk(([written],), {})
    assert not walk((Fraction(2, 6),), {}).classes


def test_what_another_thread_changes_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from bundlebee.bundles import values

    inner = {"a": [1]}
    original = values.children

    def meanwhile(value: Any) -> Any:
        for child in original(value):
            inner.setdefault(f"late {len(inner)}", 0)  # as another thread may between two steps
            yield child

    monkeypatch.setattr(values, "children", meanwhile)
    with pytest.raises(Unshippable, match="another thread changes it"):
        walk((inner,), {})
