"""Waits for the outcomes of calls on behalf of threads that must not wait: those that run an event loop.

One thread for all of them, ``bundlebee-courier``; it is started by the first call and sleeps while nothing is away. A call
is submitted by whoever makes it, on a channel that the courier then has for itself: it alone uses the socket until it says
what became of the call (`Trip.done`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from bundlebee.calls.waiting import Waker, wait
from bundlebee.clock import clock
from bundlebee.errors import CallTimeout
from bundlebee.loggers import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundlebee.calls.transport import Channel, Outcome

log = get_logger("bundlebee.remote")

LOOK = 2.0
"""Seconds between two looks at all channels: a socket does not tell everything by becoming readable."""


class Trip:
    """One call that is away.

    Args:
        channel: that it was submitted on; nothing else is under way there.
        ticket: of its chunk.
        done: told once, by the courier's thread, what became of it: its outcome, or why there is none. The channel is the
            callee's then.
        timeout: seconds from now until it counts as lost; None: as long as the worker is there.
    """

    __slots__ = ("_done", "channel", "deadline", "dropped", "ticket", "timeout")

    def __init__(
        self,
        channel: Channel,
        ticket: int,
        done: Callable[[Outcome | BaseException], None],
        timeout: float | None,
    ) -> None:
        self.channel = channel
        self.ticket = ticket
        self._done = done
        self.timeout = timeout
        self.deadline = None if timeout is None else clock.monotonic() + timeout
        self.dropped = False  #: nobody wants its outcome any more

    def end(self, result: Outcome | BaseException) -> None:
        """Tell what became of it."""
        try:
            self._done(result)
        except Exception:
            log.exception("the outcome of a call got lost")


class Dropped(Exception):
    """A trip ended because nobody wanted it any more; what its worker computes is to be stopped."""


class Courier:
    """One for a program. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._new: deque[Trip] = deque()
        self._away: dict[int, Trip] = {}  #: by identity of their channels; the thread's own
        self._waker: Waker | None = None
        self._thread: threading.Thread | None = None
        self._closing = False

    def carry(self, trip: Trip) -> None:
        """Wait for a call that was submitted."""
        self._new.append(trip)
        with self._lock:
            if self._thread is None:
                self._waker = Waker()
                self._thread = threading.Thread(target=self._run, name="bundlebee-courier", daemon=True)
                self._thread.start()
        self._wake()

    def drop(self, trip: Trip) -> None:
        """Nobody waits for it any more: it ends with `Dropped`, unless it has ended."""
        trip.dropped = True
        self._wake()

    def close(self) -> None:
        """End the thread, and wait until it has ended. What is away never ends."""
        self._closing = True
        self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)

    def after_fork(self, why: BaseException) -> None:
        """In a child process: the thread is the parent's, and so are the connections; what is away ends with that."""
        lost = [*self._away.values(), *self._new]
        self.__init__()  # type: ignore[misc]
        for trip in lost:
            trip.end(why)

    def _wake(self) -> None:
        if self._waker is not None:
            self._waker.wake()

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        looked = clock.monotonic()
        while not self._closing:
            while self._new:
                trip = self._new.popleft()
                self._away[id(trip.channel)] = trip
            now = clock.monotonic()
            for trip in list(self._away.values()):
                if trip.dropped:
                    self._end(trip, Dropped())
                elif trip.deadline is not None and now >= trip.deadline:
                    self._end(trip, _too_late(trip))
            channels = [trip.channel for trip in self._away.values()]
            if now - looked >= LOOK:
                looked = now
                self._read(channels)
                continue
            self._read(wait(channels, self._pause(now) if channels else None, waker=self._waker))

    def _pause(self, now: float) -> float:
        deadlines = [trip.deadline for trip in self._away.values() if trip.deadline is not None]
        return max(0.0, min([LOOK, *(deadline - now for deadline in deadlines)]))

    def _read(self, channels: Iterable[Channel]) -> None:
        for channel in channels:
            trip = self._away[id(channel)]
            try:
                outcomes = channel.poll(0.0)
            except Exception as error:
                self._end(trip, error)
                continue
            for outcome in outcomes:
                if outcome.ticket == trip.ticket:
                    self._end(trip, outcome)

    def _end(self, trip: Trip, result: Outcome | BaseException) -> None:
        del self._away[id(trip.channel)]
        trip.end(result)


def _too_late(trip: Trip) -> CallTimeout:
    return CallTimeout(
        f"{trip.channel.node_name} has not answered", why=f"the deadline of {trip.timeout:g} s is over"
    )
