"""The short way to a worker on this host: a socket that the kernel guards, instead of TCP and CURVE.

A worker listens on a Unix socket without a file (Linux's abstract names, which only processes of its own network
namespace can see), beside its port. Its name is as secret as the lease that comes with it; who is at the other end
the kernel says: only processes of the same user are listened to, at both ends. The caller shows its lease's token in a
`Hello`, and the worker answers `Welcome` or a `Refusal`. Where there is no such socket to be reached (another host,
another container, another user, another system), the caller takes the long way (`link`).

::

    caller                                    worker
      │ connect  ── same user? ──────────────▶ │  accept ── same user? else closed
      │ [ Hello | token, caller, home ] ─────▶ │
      │ ◀───────── [ Welcome | home ] or [ Refusal | … lease_over ]
      │ [ Hello | token, caller ] ───────────▶ │  only if its memory cannot be opened: none is shared, then
      │ as in `wire` from here on
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from bundlebee.calls import wire
from bundlebee.calls.inbox import CallerGone, LocalWay
from bundlebee.calls.rpc import pack_error, unpack_error
from bundlebee.calls.sharing import Sharing
from bundlebee.calls.stream import Frame, FrameStream
from bundlebee.clock import clock
from bundlebee.errors import BundlebeeError, PeerLost, ProtocolError
from bundlebee.interrupts import let_pass, waiting
from bundlebee.platform import has_local_sockets, is_stopped, peer_of
from bundlebee.words import Reason

GREETING_SECONDS = 5.0  #: the worker answers a Hello at once, from a thread of its own
HELLO_SECONDS = 1.0  #: the caller says it in the moment in which it connects
LOOK_SECONDS = 2.0  #: a worker that is silent for so long is looked at: it may have been stopped
STOPPED_SECONDS = 5.0  #: stopped for so long, it counts as lost, as a host that no longer answers does

_open: weakref.WeakSet[LocalLink] = weakref.WeakSet()


def connect(
    name: str, token: str, caller: str, worker: str, address: str, sharing: Sharing
) -> LocalLink | None:
    """A connection to the worker that listens under that name, for that lease; None where there is none to be had.

    Args:
        worker: the node's name, and ``address`` the worker's, for messages.
        sharing: memory that is offered to the worker.

    Raises:
        PeerBusy: the lease is over.
    """
    if not name or not has_local_sockets():
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect("\0" + name)
        pid, user = peer_of(sock)
        if user != os.geteuid():
            raise PermissionError("another user listens there")
        stream = FrameStream(sock)
        stream.send([wire.encode(wire.Hello(token, caller, sharing.offer()))])
        answer = stream.receive(GREETING_SECONDS)
    except (OSError, EOFError, ProtocolError) as error:
        sock.close()
        sharing.close()
        let_pass(error)
        return None
    message = wire.decode_to_caller(answer[0]) if answer else None
    if not isinstance(message, wire.Welcome):
        sock.close()
        sharing.close()
        if isinstance(message, wire.Refusal):
            raise unpack_error(message.error)
        return None
    if not sharing.accepted(message.home):
        stream.send([wire.encode(wire.Hello(token, caller))])
    return LocalLink(stream, pid, worker, address)


def after_fork() -> None:
    """In a child process: let go of the parent's connections, so that they end with the parent."""
    for link in list(_open):
        link.closed = True
        link.stream.socket.close()


class LocalLink:
    """The caller's end, with the methods of `link.Link`."""

    def __init__(self, stream: FrameStream, pid: int, name: str, address: str) -> None:
        self.name = name
        self.address = address
        self.lost: str | None = None  #: why the worker is lost, once it is
        self.keeps = False  #: large frames lie in shared memory
        self.closed = False
        self.stream = stream
        self._pid = pid
        self._looked = 0.0  # when `pollable` looked at the worker
        self._stopped_since: float | None = None
        _open.add(self)

    def send(self, frames: Sequence[Frame], *, copy: bool = True) -> bool:
        """Queue one message. False if the queue is full: read what has arrived, then try again.

        Raises:
            PeerLost: the connection is gone.
        """
        del copy  # nothing is copied that has not left
        if self.lost is not None:
            raise self.peer_lost()
        try:
            return self.stream.offer(frames)
        except OSError as error:
            let_pass(error)
            self.lost = "the connection ended"
            raise self.peer_lost() from None

    def recv(self, timeout: float | None = None) -> list[Frame] | None:
        """The next message; None after ``timeout`` seconds.

        Raises:
            PeerLost: the connection is gone, and everything that had arrived before was read.
        """
        try:
            if timeout is None and not self.stream.behind:
                with waiting():
                    frames = self.stream.receive(LOOK_SECONDS)
                if frames is not None:
                    return frames
            return self._recv_until(None if timeout is None else clock.monotonic() + timeout)
        except (EOFError, OSError) as error:
            let_pass(error)  # an alarm's TimeoutError is an OSError
            self.lost = self.lost or "the connection ended"
            raise self.peer_lost() from None

    def _recv_until(self, deadline: float | None) -> list[Frame] | None:
        stream = self.stream
        stopped_since: float | None = None
        while True:
            if stream.behind:
                stream.flush()
            frames = stream.receive(0.0)
            now = clock.monotonic()
            if frames is not None or (deadline is not None and now >= deadline):
                return frames
            if not is_stopped(self._pid):
                stopped_since = None
            elif stopped_since is None:
                stopped_since = now
            elif now - stopped_since > STOPPED_SECONDS:
                self.lost = f"its process {self._pid} is stopped"
                raise EOFError
            poll = select.poll()
            poll.register(stream.socket, select.POLLIN | (select.POLLOUT if stream.behind else 0))
            wait = LOOK_SECONDS if deadline is None else min(LOOK_SECONDS, deadline - now)
            with waiting():
                poll.poll(wait * 1000)

    def pollable(self) -> list[tuple[Any, int]]:
        """What to wait for, for `zmq.zmq_poll`. Asked for before each wait: so a worker that has been stopped is noticed here."""
        now = clock.monotonic()
        if now - self._looked > LOOK_SECONDS and self.lost is None and not self.closed:
            self._looked = now
            if not is_stopped(self._pid):
                self._stopped_since = None
            elif self._stopped_since is None:
                self._stopped_since = now
            elif now - self._stopped_since > STOPPED_SECONDS:
                self.give_up(f"its process {self._pid} is stopped")
        return [(self.stream.socket.fileno(), zmq.POLLIN | (zmq.POLLOUT if self.stream.behind else 0))]

    def check_lost(self) -> bool:
        """Whether the worker is lost, as far as is known without waiting."""
        if self.lost is None and self.stream.ended():
            self.lost = "the connection ended"
        return self.lost is not None

    def give_up(self, why: str) -> None:
        """Hang up, as if the worker were lost: the next to ask for a message is told so."""
        self.lost = why
        self.stream.hang_up()

    def peer_lost(self) -> PeerLost:
        """The error to raise for this link."""
        return PeerLost(f"lost {self.name} at {self.address}", why=self.lost)

    def close(self) -> None:
        """Hang up. What the worker computes for us it stops."""
        if self.closed:
            return
        self.closed = True
        self.stream.hang_up()
        self.stream.socket.close()


class LocalDoor:
    """The worker's end: accepts connections, greets, and tells when one ends. Its thread is ``bundlebee-local``.

    Args:
        greet: asked about each caller that says Hello: it holds the lease from now on, or the error says why not.
        adopt: told of it when it has been welcomed: it may send something now.
        gone: told of each greeted connection that ended; its descriptor is still open.
    """

    def __init__(
        self,
        greet: Callable[[LocalWay, wire.Hello], BundlebeeError | None],
        adopt: Callable[[LocalWay], None],
        gone: Callable[[LocalWay], None],
    ) -> None:
        self.name = secrets.token_hex(16)
        self._greet = greet
        self._adopt = adopt
        self._gone = gone
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("\0" + self.name)
        self._listener.listen(16)
        threading.Thread(target=self._run, name="bundlebee-local", daemon=True).start()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        ways: dict[int, LocalWay] = {}
        while True:
            for descriptor, _event in poll.poll():
                way = ways.pop(descriptor, None)
                if way is not None:
                    poll.unregister(descriptor)
                    self._gone(way)
                    way.released.set()
                    continue
                accepted = self._accept()
                if accepted is not None:
                    # nothing is asked for: a hang-up is told in any case, and data are no matter of this thread
                    descriptor = accepted.stream.socket.fileno()
                    ways[descriptor] = accepted
                    poll.register(descriptor, 0)

    def _accept(self) -> LocalWay | None:
        sock, _ = self._listener.accept()
        try:
            if peer_of(sock)[1] != os.geteuid():
                raise PermissionError
            stream = FrameStream(sock)
            frames = stream.receive(HELLO_SECONDS)
            hello = wire.decode_to_worker(frames[0]) if frames else None
            if not isinstance(hello, wire.Hello):
                raise ProtocolError("a caller that does not greet")
            way = LocalWay(stream)
            refusal = self._greet(way, hello)
            if refusal is not None:
                header = wire.Refusal(0, 0, 0, Reason.PEER_BUSY, pack_error(refusal), lease_over=True)
                stream.send([wire.encode(header)])
        except (OSError, EOFError, BundlebeeError):
            sock.close()
            return None
        if refusal is not None:
            sock.close()
            return None
        try:
            way.send([wire.encode(wire.Welcome(way.sharing.accept(hello.home)))])
        except CallerGone:
            pass  # that shows at once, as the end of any connection
        self._adopt(way)
        return way
