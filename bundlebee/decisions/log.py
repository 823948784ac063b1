"""The decision log: what the aspects write into and what people, files and tools read from.

A verdict that equals the last one of its function is no news. Listeners can therefore choose: every record,
or only changes; and `summary` sums up the rest from time to time. Nothing in here may break the program that
is being watched: a listener that raises is removed and named, a file that cannot be written any more is given
up with one warning.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.clock import clock
from bundlebee.decisions.records import Decision, duration
from bundlebee.errors import ConfigurationError
from bundlebee.loggers import get_logger
from bundlebee.words import HERE

if TYPE_CHECKING:
    from bundlebee.decisions.model import Verdict

logger = get_logger("bundlebee.decisions")

Listener = Callable[[Decision, bool], None]
"""Called with each record, and whether the verdict on that function changed with it. Must be quick."""

LATER = 1024
"""Records that are made together; each alone would cost three times as much. The call that makes them takes some 4 ms longer.
With 256 at a time, and 1 ms, the 99th percentile of null calls was 1.9 to 2.3 times that of bare pyzmq; it is 1.2 to 1.4 times."""

CAPACITY = 1000  #: records kept in memory
MAX_FUNCTIONS = 4096  #: functions whose last verdict and counts are remembered
SUMMARY_EVERY = 30.0  #: seconds between two summaries


class Tally(msgspec.Struct):
    """Calls of one function since the start: how many went where, for which reason."""

    verdict: tuple[bool, str] | None = None  #: (stayed here, reason) of the last one
    counts: dict[tuple[str, str], int] = {}  #: (where, why) → calls
    seconds: float = 0.0  #: sum of the measured times
    fresh: int = 0  #: calls since the last summary


class DecisionLog:
    """Bounded memory of decisions, an optional JSON lines file, and listeners. Any thread may use it.

    Args:
        path: file to append one JSON object a line to; None: no file.
        capacity: records kept in memory.

    Raises:
        ConfigurationError: the file cannot be opened. Later failures are only logged.
    """

    def __init__(self, path: Path | str | None = None, *, capacity: int = CAPACITY) -> None:
        self._lock = threading.Lock()
        self._recent: deque[Decision] = deque(maxlen=capacity)
        self._tallies: OrderedDict[str, Tally] = OrderedDict()
        self._listeners: tuple[Listener, ...] = ()
        self._summed_at: float | None = None
        self._later: deque[tuple[Verdict, float, tuple[Any, ...]]] = deque()
        self.path = None if path is None else Path(path)
        self._file = None if self.path is None else _open(self.path)

    def add(self, decision: Decision) -> bool:
        """Take a record, write it, tell the listeners; whether this is a new verdict on the function."""
        with self._lock:
            self._recent.append(decision)
            tally = self._tallies.get(decision.function) or self._tally(decision.function)
            changed = self._count(tally, decision.where, decision.why, decision.count)
            if decision.seconds is not None:
                tally.seconds += decision.seconds
            if self._file is not None:
                self._write(decision)
            listeners = self._listeners
        for listener in listeners:
            try:
                listener(decision, changed)
            except Exception:
                self.unlisten(listener)
                logger.exception("a listener of the decision log failed and was removed: %r", listener)
        return changed

    def add_now(self, verdict: Verdict, *what: Any) -> None:
        """Make a record, behind those that were to be made later.

        Args:
            what: function, bundle, seconds, bytes out, bytes back.
        """
        self._later.append((verdict, clock.time(), what))
        self.catch_up()

    def add_later(self, verdict: Verdict, *what: Any) -> None:
        """As `add_now`, for a call that is one of many: the same verdict on the same function as the last time.

        It is written at once where there is a file; else it becomes a record when there are more, or somebody looks.
        """
        self._later.append((verdict, clock.time(), what))
        if self._file is not None or len(self._later) >= LATER:
            self.catch_up()

    def catch_up(self) -> None:
        """Make records of what was to be added later."""
        while self._later:
            try:
                verdict, when, (function, bundle, seconds, bytes_out, bytes_back) = self._later.popleft()
            except IndexError:  # another thread has it
                return
            self.add(
                Decision.of(
                    verdict,
                    function=function,
                    bundle=bundle,
                    seconds=seconds,
                    bytes_out=bytes_out,
                    bytes_back=bytes_back,
                    when=when,
                )
            )

    def count(self, function: str, where: str, why: str, calls: int = 1) -> bool:
        """Count calls that are too short to be told one by one. Returns as `add` does."""
        with self._lock:
            return self._count(self._tally(function), where, why, calls)

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with each further record."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: Listener) -> None:
        """Take a listener out again; one that is not there is no error."""
        with self._lock:
            self._listeners = tuple(one for one in self._listeners if one != listener)

    def recent(self, function: str | None = None) -> list[Decision]:
        """The records in memory, oldest first; only those of one function if it is given."""
        self.catch_up()
        with self._lock:
            return [record for record in self._recent if function is None or record.function == function]

    def tallies(self) -> dict[str, dict[tuple[str, str], int]]:
        """Calls by function, and by (where, why)."""
        self.catch_up()
        with self._lock:
            return {name: dict(tally.counts) for name, tally in self._tallies.items()}

    def summary(self, now: float | None = None) -> list[str]:
        """Lines that sum up the functions called since the last summary; the busiest first.

        Args:
            now: a monotonic time. If given, nothing comes back until `SUMMARY_EVERY` seconds after the last
                time; for None it is summed up in any case.
        """
        self.catch_up()
        with self._lock:
            if now is not None:
                if self._summed_at is None:
                    self._summed_at = now
                if now - self._summed_at < SUMMARY_EVERY:
                    return []
                self._summed_at = now
            fresh = [(tally.fresh, name, tally) for name, tally in self._tallies.items() if tally.fresh]
            fresh.sort(key=lambda entry: (-entry[0], entry[1]))
            lines = [_summary_line(name, tally) for _, name, tally in fresh]
            for _, _, tally in fresh:
                tally.fresh = 0
            return lines

    def after_fork(self) -> None:
        """In a child process: whoever held the lock in the parent is not here to give it back."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file. Records are still taken afterwards, into memory."""
        self.catch_up()
        with self._lock:
            descriptor, self._file = self._file, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError as error:
                logger.warning("closing %s: %s", self.path, error)

    def _tally(self, function: str) -> Tally:
        tally = self._tallies.get(function)
        if tally is None:
            tally = self._tallies[function] = Tally()
            if len(self._tallies) > MAX_FUNCTIONS:
                self._tallies.popitem(last=False)
        return tally

    @staticmethod
    def _count(tally: Tally, where: str, why: str, calls: int) -> bool:
        # Which of the peers it was is no change: a spread loop goes to all of them in turn.
        verdict = (where == HERE, why)
        changed = tally.verdict != verdict
        tally.verdict = verdict
        tally.counts[where, why] = tally.counts.get((where, why), 0) + calls
        tally.fresh += calls
        return changed

    def _write(self, decision: Decision) -> None:
        # One write a line: several processes may append to one file, and nothing is lost if we are killed.
        assert self._file is not None
        line = decision.to_json().encode() + b"\n"
        try:
            written = os.write(self._file, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes were written")
        except OSError as error:
            descriptor, self._file = self._file, None
            logger.warning(
                "%s cannot be written any more, and gets no further decisions: %s", self.path, error
            )
            try:
                os.close(descriptor)
            except OSError:
                pass  # it failed already, and said so


def _open(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"the decisions cannot be written to {path}",
            why=error.strerror,
            hint="name a file in a directory of yours",
        ) from None


def _summary_line(name: str, tally: Tally) -> str:
    calls = sum(tally.counts.values())
    ranked = sorted(tally.counts.items(), key=lambda item: (-item[1], item[0]))
    spots = ", ".join(f"{count} {where} ({why})" for (where, why), count in ranked[:6])
    took = f" in {duration(tally.seconds)}" if tally.seconds else ""
    return f"{name}: {calls} call{'s' if calls != 1 else ''}{took}: {spots}"
