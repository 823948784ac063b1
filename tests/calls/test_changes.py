"""What a call changed in copies of its arguments, done to the arguments themselves."""

from __future__ import annotations

import copy
import pickle
import random
from array import array
from collections import Counter, OrderedDict, deque
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.bundles.values import walk
from bundlebee.calls.changes import Before, Change, restore
from bundlebee.calls.pickling import dumps_referring, loads_referring
from bundlebee.errors import Unshippable


class Plain:
    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Slotted:
    __slots__ = ("__hidden", "left", "right")

    def __init__(self) -> None:
        self.__hidden = 0
        self.left = None

    def hide(self, value: Any) -> None:
        self.__hidden = value

    def hidden(self) -> Any:
        return self.__hidden


class Rows(list[Any]):
    pass


class Table(dict[Any, Any]):
    pass


class Guarded:
    """Attributes are set through code of its own, which a restored one must not run."""

    count = 0

    def __setattr__(self, name: str, value: Any) -> None:
        Guarded.count += 1
        object.__setattr__(self, name, value)

    @property
    def size(self) -> int:
        return 1

    @size.setter
    def size(self, value: int) -> None:
        raise AssertionError("the setter ran")


class Colour(Enum):
    RED = 1


def shipped(args: tuple[Any, ...], change: Any) -> tuple[Any, list[Change]]:
    """Do ``change`` to a copy, as a worker does, and bring its changes back; returns its result."""
    there = pickle.loads(pickle.dumps(args))
    before = Before(walk(there, {}))
    result = change(*there)
    changes = before.changes()
    frames = dumps_referring((result, changes), (there, {}), before.objects)
    objects = walk(args, {}).objects
    value, changes = loads_referring(frames, (args, {}), objects)
    restore(objects, changes)
    return value, changes


def test_every_alias_sees_it() -> None:
    inner = [1]
    outer = {"a": inner, "b": inner}
    result, _ = shipped((outer,), lambda table: table["a"].append(table))
    assert result is None
    assert inner == [1, outer] and inner[1] is outer and outer["b"] is inner


def test_what_is_not_reachable_any_more_is_restored_too() -> None:
    last = Plain(next=None, value=0)
    first = Plain(next=last, value=0)

    def cut(node: Any) -> None:
        node.next.value = 7
        node.next = None

    shipped((first,), cut)
    assert first.next is None and last.value == 7


def test_only_what_changed_is_written() -> None:
    """Another thread may have changed the rest meanwhile."""
    box = Plain(a=1, b=1)
    table = {"a": 1, "b": 1}

    def change(box: Any, table: Any) -> None:
        box.a = 2
        table["a"] = 2

    there = pickle.loads(pickle.dumps((box, table)))
    before = Before(walk(there, {}))
    change(*there)
    changes = before.changes()
    box.b = table["b"] = 5  # the other thread
    restore(walk((box, table), {}).objects, changes)
    assert (box.a, box.b, table) == (2, 5, {"a": 2, "b": 5})


def test_nothing_comes_back_where_nothing_changed() -> None:
    things = (
        [1, [2]],
        {"k": {1, 2}},
        Plain(a=[1]),
        Slotted(),
        bytearray(b"ab"),
        array("i", [1]),
        deque([1]),
        Colour.RED,
    )
    _, changes = shipped(things, lambda *_: None)
    assert changes == []


def test_result_and_arguments_share() -> None:
    rows: list[Any] = []

    def add(rows: Any) -> Any:
        made = [1]
        rows.append(made)
        return made, rows

    (made, same), _ = shipped((rows,), add)
    assert same is rows and rows[0] is made


def test_the_order_of_keys_and_attributes() -> None:
    table: dict[str, Any] = {"a": 1, "b": 2, "c": 3}
    ordered = OrderedDict(table)
    box = Plain(a=1, b=2)

    def change(table: Any, ordered: Any, box: Any) -> None:
        table["a"] = table.pop("a")
        ordered.move_to_end("b", last=False)
        value = box.a
        del box.a
        box.a = value

    shipped((table, ordered, box), change)
    assert list(table) == ["b", "c", "a"]
    assert list(ordered) == ["b", "a", "c"] and list(reversed(ordered)) == ["c", "a", "b"]
    assert list(vars(box)) == ["b", "a"]


def test_slots_private_names_and_deleted_ones() -> None:
    it = Slotted()

    def change(it: Any) -> None:
        it.hide([1])
        it.right = it
        del it.left

    shipped((it,), change)
    assert it.hidden() == [1] and it.right is it and not hasattr(it, "left")


def test_no_code_of_the_class_runs() -> None:
    it = Guarded()
    vars(it)["size"] = 0

    def change(it: Any) -> None:
        object.__setattr__(it, "n", 1)
        vars(it)["size"] = 5

    before = Guarded.count
    shipped((it,), change)
    assert (it.n, vars(it)["size"], Guarded.count) == (1, 5, before)


def test_subclasses_of_containers() -> None:
    rows, table, counted = Rows([1]), Table(a=1), Counter("aab")
    rows.name = "old"  # type: ignore[attr-defined]

    def change(rows: Any, table: Any, counted: Any) -> None:
        rows.append(2)
        rows.name = "new"
        table["b"] = rows
        counted["c"] += 1

    shipped((rows, table, counted), change)
    assert rows == [1, 2] and rows.name == "new"  # type: ignore[attr-defined]
    assert type(table) is Table and table["b"] is rows and counted == Counter("aabc")


def test_buffers() -> None:
    data, numbers, queue = bytearray(b"abc"), array("d", [1.0]), deque([1, 2], maxlen=2)

    def change(data: Any, numbers: Any, queue: Any) -> None:
        data[0:1] = b"xyz"
        numbers.append(2.5)
        queue.append(3)

    shipped((data, numbers, queue), change)
    assert (data, numbers, list(queue), queue.maxlen) == (b"xyzbc", array("d", [1.0, 2.5]), [2, 3], 2)


def test_a_buffer_that_is_in_use_changes_nothing() -> None:
    """As in a plain call that fails, but that one fails where the program says; so it must run here."""
    other, data, rows = bytearray(b"o"), bytearray(b"abc"), [1]

    def change(rows: Any, other: Any, data: Any) -> None:
        rows.append(2)
        other.append(1)
        data.append(1)

    with memoryview(data), pytest.raises(Unshippable, match="an argument cannot be changed"):
        shipped((rows, other, data), change)
    assert (rows, other, data) == ([1], b"o", b"abc")


def test_a_set_that_is_written_stays() -> None:
    with pytest.raises(Unshippable, match="writes a set"):
        shipped(({1, 2},), lambda some: some.add(3))


def test_a_member_of_an_enumeration_that_is_written_stays() -> None:
    def change(member: Any) -> None:
        member.note = 1

    try:
        with pytest.raises(Unshippable, match=r"writes Colour\.RED"):
            shipped((Colour.RED,), change)
    finally:
        vars(Colour.RED).pop("note", None)


def test_atoms_of_large_lists_cost_a_stretch() -> None:
    rows = list(range(10_000))

    def change(rows: Any) -> None:
        rows[5000] = -1
        rows.append(-2)
        rows.pop()

    _, changes = shipped((rows,), change)
    assert rows == [*range(5000), -1, *range(5001, 10_000)]
    assert changes == [("stretch", 0, 5000, 5001, [-1])]


class Mutator:
    """Changes a structure at random; the same seed does the same to equal structures."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self, *args: Any) -> Any:
        for _ in range(self.random.randint(1, 8)):
            objects = walk(args, {}).containers
            if not objects:
                return None
            self.change(self.random.choice(objects), objects)
        objects = walk(args, {}).objects
        return [self.random.choice(objects) for _ in range(2)] if objects else None

    def change(self, value: Any, objects: list[Any]) -> None:
        new: Any = self.random.choice([*objects, [1], {"n": []}, 7, "text", (1, [2]), Plain(q=1)])
        where = self.random.random()
        if isinstance(value, list):
            at = self.random.randint(0, len(value))
            if where < 0.4:
                value.insert(at, new)
            elif where < 0.6 and value:
                del value[self.random.randrange(len(value))]
            elif where < 0.8 and value:
                value[self.random.randrange(len(value))] = new
            else:
                value.reverse()
        elif isinstance(value, dict):
            key = self.random.choice(["n", "m", 1, tuple([1, 2])])  # noqa: C409 - no constant, which may be the same object
            if where < 0.5:
                value[key] = new
            elif where < 0.8:
                value.pop(key, None)
            elif value:
                first = next(iter(value))
                value[first] = value.pop(first)
        elif isinstance(value, deque):
            value.appendleft(new)
        elif isinstance(value, Plain):
            if where < 0.7 or not vars(value):
                setattr(value, self.random.choice("abc"), new)
            else:
                delattr(value, self.random.choice(list(vars(value))))


def structures() -> Any:
    leaves = st.integers(0, 5) | st.text(max_size=2) | st.none()
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["n", "m", 1, (1, 2)]), inner, max_size=3)
            | st.tuples(inner, inner)
            | st.lists(inner, max_size=3).map(deque)
            | st.fixed_dictionaries({"a": inner, "b": inner}).map(lambda values: Plain(**values))
        ),
        max_leaves=12,
    )


@given(structures(), structures(), st.booleans(), st.integers(0, 2**32))
def test_any_change_of_any_structure(one: Any, other: Any, shared: bool, seed: int) -> None:
    here = (one, [one, other]) if shared else (one, other)
    plain = copy.deepcopy(here)
    expected = Mutator(seed)(*plain)
    found, _ = shipped(here, Mutator(seed))
    assert drawn((plain, expected)) == drawn((here, found))


def drawn(root: Any) -> str:
    """A structure with the identities inside it."""
    numbers: dict[int, int] = {}

    def draw(value: Any) -> str:
        if (not value and isinstance(value, tuple)) or not isinstance(
            value, list | dict | deque | tuple | Plain
        ):
            return repr(value)
        if id(value) in numbers:
            return f"#{numbers[id(value)]}"
        numbers[id(value)] = len(numbers)
        if isinstance(value, Plain):
            return f"Plain({draw(vars(value))})"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{draw(key)}: {draw(held)}' for key, held in value.items())}}}"
        return f"{type(value).__name__}({', '.join(map(draw, value))})"

    return draw(root)
