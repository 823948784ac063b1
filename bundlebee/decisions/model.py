"""The cost model: the cheapest place for one call, from what is known now. Pure: no clock, no state.

    here:   run × slow-down by our own load
    peer:   our work for shipping + bytes / bandwidth + round trip + run × (their speed, their load)

All figures are seconds. `Work.seconds` are CPU seconds on a core of *this* machine.

Why a rate and not a load average: one more process on a host with c cores of which b are busy gets an idle
core where there is one, else a fair part, c/(b+1); and never more than one core, since a call is one thread.
On a host that is throttled to 0.4 CPU it gets 0.4. That one formula orders fast, slow, busy and throttled
machines.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bundlebee.decisions.estimators import DEFAULT_BANDWIDTH, DEFAULT_ROUND_TRIP
from bundlebee.words import HERE, Reason

#: CPU seconds that this machine spends to ship one small call and take its reply: analysis of the arguments,
#: pickling, encryption, the socket. A caller throttled to a tenth of a core feels ten times that.
SHIPPING_CPU = 0.0003
#: Bytes a second that one core pickles and encrypts. Bulk data goes faster; nested small objects go slower.
PICKLING_RATE = 200e6
#: A call must take at most this share of the time here: estimates wobble, and a wrong trip costs more than
#: a wrong stay does.
MARGIN = 0.85
#: ... and at least this many seconds sooner: below it the difference is noise.
MIN_GAIN = 0.0005
#: A run shorter than this (seconds) is called `too-short` whatever the loads: no message is that quick.
MIN_RUN = 0.0005
#: The smallest share of a core that the model believes in, so that a wrong load figure never divides by zero.
MIN_RATE = 0.01


class Work(msgspec.Struct, frozen=True):
    """What one call needs, as estimated before it runs."""

    seconds: float  #: CPU seconds on a core of this machine
    bytes_out: int = 256  #: size of the pickled arguments
    bytes_back: int = 256  #: size of the pickled result
    spread: float = 0.0  #: one standard deviation of `seconds`


class Place(msgspec.Struct, frozen=True):
    """A machine that could run the call: this one, or a peer."""

    name: str  #: `words.HERE` for this machine, else the node's name
    speed: float = 1.0  #: of one core; only ratios between places count
    cores: float = 1.0  #: cores it may use, a CPU quota honoured (0.4 is possible)
    busy: float = 0.0  #: cores that are in use, our own calls in flight there included
    free: int = 1  #: worker slots that are free; of no meaning for this machine
    round_trip: float = DEFAULT_ROUND_TRIP  #: seconds
    bandwidth: float = DEFAULT_BANDWIDTH  #: bytes a second
    run_ratio: float = 1.0  #: measured run time ÷ promised run time
    measured: bool = True  #: whether this function has run there before


class Verdict(msgspec.Struct, frozen=True):
    """Where a call goes, why, and what was expected of each place."""

    where: str  #: `words.HERE` or a node's name
    why: Reason
    estimates: dict[str, float] = {}  #: seconds by place, as far as they are known
    detail: str | None = None  #: more about the reason, for people

    @property
    def here(self) -> bool:
        """Whether the call stays in this process."""
        return self.where == HERE


def rate(cores: float, busy: float) -> float:
    """The share of a core that one more process gets on a host with `cores`, of which `busy` are in use."""
    if cores - busy >= 1.0 and busy >= 0.0:  # mostly
        return 1.0
    busy = max(busy, 0.0)
    return max(MIN_RATE, min(1.0, cores, max(cores - busy, cores / (busy + 1.0))))


def here_seconds(work: Work, here: Place) -> float:
    """Seconds until the call is done if it runs here."""
    return work.seconds * here.run_ratio / rate(here.cores, here.busy)


def shipping_seconds(work: Work, here: Place) -> float:
    """Seconds that this machine itself is occupied by shipping: a throttled caller ships slowly, too."""
    return (SHIPPING_CPU + (work.bytes_out + work.bytes_back) / PICKLING_RATE) / rate(here.cores, here.busy)


def there_seconds(work: Work, here: Place, peer: Place) -> float:
    """Seconds until the result of a shipped call is back, a free slot assumed."""
    run = work.seconds * (here.speed / peer.speed) * peer.run_ratio / rate(peer.cores, peer.busy)
    wire = peer.round_trip + (work.bytes_out + work.bytes_back) / peer.bandwidth
    return shipping_seconds(work, here) + wire + run


def choose(work: Work | None, here: Place, peers: Sequence[Place]) -> Verdict:
    """The place where the call is done soonest.

    Args:
        work: what the call needs; None if nobody knows.
        here: this machine.
        peers: machines that may run the call; those without a free slot count in the estimates, but are never
            chosen.
    """
    if work is None:
        return Verdict(HERE, Reason.UNMEASURED)
    at_home = here_seconds(work, here)
    estimates = {HERE: at_home}
    if not peers:
        return Verdict(HERE, Reason.NO_PEER, estimates)
    best: tuple[float, str] | None = None
    best_if_free: float | None = None
    for peer in peers:
        seconds = estimates[peer.name] = there_seconds(work, here, peer)
        best_if_free = seconds if best_if_free is None else min(best_if_free, seconds)
        if peer.free > 0 and (best is None or (seconds, peer.name) < best):
            best = (seconds, peer.name)
    if best is not None and _pays(best[0], at_home):
        return Verdict(best[1], Reason.CHEAPER_THERE, estimates)
    # What the emptiest message to the nearest peer costs: a call that is over by then is too short.
    least = SHIPPING_CPU / rate(here.cores, here.busy) + min(peer.round_trip for peer in peers)
    if work.seconds < MIN_RUN or at_home <= least:
        return Verdict(HERE, Reason.TOO_SHORT, estimates)
    if best_if_free is not None and _pays(best_if_free, at_home):
        return Verdict(HERE, Reason.PEER_BUSY, estimates)
    return Verdict(HERE, Reason.CHEAPER_HERE, estimates)


def _pays(there: float, here: float) -> bool:
    return there < here * MARGIN and here - there >= MIN_GAIN
