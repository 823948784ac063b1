from __future__ import annotations

import gc
import pickle
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.decisions.features import MAX_SIZES, Features, coarse, features, volume


def of(*args: Any, **kwargs: Any) -> Features:
    return features(args, kwargs)


def test_small_numbers_tell_calls_apart() -> None:
    assert of(30) != of(31)
    assert of(30).shape == of(31).shape
    assert of(30).sizes == (30.0,)


def test_near_sizes_share_a_bucket_and_far_ones_do_not() -> None:
    assert of([0] * 10_000) == of([0] * 10_001)
    assert of([0] * 10_000) != of([0] * 20_000)


def test_kinds_tell_calls_apart() -> None:
    shapes = [
        of(value).shape for value in (1, 1.0, True, False, None, "1", b"1", [1], (1,), {1: 1}, {1}, range(1))
    ]
    assert len(set(map(repr, shapes))) == len(shapes)


def test_keywords_are_ordered_by_name() -> None:
    assert of(a=1, b=2) == of(b=2, a=1)
    assert of(a=1) != of(b=1)


def test_floats_count_by_magnitude() -> None:
    assert of(1.1) == of(1.2)
    assert of(1e-9) != of(1e-3)
    assert of(float("nan")).shape == of(float("inf")).shape == of(0.0).shape


def test_nested_containers_are_looked_into_two_levels_deep() -> None:
    assert of([[1.0] * 5] * 3).sizes[:2] == (3.0, 5.0)
    endless: list[Any] = []
    endless.append(endless)
    assert len(of(endless).sizes) <= MAX_SIZES


def test_a_tuple_is_a_record_and_a_long_one_a_list() -> None:
    assert of((1, "ab")).sizes == (1.0, 2.0)
    assert of(tuple(range(100))).sizes[0] == 100.0


def test_attributes_of_an_instance_count() -> None:
    class Board:
        def __init__(self, n: int) -> None:
            self.n = n

    assert of(Board(4)) != of(Board(5))
    assert of(Board(4)).shape == of(Board(5)).shape


def test_slots_and_a_dictionary_count_as_attributes_do() -> None:
    class Slotted:
        __slots__ = ("n",)

        def __init__(self, n: int) -> None:
            self.n = n

    class Board:
        def __init__(self, n: int, m: int) -> None:
            self.n = n
            self.m = m

    assert of(Slotted(4)) != of(Slotted(5))
    boards = [Board(4, 1), Board(5, 1), Board(5, 2)]
    for board in boards:
        vars(board)
    assert len({of(board) for board in boards}) == 3


def test_to_look_at_an_instance_leaves_it_as_quick_as_it_was() -> None:
    class Board:
        def __init__(self) -> None:
            self.n = 1
            self.m = 2

    board = Board()
    of(board)
    # CPython keeps attributes in the object itself until somebody asks for its `__dict__`
    assert not any(type(held) is dict for held in gc.get_referents(board))


def test_no_code_of_the_program_is_run() -> None:
    class Trap(list):  # type: ignore[type-arg]
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError("looked at")

        def __len__(self) -> int:
            raise AssertionError("measured")

        __iter__ = __getitem__ = __hash__ = __eq__ = __len__  # type: ignore[assignment]

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            if name in ("__module__", "__flags__", "__mro__"):
                raise AssertionError("looked at the class")
            return type.__getattribute__(cls, name)

    class Odd(metaclass=Meta):
        pass

    assert hash(of(Trap(), Odd(), x=Trap())) is not None


def test_arrays_are_objects_unless_numpy_made_them() -> None:
    assert of(array("d", [1.0])).sizes == ()


def test_big_numbers() -> None:
    assert of(10**5000).sizes == (1e300,)
    assert of(-(10**5000)).sizes == (-1e300,)
    assert of(range(10**30)).sizes == (1e300,)


@given(st.integers())
def test_coarse_is_near(number: int) -> None:
    if abs(number) < 1 << 900:
        assert abs(coarse(number) - number) <= abs(number) / 8
        assert coarse(-number) == -coarse(number)


@given(st.integers(min_value=0, max_value=10**18), st.integers(min_value=0, max_value=10**18))
def test_coarse_keeps_order(a: int, b: int) -> None:
    if a <= b:
        assert coarse(a) <= coarse(b)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.lists(plain, max_size=4), st.dictionaries(st.text(max_size=3), plain, max_size=3))
def test_any_plain_arguments_have_hashable_bounded_features(args: list[Any], kwargs: dict[str, Any]) -> None:
    found = features(tuple(args), kwargs)
    assert hash(found) == hash(features(tuple(args), kwargs))
    assert len(found.sizes) <= MAX_SIZES
    assert all(size == size for size in found.sizes)


def test_volume_is_about_the_size_of_the_pickle() -> None:
    for value in (
        "x" * 10_000,
        bytes(5000),
        list(range(1000)),
        [1.5] * 1000,
        {"a": "y" * 4000},
        [f"{number:0100}" for number in range(50)],
    ):
        size = len(pickle.dumps(value, 5))
        assert size / 4 < volume([value]) < 4 * size
    assert volume([1, None, 2.5, object()]) < 100


def test_volume_of_arrays() -> None:
    numpy = pytest.importorskip("numpy", reason="NumPy is not installed")
    grid = numpy.zeros((100, 50))
    assert volume([grid]) == 40_000
    assert 120_000 <= volume([[grid, grid, grid]]) < 121_000
    assert of(grid) == of(grid + 1)
    assert of(grid) != of(grid[:50])
    assert of(grid) != of(grid.astype("f4"))


def test_a_list_in_itself_has_a_volume() -> None:
    itself: list[object] = []
    itself.append(itself)
    assert volume([itself]) < 100
