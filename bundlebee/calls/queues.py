"""A connection inside one process: two bounded queues, with the ends that a channel and a worker have elsewhere.

What is sent is what would be sent elsewhere, the same frames of bytes; only large buffers, which are the sender's own
memory, are copied, so that each end has its own.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from bundlebee.calls.waker import Waker
from bundlebee.calls.way import CallerGone, Way
from bundlebee.clock import clock
from bundlebee.errors import PeerLost
from bundlebee.interrupts import waiting

MOST_MESSAGES = 64  #: that wait, each way; as between processes


class Ended(BaseException):
    """There is nothing more to do for a worker. Not an `Exception`: nobody between here and its thread is to take it."""


class QueueLink:
    """The caller's end; see `channel.Connection`.

    Args:
        on_close: called once when the caller hangs up.
    """

    keeps = False  # to copy a buffer costs less than its digest

    def __init__(self, name: str, on_close: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.lost: str | None = None
        self.closed = False
        self._on_close = on_close
        self._lock = threading.Lock()
        self._caller = threading.Condition(self._lock)
        self._worker = threading.Condition(self._lock)
        self._there: deque[list[Any]] = deque()
        self._back: deque[list[Any]] = deque()
        self._called = False
        self._bell = Waker()  # rung while there is something to read

    # -- the caller ---------------------------------------------------------------------------------------

    def send(self, frames: Sequence[Any], *, copy: bool = True) -> bool:
        if self.lost is None and len(self._there) >= MOST_MESSAGES:
            return False
        own = _own(frames)
        with self._lock:
            if self.lost is not None or self.closed:
                raise self.peer_lost()
            self._there.append(own)
            self._worker.notify_all()
        return True

    def recv(self, timeout: float | None = None) -> list[Any] | None:
        deadline = None if timeout is None else clock.monotonic() + timeout
        with self._lock:
            while not self._back:
                if self.lost is not None:
                    raise self.peer_lost()
                left = None if deadline is None else deadline - clock.monotonic()
                if left is not None and left <= 0:
                    return None
                with waiting():
                    self._caller.wait(left)
            frames = self._back.popleft()
            if not self._back and self.lost is None:
                self._bell.clear()
            self._worker.notify_all()
            return frames

    def pollable(self) -> list[tuple[Any, int]]:
        return [(self._bell.fileno(), zmq.POLLIN)]

    def check_lost(self) -> bool:
        return self.lost is not None

    def give_up(self, why: str) -> None:
        self.end(why)

    def peer_lost(self) -> PeerLost:
        return PeerLost(f"lost {self.name}", why=self.lost or "the channel was closed")

    def close(self) -> None:
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._worker.notify_all()
            self._caller.notify_all()
        self._on_close()
        self._bell.close()

    # -- the worker ---------------------------------------------------------------------------------------

    def end(self, why: str) -> None:
        """The worker is gone. What it has answered can be read."""
        with self._lock:
            if self.lost is None:
                self.lost = why
            self._caller.notify_all()
            self._worker.notify_all()
            self._bell.wake()

    def answer(self, frames: Sequence[Any]) -> None:
        """Send a message to the caller; waits for one who reads slowly.

        Raises:
            CallerGone: it has hung up.
        """
        own = _own(frames)
        with self._lock:
            while len(self._back) >= MOST_MESSAGES and not self.closed and self.lost is None:
                self._worker.wait()
            if self.closed or self.lost is not None:
                raise CallerGone
            self._back.append(own)
            self._caller.notify_all()
            self._bell.wake()

    def call(self) -> None:
        """End the wait of `asked`."""
        with self._lock:
            self._called = True
            self._worker.notify_all()

    def asked(self, *, wait: bool) -> list[Any] | None:
        """The next message of the caller; None if there is none and we shall not wait, or somebody has called.

        Raises:
            Ended: the caller has hung up.
        """
        with self._lock:
            while True:
                if self.closed or self.lost is not None:
                    raise Ended
                if self._there:
                    return self._there.popleft()
                if not wait:
                    return None
                if self._called:
                    self._called = False
                    return None
                self._worker.wait()


class QueueWay:
    """The worker's way back."""

    def __init__(self, link: QueueLink) -> None:
        self._link = link

    def is_same(self, other: Way | None) -> bool:
        return other is self

    def send(self, frames: Sequence[Any], copy: bool = True, wait: bool = True) -> None:
        self._link.answer(frames)

    def hang_up(self) -> None:
        self._link.end("its lease is over")


class QueueLetters:
    """The worker's messages, see `way.Letters`. `next` raises `Ended` when the caller has hung up."""

    def __init__(self, link: QueueLink, way: QueueWay) -> None:
        self._link = link
        self._way = way
        self._kept: deque[tuple[Way, list[Any]]] = deque()
        self.idle: Callable[[], bool] = lambda: False

    def call(self) -> None:
        self._link.call()

    def next(self) -> tuple[Way, list[Any]] | None:
        if self._kept:
            return self._kept.popleft()
        frames = self._link.asked(wait=True)
        return None if frames is None else (self._way, frames)

    def poll(self) -> tuple[Way, list[Any]] | None:
        try:
            frames = self._link.asked(wait=False)
        except Ended:
            return None
        return None if frames is None else (self._way, frames)

    def keep(self, message: tuple[Way, list[Any]]) -> None:
        self._kept.append(message)

    def dismiss(self, way: Way) -> None:
        way.hang_up()


def _own(frames: Sequence[Any]) -> list[Any]:
    """Frames that nobody else can change."""
    return [frame if type(frame) is bytes else bytearray(frame) for frame in frames]
