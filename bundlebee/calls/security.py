"""Who may talk to our sockets: CURVE on all of them, and a doorman who lets in only the grid's client key.

A foreigner is stopped twice. Without the grid key he does not know the server's public key, so that ZeroMQ
drops him inside the handshake; should he have learned it, the doorman (ZAP, RFC 27) still refuses any client
key but the grid's. Either way no byte of his reaches our code, and the log names his address once.

One doorman serves a ZeroMQ context: a thread that answers ZAP requests and reads the socket monitors.
Before each ZAP answer it reads what the monitors have: so whoever gets a message from a new connection
knows that the end of every earlier connection, on the same file descriptor too, was already reported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import ClassVar
from weakref import WeakKeyDictionary

import zmq

from bundlebee.calls.keys import GridKeys
from bundlebee.loggers import get_logger

log = get_logger("bundlebee.calls")

HEARTBEAT_MS = 1000  #: a ping a second finds the dead within three, and costs an idle connection 60 bytes
HEARTBEAT_TIMEOUT_MS = 3000  #: three pings missed; a loaded machine may well be late for one or two
HANDSHAKE_MS = 5000  #: who does not finish it by then is not one of us, and holds a descriptor
CONNECT_MS = 3000  #: on a LAN a living machine accepts in milliseconds
LARGEST_FRAME = 2 << 30  #: bytes; no argument or result may be larger

_REMEMBERED = 256  # foreign addresses; beyond that the log stays silent
_ZAP = "inproc://zeromq.zap.01"
_EVENTS = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)
_HUNG_UP = (
    errno.EPIPE,
    errno.ECONNRESET,
    errno.ECONNABORTED,
)  # the peer closed in the middle of its greeting


def secure_server(sock: zmq.Socket[bytes], keys: GridKeys, largest_frame: int = LARGEST_FRAME) -> None:
    """Set CURVE (server side), heartbeats and bounds on a socket that will be bound."""
    sock.curve_server = True
    sock.curve_publickey = keys.server.public
    sock.curve_secretkey = keys.server.secret
    sock.zap_domain = keys.fingerprint.encode()
    _common(sock, largest_frame)


def secure_client(sock: zmq.Socket[bytes], keys: GridKeys, largest_frame: int = LARGEST_FRAME) -> None:
    """Set CURVE (client side), heartbeats and bounds on a socket that will connect. It never reconnects."""
    sock.curve_serverkey = keys.server.public
    sock.curve_publickey = keys.client.public
    sock.curve_secretkey = keys.client.secret
    sock.reconnect_ivl = -1  # a lost peer has lost our state too; silently talking to its successor is wrong
    sock.connect_timeout = CONNECT_MS
    _common(sock, largest_frame)


def _common(sock: zmq.Socket[bytes], largest_frame: int) -> None:
    sock.linger = 0
    sock.handshake_ivl = HANDSHAKE_MS
    sock.heartbeat_ivl = HEARTBEAT_MS
    sock.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
    sock.heartbeat_ttl = HEARTBEAT_TIMEOUT_MS
    sock.maxmsgsize = largest_frame


class Strangers:
    """Those without our key who were at a door of ours: one line an address, 256 addresses at most."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def first(self, address: str) -> bool:
        """Whether nothing has been said of that address yet; from now on something has. Any thread."""
        if address in self._seen or len(self._seen) > _REMEMBERED:
            return False
        self._seen.add(address)
        if len(self._seen) > _REMEMBERED:
            log.warning("more strangers than %d at our doors; no more of them will be named", _REMEMBERED)
            return False
        return True

    def turned_away(self, address: str) -> None:
        """Somebody was turned away. Any thread."""
        if not self.first(address):
            return
        log.warning(
            "turned away %s: it does not hold this grid's key (another grid on this network, or a stranger)",
            address,
        )


strangers = Strangers()


class Doorman:
    """Answers ZAP for one context and watches its bound sockets. Get one with :meth:`of`."""

    _all: ClassVar[WeakKeyDictionary[zmq.Context[zmq.Socket[bytes]], Doorman]] = WeakKeyDictionary()
    _lock = threading.Lock()

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._context = context
        self._members: dict[bytes, bytes] = {}  # ZAP domain -> the one client key, raw
        self._guards: dict[zmq.Socket[bytes], _Watch] = {}
        self._users = 0
        self._change = threading.Lock()
        self._zap = context.socket(zmq.ROUTER)
        self._zap.linger = 0
        self._zap.bind(_ZAP)
        self._bell_name = f"inproc://bundlebee.doorman.{id(self)}"
        self._bell = context.socket(zmq.PULL)
        self._bell.bind(self._bell_name)
        self._ring = context.socket(zmq.PUSH)
        self._ring.linger = 0
        self._ring.connect(self._bell_name)
        self._thread = threading.Thread(target=self._run, name="bundlebee-doorman", daemon=True)
        self._thread.start()

    @classmethod
    def watch(
        cls,
        sock: zmq.Socket[bytes],
        keys: GridKeys,
        on_disconnect: Callable[[int], None] | None = None,
    ) -> Doorman:
        """Guard ``sock``, which must not be bound yet. Give it back with :meth:`leave` before it is closed.

        Args:
            on_disconnect: told the file descriptor of each connection that ended, in the doorman's thread.
        """
        context = sock.context
        with cls._lock:
            doorman = cls._all.get(context)
            if doorman is None:
                doorman = cls._all[context] = cls(context)
            doorman._users += 1
        name = f"inproc://bundlebee.monitor.{id(sock)}.{os.urandom(4).hex()}"
        sock.monitor(name, int(_EVENTS))
        monitor = context.socket(zmq.PAIR)
        monitor.linger = 0
        monitor.connect(name)
        from zmq.utils import z85

        with doorman._change:
            doorman._members[keys.fingerprint.encode()] = z85.decode(keys.client.public)
            doorman._guards[monitor] = _Watch(sock, on_disconnect)
            doorman._ring.send(b"")
        return doorman

    def connected(self, sock: zmq.Socket[bytes], descriptor: int) -> bool:
        """Whether a guarded socket has a connection on that descriptor, as far as its monitor was read."""
        with self._change:
            watches = [watch for watch in self._guards.values() if watch.sock is sock]
        return any(descriptor in watch.peers for watch in watches)

    def leave(self, sock: zmq.Socket[bytes]) -> None:
        """Stop guarding ``sock``. The last one to leave ends the doorman."""
        with self._change:
            for watch in self._guards.values():
                if watch.sock is sock:
                    watch.done = True
            self._ring.send(b"")
        sock.disable_monitor()
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._all.pop(self._context, None)
        with self._change:
            self._ring.send(b"stop")
        self._thread.join()
        self._ring.close()

    # -- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._serve()
        except zmq.ContextTerminated:
            pass
        finally:
            for monitor in self._guards:
                monitor.close()
            self._zap.close()
            self._bell.close()

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._zap, zmq.POLLIN)
        poller.register(self._bell, zmq.POLLIN)
        watched: set[zmq.Socket[bytes]] = set()
        while True:
            ready = dict(poller.poll())
            if self._bell in ready:
                stop = self._bell.recv() == b"stop"
                with self._change:
                    for monitor in [m for m, w in self._guards.items() if w.done]:
                        del self._guards[monitor]
                        if monitor in watched:
                            watched.discard(monitor)
                            poller.unregister(monitor)
                        monitor.close()
                    for monitor in self._guards.keys() - watched:
                        watched.add(monitor)
                        poller.register(monitor, zmq.POLLIN)
                if stop:
                    return
            self._read_monitors()
            if self._zap in ready:
                self._answer()

    def _read_monitors(self) -> None:
        with self._change:
            guards = list(self._guards.items())
        for monitor, watch in guards:
            while True:
                try:
                    event = monitor.recv_multipart(zmq.DONTWAIT)
                except zmq.Again:
                    break
                kind, value = struct.unpack("=HI", event[0])
                watch.seen(kind, value, strangers.turned_away)

    def _answer(self) -> None:
        while True:
            try:
                route, empty, version, request, domain, address, _, mechanism, *credentials = (
                    self._zap.recv_multipart(zmq.DONTWAIT)
                )
            except zmq.Again:
                return
            except ValueError:
                continue
            welcome = (
                mechanism == b"CURVE"
                and len(credentials) == 1
                and credentials[0] == self._members.get(domain)
            )
            if not welcome:
                strangers.turned_away(address.decode("ascii", "replace"))
            code = b"200" if welcome else b"400"
            self._zap.send_multipart(
                [route, empty, version, request, code, b"", b"member" if welcome else b"", b""]
            )


class _Watch:
    """What the monitor of one bound socket told so far."""

    def __init__(self, sock: zmq.Socket[bytes], on_disconnect: Callable[[int], None] | None) -> None:
        self.sock = sock
        self.on_disconnect = on_disconnect
        self.done = False
        self.peers: dict[int, str] = {}  # descriptor -> address
        self.members: set[str] = set()  # addresses that have shown the key
        self._failed = False

    def seen(self, kind: int, value: int, turned_away: Callable[[str], None]) -> None:
        if kind == zmq.EVENT_ACCEPTED:
            self.peers[value] = _peer_address(value)
        elif kind == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            if len(self.members) < 1024:
                self.members.add(self.peers.get(value, ""))
        elif kind & _FAILED:
            if kind == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL and value in _HUNG_UP:
                return  # nobody was refused: a caller that has ended meanwhile, say
            # the event does not say which connection; the next one that ends is it
            self._failed = True
        elif kind == zmq.EVENT_DISCONNECTED:
            address = self.peers.pop(value, "")
            if self._failed:
                self._failed = False
                # a member may hang up in the middle of a greeting; that is not worth a word
                if address and address not in self.members:
                    turned_away(address)
            if self.on_disconnect is not None:
                self.on_disconnect(value)


def _peer_address(descriptor: int) -> str:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        return ""  # gone already
    try:
        return str(sock.getpeername()[0])
    except (OSError, IndexError, TypeError):
        return ""
    finally:
        sock.detach()  # it is ZeroMQ's


def hang_up(descriptor: int) -> None:
    """End a connection of one of our sockets, so that the peer hears of it at once."""
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        return
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.detach()
