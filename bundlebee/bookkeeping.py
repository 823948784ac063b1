"""The decisions of an executor's tasks: where each ran, what it took, what it cost to send.

A task goes wherever a worker is free, so its reason is ``forced``: the program asked for it. One of `EACH` seconds and more
has a record of its own. Shorter ones share one: those of the same function at the same place within a quarter of a second,
with their number (`Decision.count`), and the sums of their run times and bytes. One that failed because its worker died or
because it could not travel says so.

A task that submits tasks has an executor in its worker. Those decisions travel home with what the task says (`logged.DECISION`),
and are put on record as if the program had made them. What that worker has done itself, for want of another (`helper`), ran
at its place.

Under `bundlebee exec` they go where the decisions of calls go. In a plain program they go to the file that
``BUNDLEBEE_DECISIONS`` names, to the log (``bundlebee.executor``), and to the node on this machine.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bundlebee import settings
from bundlebee.calls import logged
from bundlebee.decisions.log import DecisionLog
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.records import EACH, Decision, from_json, text
from bundlebee.errors import BundlebeeError, encodable
from bundlebee.loggers import get_logger
from bundlebee.reports import Reports
from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from bundlebee.guest import Guest

log = get_logger("bundlebee.executor")


class Sum:
    """Tasks of one function at one place."""

    __slots__ = ("bytes_back", "bytes_out", "count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0  #: run times there
        self.bytes_out = 0
        self.bytes_back = 0


class Bookkeeping:
    """Of one executor; for its dispatcher's thread."""

    def __init__(self, guest: Guest) -> None:
        self._sums: dict[tuple[str, str], Sum] = {}  # by place and function
        self._log = settings.decisions
        self._reports: Reports | None = None
        self._own: DecisionLog | None = None
        if self._log is None:
            self._log = self._own = _own_log()
            self._reports = Reports(guest, self._own.catch_up)
            self._own.listen(self._heard)

    def ran(
        self, place: str, function: str, count: int, seconds: float, bytes_out: int, bytes_back: int
    ) -> None:
        """Tasks have come to their end, or have raised; the numbers are those of all together."""
        if count == 1 and seconds >= EACH:
            self._add(place, function, Reason.FORCED, 1, seconds, bytes_out, bytes_back)
            return
        total = self._sums.get((place, function))
        if total is None:
            total = self._sums[place, function] = Sum()
        total.count += count
        total.seconds += seconds
        total.bytes_out += bytes_out
        total.bytes_back += bytes_back

    def failed(self, place: str, function: str, why: Reason, count: int, detail: str) -> None:
        """Tasks came to no end there."""
        self._add(place, function, why, count, None, 0, 0, detail)

    def told(self, place: str, text: str) -> None:
        """A task there has submitted tasks: one of its decisions, as JSON."""
        try:
            decision = from_json(text)
        except (BundlebeeError, ValueError) as error:
            log.debug("a decision of a task cannot be read: %s", error)
            return
        if decision.where == HERE:
            decision = msgspec.structs.replace(decision, where=place)
        assert self._log is not None
        self._log.add(decision)

    def settle(self) -> None:
        """Make records of what there is. To be called several times a second, and when there is nothing more to do."""
        if not self._sums:
            return
        sums, self._sums = self._sums, {}
        for (place, function), total in sums.items():
            self._add(
                place,
                function,
                Reason.FORCED,
                total.count,
                total.seconds,
                total.bytes_out,
                total.bytes_back,
            )

    def close(self) -> None:
        """No more tasks will come."""
        self.settle()
        if self._own is not None and self._reports is not None:
            summary = self._own.summary()
            for line in summary:
                log.info("%s", line)
            self._reports.close(summary)
            self._own.close()

    def after_fork(self) -> None:
        """In a child process: the records are the parent's."""
        if self._own is not None:
            self._own.after_fork()

    def _add(
        self,
        place: str,
        function: str,
        why: Reason,
        count: int,
        seconds: float | None,
        bytes_out: int,
        bytes_back: int,
        detail: str | None = None,
    ) -> None:
        assert self._log is not None
        self._log.add(
            Decision.of(
                Verdict(place, why, detail=encodable(detail or "task")),
                function=function,
                bundle="",
                seconds=seconds,
                bytes_out=bytes_out,
                bytes_back=bytes_back,
                count=count,
            )
        )

    def _heard(self, decision: Decision, changed: bool) -> None:
        level = logging.INFO if changed else logging.DEBUG
        if log.isEnabledFor(level):
            log.log(level, "%s", text(decision))
        if settings.in_worker and logged.send_home is not None and logged.send_home(decision.to_json()):
            return  # it is told from there
        if self._reports is not None:
            self._reports.add(decision, changed)


def _own_log() -> DecisionLog:
    name = "" if settings.in_worker else os.environ.get(settings.PREFIX + "DECISIONS", "")
    try:
        return DecisionLog(Path(name) if name else None)
    except BundlebeeError as error:  # tasks are more important than their records
        log.warning("%s", error)
        return DecisionLog()
