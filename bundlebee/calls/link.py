"""One CURVE connection to one peer that says at once when it is lost.

A DEALER socket and its monitor. The calling thread uses both itself: no helper thread, no hop. A link never
reconnects; what was in flight when it broke is lost, and the one who knows what that means is the caller.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any

import zmq

from bundlebee.calls.keys import GridKeys
from bundlebee.calls.security import LARGEST_FRAME, secure_client
from bundlebee.clock import clock
from bundlebee.errors import PeerLost
from bundlebee.interrupts import waiting

#: Messages that wait on either side for a caller that is slow to read. What is printed comes 64 KiB a message.
MOST_MESSAGES = 64

_OVER = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)

_WHY = {
    int(zmq.EVENT_DISCONNECTED): "the connection ended",
    int(zmq.EVENT_CLOSED): "nobody accepts connections at that address",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): "it hung up, as one that holds another grid's key does",
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "it does not speak our protocol or holds another grid's key",
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "it turned us away: it holds another grid's key",
}

Frame = bytes | memoryview

PATIENCE_MS = 20  #: so long an answer is waited for before anybody looks whether the peer is there


class Link:
    """A connection to ``address`` (``ip:port``). Connecting never blocks and never fails here: a peer that is
    not there is reported as lost by the first :meth:`recv`. For one thread at a time.

    Args:
        name: the peer's name, for messages.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        keys: GridKeys,
        address: str,
        name: str = "",
        largest_frame: int = LARGEST_FRAME,
    ) -> None:
        self.address = address
        self.name = name or address
        self.lost: str | None = None  #: why the peer is lost, once it is
        self.keeps = True  #: it keeps large frames, see `larder`
        self.socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        secure_client(self.socket, keys, largest_frame)
        self.socket.rcvtimeo = PATIENCE_MS
        self.socket.rcvhwm = MOST_MESSAGES
        endpoint = f"inproc://bundlebee.link.{id(self)}.{os.urandom(4).hex()}"
        self.socket.monitor(endpoint, int(_OVER))
        self.monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self.monitor.linger = 0
        self.monitor.connect(endpoint)
        self._poller = zmq.Poller()
        self._poller.register(self.socket, zmq.POLLIN)
        self._poller.register(self.monitor, zmq.POLLIN)
        self.closed = False
        self.socket.connect(f"tcp://{address}")

    def send(self, frames: Sequence[Frame], *, copy: bool = True) -> bool:
        """Queue one message. False if the queue is full: read what has arrived, then try again.

        Raises:
            PeerLost: the connection is known to be gone.
        """
        if self.lost is not None:
            raise self.peer_lost()
        try:
            self.socket.send_multipart(frames, zmq.DONTWAIT, copy=copy)
        except zmq.Again:
            return False
        return True

    def recv(self, timeout: float | None = None, *, copy: bool = False) -> list[Any] | None:
        """The next message: bytes, or without ``copy`` buffers that may be written to; None after ``timeout`` seconds.

        Raises:
            PeerLost: the connection is gone, and everything that had arrived before was read.
        """
        if timeout == 0 or self.lost is not None:
            try:
                return self._receive(zmq.DONTWAIT, copy)
            except zmq.Again:
                if self.lost is not None or self.check_lost():
                    # between the two looks the last message may have come
                    return self._last_words(copy)
                return None
        deadline = None if timeout is None else clock.monotonic() + timeout
        if timeout is None or timeout * 1000 > PATIENCE_MS:
            # most answers come soon: to wait for one socket costs less than to poll two
            try:
                with waiting():
                    return self._receive(0, copy)
            except zmq.Again:
                pass
        while True:
            wait = None if deadline is None else max(0, int((deadline - clock.monotonic()) * 1000 + 0.999))
            with waiting():
                ready = dict(self._poller.poll(wait))
            if self.socket in ready:
                return self._receive(0, copy)
            if self.monitor in ready and self.check_lost():
                return self._last_words(copy)
            if not ready:
                return None

    def _receive(self, flags: int, copy: bool) -> list[Any]:
        frames: list[Any] = self.socket.recv_multipart(flags, copy=copy)
        return frames if copy else [frame.buffer for frame in frames]

    def _last_words(self, copy: bool) -> list[Any]:
        """What came in before the end is still good."""
        try:
            return self._receive(zmq.DONTWAIT, copy)
        except zmq.Again:
            raise self.peer_lost() from None

    def pollable(self) -> list[tuple[Any, int]]:
        """What to wait for, for `zmq.zmq_poll`."""
        return [(self.socket, zmq.POLLIN), (self.monitor, zmq.POLLIN)]

    def check_lost(self) -> bool:
        """Read the monitor without waiting; whether the peer is lost."""
        while self.lost is None:
            if not int(self.monitor.EVENTS) & zmq.POLLIN:  # an exception each time would cost more
                return False
            event = self.monitor.recv_multipart(zmq.DONTWAIT)
            kind = struct.unpack("=HI", event[0])[0]
            self.lost = _WHY.get(kind, "the connection ended")
        return True

    def give_up(self, why: str) -> None:
        """Count the peer as lost."""
        self.lost = why

    def peer_lost(self) -> PeerLost:
        """The error to raise for this link."""
        where = self.address if self.name == self.address else f"{self.name} at {self.address}"
        return PeerLost(f"lost {where}", why=self.lost)

    def close(self) -> None:
        """Hang up. What the peer computes for us it stops."""
        if self.closed:
            return
        self.closed = True
        self.socket.disable_monitor()
        self.monitor.close()
        self.socket.close()
