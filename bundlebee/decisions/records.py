"""The decision record: one entry for each verdict, as text for people and as a line of JSON for programs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from bundlebee.clock import clock
from bundlebee.decisions.model import Verdict
from bundlebee.words import HERE

EACH = 0.01
"""Seconds. A task that takes longer, or a call that is reported to a node, has a record of its own, which costs some 20 µs."""


class Decision(msgspec.Struct, frozen=True, omit_defaults=False):
    """Where one call went, and why; or, with a ``count``, so many alike that were too short to be told one by one.

    The field names are those in JSON, and part of the public interface.
    """

    function: str  #: ``module:qualname``
    bundle: str  #: name of the bundle that the function belongs to; empty for tasks
    where: str  #: ``here``, or the node's name
    why: str  #: a `words.Reason`
    estimate: dict[str, float]  #: expected seconds, by node; ``here`` is this machine
    #: measured, from the decision to the result, of a task only what it ran; of all together; None if it is not known
    seconds: float | None
    bytes_out: int  #: size of what was sent, of all together; 0 for a call that stayed
    bytes_back: int
    time: str  #: when it was decided, ISO 8601 with zone
    detail: str | None = None  #: more about the reason, for people
    count: int = 1  #: calls that this record is about

    @classmethod
    def of(
        cls,
        verdict: Verdict,
        *,
        function: str,
        bundle: str,
        seconds: float | None = None,
        bytes_out: int = 0,
        bytes_back: int = 0,
        when: float | None = None,
        count: int = 1,
    ) -> Decision:
        """A record of a verdict. `when` is a time as of `clock.time()`; None: now."""
        return cls(
            function,
            bundle,
            verdict.where,
            verdict.why.value,
            verdict.estimates,
            seconds,
            bytes_out,
            bytes_back,
            iso_time(when),
            verdict.detail,
            count,
        )

    def to_json(self) -> str:
        """One JSON object, without a line end."""
        return _encode(self).decode()

    def __str__(self) -> str:
        return text(self)


def iso_time(when: float | None = None) -> str:
    """ISO 8601 with milliseconds and the local zone, as in ``2025-03-01T12:00:00.123+01:00``."""
    when = clock.time() if when is None else when
    second = int(when)
    date, zone = _second(second)
    return "%s.%03d%s" % (date, (when - second) * 1000, zone)  # noqa: UP031, the quicker of the two


@lru_cache(maxsize=1)  # a program may make thousands of records a second
def _second(when: int) -> tuple[str, str]:
    local = time.localtime(when)
    offset = local.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    hours, minutes = divmod(abs(offset), 60)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), f"{sign}{hours:02d}:{minutes:02d}"


def from_json(line: str | bytes) -> Decision:
    """Read one line back. Raises `ValueError` if it is not a decision record."""
    return _decode(line)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Decision).decode


def text(decision: Decision) -> str:
    """One line for people.

    ``mandelbrot:row → b  cheaper-there  expected here 1.21 s, b 212 ms; took 230 ms; 312 B out, 4.1 kB back``
    """
    line = f"{decision.function} → {decision.where}  {decision.why}"
    if decision.detail:
        line += f" ({decision.detail})"
    parts = []
    if decision.estimate:
        parts.append(
            "expected " + ", ".join(f"{name} {duration(s)}" for name, s in _by_cost(decision.estimate))
        )
    many = f"{decision.count} calls " if decision.count != 1 else ""
    if decision.seconds is not None:
        parts.append(f"{many}took {duration(decision.seconds)}")
    elif many:
        parts.append(many.rstrip())
    if decision.bytes_out or decision.bytes_back:
        parts.append(f"{size(decision.bytes_out)} out, {size(decision.bytes_back)} back")
    return line + ("  " + "; ".join(parts) if parts else "")


def _by_cost(estimate: dict[str, float]) -> Iterable[tuple[str, float]]:
    """Here first, then the peers, the cheapest first; of many only the best few."""
    peers = sorted(
        (item for item in estimate.items() if item[0] != HERE), key=lambda item: (item[1], item[0])
    )
    at_home = [(HERE, estimate[HERE])] if HERE in estimate else []
    return at_home + peers[:4]


def duration(seconds: float) -> str:
    """Seconds with a unit that a person likes: ``17 µs``, ``2.3 ms``, ``1.25 s``, ``3 min 20 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1.0:
        return f"{seconds * 1e3:.1f} ms" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"
    if seconds < 120.0:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def size(count: int) -> str:
    """Bytes with a unit: ``312 B``, ``4.1 kB``, ``2.0 MB``, decimal as networks count."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1e3, "kB"
    for larger in ("MB", "GB"):
        if value < 999.95:
            break
        value, unit = value / 1e3, larger
    return f"{value:.1f} {unit}"
