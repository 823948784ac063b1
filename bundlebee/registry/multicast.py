"""The real network under the registry: one thread, two sockets, and a few threads that ask peers.

The driver has no opinion. It feeds what arrives and the time to `Registry`, and carries out the effects.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence

from bundlebee.clock import clock
from bundlebee.errors import ProtocolError
from bundlebee.interrupts import waiting
from bundlebee.loggers import get_logger
from bundlebee.platform import Interface
from bundlebee.registry import events as ev
from bundlebee.registry.asking import Askers
from bundlebee.registry.channel import GROUP, PORT, Channel
from bundlebee.registry.messages import (
    ExchangeAnswer,
    ExchangeRequest,
    Message,
    PullRequest,
    decode,
    decode_as,
    encode,
)
from bundlebee.registry.rows import NodeRow, Pulse, RowSet
from bundlebee.registry.seal import Foreigners, Seal
from bundlebee.registry.snapshot import Snapshot
from bundlebee.registry.state import Registry

PING, PULL, EXCHANGE = "registry.ping", "registry.pull", "registry.exchange"
OPERATIONS = (PING, PULL, EXCHANGE)

#: So many datagrams are read before time gets its turn, whatever floods the port.
_AT_ONCE = 256

#: A channel that failed is tried again after that many seconds: a cable that is put back works at once.
_RETRY = 1.0

_NIL = encode(None)

_log = get_logger("bundlebee.registry")

Ask = Callable[[str, str, bytes], bytes | None]


class RegistryDriver:
    """Runs a `Registry` on a network interface.

    Args:
        registry: the state, fresh; nobody else may touch it from now on.
        key: 32 bytes; datagrams of others are ignored (`GridKeys.datagram`).
        interface: where to multicast.
        seeds: ``host:port`` of service sockets that are asked even where multicast does not reach.
        ask: ``ask(address, op, body)`` sends a request to a peer's service socket and returns the answer's
            body, or None if there was none. Called in threads of the driver; it should give up after a second
            or two.
        on_change: called with each `Change` (who joined, left …) in the driver's thread, one at a time, in
            order. An exception in there is logged and does no harm.
    """

    def __init__(
        self,
        registry: Registry,
        key: bytes,
        interface: Interface,
        seeds: Sequence[str] = (),
        ask: Ask | None = None,
        on_change: Callable[[ev.Change], None] | None = None,
        *,
        group: str = GROUP,
        port: int = PORT,
        clock: Callable[[], float] = clock.monotonic,
    ) -> None:
        self.foreigners = Foreigners()
        self.interface = interface
        self._registry = registry
        self._seal = Seal(key)
        self._seeds = tuple(seeds)
        self._ask = ask
        self._on_change = on_change
        self._clock = clock
        self._channel = Channel(interface, group, port)
        self._channel_at = 0.0  # when to try and open it
        self._broken = False  # to be closed, by the loop
        self._trouble: str | None = None
        self._unreadable = False
        self._askers = Askers()
        self._changed = threading.Condition()  # guards the registry; notified when the grid changed
        self._changes: deque[ev.Change] = deque()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._forked = False
        self._wake_in, self._wake_out = socket.socketpair()
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        _drivers.add(self)

    # -- life -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Join the grid. Does not wait; see `wait_for`."""
        if self._seeds:
            self.call(ev.SetSeeds(self._seeds))
        self._open_channel(self._clock())
        self._thread = threading.Thread(target=self._run, name="bundlebee-registry", daemon=True)
        self._thread.start()

    def stop(self, goodbye: bool = True) -> None:
        """Leave the grid, with or without a word. Can be called twice, and from any thread."""
        if goodbye and not self._stopping:
            self.call(ev.Leave())
        self._stopping = True
        self._askers.close()
        self._wake()
        thread = self._thread
        if thread is None:
            self._close()
        elif thread is not threading.current_thread():
            thread.join(5.0)
        with self._changed:
            self._changed.notify_all()

    def asked(self, timeout: float | None = 0.0) -> bool:
        """Whether no question is under way any more, after `stop`; waits up to ``timeout`` seconds for that."""
        return self._askers.ended(timeout)

    def __enter__(self) -> RegistryDriver:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # -- what others may do, from any thread -----------------------------------------------------------------

    @property
    def id(self) -> str:
        return self._registry.id

    @property
    def me(self) -> NodeRow | None:
        """Our own row as it is now; None for an observer."""
        return self._registry.me

    def call(self, event: ev.Event) -> None:
        """Give the registry an event. When this returns, `snapshot()` shows what came of it."""
        with self._changed:
            before = self._registry.next_deadline()
            self._carry_out(self._registry.handle(event, self._clock()))
            self._changed.notify_all()
            earlier = self._registry.next_deadline() < before
        if earlier or self._changes:
            self._wake()

    def snapshot(self) -> Snapshot:
        """The grid as we see it now. Costs next to nothing while nothing changes."""
        current = self._registry.current
        if current is not None:
            return current
        with self._changed:
            return self._registry.snapshot()

    def wait_for(self, predicate: Callable[[Snapshot], object], timeout: float) -> bool:
        """Wait until the grid looks as wished; False if it did not within `timeout` seconds.

        >>> driver.wait_for(lambda grid: len(grid.nodes()) >= 3, 2.0)  # doctest: +SKIP
        True
        """
        end = clock.monotonic() + timeout
        with self._changed:
            while not predicate(self._registry.snapshot()):
                left = end - clock.monotonic()
                if left <= 0 or self._stopping or self._forked:
                    return False
                with waiting():
                    self._changed.wait(left)
        return True

    def serve(self, op: str, body: bytes) -> bytes:
        """Answer a peer's question; `op` is one of `OPERATIONS`.

        Raises:
            ProtocolError: the body cannot be read, or there is no such operation.
        """
        if op == PULL:
            wanted = decode_as(body, PullRequest).id
            with self._changed:
                return encode(self._registry.answer_pull(wanted))
        if op == PING:
            with self._changed:
                return encode(self._registry.answer_ping())
        if op == EXCHANGE:
            request = decode_as(body, ExchangeRequest)
            with self._changed:
                answer, effects = self._registry.answer_exchange(request, self._clock())
                self._carry_out(effects)
            self._wake()
            return encode(answer)
        raise ProtocolError(f"the registry has no operation {op!r}")

    # -- the loop --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_in, selectors.EVENT_READ)
            listening: socket.socket | None = None
            try:
                while not self._stopping:
                    if self._channel.listener is not listening:
                        if listening is not None:
                            selector.unregister(listening)
                        listening = self._channel.listener
                        if listening is not None:
                            selector.register(listening, selectors.EVENT_READ)
                    with self._changed:
                        wait = self._registry.next_deadline() - self._clock()
                    selector.select(min(max(wait, 0.0), 1.0))
                    self._turn()
            except Exception:
                _log.exception("the registry stopped: an error that should not be")
            finally:
                if not self._forked:
                    self._close()

    def _turn(self) -> None:
        try:
            while self._wake_in.recv(4096):
                pass
        except BlockingIOError:
            pass
        now = self._clock()
        with self._changed:
            if self._broken:
                self._broken = False
                self._channel.close()
                self._channel_at = now + _RETRY
            if self._channel.listener is None and now >= self._channel_at:
                self._open_channel(now)
            for _ in range(_AT_ONCE):
                arrived = self._channel.receive()
                if arrived is None:
                    break
                message = self._read(*arrived)
                if message is not None:
                    self._carry_out(self._registry.handle(ev.Received(message), self._clock()))
            self._carry_out(self._registry.handle(ev.Tick(), self._clock()))
            self._changed.notify_all()
        while self._changes:
            self._tell(self._changes.popleft())

    def _read(self, datagram: bytes, source: str) -> Message | None:
        opened = self._seal.open(datagram)
        if opened is None:
            self.foreigners.note(source, datagram)
            return None
        try:
            return decode(opened)
        except ProtocolError as error:
            if not self._unreadable:
                self._unreadable = True
                _log.warning("%s speaks another version of bundlebee: %s", source, error)
            return None

    def _tell(self, change: ev.Change) -> None:
        if self._on_change is not None:
            try:
                self._on_change(change)
            except Exception:
                _log.exception("on_change failed")

    # -- effects ---------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[ev.Effect]) -> None:
        """With the lock held."""
        for effect in effects:
            if isinstance(effect, ev.Multicast):
                self._send(self._seal.seal(encode(effect.message)))
            elif isinstance(effect, ev.Pull):
                self._question(effect.address, PULL, effect.node, PullRequest(effect.node), effect)
            elif isinstance(effect, ev.Probe):
                self._question(effect.address, PING, effect.node, None, effect)
            elif isinstance(effect, ev.Exchange):
                self._question(effect.address, EXCHANGE, effect.request.push, effect.request, effect)
            else:
                self._changes.append(effect)

    def _send(self, datagram: bytes) -> None:
        error = self._channel.send(datagram)
        if error is not None:
            self._note_trouble(error)
            self._broken = True
            self._wake()

    def _question(
        self, address: str, op: str, about: object, body: object, effect: ev.Pull | ev.Probe | ev.Exchange
    ) -> None:
        # Encoded here, in order: what is told must not be newer than what was known when it was decided.
        data = b"" if body is None else encode(body)
        self._askers.submit((address, op, about), lambda go: self._inquire(go, address, op, data, effect))

    def _inquire(
        self, go: bool, address: str, op: str, data: bytes, effect: ev.Pull | ev.Probe | ev.Exchange
    ) -> None:
        answer: bytes | None = None
        if go and self._ask is not None:
            try:
                answer = self._ask(address, op, data)
            except Exception as error:
                _log.debug("%s to %s: %s", op, address, error)
        self.call(_answered(effect, answer))

    # -- small things ----------------------------------------------------------------------------------------

    def _open_channel(self, now: float) -> None:
        with self._changed:
            error = self._channel.open()
            if error is not None:
                self._channel_at = now + _RETRY
                self._note_trouble(error)
            elif self._trouble is not None:
                self._trouble = None
                _log.info("multicast on %s works again", self.interface.name)

    def _note_trouble(self, error: OSError) -> None:
        if self._trouble is None:
            self._trouble = str(error)
            _log.warning(
                "no multicast on %s (%s): %s; nodes are found through --peer only, until it works again",
                self.interface.name,
                self.interface.address,
                error,
            )

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"!")
        except OSError:
            pass  # full: it will wake anyway; closed: there is nobody to wake

    def _close(self) -> None:
        with self._changed:
            self._channel.close()
        self._wake_in.close()
        self._wake_out.close()

    def _after_fork(self) -> None:
        """In a child of `os.fork`: no thread of ours is here, and the lock may be held by one that is not."""
        self._forked = self._stopping = True
        self._changed = threading.Condition()
        self._askers = Askers()
        self._askers.close()
        self._thread = None
        self._close()


def _answered(effect: ev.Pull | ev.Probe | ev.Exchange, answer: bytes | None) -> ev.Event:
    """The event that ends a question; an answer that cannot be read is no answer."""
    try:
        if isinstance(effect, ev.Pull):
            rows = None if answer is None or answer == _NIL else decode_as(answer, RowSet)
            return ev.PullAnswered(effect.node, effect.address, rows)
        if isinstance(effect, ev.Probe):
            pulse = None if answer is None or answer == _NIL else decode_as(answer, Pulse)
            return ev.ProbeAnswered(effect.node, pulse)
        notes = None if answer is None else decode_as(answer, ExchangeAnswer)
        return ev.ExchangeAnswered(effect.address, notes)
    except ProtocolError as error:
        _log.warning("%s gave an answer that cannot be read: %s", effect.address, error)
        return _answered(effect, None)


_drivers: weakref.WeakSet[RegistryDriver] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for driver in list(_drivers):
        driver._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
