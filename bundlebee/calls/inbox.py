"""Where a worker's messages come from, and the ways on which answers go back.

A caller comes over TCP, to the worker's ROUTER socket, or over the short way of this host (`local`). While a local
caller holds the lease the main thread waits for it alone: nobody else has a right to be heard then, and who comes
over TCP meanwhile is read when that lease is over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from bundlebee.calls.security import hang_up as hang_up_descriptor
from bundlebee.calls.sharing import Sharing
from bundlebee.calls.stream import FrameStream
from bundlebee.calls.waker import Waker
from bundlebee.calls.way import CallerGone as CallerGone
from bundlebee.calls.way import Way
from bundlebee.errors import ProtocolError

SWEEP = 0.2
"""Seconds. An idle worker that has memory which it shares looks so often whether it can let go of it: that takes 10 µs."""


SLOW_MS = 500  #: between two looks whether a caller that does not read has been hung up
MOST_ROUTES = 256  #: of callers that were hung up, which are remembered
WARM_MS = 20  #: so long the next message over TCP is waited for alone, which costs less than to poll


class RoutedWay:
    """The way back to a caller over TCP."""

    __slots__ = ("_header", "_hung_up", "_socket", "route")

    def __init__(
        self, sock: zmq.Socket[bytes], route: bytes, header: Any, hung_up: dict[bytes, None]
    ) -> None:
        self._socket = sock
        self._header = header
        self._hung_up = hung_up
        self.route = route

    @property
    def descriptor(self) -> int:
        """Of the connection that the message came from."""
        return int(self._header.get(zmq.MessageOption.SRCFD))

    def is_same(self, other: Way | None) -> bool:
        return isinstance(other, RoutedWay) and other.route == self.route

    def hang_up(self) -> None:
        """As `way.Way.hang_up`."""
        self._hung_up[self.route] = None
        while len(self._hung_up) > MOST_ROUTES:
            self._hung_up.pop(next(iter(self._hung_up)), None)
        hang_up_descriptor(self.descriptor)

    def send(self, frames: Sequence[Any], copy: bool = True, wait: bool = True) -> None:
        """As `way.Way.send`."""
        # ZeroMQ keeps a connection that has ended as long as there is something of it to read
        while self.route not in self._hung_up:
            try:
                self._socket.send_multipart([self.route, *frames], 0 if wait else zmq.DONTWAIT, copy=copy)
                return
            except zmq.Again:
                if not wait:
                    return
            except zmq.ZMQError as error:
                if error.errno == zmq.EHOSTUNREACH:
                    raise CallerGone from None
                raise
        raise CallerGone


class LocalWay:
    """The way back to a caller on this host."""

    __slots__ = ("released", "sharing", "stream")

    def __init__(self, stream: FrameStream) -> None:
        self.stream = stream
        self.sharing = Sharing()  #: memory
        self.released = threading.Event()  #: nobody watches its descriptor any more, so it may be closed

    def is_same(self, other: Way | None) -> bool:
        return other is self

    def hang_up(self) -> None:
        """As `way.Way.hang_up`."""
        self.stream.hang_up()

    def send(self, frames: Sequence[Any], copy: bool = True, wait: bool = True) -> None:
        """As `way.Way.send`; it always waits."""
        try:
            self.stream.send(frames)
        except OSError:
            raise CallerGone from None


class Inbox:
    """The messages of one worker process, see `way.Letters`; for its main thread."""

    def __init__(self, sock: zmq.Socket[bytes]) -> None:
        self._router = sock
        sock.rcvtimeo = WARM_MS
        sock.sndtimeo = SLOW_MS
        self._hung_up: dict[bytes, None] = {}  # routes of callers over TCP, the last ones
        self._warm = False  # a caller over TCP was here a moment ago, and may come again at once
        self._waker = Waker()
        self._arrived: deque[LocalWay] = deque()
        self._local: LocalWay | None = None
        self._kept: deque[tuple[Way, list[Any]]] = deque()
        self.idle: Callable[[], bool] = lambda: False
        """Does something while nothing is asked over TCP, for a millisecond; whether there is more to do."""
        self._called = False

    def adopt(self, way: LocalWay) -> None:
        """A local caller holds the lease now. Any thread may say so."""
        self._arrived.append(way)
        self._waker.wake()

    def descriptors(self) -> list[int]:
        """Of the connection to the local caller, if there is one."""
        return [] if self._local is None else [self._local.stream.socket.fileno()]

    def call(self) -> None:
        """End the wait of `next` that is going on, or else the next one. Any thread may."""
        self._called = True
        self._waker.wake()

    def next(self) -> tuple[Way, list[Any]] | None:
        """The next message, and whom to answer; waits for it. None: somebody has called."""
        while True:
            if self._called:
                self._called = False
                return None
            if self._kept:
                return self._kept.popleft()
            local = self._local
            if local is not None:
                try:
                    frames = local.stream.receive(SWEEP if local.sharing.lends else None)
                except (EOFError, OSError, ProtocolError):
                    self._drop(local)
                    continue
                if frames:
                    return local, frames
                self._waker.clear()
                local.sharing.sweep()
            elif self._arrived:
                self._local = self._arrived.popleft()
                self._local.stream.wake_by(self._waker.fileno())
            elif (message := self._routed(0 if self._warm else zmq.DONTWAIT)) is not None:
                self._warm = True
                return message
            elif self._warm:
                self._warm = False
            else:
                wait = 0 if self.idle() else -1
                if zmq.zmq_poll([(self._router, zmq.POLLIN), (self._waker.fileno(), zmq.POLLIN)], wait):
                    self._waker.clear()

    def dismiss(self, way: Way) -> None:
        """The lease of that caller is over, and it was told so. Who came over TCP hangs up itself, since what was said
        last may not have left; what it had on its way is refused."""
        if way is self._local:
            self._drop(self._local)

    def poll(self) -> tuple[Way, list[Any]] | None:
        """A message that has come already, and was not kept."""
        if self._local is None:
            return self._routed(zmq.DONTWAIT)
        try:
            frames = self._local.stream.receive(0.0)
        except (EOFError, OSError, ProtocolError):
            return None
        return (self._local, frames) if frames else None

    def keep(self, message: tuple[Way, list[Any]]) -> None:
        """Put a message back, behind those that were put back before: `next` will give it."""
        self._kept.append(message)

    def _routed(self, flags: int) -> tuple[Way, list[Any]] | None:
        while True:
            try:
                frames: list[Any] = self._router.recv_multipart(flags, copy=False)
            except zmq.Again:
                return None
            if len(frames) > 1:
                way = RoutedWay(self._router, frames[0].bytes, frames[1], self._hung_up)
                return way, [frame.buffer for frame in frames[1:]]

    def _drop(self, local: LocalWay) -> None:
        self._local = None
        local.hang_up()
        local.released.wait()
        local.stream.socket.close()
        local.sharing.close()
