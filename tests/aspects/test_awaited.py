"""Coroutine functions that are measured: their own time only, and those that wait are left alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from advised import Advised, Remote, advised, either_way

from bundlebee.aspects import stopwatch
from bundlebee.aspects.profile import SAMPLES, SHORT
from bundlebee.decisions.model import Verdict
from bundlebee.words import Reason


@pytest.fixture(params=["swap", "stopwatch"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Advised]:
    yield from either_way(request, monkeypatch, there=True)


def busy(seconds: float) -> None:
    threading.Event().wait(seconds)


def runs(function: Callable[..., Any], *args: Any) -> Any:
    async def main() -> Any:
        return await function(*args)

    return asyncio.run(main())


def test_short_ones_are_measured_and_then_left_alone(world: Advised) -> None:
    async def short(a: int) -> int:
        return a

    profile = world.profile(short)
    for _ in range(5):
        assert runs(short, 3) == 3
    assert profile.calls == SAMPLES and short.__code__ is profile.point.original
    assert [why for _, why, _ in world.grid.decisions] == [Reason.TOO_SHORT]


def test_long_ones_are_armed(world: Advised) -> None:
    async def slow() -> int:
        busy(0.002)
        return 1

    profile = world.profile(slow)
    assert (runs(slow), profile.calls, profile.point.armed) == (1, 1, True)
    assert (runs(slow), profile.calls) == (1, 2)
    assert not profile.short and all(seconds and seconds >= SHORT for _, _, seconds in world.grid.decisions)


def test_what_waits_is_not_measured(world: Advised) -> None:
    async def waits() -> int:
        await asyncio.sleep(0)
        return 1

    profile = world.profile(waits)
    for _ in range(3):
        assert runs(waits) == 1
    assert profile.calls == 0 and profile.times is None
    assert waits.__code__ is profile.point.original
    assert world.grid.decisions == [(profile.point.qualname, Reason.EFFECTS, None)]


def test_the_time_of_other_tasks_is_not_theirs(world: Advised) -> None:
    async def quick() -> int:
        await asyncio.sleep(0)
        return 1

    async def other() -> None:
        busy(0.01)

    async def main() -> Any:
        return await asyncio.gather(quick(), other(), quick(), other())

    profile = world.profile(quick)
    assert asyncio.run(main()) == [1, None, 1, None]
    assert profile.times is None


def test_tasks_of_one_function_do_not_count_as_its_recursion(world: Advised) -> None:
    async def waits(n: int) -> int:
        await asyncio.sleep(0)
        return n

    profile = world.profile(waits)

    async def main() -> Any:
        return await asyncio.gather(*(waits(n) for n in range(20)))

    assert asyncio.run(main()) == list(range(20))
    assert not profile.recursive


def test_what_calls_itself_is_measured_as_a_whole(world: Advised) -> None:
    async def count(n: int) -> int:
        if n == 0:
            busy(0.002)
            return 0
        return 1 + await count(n - 1)

    profile = world.profile(count)
    for _ in range(4):
        assert runs(count, stopwatch.INNER + 50) == stopwatch.INNER + 50
    assert profile.recursive and profile.point.armed
    assert profile.calls <= 4


@pytest.mark.parametrize("policy", ["auto", "local", "remote", "chaos:1.0"])
def test_what_is_sent_and_thrown_passes_through(policy: str) -> None:
    world = advised(policy, there=True)

    class Ask:
        def __await__(self) -> Any:
            return (yield "asks")

    seen: list[Any] = []

    async def asks() -> Any:
        seen.append(await Ask())
        try:
            await Ask()
        except KeyError as error:
            seen.append(error.args)
            assert error.__context__ is None
        try:
            await Ask()
        finally:
            seen.append("closed")

    world.profile(asks)
    coroutine = asks()
    assert coroutine.send(None) == "asks"
    assert coroutine.send(7) == "asks"
    assert coroutine.throw(KeyError("k")) == "asks"
    coroutine.close()
    assert seen == [7, ("k",), "closed"]
    world.analysis.close()


@pytest.mark.parametrize("policy", ["auto", "remote"])
def test_an_exception_is_that_of_plain_code(policy: str) -> None:
    world = advised(policy, there=True)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("x")

    def lines() -> list[str]:
        try:
            runs(fails)
        except LookupError as error:
            assert error.__context__ is None
            found, entry = [], error.__traceback__
            while entry is not None:
                found.append(entry.tb_frame.f_code.co_name)
                entry = entry.tb_next
            return found
        raise AssertionError

    plain = lines()
    world.profile(fails)
    assert lines() == plain
    world.analysis.close()


def test_aspects_that_fail_are_switched_off(world: Advised) -> None:
    async def f(n: int) -> int:
        return n

    class Broken(Remote):
        def decide(self, *_: object) -> tuple[Verdict, None]:
            raise RuntimeError("broken")

    broken = advised("remote", there=True)
    broken.analysis._awaited._remote = Broken()  # type: ignore[assignment]
    profile = broken.profile(f)
    assert runs(f, 4) == 4
    assert profile.pin is not None and profile.pin.reason is Reason.FAILED and not profile.point.armed
