"""A remembered fingerprint must never be an old one: whatever is changed, in whatever kind of object."""

from __future__ import annotations

import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bundlebee.bundles import steady
from bundlebee.bundles.fingerprint import Remembered, state

SOURCE = """
import abc, collections, enum, fractions, functools, logging, operator, re, types

numbers = [1, 2, 3]
nested = {"a": [1, {"b": (2, [3])}]}
ordered = collections.OrderedDict(a=1, b=2)
counted = collections.defaultdict(int, a=1)
row = collections.deque([1, 2], maxlen=4)
names = {"a", "b"}
frozen = frozenset([1, (2, 3)])
data = bytearray(b"abc")
text = "text"
half = fractions.Fraction(1, 2)
pattern = re.compile("a+")
log = logging.getLogger("steady")
module = operator


def outer(n):
    def inner(x):
        return x + n
    return inner


add = outer(3)


def plain(x, y=1, *, z=2):
    return x + y + z


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Base(abc.ABC):
    limit = 3

    def method(self):
        return 1

    @property
    def twice(self):
        return 2


class Thing(Base):
    __slots__ = ("held",)

    def __init__(self):
        self.held = [1]
        self.value = 2


class Many(list):
    pass


class Upper:
    pass


class Side:
    pass


class Under(Upper):
    pass


thing = Thing()
many = Many([1, 2])
many.mark = 1
red = Colour.RED
part = functools.partial(plain, 1, z=3)
bound = thing.method
view = types.MappingProxyType({"a": 1})
"""

NAMES = [
    *("numbers", "nested", "ordered", "counted", "row", "names", "frozen", "data", "text", "half", "pattern"),
    *(
        "log",
        "module",
        "add",
        "plain",
        "Colour",
        "Base",
        "Thing",
        "Many",
        "thing",
        "many",
        "red",
        "part",
        "bound",
        "Under",
    ),
]

Change = Callable[[Any], object]


def no(x: int, y: int = 1, *, z: int = 2) -> int:
    return x * y * z


CHANGES: dict[str, Change] = {
    "rebound": lambda m: setattr(m, "text", "other"),
    "rebound to an equal value of another type": lambda m: m.numbers.__setitem__(0, True),
    "removed": lambda m: delattr(m, "text"),
    "list item": lambda m: m.numbers.append(4),
    "deep inside": lambda m: m.nested["a"][1]["b"][1].append(9),
    "dictionary item": lambda m: m.nested.__setitem__("c", 1),
    "order": lambda m: m.ordered.move_to_end("a"),
    "default factory": lambda m: setattr(m.counted, "default_factory", list),
    "deque": lambda m: m.row.rotate(),
    "set": lambda m: m.names.add("c"),
    "bytearray": lambda m: m.data.append(1),
    "closure": lambda m: setattr(m.add.__closure__[0], "cell_contents", 4),
    "code": lambda m: setattr(m.plain, "__code__", no.__code__),
    "defaults": lambda m: setattr(m.plain, "__defaults__", (7,)),
    "keyword default": lambda m: m.plain.__kwdefaults__.__setitem__("z", 9),
    "attribute of a function": lambda m: setattr(m.plain, "cache", 1),
    "attribute of a class": lambda m: setattr(m.Base, "limit", 4),
    "method of a base": lambda m: setattr(m.Base, "method", lambda self: 2),
    "code of a method": lambda m: setattr(m.Base.method, "__code__", (lambda self: 3).__code__),
    "registered": lambda m: m.Base.register(int),
    "bases": lambda m: setattr(m.Under, "__bases__", (m.Side,)),
    "slot": lambda m: setattr(m.thing, "held", [2]),
    "inside a slot": lambda m: m.thing.held.append(2),
    "attribute": lambda m: setattr(m.thing, "value", 3),
    "new attribute": lambda m: setattr(m.thing, "more", 3),
    "items of a subclass": lambda m: m.many.append(3),
    "attribute of a subclass": lambda m: setattr(m.many, "mark", 2),
    "value of a member": lambda m: setattr(m.Colour.RED, "_value_", 7),
    "name of a logger": lambda m: setattr(m.log, "name", "other"),
}


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    module = types.ModuleType("steadymodule")
    sys.modules["steadymodule"] = module
    exec(compile(textwrap.dedent(SOURCE), "steadymodule.py", "exec"), module.__dict__)
    yield module
    sys.modules.pop("steadymodule", None)


def settled(names: list[str]) -> Remembered:
    remembered = Remembered(tuple(("steadymodule", name) for name in names))
    remembered.state()
    return remembered


def test_what_has_not_changed_is_not_looked_at_again(module: types.ModuleType) -> None:
    for name in NAMES:
        remembered = settled([name])
        remembered.state()  # looking at slots leaves something in the class
        assert remembered.state() is remembered.state(), name


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_seen(module: types.ModuleType, change: str) -> None:
    remembered = settled(NAMES)
    before = remembered.state()
    CHANGES[change](module)
    after = remembered.state()
    assert after.digest != before.digest
    assert after.digest == state(remembered.reads, modules=sys.modules).digest


def test_a_module_that_is_replaced_or_gone(module: types.ModuleType) -> None:
    remembered = settled(["text"])
    digests = [remembered.state().digest]
    other = types.ModuleType("steadymodule")
    sys.modules["steadymodule"] = other
    digests.append(remembered.state().digest)
    other.text = "another"  # type: ignore[attr-defined]
    digests.append(remembered.state().digest)
    del sys.modules["steadymodule"]
    digests.append(remembered.state().digest)
    sys.modules["steadymodule"] = module
    assert remembered.state().digest == digests[0]
    assert len(set(digests)) == 4


@pytest.mark.parametrize("name", ["view"])
def test_what_cannot_be_watched_is_looked_at_each_time(module: types.ModuleType, name: str) -> None:
    remembered = settled([name])
    assert remembered.state() is not remembered.state()
    assert remembered.state().digest == remembered.state().digest


def test_much_is_not_held(module: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady, "MOST", 100)
    module.numbers = list(range(1000))  # type: ignore[attr-defined]
    remembered = settled(["numbers"])
    before = remembered.state()
    assert remembered._last is None
    module.numbers[-1] = 0
    assert remembered.state().digest != before.digest
