"""What becomes of a leased worker whose connection ends."""

from __future__ import annotations

from typing import Any

import pytest

from bundlebee.aspects.feeder import Feeder, Supply
from bundlebee.aspects.spread import Item, Spread, State
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
