"""The caller's end of a lease: ship calls to one worker, get their outcomes.

The calling thread uses the connection itself. Several chunks may be under way on one channel; the worker
answers them in order. A channel is for one thread at a time, and may be handed on.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bundlebee.bundles.values import walk
from bundlebee.calls import pickling, wire
from bundlebee.calls.chunk import Chunk
from bundlebee.calls.outcome import Batch, Ended, Outcome
from bundlebee.calls.pickling import Item
from bundlebee.calls.rpc import unpack_error
from bundlebee.calls.segments import SHARE_FROM
from bundlebee.calls.sent import Sent
from bundlebee.calls.sharing import Sharing
from bundlebee.clock import clock
from bundlebee.errors import BundlebeeError, CallTimeout, PeerBusy, PeerLost
from bundlebee.interrupts import let_pass
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.call import Call
    from bundlebee.calls.connection import Connection
    from bundlebee.calls.parcels import Loads, Parcel
    from bundlebee.calls.sent import Places

#: Bytes. ZeroMQ's bookkeeping for a frame that is not copied costs as much as copying this.
COPY_BELOW = 64 << 10


class LinkChannel:
    """A channel (`transport.Channel`) over a connection, with the messages of `wire`.

    Args:
        sharing: memory that both ends share; None if they share none.
        places: where the workers of that node have what was sent to them.
        loads: reads pickles of tasks' results.
    """

    def __init__(
        self,
        link: Connection,
        node_name: str,
        address: str,
        token: str,
        sharing: Sharing | None = None,
        places: Places | None = None,
        loads: Loads = pickle.loads,
    ) -> None:
        self.node_name = node_name
        self.address = address
        self.token = token
        self.over = False  #: the worker has said that the lease is over
        self.rested = 0.0  #: when it was handed back (`perf_counter`)
        self._sharing = Sharing() if sharing is None else sharing
        self._sent = Sent(places)
        self._loads = loads
        #: told what tasks print and log, as it comes: see `wire.Printed`
        self.on_output: Callable[[str, str], None] = lambda _stream, _text: None
        self._link = link
        self._tickets = 0
        self._chunks: dict[int, Chunk] = {}
        self._ready: deque[Outcome | Batch] = deque()
        self._numbers: dict[Call, int] = {}
        self._defined = 0
        self._last: Call | None = None  # to look a call up means to hash all that is in it
        self._last_number = 0
        self._accepted: set[Any] = set()

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
        if self.over or self._link.closed or self._link.check_lost():
            return False
        if not self._chunks:
            self._hear()
        return not self.over and self._link.lost is None

    @property
    def has_news(self) -> bool:
        """Whether `poll` has something to tell without waiting; it may have something even if not."""
        return bool(self._ready) or self._link.lost is not None

    def pollable(self) -> list[tuple[Any, int]]:
        """What to wait for if it has no news: sockets or descriptors, with events of `zmq.zmq_poll`."""
        return self._link.pollable()

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
        deadline = None if timeout is None else clock.monotonic() + timeout
        # a chunk of no items
        ticket = self._ship(call, None, Chunk([], 0, 0), [], [pickle.dumps([], 5)])
        del self._chunks[ticket]
        while True:
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            frames = self._link.recv(left)
            if frames is None:
                if deadline is not None and clock.monotonic() >= deadline:
                    raise CallTimeout(f"{self.node_name} has not answered")
                continue
            message = wire.decode_to_caller(frames[0])
            if not isinstance(message, wire.Reply | wire.Refusal) or message.ticket not in (0, ticket):
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
            snapshot: of the one item's arguments (`pickling.snapshot`), which may change from now on; ``found`` was found in them.

        Raises:
            Unshippable: an argument may not or cannot travel; nothing was sent.
            PeerBusy: the lease is over.
            PeerLost: the worker is gone.
        """
        self._check_lease()
        if not 0 < len(items) <= wire.MOST_ITEMS:
            raise ValueError(f"a chunk has 1 to {wire.MOST_ITEMS} items, not {len(items)}")
        if (call.writes or call.gaps) and len(items) != 1:
            raise ValueError("a call that writes its arguments, or has gaps, travels alone")
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
        objects = found.objects if found is not None and (call.writes or snapshot is not None) else None
        return self._ship(call, None, Chunk(items, len(items), sum(map(len, frames)), objects), [], frames)

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
        return self._ship(call, function, Chunk((), len(parcel), sum(map(len, frames))), parcel.ends, frames)

    def poll(self, timeout: float | None = 0.0) -> list[Outcome]:
        """The outcomes that have come, in the items' order; waits up to ``timeout`` seconds for one.

        Raises:
            PeerLost: the worker is gone; the outcomes that had come before were all given.
        """
        outcomes: list[Outcome] = []
        for found in self.poll_batches(timeout):
            if isinstance(found, Batch):
                outcomes += found.outcomes()
            else:
                outcomes.append(found)
        return outcomes

    def poll_batches(self, timeout: float | None = 0.0) -> list[Outcome | Batch]:
        """As `poll`, where results that came together and are nothing special stay together."""
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

    def call(
        self,
        call: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        found: Walk | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Ship one call and wait for its outcome. Other chunks' outcomes are kept for the next poll.

        Args:
            found: as for `submit`.
            timeout: seconds; None waits as long as the worker is there.

        Raises:
            Unshippable, PeerBusy, PeerLost: as `submit` and `poll`.
            CallTimeout: no outcome in time; to close the channel ends the work there.
        """
        ticket = self.submit(call, [(args, kwargs)], found=found)
        deadline = None if timeout is None else clock.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - clock.monotonic())
            outcome = self._one(ticket, left)
            if outcome is not None:
                return outcome
            if deadline is not None and clock.monotonic() >= deadline:
                raise CallTimeout(
                    f"{self.node_name} has not answered", why=f"the deadline of {timeout:g} s is over"
                )

    def close(self) -> None:
        """Hang up. A call that runs is cancelled."""
        self._link.close()
        self._sharing.close()

    # -- there --------------------------------------------------------------------------------------------

    def _check_lease(self) -> None:
        if self.over:
            raise PeerBusy(f"the lease at {self.node_name} is over", hint="lease a worker again")

    def _ship(
        self, call: Call, function: bytes | None, chunk: Chunk, ends: list[int], frames: list[Any]
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

    def _put_aside(self, chunk: Chunk, frames: list[Any]) -> list[Any]:
        """The frames that have to be sent; of the others the chunk knows."""
        if self._sharing.near:
            rest, chunk.held = self._sharing.replace(frames)
            return rest if chunk.held else frames
        if self._link.keeps:
            rest, chunk.named = self._sent.replace(frames)
            return rest if chunk.named else frames
        return frames

    def _ship_again(
        self,
        call: Call,
        function: bytes | None,
        chunk: Chunk,
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
        kind = wire.DefineGaps if call.gaps else wire.Define
        self._send([wire.encode(kind(number, call)), *function])
        self._numbers[call] = number
        return number

    def _send(self, frames: list[Any], *, copy: bool = True) -> None:
        try:
            while not self._link.send(frames, copy=copy):
                # the worker is far behind: read its answers, or both of us wait for the other for ever
                self._hear(0.05)
        except PeerLost:
            self._hear()
            self._check_lease()  # it has hung up since the lease is over
            raise

    # -- back ---------------------------------------------------------------------------------------------

    def _hear(self, timeout: float = 0.0) -> None:
        """Read what has come; wait so many seconds for something. The outcomes are kept for `poll`."""
        try:
            while (frames := self._link.recv(timeout)) is not None:
                collected: list[Outcome | Batch] = []
                self._received(frames, collected)
                self._ready.extend(collected)
                timeout = 0.0
        except PeerLost:
            pass  # told to who asks for more

    def _one(self, ticket: int, timeout: float | None) -> Outcome | None:
        """Wait for one message; the outcome of that chunk, if it was it. Others are kept for `poll`."""
        frames = self._link.recv(timeout)
        if frames is None:
            return None
        outcomes: list[Outcome | Batch] = []
        message = wire.decode_to_caller(frames[0])
        if type(message) is wire.Reply and message.ticket == ticket and message.body and not message.output:
            outcome = self._only(message, len(frames[0]))
            if outcome is not None:
                return outcome
        self._understood(message, frames, outcomes)
        wanted: Outcome | None = None
        for found in outcomes:
            if wanted is None and isinstance(found, Outcome) and found.ticket == ticket:
                wanted = found
            else:
                self._ready.append(found)
        return wanted

    def _only(self, reply: wire.Reply, size: int) -> Outcome | None:
        """The outcome of the only item of a chunk, where it is a plain result. None if this is something else."""
        chunk = self._chunks[reply.ticket]
        if not chunk.only(reply):
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
            round_trip=clock.perf_counter() - chunk.sent,
            bytes_out=chunk.bytes_out,
            bytes_back=size,
        )

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
            if not message.ticket:
                self._dismissed(message, outcomes)
        if chunk is None:
            if isinstance(message, wire.Reply):
                self._sharing.skip(message.held)
            return
        if isinstance(message, wire.Output):
            self._printed(chunk, message.output)
            return
        size = sum(len(frame) for frame in frames)
        if isinstance(message, wire.Reply):
            self._results(chunk, message, frames, size, outcomes)
        elif isinstance(message, wire.Raised):
            self._printed(chunk, message.output)
            outcomes.append(chunk.raised(message, frames[1:], size, self.node_name))
        elif message.reason == wire.WANTED:
            if chunk.again is not None:
                chunk.again()
            return
        else:
            outcomes += chunk.refused(message, size)
        if chunk.answered >= chunk.count:
            self._answered(self._chunks.pop(message.ticket))

    def _dismissed(self, message: wire.Refusal, outcomes: list[Any]) -> None:
        """The worker is somebody else's now. What has no outcome it had not begun."""
        for ticket, chunk in list(self._chunks.items()):
            left = chunk.count - chunk.answered
            outcomes += chunk.refused(
                wire.Refusal(ticket, chunk.answered, left, message.reason, message.error, lease_over=True), 0
            )
            self._answered(self._chunks.pop(ticket))

    def _results(
        self, chunk: Chunk, reply: wire.Reply, frames: list[Any], size: int, outcomes: list[Any]
    ) -> None:
        buffers = [reply.body] if reply.body else frames[1:]
        if reply.held:
            try:
                buffers = self._sharing.restore(buffers, reply.held)
            except OSError as error:
                self._link.give_up(f"its shared memory cannot be opened: {error.strerror or error}")
                return  # whoever asks next is told
            size += sum(one.length for one in reply.held)
        self._printed(chunk, reply.output)
        if reply.ends:
            outcomes += chunk.task_results(reply, buffers, size, self._loads)
            return
        batch = chunk.batch(reply, buffers, size)
        if batch is None:
            outcomes += chunk.results(reply, buffers, size)
        else:
            outcomes.append(batch)

    def _printed(self, chunk: Chunk, output: list[wire.Printed]) -> None:
        if chunk.items:
            chunk.printed(output)
            return
        for _, stream, text in output:  # a task's: it runs once, so what it says counts
            self.on_output(stream, text)

    def _answered(self, chunk: Chunk) -> None:
        """Every item of it has its outcome."""
        if chunk.held:
            self._sharing.take_back(chunk.held)
        if chunk.named:
            self._sent.there()


def _kind(call: Call) -> Any:
    """What a worker looks at to accept a call."""
    return call.function, call.line, call.state
