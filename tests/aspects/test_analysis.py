"""What becomes of functions that are measured: left alone, kept in mind, or armed. With a grid that says who is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest
from advised import Advised, advised, either_way

from bundlebee.aspects import stopwatch
from bundlebee.aspects.analysis import AT_ONCE
from bundlebee.aspects.profile import SAMPLES, Profile
from bundlebee.words import Reason


@pytest.fixture(params=["swap", "stopwatch"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Advised]:
    yield from either_way(request, monkeypatch, there=False)


def told(world: Advised) -> list[tuple[str, Reason]]:
    return [(function, why) for function, why, _seconds in world.grid.decisions]


def wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def is_at_rest(profile: Profile) -> bool:
    """The function runs as its author wrote it, and nobody listens."""
    before = profile.calls
    point = profile.point
    return point.function.__code__ is point.original and profile.calls == before


def test_short_calls_are_measured_and_then_left_alone(world: Advised) -> None:
    def short(a: int, *rest: int, k: int = 1, **more: int) -> tuple[Any, ...]:
        return a, rest, k, more

    profile = world.profile(short)
    for _ in range(5):
        assert short(1, 2, k=3, z=4) == (1, (2,), 3, {"z": 4})
    assert profile.calls == SAMPLES and is_at_rest(profile)
    assert told(world) == [(profile.point.qualname, Reason.TOO_SHORT)]


def test_what_takes_long_is_armed_only_once_somebody_is_there(world: Advised) -> None:
    def slow() -> None:
        wait(0.002)

    profile = world.profile(slow)
    for _ in range(5):
        slow()
    assert profile.calls == 1 and is_at_rest(profile)
    assert told(world) == [(profile.point.qualname, Reason.NO_PEER)]
    world.analysis.somebody()
    assert not profile.point.armed
    world.grid.there = True
    world.analysis.somebody()
    assert profile.point.armed
    slow()
    assert profile.calls == 2


def test_with_somebody_there_it_is_armed_after_its_first_call(world: Advised) -> None:
    world.grid.there = True

    def slow() -> None:
        wait(0.002)

    profile = world.profile(slow)
    slow()
    assert profile.calls == 1 and profile.point.armed
    slow()
    assert profile.calls == 2


def test_what_calls_itself_is_kept_in_mind(world: Advised) -> None:
    def count(n: int) -> int:
        return 0 if n == 0 else 1 + count(n - 1)

    profile = world.profile(count)
    for _ in range(3):
        assert count(stopwatch.INNER + 50) == stopwatch.INNER + 50
    assert profile.recursive
    world.grid.there = True
    world.analysis.somebody()
    world.analysis.sample(profile)
    assert profile.point.armed
    assert count(5) == 5


def test_a_call_that_fails_does_not_confuse_the_next_ones(world: Advised) -> None:
    def fails(n: int) -> int:
        if n:
            raise ValueError(n)
        return n

    profile = world.profile(fails)
    for n in (1, 0, 2, 0, 0, 0):
        if n:
            with pytest.raises(ValueError):
                fails(n)
        else:
            assert fails(0) == 0
    assert profile.calls >= SAMPLES and is_at_rest(profile)


def test_what_features_cannot_be_told_of_still_runs(world: Advised) -> None:
    class Strange:
        def __len__(self) -> int:
            raise RuntimeError

    def takes(x: object) -> int:
        return 7

    world.profile(takes)
    assert [takes(Strange()) for _ in range(5)] == [7] * 5


def test_functions_of_an_import_wait_until_it_is_over() -> None:
    world = advised()
    try:
        few = define(world, 3)
        note = world.analysis.on_defined(world.advice)
        assert [note(f) for f in few] == few
        assert not world.advice.points
        world.analysis.on_imported()
        assert [point.function for point in world.advice.points] == few
        many = define(world, AT_ONCE + 1)
        for f in many:
            note(f)
        world.analysis.on_imported()
        assert len(world.advice.points) == 3
        # one that is met, or asked for, is made
        profile = world.analysis.profile_by_code(many[7].__code__)
        assert profile is not None and profile.point.function is many[7]
        assert world.analysis.profile_of(many[8]) is not None
        many[9].__code__ = many[7].__code__.replace(co_name="other")
        assert world.analysis.profile_of(many[9]) is None
        assert len(world.advice.points) == 5
    finally:
        world.analysis.close()


def test_one_that_an_import_has_defined_is_found_before_that_is_over() -> None:
    world = advised()
    try:
        note = world.analysis.on_defined(world.advice)
        first, second = define(world, 2)
        note(first)
        assert world.analysis.profile_of(first) is not None
        note(second)
        assert world.analysis.profile_of(second) is not None
        assert [point.function for point in world.advice.points] == [first, second]
    finally:
        world.analysis.close()


def test_other_policies_take_every_call_from_the_first() -> None:
    world = advised("remote")
    try:
        (f,) = define(world, 1)
        assert world.profile(f).point.armed
        many = define(world, AT_ONCE + 1)
        for g in many:
            world.analysis.on_defined(world.advice)(g)
        world.analysis.on_imported()
        assert len(world.advice.points) == 1 + len(many) and all(point.armed for point in world.advice.points)
    finally:
        world.analysis.close()


def define(world: Advised, count: int) -> list[Any]:
    functions: list[Callable[[], int]] = []
    for number in range(count):
        namespace: dict[str, Any] = {}
        exec(f"def f{number}(): return {number}", namespace)
        functions.append(namespace[f"f{number}"])
        assert type(functions[-1].__code__) is CodeType
    return functions


@pytest.mark.parametrize("waits", [False, True])
def test_the_first_function_of_all_is_told(waits: bool) -> None:
    world = advised()
    told: list[str] = []
    world.analysis.once_there_is_one(lambda: told.append("there is one"))
    assert told == []

    def first() -> None: ...

    def second() -> None: ...

    for function in (first, second):
        if waits:
            world.analysis.on_defined(world.advice)(function)  # type: ignore[arg-type]
        else:
            world.profile(function)
    assert told == ["there is one"]
    world.analysis.close()
