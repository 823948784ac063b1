"""Requests between nodes and guests: an operation's name and bytes there, bytes back.

Everything that is not a shipped call goes this way: leases, the registry's pulls, a bundle's archive. ::

    request   [ number: 8 bytes ][ op: utf-8 ][ body ][ buffer ]…
    answer    [ number: 8 bytes ][ "+"       ][ body ][ buffer ]…
              [ number: 8 bytes ][ "-"       ][ msgpack [kind, what, why, hint] ]

A server has one thread at its socket and starts handler threads as needed, so that a slow operation does
not hold up a quick one; beyond `MOST_THREADS` requests wait, beyond `MOST_WAITING` they are refused as
busy. An error of ours (`bundlebee.errors`) that a handler raises is raised again at the client; any other
is logged here and reaches the client as a `CallError` that names it.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import zmq

from bundlebee import errors
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.link import Frame, Link
from bundlebee.calls.security import Doorman, secure_server
from bundlebee.clock import clock
from bundlebee.errors import BundlebeeError, CallError, CallTimeout, PeerBusy, PortInUse
from bundlebee.loggers import get_logger

log = get_logger("bundlebee.calls")

LARGEST_FRAME = 256 << 20  #: bytes; a bundle's archive travels in smaller pieces, nothing else comes near
MOST_THREADS = 16  #: handlers at work at once; they wait for disks and starting workers rather than compute
MOST_WAITING = 256  #: requests in the queue; a healthy node never has more than a few

Handler = Callable[[bytes, Sequence[bytes]], tuple[bytes, Sequence[Frame]]]


class Server:
    """Serves ``handlers`` at ``ip:port`` until :meth:`close`. ``port`` None takes any free one.

    Raises:
        PortInUse: another process listens there.
        InterfaceError: the address is not one of this machine's.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        keys: GridKeys,
        ip: str,
        port: int | None = None,
        handlers: Mapping[str, Handler] | None = None,
    ) -> None:
        self._context = context
        self._handlers: dict[str, Handler] = dict(handlers or {})
        self._work: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._waiting = 0
        self._lock = threading.Lock()
        self._closed = False
        self._socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        secure_server(self._socket, keys, LARGEST_FRAME)
        self._doorman = Doorman.watch(self._socket, keys)
        try:
            self.port = bind(self._socket, ip, port)
        except BundlebeeError:
            self._doorman.leave(self._socket)
            self._socket.close()
            raise
        self.address = f"{ip}:{self.port}"  #: what clients connect to
        self._answers_name = f"inproc://bundlebee.rpc.{id(self)}.{os.urandom(4).hex()}"
        self._answers: zmq.Socket[bytes] = context.socket(zmq.PULL)
        self._answers.bind(self._answers_name)
        self._stop = self._answer_socket()
        self._main = threading.Thread(target=self._run, name="bundlebee-rpc", daemon=True)
        self._main.start()

    def handle(self, op: str, handler: Handler) -> None:
        """Add an operation. Handlers run in threads of the server's, several at once."""
        self._handlers[op] = handler

    def close(self) -> None:
        """Stop listening. Handlers at work finish; their answers are dropped."""
        if self._closed:
            return
        self._closed = True
        self._stop.send(b"")
        self._main.join()
        self._stop.close()
        with self._lock:
            threads = list(self._threads)
        for _ in threads:
            self._work.put(None)
        for thread in threads:
            thread.join(timeout=5)

    # -- the socket's thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._answers, zmq.POLLIN)
        try:
            while True:
                ready = dict(poller.poll())
                if self._answers in ready:
                    frames = self._answers.recv_multipart(copy=False)
                    if len(frames) == 1:
                        return
                    self._socket.send_multipart(frames, copy=False)
                if self._socket in ready:
                    self._accept(self._socket.recv_multipart())
        except zmq.ContextTerminated:
            pass
        finally:
            self._doorman.leave(self._socket)
            self._socket.close()
            self._answers.close()

    def _accept(self, frames: list[bytes]) -> None:
        if len(frames) < 4 or len(frames[1]) != 8:
            return  # only a member can send this, so it is a bug somewhere, not an attack
        with self._lock:
            busy = self._waiting >= MOST_WAITING
            if not busy:
                self._waiting += 1
                if self._waiting > self._idle and len(self._threads) < MOST_THREADS:
                    thread = threading.Thread(
                        target=self._work_off, name="bundlebee-rpc-handler", daemon=True
                    )
                    self._threads.append(thread)
                    self._idle += 1
                    thread.start()
        if busy:
            refusal = pack_error(PeerBusy("the node has too many requests to answer", hint="ask again later"))
            self._socket.send_multipart([*frames[:2], b"-", refusal])
        else:
            self._work.put(frames)

    # -- the handlers' threads --------------------------------------------------------------------------

    def _answer_socket(self) -> zmq.Socket[bytes]:
        sock: zmq.Socket[bytes] = self._context.socket(zmq.PUSH)
        sock.linger = 0
        sock.connect(self._answers_name)
        return sock

    def _work_off(self) -> None:
        answers = self._answer_socket()
        try:
            while (frames := self._work.get()) is not None:
                with self._lock:
                    self._waiting -= 1
                    self._idle -= 1
                route, number, op, body, *buffers = frames
                reply = self._perform(op.decode("utf-8", "replace"), body, buffers)
                with self._lock:
                    self._idle += 1
                try:
                    answers.send_multipart([route, number, *reply], zmq.DONTWAIT)
                except zmq.Again:
                    pass  # the server is closing
        except zmq.ContextTerminated:
            pass
        finally:
            answers.close()

    def _perform(self, op: str, body: bytes, buffers: list[bytes]) -> list[Frame]:
        handler = self._handlers.get(op)
        try:
            if handler is None:
                raise CallError(
                    f"this node does not know the operation {op!r}", hint="is it of another version?"
                )
            answer, more = handler(body, buffers)
            return [b"+", answer, *more]
        except BundlebeeError as error:
            return [b"-", pack_error(error)]
        except Exception as error:
            log.exception("the operation %s failed", op)
            return [
                b"-",
                pack_error(CallError(f"{op} failed at the node", why=f"{type(error).__name__}: {error}")),
            ]


class Client:
    """Asks servers; thread-safe. The asking thread uses the socket itself; connections are kept."""

    def __init__(self, context: zmq.Context[Any], keys: GridKeys, *, kept: int = 64) -> None:
        self._context = context
        self._keys = keys
        self._kept = kept
        self._idle: dict[str, list[Link]] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._number = 0

    def request(
        self, address: str, op: str, body: bytes = b"", buffers: Sequence[Frame] = (), timeout: float = 5.0
    ) -> tuple[bytes, list[bytes]]:
        """Ask the server at ``address`` (``ip:port``) and wait for its answer.

        Args:
            timeout: seconds.

        Returns:
            the answer's body and its buffers.

        Raises:
            PeerLost: nobody is there, or went away before the answer, or holds another key.
            CallTimeout: no answer in time; the operation may still be running there.
            BundlebeeError: what the handler there raised.
        """
        link = self._take(address)
        try:
            with self._lock:
                self._number += 1
                number = self._number.to_bytes(8, "big")
            link.send([number, op.encode(), body, *buffers])
            deadline = clock.monotonic() + timeout
            while True:
                answer = link.recv(max(0.0, deadline - clock.monotonic()), copy=True)
                if answer is None:
                    raise CallTimeout(f"{address} did not answer {op}", why=f"no answer within {timeout:g} s")
                if answer[0] == number:
                    break
        except BaseException:
            link.close()
            raise
        self._give_back(link)
        if answer[1] == b"-":
            raise unpack_error(answer[2])
        return answer[2], answer[3:]

    def close(self) -> None:
        """Hang up everywhere."""
        with self._lock:
            self._closed = True
            links = [link for links in self._idle.values() for link in links]
            self._idle.clear()
        for link in links:
            link.close()

    def _take(self, address: str) -> Link:
        while True:
            with self._lock:
                waiting = self._idle.get(address)
                link = waiting.pop() if waiting else None
                if waiting is not None and not waiting:
                    del self._idle[address]
            if link is None:
                return Link(self._context, self._keys, address, largest_frame=LARGEST_FRAME)
            if not link.check_lost():
                return link
            link.close()

    def _give_back(self, link: Link) -> None:
        lost: list[Link] = []
        with self._lock:
            # nodes come and go, and nobody asks again at an address where there is none any more
            for address, links in list(self._idle.items()):
                lost += [one for one in links if one.check_lost()]
                self._idle[address] = [one for one in links if one.lost is None]
                if not self._idle[address]:
                    del self._idle[address]
            if not self._closed and sum(map(len, self._idle.values())) < self._kept:
                self._idle.setdefault(link.address, []).append(link)
            else:
                lost.append(link)
        for one in lost:
            one.close()


def bind(sock: zmq.Socket[bytes], ip: str, port: int | None) -> int:
    """Bind a socket over tcp and return the port, any free one for None.

    Raises:
        PortInUse: another process listens there.
        InterfaceError: the address is not one of this machine's, or the port may not be used.
    """
    try:
        sock.bind(f"tcp://{ip}:{'*' if port is None else port}")
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise PortInUse(
                f"port {port} of {ip} is in use",
                hint="another node runs there already? give another port, or none to take a free one",
            ) from None
        raise errors.InterfaceError(f"cannot listen at {ip}:{port or '*'}", why=error.strerror) from None
    return int(sock.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1])


def pack_error(error: BundlebeeError) -> bytes:
    """An error of ours as bytes."""
    return msgspec.msgpack.encode([type(error).__name__, error.what, error.why, error.hint])


def unpack_error(data: bytes) -> BundlebeeError:
    """The inverse of :func:`pack_error`; an unknown kind becomes a `CallError`."""
    try:
        kind, what, why, hint = msgspec.msgpack.decode(data, type=tuple[str, str, str | None, str | None])
    except msgspec.MsgspecError:
        return errors.ProtocolError("the peer answered with an error that cannot be read")
    found = getattr(errors, kind, None)
    if not (isinstance(found, type) and issubclass(found, BundlebeeError)):
        found = CallError
    return found(what, why=why, hint=hint)
