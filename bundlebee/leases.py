"""The workers that one executor has: asked of peers, kept as long as there is something to do, and given back."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from bundlebee.calls.tasks import Hand, Schedule
from bundlebee.clock import clock
from bundlebee.errors import PeerBusy, PeerLost
from bundlebee.orders import Order
from bundlebee.words import OWN

if TYPE_CHECKING:
    from bundlebee.calls.transport import Channel
    from bundlebee.luggage import Luggage
    from bundlebee.peers import Peers

RETRY = 0.25  #: seconds until peers are asked again for workers
SOON = 0.05  #: the same while the grid is still answering our greeting
ALONE = 4.0  #: seconds without any worker, and nobody busy, until our own cores stand in; a lost node is back by then
IDLE = 1.0  #: seconds after which an idle worker is given back, whether or not somebody asks for it


class Worker(Hand[Order]):
    """A leased worker."""

    __slots__ = ("channel", "holds", "idle_since", "place")

    def __init__(self, place: str, channel: Channel, holds: int) -> None:
        super().__init__()
        self.holds = holds  #: bundles of the program
        self.place = place
        self.channel = channel
        self.idle_since = clock.perf_counter()


class Leases:
    """For the dispatcher's thread; each peer is asked in a thread of its own.

    Args:
        most: workers to have at a time; None is as many as there are.
        done: whether nothing is left to do.
        said: told what tasks say at a place: its name, a place for the pieces of what is long, the stream, the text.
        ring: wakes the dispatcher.
    """

    def __init__(
        self,
        peers: Peers,
        luggage: Luggage,
        schedule: Schedule[Order],
        most: int | None,
        *,
        done: Callable[[], bool],
        said: Callable[[str, dict[str, list[str]], str, str], None],
        ring: Callable[[], None],
    ) -> None:
        self._peers = peers
        self._luggage = luggage
        self._schedule = schedule
        self._most = most
        self._done = done
        self._said = said
        self._ring = ring
        self.new: deque[Worker] = deque()  #: that have come, and wait for `adopt`
        self._asking: dict[str, threading.Thread] = {}
        self._not_before: dict[str, float] = {}
        self._hope = clock.perf_counter()  # when we last had a worker, or were told that all are taken
        self._broken: Exception | None = None

    def workers(self) -> list[Worker]:
        """All that there are."""
        return [hand for hand in self._schedule.hands if isinstance(hand, Worker)]

    def pause(self) -> float:
        """Seconds until peers are to be asked again."""
        return SOON if self._peers.coming() else RETRY

    def look(self) -> None:
        """Look what of the program's own is imported: a worker that lacks some of it gets nothing any more."""
        held = self._luggage.look()
        for worker in self.workers():
            worker.retiring = worker.holds < held

    def ask(self, now: float) -> None:
        """Ask peers for more workers, each in a thread of its own: a slow one must not hold up the others."""
        self.look()
        workers = [worker for worker in self.workers() if not worker.retiring]
        wanted = len(self._schedule.waiting) + sum(bool(worker.away) for worker in workers)
        missing = min(wanted, self._most or wanted) - len(workers) - len(self.new)
        if workers or self._asking or missing <= 0:
            self._hope = now
        if missing <= 0:
            return
        for place, slots in self._peers.workers(alone=now - self._hope > ALONE):
            more = min(slots - sum(worker.place == place for worker in workers), missing)
            if more <= 0 or place in self._asking or now < self._not_before.get(place, 0.0):
                continue
            missing -= more
            thread = threading.Thread(
                target=self._lease, args=(place, more), name=f"bundlebee-lease-{place}", daemon=True
            )
            self._asking[place] = thread
            try:
                thread.start()
            except RuntimeError:  # the interpreter ends, and this Python starts no threads then
                self._lease(place, more)

    def _lease(self, place: str, wanted: int) -> None:
        try:
            for _ in range(wanted):
                if self._done():
                    return
                refs = self._luggage.refs
                channel = self._peers.open(place, refs)
                channel.on_output = partial(self._said, place, {})
                self.new.append(Worker(place, channel, len(refs)))
                self._ring()
        except PeerBusy:
            self._hope = clock.perf_counter()
        except Exception as error:
            if isinstance(error, PeerLost) or place != OWN:
                self._peers.lost(place, error)
            else:
                self._broken = error  # it would be the same the next time
        finally:
            self._not_before[place] = clock.perf_counter() + RETRY
            self._asking.pop(place, None)
            self._ring()

    def adopt(self) -> Exception | None:
        """Take those that have come; why none can be had on this machine, if that is so."""
        while self.new:
            self._schedule.hands.append(self.new.popleft())
        error = self._broken
        if error is not None:
            self._broken = None
        return error

    def let_go(self, now: float) -> None:
        """Give workers back that are idle, or that lack what was imported since they were leased."""
        idle = not self._schedule.waiting
        for worker in self.workers():
            if worker.away:
                worker.idle_since = now
            elif worker.retiring or (idle and worker.place != OWN and now - worker.idle_since > IDLE):
                self._schedule.lost(worker)
                self.hang_up(worker)

    def hang_up(self, worker: Worker) -> None:
        """Give one back; what it is at ends there."""
        worker.channel.close()
        self._peers.done(worker.channel)

    def join(self, timeout: float) -> list[threading.Thread]:
        """Wait for those who ask, so many seconds for each; gives the threads."""
        threads = list(self._asking.values())
        for thread in threads:
            thread.join(timeout)
        return threads
