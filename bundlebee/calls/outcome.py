"""What became of one item that was shipped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.errors import BundlebeeError
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.bundles.values import Walk


class Ended(Enum):
    """How an item ended."""

    RETURNED = "returned"
    RAISED = "raised"
    REFUSED = "refused"  #: it has no effect there, whether or not it began; it may run here


class Batch(msgspec.Struct):
    """The results of items in a row that returned, printed nothing and changed nothing."""

    ticket: int
    first: int  #: index of the first one in its chunk
    values: list[Any]
    times: list[tuple[float, float]]  #: seconds and CPU seconds there
    round_trip: float
    bytes_out: int  #: of each, as its share
    bytes_back: int

    def average(self, seconds: float) -> Outcome:
        """What became of one of them, on the average."""
        return Outcome(
            self.ticket,
            self.first,
            Ended.RETURNED,
            seconds=seconds,
            cpu_seconds=sum(times[1] for times in self.times) / len(self.times),
            round_trip=self.round_trip,
            bytes_out=self.bytes_out,
            bytes_back=self.bytes_back,
        )

    def outcomes(self) -> list[Outcome]:
        """The same, one by one."""
        return [
            Outcome(
                self.ticket,
                self.first + offset,
                Ended.RETURNED,
                value,
                seconds=self.times[offset][0],
                cpu_seconds=self.times[offset][1],
                round_trip=self.round_trip,
                bytes_out=self.bytes_out,
                bytes_back=self.bytes_back,
            )
            for offset, value in enumerate(self.values)
        ]


class Outcome(msgspec.Struct):
    """What became of one item."""

    ticket: int
    index: int  #: of the item in its chunk
    ended: Ended
    value: Any = None  #: the result
    error: BaseException | None = None  #: what it raised, or why it was refused
    reason: Reason | None = None  #: of a refusal
    output: Iterable[
        tuple[str, str]
    ] = ()  #: (``stdout`` or ``stderr``, text), in order; of a call, not of a task
    seconds: float = 0.0  #: run time there
    cpu_seconds: float = 0.0  #: CPU time there
    round_trip: float = 0.0  #: seconds from submission of its chunk until this answer
    bytes_out: int = 0  #: its share of its chunk
    bytes_back: int = 0  #: its share of its answer
    #: what it changed in its arguments, for `restore`: the objects, and the changes
    changed: tuple[Sequence[Any], Sequence[Any]] | None = None
    #: state that it met in its gaps: the answer counts only if that is the same here (`disbelief`)
    met: Sequence[tuple[list[tuple[str, str]], bytes]] = ()

    @property
    def returned(self) -> bool:
        return self.ended is Ended.RETURNED

    @property
    def raised(self) -> bool:
        return self.ended is Ended.RAISED

    @property
    def refused(self) -> bool:
        return self.ended is Ended.REFUSED

    def disbelief(self, found: Walk) -> str | None:
        """Why the answer must not be believed: what it met is not the same here. None if all is well. To be asked before anything
        else, and where the state of the caller is still what it was.

        Args:
            found: what there was among the arguments.
        """
        if not self.met:
            return None
        from bundlebee.calls.gate import disagreement

        return disagreement(self.met, found)

    def restore(self) -> None:
        """Change the caller's arguments as the call changed its copies.

        Raises:
            Unshippable: they cannot be; nothing was changed, and the call is to run here.
        """
        if self.changed is not None:
            from bundlebee.calls.changes import restore

            restore(*self.changed)

    def refusal(self) -> BundlebeeError:
        """The error of a refused item."""
        assert isinstance(self.error, BundlebeeError)
        return self.error

    def get(self) -> Any:
        """The result; raises what the function raised, or the refusal."""
        if self.error is not None:
            raise self.error
        return self.value
