"""What a program decided, told to the node on its machine, so that people can follow it there.

Short calls with the same verdict that come within one report share one record (`together`): a program that ships
thousands a second would else keep the node, and with it a core, busy with reading about them. The program's own log and
file (`--decisions`) have each.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from bundlebee.decisions.records import EACH, Decision
from bundlebee.errors import BundlebeeError
from bundlebee.loggers import get_logger

if TYPE_CHECKING:
    from bundlebee.guest import Guest

log = get_logger("bundlebee.reports")

EVERY = 0.5  #: seconds that records are gathered: people read no faster
MOST = 5_000  #: records that wait; beyond that the oldest are dropped, the program's own file has them all


Told = tuple[Decision, bool]
"""A record, and whether the verdict on its function changed with it."""


def together(records: Iterable[Told]) -> list[Told]:
    """The same calls in fewer records: short ones that repeat a verdict on a function are put together.

    Returns:
        in the order of their first calls; each with the number of calls, and the sums of their times and bytes.
    """
    sums: list[Alike] = []
    latest: dict[tuple[str | None, ...], Alike] = {}
    for decision, changed in records:
        alike = (decision.function, decision.bundle, decision.where, decision.why, decision.detail)
        if decision.seconds is None or decision.seconds >= EACH * decision.count:
            sums.append(Alike(decision, changed))
        elif changed or alike not in latest:  # news is told by itself
            sums.append(Alike(decision, changed))
            if not changed:
                latest[alike] = sums[-1]
        else:
            latest[alike].add(decision)
    return [one.record() for one in sums]


class Alike:
    """Calls that were decided alike."""

    __slots__ = ("bytes_back", "bytes_out", "changed", "count", "first", "seconds")

    def __init__(self, first: Decision, changed: bool) -> None:
        self.first = first
        self.changed = changed
        self.count = first.count
        self.seconds = first.seconds or 0.0
        self.bytes_out = first.bytes_out
        self.bytes_back = first.bytes_back

    def add(self, other: Decision) -> None:
        """One more."""
        assert other.seconds is not None
        self.count += other.count
        self.seconds += other.seconds
        self.bytes_out += other.bytes_out
        self.bytes_back += other.bytes_back

    def record(self) -> Told:
        """One record for all."""
        if self.count == self.first.count:
            return self.first, self.changed
        total = msgspec.structs.replace(
            self.first,
            count=self.count,
            seconds=self.seconds,
            bytes_out=self.bytes_out,
            bytes_back=self.bytes_back,
        )
        return total, self.changed


class Reports:
    """Gathers records and sends them in the background. Does nothing where there is no node on this machine.

    Args:
        collect: adds what there is; called before each time that something is sent.
    """

    def __init__(self, guest: Guest, collect: Callable[[], None]) -> None:
        self._guest = guest
        self._collect = collect
        self._waiting: deque[Told] = deque(maxlen=MOST)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._summary: list[str] = []

    def add(self, decision: Decision, changed: bool) -> None:
        """Take a record; never waits."""
        if self._guest.own_node is None:
            return
        self._waiting.append((decision, changed))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bundlebee-reports", daemon=True)
            self._thread.start()

    def close(self, summary: list[str]) -> None:
        """Send what is left, and lines that sum up the program."""
        self._summary = summary
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=3.0)

    def _run(self) -> None:
        over = False
        while not over:
            over = self._closing.wait(EVERY)
            self._collect()
            gathered = [self._waiting.popleft() for _ in range(len(self._waiting))]
            fewer = together(gathered)
            for start in range(0, len(fewer), 500):
                self._send(fewer[start : start + 500], [])
        self._send([], self._summary)

    def _send(self, batch: Sequence[Told], summary: list[str]) -> None:
        own = self._guest.own_node
        if own is None:
            return
        try:
            body = msgspec.msgpack.encode((batch, summary))
            self._guest.ask(own.address, "decisions.tell", body, timeout=2.0)
        except BundlebeeError as error:
            log.debug("the node on this machine does not listen: %s", error)
            self._guest.own_node = None
