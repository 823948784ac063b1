"""What is known about one advised function: how long it takes, and whether it must stay here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.bundles.effects import Summary
    from bundlebee.decisions.estimators import RunTimes
    from bundlebee.decisions.features import Features
    from bundlebee.decisions.model import Verdict
    from bundlebee.weaving.advice import Advice
    from bundlebee.weaving.joinpoint import JoinPoint

SHORT = 0.0005
"""Seconds. A call that is over sooner cannot pay for a message (a null call costs some 0.1 ms, twice that between hosts, and
the caller's thread has better things to do); `scatter` sends such calls in chunks, and measures them itself."""

DRAWN = 1000
"""Calls of one function that chaos takes at the probability that was asked for. It looks for differences, and the next million
calls of one tiny method show few that the first thousand did not: from then on the probability falls, with each further thousand
to 0.37 of what it was."""

ASKED = 8
"""Calls that are judged each by itself before the function is judged as a whole; twice as many before each next time."""

SAMPLES = 3
"""Short calls in a row until a function is disarmed. One or two may be the cheap edge cases (``fib(1)``)."""


class Pin(msgspec.Struct, frozen=True):
    """A function stays here from now on, and why."""

    reason: Reason
    detail: str


class Profile:
    """The measurements and findings about one join point. Shared by the aspects; guarded by the GIL only.

    Lost updates between threads cost a sample, never a wrong answer.
    """

    __slots__ = (
        "asked",
        "calls",
        "debt",
        "drawn",
        "idle",
        "last",
        "learnt",
        "met",
        "pin",
        "point",
        "recursive",
        "refusals",
        "shipped",
        "short",
        "sites",
        "spreads",
        "summary",
        "times",
        "told",
        "trust",
        "unsafe",
        "volume",
        "worthwhile",
    )

    def __init__(self, point: JoinPoint) -> None:
        self.point = point
        self.calls = 0  #: calls that the advice saw
        self.short = 0  #: short calls in a row
        self.unsafe = 0  #: calls in a row that were found to have effects
        self.refusals = 0  #: calls in a row that a worker or the pickle refused
        self.shipped = 0  #: calls that ran elsewhere
        self.drawn = 0  #: calls that the dice of chaos have chosen
        #: times it was armed again and found short, as a power of two; the watch is the slower for it
        self.trust = 1
        self.met = 0.0  #: seconds that the watch saw it running since it was disarmed
        self.idle = False  #: it takes long, and runs as written until somebody is there to take it
        self.recursive = False  #: it was entered again before it returned
        #: loops inside it are spread from here, which gains more than to send it as a whole; None: not known yet
        self.spreads: bool | None = None
        self.sites: set[tuple[Advice, int]] = set()  #: loops over it that were switched off
        self.pin: Pin | None = None
        #: under the policy ``remote``: until when (`perf_counter`) the verdict on calls with such features serves
        self.last: tuple[float, Features, Verdict] | None = None
        self.learnt = 0.0  #: when something was learnt from a shipped call (`perf_counter`)
        self.summary: Summary | None = (
            None  #: its effects whatever it gets, once that was worthwhile to find out
        )
        #: seconds that went into questions about calls that stayed, of which run time has not yet paid its share; None: none so far
        self.debt: float | None = None
        self.asked = 0  #: harmless calls since it was last found out
        self.worthwhile = ASKED  #: so many of these make it worthwhile
        self.times: RunTimes | None = None  #: made at the first measurement
        self.volume = 0  #: bytes of the last result
        self.told: tuple[str, Reason] | None = None  #: the last verdict on record

    def measured(self) -> RunTimes:
        """The estimator, made on first use: most functions of a program are never called."""
        if self.times is None:
            from bundlebee.decisions.estimators import RunTimes

            self.times = RunTimes()
        return self.times

    def chosen(self, draw: float, probability: float) -> float | None:
        """Whether the dice of chaos send the next call away: None, or their draw as if nothing had been taken off it.

        Of n calls some DRAWN × (1 + ln(n × probability / DRAWN)) are chosen in the end; with a probability of 1 all are.

        Args:
            draw: from [0, 1).
            probability: what the policy says.
        """
        if draw >= probability:
            return None
        if self.drawn >= DRAWN and probability < 1.0:
            draw *= math.exp(self.drawn / DRAWN - 1.0)
            if draw >= probability:
                return None
        self.drawn += 1
        return draw

    def hold(self, reason: Reason, detail: str) -> None:
        """Keep the function here from now on."""
        self.pin = Pin(reason, detail)
