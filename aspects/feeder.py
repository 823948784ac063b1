"""The feeder: the thread that leases workers for one loop and keeps them supplied."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bundlebee.aspects.profile import SHORT
from bundlebee.aspects.supply import Supply
from bundlebee.calls.outcome import Batch
from bundlebee.clock import clock
from bundlebee.errors import (
    BundlebeeError,
    CallError,
    CallTimeout,
    PeerBusy,
    PeerLost,
    Unshippable,
    WorkerLost,
)
from bundlebee.loggers import get_logger
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.aspects.grid import Grid
    from bundlebee.aspects.item import Item
    from bundlebee.aspects.spread import Spread
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.transport import Call
    from bundlebee.weaving.joinpoint import JoinPoint

    Arguments = tuple[tuple[Any, ...], dict[str, Any]]

log = get_logger("bundlebee.scatter")

RETRY = 0.5  #: seconds until a busy peer, or the list of peers, is asked again
DEATHS = 2  #: a chunk that so many workers did not survive is left to the program
SOON = 0.05  #: the same while the grid is still answering our greeting


class Feeder:
    """Runs from `start` until the loop is closed; then hands its workers back."""

    def __init__(
        self,
        grid: Grid,
        point: JoinPoint,
        call: Call,
        pack: Callable[[Sequence[Item]], tuple[list[Arguments], Walk | None]],
        spread: Spread,
        *,
        on_there: Callable[..., None],
    ) -> None:
        self._grid = grid
        self._point = point
        self._call = call
        self._pack = pack
        self._spread = spread
        self._on_there = on_there
        self._new: deque[Supply] = deque()
        self._asking: dict[str, threading.Thread] = {}
        self._not_before: dict[str, float] = {}
        self._refusals = 0
        self._handed_back = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bundlebee-feeder", daemon=True)

    def start(self) -> None:
        """Begin; returns at once. `Spread.expecting` counts the peers that are being asked."""
        from bundlebee.calls.waiting import Waker

        self._waker = Waker()
        self._spread.wake = self._waker.wake
        self._ask()
        self._thread.start()

    def stop(self, deadline: float) -> bool:
        """Close the loop, whoever still holds it. False if the workers are not handed back by ``deadline`` (`perf_counter`)."""
        self._spread.close()
        if self._thread.ident is not None:  # Ctrl-C may have come before it was started
            self._thread.join(max(0.0, deadline - clock.perf_counter()))
        return not self._thread.is_alive()

    def let_go(self, timeout: float) -> None:
        """If the loop is over, wait until its workers are handed back, so that the next loop finds them; ``timeout`` seconds
        at the most."""
        if self._spread.closed and self._thread.is_alive():
            self._handed_back.wait(timeout)

    # -- leases ------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Ask peers for more workers, each in a thread of its own: a slow one must not hold up the others."""
        now = clock.perf_counter()
        held: dict[str, int] = {}
        for supply in [*self._spread.supplies, *self._new]:
            held[supply.place] = held.get(supply.place, 0) + 1
        for place, slots in self._grid.slots(None):
            if place in self._asking or now < self._not_before.get(place, 0.0):
                continue
            wanted = slots - held.get(place, 0)
            if wanted <= 0:
                continue
            thread = threading.Thread(
                target=self._lease, args=(place, wanted), name=f"bundlebee-lease-{place}", daemon=True
            )
            self._asking[place] = thread
            with self._spread.changed:
                self._spread.expecting += 1
            thread.start()

    def _lease(self, place: str, wanted: int) -> None:
        try:
            for _ in range(wanted):
                if self._spread.closed:
                    return
                channel = self._grid.open(place, self._point)
                with self._spread.changed:
                    self._spread.expecting += (
                        1  # until it is adopted: the caller's thread need not fill in for it
                    )
                self._new.append(Supply(place, channel, None))
                self._waker.wake()
        except PeerBusy:
            pass
        except BundlebeeError as error:
            self._grid.lost(place, error)
        except Exception as error:
            if self._spread.closed:  # nobody waits for it, and the program may be over
                return
            log.warning("no worker from %s: %s: %s", place, type(error).__name__, error)
            self._grid.lost(place, error)
        finally:
            self._not_before[place] = clock.perf_counter() + RETRY
            self._asking.pop(place, None)
            with self._spread.changed:
                self._spread.expecting -= 1
                self._spread.changed.notify()
            self._waker.wake()

    # -- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asked = clock.perf_counter()
            while not self._spread.closed:
                self._adopt()
                for supply in sorted(self._spread.supplies, key=Supply.load):
                    self._supply(supply)
                self._answers(self._wait())
                self._drop_late()
                if clock.perf_counter() - asked > (SOON if self._grid.coming() else RETRY):
                    asked = clock.perf_counter()
                    self._ask()
        except Exception as error:
            self._spread.give_up(error)
        finally:
            for thread in list(self._asking.values()):
                thread.join(timeout=5.0)
            self._adopt()
            for supply in self._spread.supplies:
                if supply.away:
                    supply.channel.close()
                else:
                    self._grid.done(supply.channel)
            self._handed_back.set()
            self._waker.close()

    def _adopt(self) -> None:
        while self._new:
            supply = self._new.popleft()
            with self._spread.changed:
                self._spread.supplies.append(supply)
                self._spread.expecting -= 1
                self._spread.changed.notify()

    def _wait(self) -> list[Supply]:
        from bundlebee.calls.waiting import wait

        channels = {id(supply.channel): supply for supply in self._spread.supplies}
        pause = min(SOON if self._grid.coming() else RETRY, self._grid.deadline or RETRY)
        ready = wait([supply.channel for supply in self._spread.supplies], pause, waker=self._waker)
        return [channels[id(channel)] for channel in ready]

    def _supply(self, supply: Supply) -> None:
        while items := self._spread.chunk(supply):
            start = clock.thread_time()
            try:
                packed, found = self._pack(items)
                ticket = supply.channel.submit(self._call, packed, found=found)
            except Unshippable as error:
                self._one_by_one(supply, items, error)
                continue
            except CallError as error:
                self._drop(supply, items, error)
                return
            supply.given(ticket, items)
            self._spread.check_packing(clock.thread_time() - start, len(items))

    def _one_by_one(self, supply: Supply, items: list[Item], error: Unshippable) -> None:
        """Something in the chunk cannot travel: find out which, and leave that to the program."""
        self._refusals += 1
        if len(items) == 1 or self._refusals > 3:
            for item in items:
                self._spread.ours(item)
            log.info("%s stays here: %s", self._point.name, error)
            return
        for item in items:
            try:
                ticket = supply.channel.submit(self._call, self._pack([item])[0])
            except Unshippable:
                self._spread.ours(item)
            else:
                supply.given(ticket, [item])

    def _answers(self, ready: list[Supply]) -> None:
        for supply in ready:
            try:
                for answer in supply.channel.poll_batches(0.0):
                    if isinstance(answer, Batch):
                        self._batch(supply, answer)
                        continue
                    item = supply.answered(answer.ticket, answer.seconds)
                    if answer.returned:
                        if self._spread.settle(item, answer.value):
                            self._on_there(supply.place, answer)
                        continue
                    if answer.reason is Reason.PEER_BUSY:
                        self._spread.back([item])
                        continue
                    self._spread.ours(item)
                    if answer.refused:
                        # the worker will refuse the others for the same reason
                        raise answer.refusal()
            except PeerLost as error:
                self._drop(supply, [], error)
            except CallError as error:
                self._spread.give_up(error)
            else:
                if supply.channel.over:
                    self._drop(supply, [], PeerBusy("the lease is over", why="another caller waited for it"))
                elif not supply.away and self._spread.waiting:
                    self._spread.ran_dry()

    def _batch(self, supply: Supply, batch: Batch) -> None:
        """Many small items at once: they are looked at together, and told as one record with their number."""
        count = len(batch.values)
        seconds = sum(times[0] for times in batch.times) / count
        if seconds >= SHORT:
            for answer in batch.outcomes():
                if self._spread.settle(supply.answered(answer.ticket, answer.seconds), answer.value):
                    self._on_there(supply.place, answer)
            return
        settled = self._spread.settle_all(supply.answered_all(batch.ticket, count, seconds), batch.values)
        if settled:
            outcome = batch.average(seconds)
            self._on_there(supply.place, outcome, settled)

    def _drop_late(self) -> None:
        """Whoever has not answered within the deadline counts as lost."""
        deadline = self._grid.deadline
        if deadline is None:
            return
        for supply in list(self._spread.supplies):
            if supply.away and supply.silent() > deadline:
                late = CallTimeout(
                    f"{supply.place} has not answered", why=f"the deadline of {deadline:g} s is over"
                )
                self._drop(supply, [], late)

    def _drop(self, supply: Supply, items: list[Item], error: CallError) -> None:
        with self._spread.changed:
            self._spread.supplies.remove(supply)
        supply.channel.close()
        idle = not supply.away
        at_work = list(next(iter(supply.away.values()), ()))
        items = items + supply.unanswered()
        if isinstance(error, PeerLost) and idle:
            # nothing was on its way: it was idle for long, and its node has given it to another caller
            error = PeerBusy("the lease is over", why=error.why or error.what)
        elif isinstance(error, PeerLost) and at_work:
            error = self._grid.why_lost(supply.channel, self._point.name, error)
            if isinstance(error, WorkerLost):
                for item in at_work:
                    item.deaths += 1
                    if item.deaths >= DEATHS:  # perhaps it is what workers do not survive
                        self._spread.ours(item)
        self._spread.back(items)
        self._grid.lost(supply.place, error)
        self._not_before[supply.place] = clock.perf_counter() + 2 * RETRY
