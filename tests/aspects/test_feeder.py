"""What becomes of a leased worker whose connection ends."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from bundlebee.aspects.feeder import Feeder
from bundlebee.aspects.item import Item, State
from bundlebee.aspects.spread import Spread
from bundlebee.aspects.supply import Supply
from bundlebee.errors import PeerBusy, PeerLost


class Channel:
    """Its connection has ended."""

    over = False

    def __init__(self) -> None:
        self.closed = False

    def poll_batches(self, _timeout: float) -> list[Any]:
        raise PeerLost("lost b", why="the connection ended")

    def close(self) -> None:
        self.closed = True


class Grid:
    def __init__(self) -> None:
        self.told: list[tuple[str, Exception]] = []

    def lost(self, place: str, error: Exception) -> None:
        self.told.append((place, error))

    def why_lost(self, _channel: Any, _function: str, error: PeerLost) -> PeerLost:
        return error


class Point:
    name = "m:f"


@pytest.mark.parametrize(("away", "kind"), [(0, PeerBusy), (2, PeerLost)])
def test_an_idle_worker_was_taken_back_and_one_at_work_is_lost(away: int, kind: type[Exception]) -> None:
    spread = Spread(
        iter(()), lambda _: ((), {}), int, here=False, seconds=None, on_here=lambda _seconds: None
    )
    grid, channel = Grid(), Channel()
    feeder = Feeder(grid, Point(), None, None, spread, on_there=lambda *_: None)  # type: ignore[arg-type]
    supply = Supply("b", channel, None)  # type: ignore[arg-type]
    spread.supplies.append(supply)
    items = [Item(number) for number in range(away)]
    spread._order.extend(items)
    for item in items:
        item.state = State.AWAY
    if items:
        supply.given(1, items)
    feeder._answers([supply])
    assert spread.supplies == [] and channel.closed
    assert list(spread.waiting) == items  # they wait for somebody else
    [(place, error)] = grid.told
    assert place == "b" and type(error) is kind


class Worker:
    """Takes what it is given, and answers nothing."""

    over = False
    has_news = False
    node_name = "b"
    token = "t"

    def pollable(self) -> list[Any]:
        return []

    def poll_batches(self, _timeout: float) -> list[Any]:
        return []


class Lending:
    """One worker, which nobody else gets until it is handed back."""

    deadline = None

    def __init__(self) -> None:
        self.worker = Worker()
        self.free = threading.Event()
        self.free.set()
        self.open_it = threading.Event()
        self.open_it.set()
        self.refused = 0

    def slots(self, work: float | None) -> Sequence[tuple[str, int]]:
        return [("b", 1)]

    def coming(self) -> bool:
        return False

    def busy(self) -> bool:
        return False

    def open(self, place: str, point: Any) -> Worker:
        assert self.open_it.wait(10.0)
        if not self.free.is_set():
            self.refused += 1
            raise PeerBusy("all are leased")
        self.free.clear()
        return self.worker

    def done(self, channel: Worker) -> None:
        self.free.set()


def empty_loop() -> Spread:
    return Spread(iter(()), lambda _: ((), {}), int, here=False, seconds=None, on_here=lambda _seconds: None)


def feed(grid: Any, spread: Spread) -> Feeder:
    feeder = Feeder(grid, Point(), None, None, spread, on_there=lambda *_: None)  # type: ignore[arg-type]
    feeder.start()
    return feeder


def wait_for_a_supply(spread: Spread) -> None:
    with spread.changed:
        assert spread.changed.wait_for(lambda: spread.supplies, 10.0)


def test_a_worker_is_expected_until_it_is_adopted() -> None:
    """In between the caller's thread would take itself for alone, run an item, and keep the feeder from adopting it."""
    spread = empty_loop()
    feeder = Feeder(Lending(), Point(), None, None, spread, on_there=lambda *_: None)  # type: ignore[arg-type]
    feeder._waker = type("Waker", (), {"wake": lambda self: None})()  # type: ignore[assignment]
    spread.expecting = 1
    feeder._lease("b", 1)
    assert not spread.supplies and spread.expecting == 1
    feeder._adopt()
    assert len(spread.supplies) == 1 and spread.expecting == 0


def test_the_next_loop_finds_the_workers_of_the_one_before() -> None:
    grid = Lending()
    for _ in range(20):
        spread = empty_loop()
        feeder = feed(grid, spread)
        wait_for_a_supply(spread)
        spread.close()
        feeder.let_go(10.0)
        assert grid.free.is_set()
    assert not grid.refused


def test_a_loop_that_goes_on_is_not_waited_for() -> None:
    grid = Lending()
    spread = empty_loop()
    feeder = feed(grid, spread)
    wait_for_a_supply(spread)
    feeder.let_go(3600.0)
    spread.close()
    feeder.let_go(10.0)
