"""Who awaits a call, and the order in which results are handed out."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from bundlebee.aspects.turns import Line, loop_that_awaits

Found = list[bool]


async def leaf(found: Found) -> None:
    line = loop_that_awaits(sys._getframe())
    assert line is None or line.loop is asyncio.get_running_loop()
    found.append(line is not None)


async def twice(found: Found) -> None:
    await leaf(found)
    async with Context(found):
        pass


class Context:
    def __init__(self, found: Found) -> None:
        self.found = found

    async def __aenter__(self) -> None:
        await leaf(self.found)

    async def __aexit__(self, *_: object) -> None:
        await leaf(self.found)


class Awaitable:
    def __init__(self, found: Found) -> None:
        self.found = found

    def __await__(self) -> Generator[Any, Any, None]:
        return (yield from leaf(self.found).__await__())


async def by_hand(found: Found) -> None:
    try:
        leaf(found).send(None)
    except StopIteration:
        pass


async def below_by_hand(found: Found) -> None:
    try:
        twice(found).send(None)
    except StopIteration:
        pass


def spin(found: Found) -> None:
    try:
        leaf(found).send(None)
    except StopIteration:
        pass


async def in_a_call(found: Found) -> None:
    spin(found)


async def in_a_callback(found: Found) -> None:
    done = asyncio.Event()
    asyncio.get_running_loop().call_soon(lambda: (spin(found), done.set()))
    await done.wait()


async def after_a_pause(found: Found) -> None:
    await asyncio.sleep(0)
    await leaf(found)


async def gathered(found: Found) -> None:
    await asyncio.gather(leaf(found), twice(found))


async def in_time(found: Found) -> None:
    await asyncio.wait_for(leaf(found), 60)


async def after_a_cancellation(found: Found) -> None:
    async def cancelled() -> None:
        try:
            async with Context(found):
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            await leaf(found)
            await twice(found)

    async def outer() -> None:
        await cancelled()
        await leaf(found)

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel()
    await task


async def from_a_generator(found: Found) -> None:
    async def each() -> Any:
        await leaf(found)
        yield 1

    async for _ in each():
        await leaf(found)


async def awaitable(found: Found) -> None:
    await Awaitable(found)


@pytest.mark.parametrize(
    "main", [leaf, twice, after_a_pause, gathered, in_time, after_a_cancellation, from_a_generator, awaitable]
)
def test_a_task_awaits_it(main: Callable[[Found], Any]) -> None:
    found: Found = []
    asyncio.run(main(found))
    assert found and all(found)


@pytest.mark.parametrize("main", [by_hand, below_by_hand, in_a_call, in_a_callback])
def test_something_else_drives_it(main: Callable[[Found], Any]) -> None:
    found: Found = []
    asyncio.run(main(found))
    assert found and not any(found)


def test_nothing_runs_a_loop() -> None:
    found: Found = []
    spin(found)
    assert found == [False]


def test_a_loop_in_another_thread() -> None:
    found: Found = []
    thread = threading.Thread(target=lambda: asyncio.run(twice(found)))
    thread.start()
    thread.join(60)
    assert found == [True] * 3


def test_a_loop_has_one_line_and_the_next_loop_another() -> None:
    async def line() -> Line | None:
        return loop_that_awaits(sys._getframe())

    async def lines() -> list[Line | None]:
        return [await line(), await line()]

    one, again = asyncio.run(lines())
    other, _ = asyncio.run(lines())
    assert one is again and one is not None and other is not one


async def results(order: list[int], leaving: set[int]) -> list[int]:
    """Calls join in the order of their numbers; their results come in that order, and some are not waited for."""
    line = Line(asyncio.get_running_loop())
    seen: list[int] = []
    turns = [line.join() for _ in order]

    async def one(number: int) -> None:
        await turns[number].wait()
        seen.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(len(order))]
    await asyncio.sleep(0)
    for number in leaving:
        tasks[number].cancel()
    for number in order:
        thread = threading.Thread(target=turns[number].ready)
        thread.start()
        thread.join()
    await asyncio.wait(tasks, timeout=60)
    assert not line.waiting
    return seen


def test_results_are_handed_out_in_the_order_of_the_calls() -> None:
    assert asyncio.run(results([2, 0, 3, 1], set())) == [0, 1, 2, 3]
    assert asyncio.run(results([3, 2, 1, 0], {0, 2})) == [1, 3]


def test_a_loop_that_was_closed_wants_nothing() -> None:
    async def join() -> Any:
        return Line(asyncio.get_running_loop()).join()

    turn = asyncio.run(join())
    thread = threading.Thread(target=turn.ready)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
