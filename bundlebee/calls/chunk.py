"""A chunk that is under way: what was sent, and how the worker's answers become outcomes of its items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bundlebee.calls import pickling, remote_errors, wire
from bundlebee.calls.outcome import Batch, Ended, Outcome
from bundlebee.calls.pickling import Item
from bundlebee.calls.rpc import unpack_error
from bundlebee.calls.spool import Spool
from bundlebee.clock import clock
from bundlebee.errors import BundlebeeError, ProtocolError, Unshippable, told
from bundlebee.interrupts import let_pass
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.calls.larder import Named
    from bundlebee.calls.parcels import Loads
    from bundlebee.calls.segments import Held


class Chunk:
    """One chunk of one channel. Outcomes come in the items' order.

    Args:
        items: to resolve references in results; those of tasks have none.
        count: of items.
        bytes_out: of all together.
        objects: among the arguments, where these may have changed until the outcome is there.
    """

    __slots__ = (
        "_output",
        "again",
        "answered",
        "bytes_out",
        "count",
        "held",
        "items",
        "named",
        "objects",
        "sent",
    )

    def __init__(
        self, items: Sequence[Item], count: int, bytes_out: int, objects: Sequence[Any] | None = None
    ) -> None:
        self.items = items
        self.objects = objects
        self.count = count
        self.answered = 0  #: items that have their outcome
        self.bytes_out = bytes_out // max(1, count)  #: of each
        self.held: list[Held] = []  #: frames that lie in shared memory
        self.named: list[Named] = []  #: frames that the worker may have
        self.again: Callable[[], None] | None = None  #: sends it with these
        self._output: dict[int, Spool] = {}
        self.sent = clock.perf_counter()

    def only(self, reply: wire.Reply) -> bool:
        """Whether that is what most answers are: the plain result of the one item of a chunk, which printed nothing."""
        return (
            self.count == 1
            and not reply.refers
            and not reply.wrote
            and not reply.ends
            and not reply.met
            and not self._output
            and len(reply.times) == 1
        )

    def printed(self, output: Sequence[wire.Printed]) -> None:
        """Keep what calls print until it is known whether it counts."""
        for index, stream, text in output:
            spool = self._output.get(index)
            if spool is None:
                spool = self._output[index] = Spool()
            spool.add(stream, text)

    def results(self, reply: wire.Reply, frames: list[Any], size: int) -> list[Outcome]:
        """The outcomes of a reply to calls; ``size`` are all its bytes."""
        count = len(reply.times)
        problem: Exception | None = None
        values: list[Any] = []
        changes: Any = None
        try:
            if reply.wrote:
                value, changes = pickling.loads_referring(frames, self.items[reply.first], self.objects)
                values = [value]
            elif reply.refers:
                values = [pickling.loads_referring(frames, self.items[reply.first], self.objects)]
            else:
                values = pickling.loads(frames)
            if len(values) != count:
                raise ProtocolError("a reply has not as many results as its header says")
        except Exception as error:
            let_pass(error)
            problem = error
        outcomes = []
        for offset in range(count):
            outcome = self._outcome(reply.ticket, reply.first + offset, Ended.RETURNED, size // count)
            outcome.seconds, outcome.cpu_seconds = reply.times[offset]
            outcome.met = reply.met
            if problem is None:
                outcome.value = values[offset]
                if changes is not None and self.objects is not None:
                    outcome.changed = self.objects, changes
            else:
                _cannot_read(outcome, problem)
            outcomes.append(outcome)
        return outcomes

    def batch(self, reply: wire.Reply, frames: list[Any], size: int) -> Batch | None:
        """The same as one, where nothing about them is special; else None, and nothing has happened."""
        count = len(reply.times)
        if count == 1 or reply.refers or reply.wrote or self._output:
            return None
        try:
            values = pickling.loads(frames)
        except Exception as error:
            let_pass(error)
            return None  # once more, one by one, which says what is wrong
        if len(values) != count:
            return None
        self.answered += count
        trip = clock.perf_counter() - self.sent
        return Batch(reply.ticket, reply.first, values, reply.times, trip, self.bytes_out, size // count)

    def task_results(self, reply: wire.Reply, frames: list[Any], size: int, loads: Loads) -> list[Outcome]:
        """The outcomes of a reply to tasks."""
        from bundlebee.calls.parcels import unpack

        outcomes = []
        share = size // len(reply.times)
        for index, read in enumerate(unpack(frames, reply.ends, loads), reply.first):
            outcome = self._outcome(reply.ticket, index, Ended.RETURNED, share)
            outcome.seconds, outcome.cpu_seconds = reply.times[index - reply.first]
            try:
                outcome.value = read()
            except Exception as error:
                let_pass(error)
                _cannot_read(outcome, error)
            outcomes.append(outcome)
        return outcomes

    def raised(self, message: wire.Raised, frames: list[Any], size: int, node: str) -> Outcome:
        """The outcome of an item that raised; ``frames`` are those behind the header."""
        outcome = self._outcome(message.ticket, message.index, Ended.RAISED, size)
        outcome.seconds, outcome.cpu_seconds = message.seconds, message.cpu_seconds
        outcome.met = message.met
        try:
            # a task's author knows of the grid; a woven program must not notice it
            outcome.error = remote_errors.unpack(frames[0], node, note=not self.items)
            if message.wrote and self.objects is not None:
                changes = pickling.loads_referring(frames[1:], self.items[message.index], self.objects)
                outcome.changed = self.objects, changes
        except Exception as error:
            let_pass(error)
            _cannot_read(outcome, error)
        return outcome

    def refused(self, message: wire.Refusal, size: int) -> list[Outcome]:
        """The outcomes of items that were not done."""
        outcomes = []
        for index in range(message.first, message.first + message.count):
            outcome = self._outcome(message.ticket, index, Ended.REFUSED, size)
            outcome.error = unpack_error(message.error)
            outcome.reason = Reason(message.reason)
            if self.items:
                outcome.output = []  # it will run again; a task will not
            outcomes.append(outcome)
        return outcomes

    def _outcome(self, ticket: int, index: int, ended: Ended, size: int) -> Outcome:
        self.answered += 1
        return Outcome(
            ticket,
            index,
            ended,
            output=self._output.pop(index, ()),
            round_trip=clock.perf_counter() - self.sent,
            bytes_out=self.bytes_out,
            bytes_back=size,
        )


def _cannot_read(outcome: Outcome, error: Exception) -> None:
    outcome.ended = Ended.REFUSED
    outcome.reason = Reason.UNPICKLABLE
    outcome.output = ()
    outcome.error = (
        error
        if isinstance(error, BundlebeeError)
        else Unshippable("the result cannot be read here", why=told(error))
    )
