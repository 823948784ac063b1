"""Awaited calls whose worker ends with a call that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from bundlebee.aspects.abroad import Abroad
from bundlebee.aspects.away import Away
from bundlebee.aspects.remote import Came
from bundlebee.aspects.turns import Line
from bundlebee.bundles.values import walk
from bundlebee.calls.courier import Dropped, Trip
from bundlebee.calls.outcome import Ended, Outcome
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.policy import Policy
from bundlebee.errors import PeerBusy
from bundlebee.words import HERE, Reason

SECONDS = 10.0
CALL = SimpleNamespace(state="same")


class Channel:
    node_name = "b"

    def __init__(self) -> None:
        self.closed = False
        self.submitted: list[Any] = []
        self.accepts = True

    def has_accepted(self, call: object) -> bool:
        return self.accepts

    def ask(self, call: object, timeout: float) -> None:
        return None

    def submit(self, call: object, items: Any, **_: object) -> int:
        self.submitted.append(items)
        return len(self.submitted)

    def close(self) -> None:
        self.closed = True


class Grid:
    """One worker. The next one comes when `there` is set."""

    deadline = None

    def __init__(self, policy: str) -> None:
        self.policy = Policy.parse(policy)
        self.there = threading.Event()
        self.next: Channel | None = Channel()
        self.leased_in: list[threading.Thread] = []
        self.handed_back: list[Channel] = []
        self.trips: list[Trip] = []
        self.carried = threading.Event()
        self.told: list[Exception] = []

    def ready(self, place: str) -> bool:
        return False

    def freight(self, *_: object) -> Any:
        return SimpleNamespace(call=CALL)

    def courier(self) -> Grid:
        return self

    def carry(self, trip: Trip) -> None:
        self.trips.append(trip)
        self.carried.set()

    def drop(self, trip: Trip) -> None:
        trip.dropped = True

    def lease_again(self, channel: Channel, point: object) -> Channel:
        assert channel.closed and channel in self.handed_back
        self.leased_in.append(threading.current_thread())
        assert self.there.wait(SECONDS)
        if self.next is None:
            raise PeerBusy("others were faster")
        return self.next

    def done(self, channel: Channel) -> None:
        self.handed_back.append(channel)

    def lost(self, place: str, error: Exception) -> None:
        self.told.append(error)


class Remote:
    def check(self, *_: object) -> None:
        pass

    def embark(self, *_: object) -> Any:
        raise AssertionError("the loop would stand still while a worker is had")

    def landed(
        self, profile: object, verdict: object, marks: object, seconds: float, outcome: Outcome
    ) -> Came:
        return Came(outcome.value, None)


class World:
    def __init__(self, policy: str = "remote") -> None:
        self.grid = Grid(policy)
        self.ran_here: list[Verdict] = []
        running = SimpleNamespace(quiet=False)
        self.abroad = Abroad(self.grid, Remote(), running, self.here, self.fail)  # type: ignore[arg-type]
        self.old = Channel()

    async def here(self, profile: Any, verdict: Verdict, *_: object) -> str:
        self.ran_here.append(verdict)
        return "here"

    def fail(self, profile: Any, error: Exception) -> None:
        raise error

    def call(self, line: Line, *args: Any, where: str = HERE) -> Away | Verdict:
        profile = SimpleNamespace(point=SimpleNamespace(name="m:f"))
        summary = SimpleNamespace(still_valid=lambda: True)
        cleared = SimpleNamespace(summary=summary, walk=walk(args, {}))
        why = Reason.PEER_BUSY if where == HERE else Reason.FORCED
        return self.abroad.send(profile, Verdict(where, why), cleared, (), args, {}, line)  # type: ignore[arg-type]

    def drop_one(self, line: Line) -> Away:
        """A call is under way, and nobody waits for it any more; the courier has not noticed yet."""
        away = Away(SimpleNamespace(point=None), Verdict("b", Reason.FORCED), None, (), (), {})  # type: ignore[arg-type]
        away.freight = self.grid.freight()
        away.channel = self.old  # type: ignore[assignment]
        away.turn = line.join()
        away.trip = Trip(self.old, 1, lambda result: self.abroad._landed(away, result), None)  # type: ignore[arg-type]
        self.abroad._under_way.add(away)
        self.abroad.drop(away)
        assert away.trip.dropped
        return away


@pytest.mark.parametrize("where", [HERE, "b"])
def test_the_loop_goes_on_while_a_worker_is_replaced(where: str) -> None:
    world = World()

    async def main() -> None:
        line = Line(asyncio.get_running_loop())
        dropped = world.drop_one(line)
        before = world.call(line, [1], where=where)  # the courier has not noticed yet
        dropped.trip.end(Dropped())
        after = world.call(line, [2], where=where)
        assert isinstance(before, Away) and isinstance(after, Away)
        results = asyncio.gather(world.abroad.outcome(before), world.abroad.outcome(after))
        await asyncio.sleep(0)
        assert not world.grid.trips and not results.done()
        world.grid.there.set()
        assert await asyncio.to_thread(world.grid.carried.wait, SECONDS)
        world.grid.trips[0].end(Outcome(1, 0, Ended.RETURNED, "one"))
        world.grid.trips[1].end(Outcome(2, 0, Ended.RETURNED, "two"))
        assert await asyncio.wait_for(results, SECONDS) == ["one", "two"]

    asyncio.run(main())
    assert world.grid.next is not None
    assert world.grid.next.submitted == [[(([1],), {})], [(([2],), {})]]
    assert threading.main_thread() not in world.grid.leased_in
    assert not world.ran_here and not world.abroad._under_way
    assert world.grid.handed_back == [world.old, world.grid.next]


def test_where_no_worker_comes_calls_run_here() -> None:
    world = World()
    world.grid.next = None

    async def main() -> None:
        line = Line(asyncio.get_running_loop())
        dropped = world.drop_one(line)
        away = world.call(line, [1])
        assert isinstance(away, Away)
        dropped.trip.end(Dropped())
        world.grid.there.set()
        assert await asyncio.wait_for(world.abroad.outcome(away), SECONDS) == "here"

    asyncio.run(main())
    assert [verdict.why for verdict in world.ran_here] == [Reason.PEER_BUSY]
    assert [type(error) for error in world.grid.told] == [PeerBusy]


def test_what_the_worker_has_not_accepted_does_not_wait_for_it() -> None:
    world = World()
    world.old.accepts = False

    async def main() -> None:
        line = Line(asyncio.get_running_loop())
        world.drop_one(line)
        assert world.call(line, [1]) == Verdict(HERE, Reason.PEER_BUSY)

    asyncio.run(main())


def test_under_auto_nothing_is_leased_for_what_was_dropped() -> None:
    world = World("auto")

    async def main() -> None:
        line = Line(asyncio.get_running_loop())
        world.drop_one(line).trip.end(Dropped())

    asyncio.run(main())
    assert not world.grid.leased_in and not world.abroad._under_way
    assert world.grid.handed_back == [world.old]
