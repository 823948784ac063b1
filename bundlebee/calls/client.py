"""The caller's end of a lease: ship calls to one worker, get their outcomes.

The calling thread uses the socket itself. Several chunks may be under way on one channel; the worker
answers them in order. A channel is for one thread at a time, and may be handed on.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import zmq

from bundlebee.bundles.values import walk
from bundlebee.calls import pickling, remote_errors, wire
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.link import Link
from bundlebee.calls.local import LocalLink, connect
from bundlebee.calls.outcome import Batch, Ended, Outcome
from bundlebee.calls.pickling import Item
from bundlebee.calls.rpc import unpack_error
from bundlebee.calls.segments import SHARE_FROM
from bundlebee.calls.sent import Sent
from bundlebee.calls.sharing import Sharing
from bundlebee.calls.spool import Spool
from bundlebee.calls.waker import Waker
from bundlebee.calls.wire import Call
from bundlebee.errors import BundlebeeError, CallTimeout, PeerBusy, ProtocolError, Unshippable
from bundlebee.interrupts import let_pass
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.larder import Named
    from bundlebee.calls.parcels import Parcel
    from bundlebee.calls.segments import Held
    from bundlebee.calls.sent import Places

__all__ = ["Batch", "Call", "Ended", "LeaseChannel", "Outcome", "Waker", "call", "wait"]

#: Bytes. ZeroMQ's bookkeeping for a frame that is not copied costs as much as copying this.
COPY_BELOW = 64 << 10


class _Chunk:
    """A chunk that is under way."""

    __slots__ = (
        "again",
        "answered",
        "bytes_out",
        "count",
        "held",
        "items",
        "named",
        "objects",
        "output",
        "sent",
    )

    def __init__(self, items: Sequence[Item], count: int, bytes_out: int) -> None:
        self.items = items  #: to resolve references in results; those of tasks have none
        self.held: list[Held] = []  #: frames that lie in shared memory
        self.named: list[Named] = []  #: frames that the worker may have
        self.again: Callable[[], None] | None = None  #: sends it with these
        self.objects: Sequence[Any] | None = None  #: among the arguments that the call may write
        self.count = count
        self.answered = 0
        self.bytes_out = bytes_out // max(1, count)
        self.output: dict[int, Spool] = {}
        self.sent = time.perf_counter()


class LeaseChannel:
    """A channel to the worker at ``address``, for the lease ``token``.

    Connecting takes no time here: a worker that is not there shows as `PeerLost` in `poll`.

    Args:
        local: the name under which callers on the worker's own host find it, see `local`.
        places: where the workers of that node have what was sent to them.

    Raises:
        PeerBusy: the lease is over.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        keys: GridKeys,
        node_name: str,
        address: str,
        token: str,
        caller: str = "",
        local: str = "",
        places: Places | None = None,
    ) -> None:
        self.node_name = node_name
        self.address = address
        self.token = token
        self.over = False  #: the worker has said that the lease is over
        self.rested = 0.0  #: when it was handed back (`perf_counter`)
        self._sharing = Sharing()
        self._sent = Sent(places)
        #: told what tasks print and log, as it comes: see `wire.Printed`
        self.on_output: Callable[[str, str], None] = lambda _stream, _text: None
        link = connect(local, token, caller, node_name, address, self._sharing)
        self._link: Link | LocalLink = Link(context, keys, address, node_name) if link is None else link
        self._tickets = 0
        self._chunks: dict[int, _Chunk] = {}
        self._ready: deque[Outcome] = deque()
        self._numbers: dict[Call, int] = {}
        self._batches = False  # whoever polls takes batches
        self._defined = 0
        self._last: Call | None = None  # to look a call up means to hash all that is in it
        self._last_number = 0
        self._accepted: set[Any] = set()
        if link is None:
            self._link.send([wire.encode(wire.Hello(token, caller))])

    @property
    def pending(self) -> int:
        """Items without an outcome yet."""
        return sum(chunk.count - chunk.answered for chunk in self._chunks.values())

    @property
    def at_rest(self) -> bool:
        """Whether it has nothing under way, and nothing is known against it; it may still have been lost meanwhile."""
        return not self._chunks and not self.over and not self._link.closed and self._link.lost is None

    def usable(self) -> bool:
        """Whether the channel still stands, as far as is known without asking."""
        return not self.over and not self._link.closed and not self._link.check_lost()

    def has_accepted(self, call: Call) -> bool:
        """Whether `ask` was told that calls of this kind are welcome."""
        return _kind(call) in self._accepted

    def ask(self, call: Call, timeout: float | None = None) -> Outcome | None:
        """Ask whether the worker would run such calls: it has the function, and the state that it reads is the same
        there. Nothing may be under way.

        Returns:
            None if it would, else the refusal.

        Raises:
            PeerBusy, PeerLost: as `submit` and `poll`.
            CallTimeout: no answer in time.
        """
        if _kind(call) in self._accepted:
            return None
        self._check_lease()
        deadline = None if timeout is None else time.monotonic() + timeout
        # a chunk of no items
        ticket = self._ship(call, None, _Chunk([], 0, 0), [], [pickle.dumps([], 5)])
        del self._chunks[ticket]
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            frames = self._link.recv(left)
            if frames is None:
                if deadline is not None and time.monotonic() >= deadline:
                    raise CallTimeout(f"{self.node_name} has not answered")
                continue
            message = wire.decode_to_caller(frames[0])
            if not isinstance(message, wire.Reply | wire.Refusal) or message.ticket != ticket:
                self._understood(message, frames, [])
            elif isinstance(message, wire.Reply):
                self._accepted.add(_kind(call))
                return None
            else:
                self.over = self.over or message.lease_over
                error, reason = unpack_error(message.error), Reason(message.reason)
                return Outcome(ticket, 0, Ended.REFUSED, error=error, reason=reason)

    def submit(
        self,
        call: Call,
        items: Sequence[Item],
        *,
        found: Walk | None = None,
        snapshot: list[Any] | None = None,
    ) -> int:
        """Ship a chunk of one or more ``(args, kwargs)`` and return its ticket, without waiting.

        The arguments are pickled now; large buffers in them must not change until the outcome is there.

        Args:
            found: what there is among the arguments, if somebody has looked already.
            snapshot: of the one item's arguments, which may change from now on; ``found`` was found in them.

        Raises:
            Unshippable: an argument may not or cannot travel; nothing was sent.
            PeerBusy: the lease is over.
            PeerLost: the worker is gone.
        """
        self._check_lease()
        if not 0 < len(items) <= wire.MOST_ITEMS:
            raise ValueError(f"a chunk has 1 to {wire.MOST_ITEMS} items, not {len(items)}")
        if call.writes and len(items) != 1:
            raise ValueError("a call that writes its arguments travels alone")
        if found is None:
            walks = [walk(tuple(args), kwargs) for args, kwargs in items]
            if call.writes:
                (found,) = walks
        if call.writes and found is not None:
            found.check_writable()
        try:
            items = items if type(items) is list else list(items)
            if snapshot is not None:
                frames = snapshot
            else:
                frames = (
                    [pickle.dumps(items, 5)] if found is not None and found.atoms else pickling.dumps(items)
                )
        except Exception as error:
            let_pass(error)
            raise pickling.blame_items(items, error) from None
        chunk = _Chunk(items, len(items), sum(map(len, frames)))
        if found is not None and (call.writes or snapshot is not None):
            chunk.objects = found.objects
        return self._ship(call, None, chunk, [], frames)

    def submit_tasks(self, call: Call, function: bytes, parcel: Parcel) -> int:
        """Ship a chunk of tasks, each an ``(args, kwargs)`` that was packed, and return its ticket.

        Args:
            function: its pickle; sent once.

        Raises:
            PeerBusy: the lease is over.
            PeerLost: the worker is gone.
        """
        self._check_lease()
        frames = parcel.frames()
        return self._ship(call, function, _Chunk((), len(parcel), sum(map(len, frames))), parcel.ends, frames)

    def poll(self, timeout: float | None = 0.0) -> list[Outcome]:
        """The outcomes that have come, in the items' order; waits up to ``timeout`` seconds for one.

        Raises:
            PeerLost: the worker is gone; the outcomes that had come before were all given.
        """
        outcomes = list(self._ready)
        self._ready.clear()
        wait = 0.0 if outcomes else timeout
        while True:
            if outcomes and self._link.lost is not None:
                return outcomes  # the loss is told next time
            try:
                frames = self._link.recv(wait)
            except BundlebeeError:
                if outcomes:
                    return outcomes
                raise
            if frames is None:
                return outcomes
            self._received(frames, outcomes)
            if outcomes:
                wait = 0.0

    def poll_batches(self, timeout: float | None = 0.0) -> list[Outcome | Batch]:
        """As `poll`, where results that came together and are nothing special stay together."""
        self._batches = True
        try:
            return list(self.poll(timeout))
        finally:
            self._batches = False

    def _one(self, ticket: int, timeout: float | None) -> Outcome | None:
        """Wait for one message; the outcome of that chunk, if it was it. Others are kept for `poll`."""
        frames = self._link.recv(timeout)
        if frames is None:
            return None
        outcomes: list[Outcome] = []
        message = wire.decode_to_caller(frames[0])
        if type(message) is wire.Reply and message.ticket == ticket and message.body and not message.output:
            outcome = self._only(message, len(frames[0]))
            if outcome is not None:
                return outcome
        self._understood(message, frames, outcomes)
        wanted = None
        for outcome in outcomes:
            if wanted is None and outcome.ticket == ticket:
                wanted = outcome
            else:
                self._ready.append(outcome)
        return wanted

    def _only(self, reply: wire.Reply, size: int) -> Outcome | None:
        """What most answers are: the result of the one item of a chunk. None if this is something else."""
        chunk = self._chunks[reply.ticket]
        if (
            chunk.count != 1
            or reply.refers
            or reply.wrote
            or reply.ends
            or chunk.output
            or len(reply.times) != 1
        ):
            return None
        try:
            (value,) = pickle.loads(reply.body)
        except Exception as error:
            let_pass(error)
            return None
        self._answered(self._chunks.pop(reply.ticket))
        seconds, cpu_seconds = reply.times[0]
        return Outcome(
            reply.ticket,
            0,
            Ended.RETURNED,
            value,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            round_trip=time.perf_counter() - chunk.sent,
            bytes_out=chunk.bytes_out,
            bytes_back=size,
        )

    def close(self) -> None:
        """Hang up. A call that runs is cancelled: its worker exits."""
        self._link.close()
        self._sharing.close()

    # -- inside -------------------------------------------------------------------------------------------

    def _check_lease(self) -> None:
        if self.over:
            raise PeerBusy(f"the lease at {self.node_name} is over", hint="lease a worker again")

    def _ship(
        self, call: Call, function: bytes | None, chunk: _Chunk, ends: list[int], frames: list[Any]
    ) -> int:
        if call is self._last:
            number = self._last_number
        else:
            known = self._numbers.get(call)
            number = self._define(call, () if function is None else (function,)) if known is None else known
            self._last, self._last_number = call, number
        self._tickets += 1
        ticket = self._tickets
        if wire.inside(frames):
            self._send([wire.encode(wire.Submit(ticket, number, chunk.count, ends, frames[0]))])
        else:
            size = chunk.bytes_out * chunk.count
            if size >= SHARE_FROM:
                whole = frames
                frames = self._put_aside(chunk, frames)
                if frames is not whole:
                    size = sum(map(len, frames))
                    chunk.again = lambda: self._ship_again(call, function, chunk, ends, whole, ticket)
            header = wire.encode(
                wire.Submit(ticket, number, chunk.count, ends, held=chunk.held, named=chunk.named)
            )
            self._send([header, *frames], copy=size < COPY_BELOW)
        self._chunks[ticket] = chunk
        return ticket

    def _put_aside(self, chunk: _Chunk, frames: list[Any]) -> list[Any]:
        """The frames that have to be sent; of the others the chunk knows."""
        if self._sharing.near:
            rest, chunk.held = self._sharing.replace(frames)
            return rest if chunk.held else frames
        if isinstance(self._link, Link):
            rest, chunk.named = self._sent.replace(frames)
            return rest if chunk.named else frames
        return frames

    def _ship_again(
        self,
        call: Call,
        function: bytes | None,
        chunk: _Chunk,
        ends: list[int],
        frames: list[Any],
        ticket: int,
    ) -> None:
        """The worker cannot get at something that was not sent: send it."""
        if chunk.named:
            self._sent.missing(chunk.named, frames)
        if chunk.held:
            self._sharing.give_nothing()  # there may be too many open files
        chunk.named, chunk.held, chunk.again = [], [], None
        known = self._numbers.get(call)
        number = self._define(call, () if function is None else (function,)) if known is None else known
        self._send([wire.encode(wire.Submit(ticket, number, chunk.count, ends)), *frames], copy=False)

    def _define(self, call: Call, function: Sequence[bytes]) -> int:
        number = self._defined % wire.DEFINITIONS
        if self._defined >= wire.DEFINITIONS:
            oldest = next(known for known, its in self._numbers.items() if its == number)
            del self._numbers[oldest]
            self._last = None
        self._defined += 1
        self._send([wire.encode(wire.Define(number, call)), *function])
        self._numbers[call] = number
        return number

    def _send(self, frames: list[Any], *, copy: bool = True) -> None:
        while not self._link.send(frames, copy=copy):
            # the worker is far behind: read its answers, or both of us wait for the other for ever
            arrived = self._link.recv(0.05)
            if arrived is not None:
                collected: list[Outcome] = []
                self._received(arrived, collected)
                self._ready.extend(collected)

    def _received(self, frames: list[Any], outcomes: list[Any]) -> None:
        self._understood(wire.decode_to_caller(frames[0]), frames, outcomes)

    def _understood(self, message: wire.ToCaller, frames: list[Any], outcomes: list[Any]) -> None:
        if isinstance(message, wire.Welcome):
            return
        if isinstance(message, wire.Kept):
            for one in message.named:
                self._sent.places.learn(one)
            return
        chunk = self._chunks.get(message.ticket)
        if isinstance(message, wire.Refusal) and message.lease_over:
            self.over = True
        if chunk is None:
            if isinstance(message, wire.Reply):
                self._sharing.skip(message.held)
            return
        if isinstance(message, wire.Output):
            self._print(chunk, message.output)
            return
        size = sum(len(frame) for frame in frames)
        if isinstance(message, wire.Reply):
            buffers = [message.body] if message.body else frames[1:]
            if message.held and isinstance(self._link, LocalLink):
                try:
                    buffers = self._sharing.restore(buffers, message.held)
                except OSError as error:
                    self._link.give_up(f"its shared memory cannot be opened: {error.strerror or error}")
                    return  # whoever asks next is told
                size += sum(one.length for one in message.held)
            self._print(chunk, message.output)
            self._results(chunk, message, buffers, size, outcomes)
        elif isinstance(message, wire.Raised):
            self._print(chunk, message.output)
            outcome = self._outcome(chunk, message.ticket, message.index, Ended.RAISED, size)
            outcome.seconds, outcome.cpu_seconds = message.seconds, message.cpu_seconds
            try:
                # a task's author knows of the grid; a woven program must not notice it
                outcome.error = remote_errors.unpack(frames[1], self.node_name, note=not chunk.items)
                if message.wrote and chunk.objects is not None:
                    item = chunk.items[message.index]
                    changes = pickling.loads_referring(frames[2:], item, chunk.objects)
                    outcome.changed = chunk.objects, changes
            except Exception as error:
                let_pass(error)
                self._cannot_read(outcome, error)
            outcomes.append(outcome)
        else:
            if message.reason == wire.WANTED:
                if chunk.again is not None:
                    chunk.again()
                return
            for index in range(message.first, message.first + message.count):
                outcome = self._outcome(chunk, message.ticket, index, Ended.REFUSED, size)
                outcome.error = unpack_error(message.error)
                outcome.reason = Reason(message.reason)
                if chunk.items:
                    outcome.output = []  # it will run again; a task will not
                outcomes.append(outcome)
        if chunk.answered >= chunk.count:
            self._answered(self._chunks.pop(message.ticket))

    def _answered(self, chunk: _Chunk) -> None:
        """Every item of it has its outcome."""
        if chunk.held:
            self._sharing.take_back(chunk.held)
        if chunk.named:
            self._sent.there()

    def _results(
        self, chunk: _Chunk, reply: wire.Reply, frames: list[Any], size: int, outcomes: list[Any]
    ) -> None:
        count = len(reply.times)
        problem: Exception | None = None
        values: list[Any] = []
        if reply.ends:
            self._task_results(chunk, reply, frames, size // count, outcomes)
            return
        changes: Any = None
        if self._batches and count > 1 and not (reply.refers or reply.wrote or chunk.output):
            batch = self._batch(chunk, reply, frames, size // count)
            if batch is not None:
                outcomes.append(batch)
                return
        try:
            if reply.wrote:
                value, changes = pickling.loads_referring(frames, chunk.items[reply.first], chunk.objects)
                values = [value]
            elif reply.refers:
                values = [pickling.loads_referring(frames, chunk.items[reply.first], chunk.objects)]
            else:
                values = pickling.loads(frames)
            if len(values) != count:
                raise ProtocolError("a reply has not as many results as its header says")
        except Exception as error:
            let_pass(error)
            problem = error
        for offset in range(count):
            outcome = self._outcome(chunk, reply.ticket, reply.first + offset, Ended.RETURNED, size // count)
            outcome.seconds, outcome.cpu_seconds = reply.times[offset]
            if problem is None:
                outcome.value = values[offset]
                if changes is not None and chunk.objects is not None:
                    outcome.changed = chunk.objects, changes
            else:
                self._cannot_read(outcome, problem)
            outcomes.append(outcome)

    @staticmethod
    def _batch(chunk: _Chunk, reply: wire.Reply, frames: list[Any], size: int) -> Batch | None:
        try:
            values = pickling.loads(frames)
        except Exception as error:
            let_pass(error)
            return None  # once more, one by one, which says what is wrong
        if len(values) != len(reply.times):
            return None
        chunk.answered += len(values)
        trip = time.perf_counter() - chunk.sent
        return Batch(reply.ticket, reply.first, values, reply.times, trip, chunk.bytes_out, size)

    def _task_results(
        self, chunk: _Chunk, reply: wire.Reply, frames: list[Any], size: int, outcomes: list[Any]
    ) -> None:
        from bundlebee.calls.parcels import unpack

        for index, read in enumerate(unpack(frames, reply.ends), reply.first):
            outcome = self._outcome(chunk, reply.ticket, index, Ended.RETURNED, size)
            outcome.seconds, outcome.cpu_seconds = reply.times[index - reply.first]
            try:
                outcome.value = read()
            except Exception as error:
                let_pass(error)
                self._cannot_read(outcome, error)
            outcomes.append(outcome)

    def _outcome(self, chunk: _Chunk, ticket: int, index: int, ended: Ended, size: int) -> Outcome:
        chunk.answered += 1
        return Outcome(
            ticket,
            index,
            ended,
            output=chunk.output.pop(index, ()),
            round_trip=time.perf_counter() - chunk.sent,
            bytes_out=chunk.bytes_out,
            bytes_back=size,
        )

    def _print(self, chunk: _Chunk, output: list[wire.Printed]) -> None:
        if not chunk.items:  # a task's: it runs once, so what it says counts
            for _, stream, text in output:
                self.on_output(stream, text)
            return
        for index, stream, text in output:
            spool = chunk.output.get(index)
            if spool is None:
                spool = chunk.output[index] = Spool()
            spool.add(stream, text)

    @staticmethod
    def _cannot_read(outcome: Outcome, error: Exception) -> None:
        outcome.ended = Ended.REFUSED
        outcome.reason = Reason.UNPICKLABLE
        outcome.output = ()
        outcome.error = (
            error
            if isinstance(error, BundlebeeError)
            else Unshippable("the result cannot be read here", why=f"{type(error).__name__}: {error}")
        )


def _kind(call: Call) -> Any:
    """What a worker looks at to accept a call."""
    return call.function, call.line, call.state


def snapshot(args: tuple[Any, ...], kwargs: dict[str, Any], found: Walk) -> list[Any]:
    """The arguments of a call as they are now, for `LeaseChannel.submit`.

    Raises:
        Unshippable: one of them cannot travel.
    """
    items = [(args, kwargs)]
    try:
        if found.atoms:
            return [pickle.dumps(items, 5)]
        body, *buffers = pickling.dumps(items)
    except Exception as error:
        let_pass(error)
        raise pickling.blame_items(items, error) from None
    return [bytes(body), *map(bytes, buffers)]


def call(
    channel: LeaseChannel,
    call: Call,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    found: Walk | None = None,
    timeout: float | None = None,
) -> Outcome:
    """Ship one call and wait for its outcome. Other chunks' outcomes are kept for the next poll.

    Args:
        found: as for `LeaseChannel.submit`.
        timeout: seconds; None waits as long as the worker is there.

    Raises:
        Unshippable, PeerBusy, PeerLost: as `LeaseChannel.submit` and `LeaseChannel.poll`.
        CallTimeout: no outcome in time; to close the channel ends the work there.
    """
    ticket = channel.submit(call, [(args, kwargs)], found=found)
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        outcome = channel._one(ticket, left)
        if outcome is not None:
            return outcome
        if deadline is not None and time.monotonic() >= deadline:
            raise CallTimeout(
                f"{channel.node_name} has not answered", why=f"the deadline of {timeout:g} s is over"
            )


def wait(
    channels: Sequence[LeaseChannel], timeout: float | None = None, *, waker: Waker | None = None
) -> list[LeaseChannel]:
    """The channels that have an outcome, or a loss, to tell; waits up to ``timeout`` seconds for one.

    An empty list means that the time is over or the waker has rung.
    """
    ready = [channel for channel in channels if channel._ready or channel._link.lost is not None]
    sockets: list[tuple[Any, int]] = []
    owners: dict[int, LeaseChannel] = {}
    for channel in channels:
        for one, events in channel._link.pollable():
            sockets.append((one, events))
            owners[one if isinstance(one, int) else id(one)] = channel
    if waker is not None:
        sockets.append((waker.fileno(), zmq.POLLIN))
    milliseconds = 0 if ready else -1 if timeout is None else int(timeout * 1000 + 0.999)
    found = {one if isinstance(one, int) else id(one) for one, _ in zmq.zmq_poll(sockets, milliseconds)}
    if waker is not None and waker.fileno() in found:
        waker.clear()
    heard = {id(owners[one]) for one in found if one in owners}
    return [channel for channel in channels if channel in ready or id(channel) in heard]
