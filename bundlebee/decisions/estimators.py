"""What we learnt about run times and about peers, in bounded memory.

`RunTimes` knows one function: what it costs on this machine, as a function of its arguments' features.
`PeerTimes` knows one peer: round trip, bandwidth, and how its measured run times compare with what its speed
promised. Both are fed by outcomes only and may be used from several threads.

Run times are kept as *CPU seconds of this machine*: that is what stays the same when load comes and goes. The
model divides by the share of a core that a place can give just now.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import msgspec

from bundlebee.decisions.features import Features
from bundlebee.decisions.running import FLOOR, Running

if TYPE_CHECKING:
    from bundlebee.decisions.growth import Growth

MAX_BUCKETS = 256  #: distinct features remembered for each function; the least recently seen goes first
MAX_SHAPES = 32  #: distinct shapes for which a growth model is kept
FIT_POINTS = 64  #: samples that a fit looks at, the most recent ones


class Estimate(msgspec.Struct, frozen=True):
    """What a call will probably cost."""

    seconds: float  #: CPU seconds on a core of this machine
    spread: float  #: one standard deviation, in seconds
    samples: int  #: how many observations stand behind it
    exact: bool  #: from calls with the same features; False: from the growth model


class RunTimes:
    """Run times of one function by features of its arguments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buckets: OrderedDict[Features, Running] = OrderedDict()
        self._models: OrderedDict[tuple[object, ...], tuple[Growth, int]] = OrderedDict()
        self._observed = 0
        self.total = Running()  #: over all calls, whatever their arguments

    def observe(self, features: Features, seconds: float, cpu_seconds: float | None = None) -> None:
        """Take one outcome.

        Args:
            features: of the arguments.
            seconds: wall-clock seconds that the run took.
            cpu_seconds: CPU seconds of the thread that ran it, converted to this machine if it ran elsewhere.
                Where the clock is too coarse to see any (0.0), or for None, `seconds` stands in.
        """
        cost = cpu_seconds if cpu_seconds else seconds
        if not cost >= 0.0 or math.isinf(cost):
            return
        with self._lock:
            self._observed += 1
            self.total.add(cost)
            bucket = self._buckets.get(features)
            if bucket is None:
                bucket = self._buckets[features] = Running()
                if len(self._buckets) > MAX_BUCKETS:
                    self._buckets.popitem(last=False)
            else:
                self._buckets.move_to_end(features)
            bucket.add(cost)

    def estimate(self, features: Features) -> Estimate | None:
        """The expected cost of a call with these features; None if no call of that shape was seen yet."""
        with self._lock:
            bucket = self._buckets.get(features)
            if bucket is not None:
                return Estimate(bucket.mean, bucket.deviation, bucket.count, True)
            model = self._model(features)
        if model is None:
            return None
        seconds = model.predict(features.sizes)
        # A prediction from one point, or far from all of them, is a guess and says so in its spread.
        doubt = model.residual + model.distance(features.sizes) + (0.7 if model.samples < 3 else 0.0)
        return Estimate(seconds, seconds * math.expm1(min(doubt, 7.0)), model.samples, False)

    @property
    def observed(self) -> int:
        """Number of outcomes taken so far."""
        return self._observed

    def _model(self, features: Features) -> Growth | None:
        key = (features.shape, len(features.sizes))
        known = self._models.get(key)
        if known is not None and self._observed - known[1] < max(1, known[0].samples // 4):
            self._models.move_to_end(key)
            return known[0]
        points = []
        for seen, bucket in reversed(self._buckets.items()):
            if len(seen.sizes) == key[1] and seen.shape == features.shape:
                points.append((seen.sizes, bucket.mean))
                if len(points) == FIT_POINTS:
                    break
        if not points:
            return None
        from bundlebee.decisions.growth import fit  # most programs end before anything is to be extrapolated

        model = fit(points)
        self._models[key] = (model, self._observed)
        if len(self._models) > MAX_SHAPES:
            self._models.popitem(last=False)
        return model


#: Assumed of a peer until it was measured. A LAN's round trip is 0.2 ms; ours adds a few wake-ups of
#: processes on both sides.
DEFAULT_ROUND_TRIP = 0.002
#: Bytes a second, half of what gigabit Ethernet carries: encryption and pickling have their share.
DEFAULT_BANDWIDTH = 60e6
#: A message below this says something about the round trip, one above about the bandwidth.
SMALL_MESSAGE = 16_384
#: The measured run may differ from the promise by this much; more is an outlier (a page fault, a suspend).
MAX_RUN_RATIO = 20.0
MAX_FUNCTIONS = 512  #: functions for which a peer's own ratio is remembered
PARTING = 4  #: samples after which a function's own ratio is trusted more than the peer's general one


class PeerTimes:
    """One peer as measured from here: round trip, bandwidth, speed against its promise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._round_trip = Running(alpha=0.1)
        self._bandwidth = Running(alpha=0.2)
        self._ratio = Running(alpha=0.1)
        self._share = Running(alpha=0.3)
        self._ratios: OrderedDict[str, Running] = OrderedDict()

    def observe_transfer(self, overhead: float, bytes_out: int, bytes_back: int) -> None:
        """Take the time of one exchange that was not spent running.

        Args:
            overhead: seconds from sending to the reply, less the seconds that the call ran there.
            bytes_out: bytes of the call.
            bytes_back: bytes of the reply.
        """
        if not 0.0 < overhead < 3600.0:
            return
        size = bytes_out + bytes_back
        with self._lock:
            if size < SMALL_MESSAGE:
                # One reply that waited for a busy process must not hide a fast peer: outliers count in part.
                known = self._round_trip
                self._round_trip.add(min(overhead, 4.0 * known.mean) if known.count >= 3 else overhead)
            else:
                wire = overhead - self.round_trip
                if wire > 0.0:
                    self._bandwidth.add(size / wire)

    def observe_run(self, function: str, expected: float, cpu_seconds: float, seconds: float) -> None:
        """Take the run time of one shipped call.

        Args:
            function: name of the function, ``module:qualname``.
            expected: CPU seconds that the peer should have needed, by our estimate and its speed; 0.0: unknown.
            cpu_seconds: CPU seconds that it needed.
            seconds: wall-clock seconds that the run took there.
        """
        with self._lock:
            if expected > FLOOR and cpu_seconds > 0.0:
                ratio = math.log(min(max(cpu_seconds / expected, 1.0 / MAX_RUN_RATIO), MAX_RUN_RATIO))
                self._ratio.add(ratio)
                own = self._ratios.get(function)
                if own is None:
                    own = self._ratios[function] = Running()
                    if len(self._ratios) > MAX_FUNCTIONS:
                        self._ratios.popitem(last=False)
                else:
                    self._ratios.move_to_end(function)
                own.add(ratio)
            if seconds >= 0.05 and cpu_seconds > 0.0:
                # Shorter runs fit into one period of a CPU quota and would look like a whole core.
                self._share.add(min(1.0, cpu_seconds / seconds))

    @property
    def round_trip(self) -> float:
        """Seconds for a small call and its reply, the run not counted."""
        return self._round_trip.mean if self._round_trip.count else DEFAULT_ROUND_TRIP

    @property
    def bandwidth(self) -> float:
        """Bytes a second."""
        return self._bandwidth.mean if self._bandwidth.count else DEFAULT_BANDWIDTH

    @property
    def measured(self) -> bool:
        """Whether any reply stands behind these figures."""
        return self._round_trip.count > 0 or self._bandwidth.count > 0

    @property
    def share(self) -> float | None:
        """The share of a core that runs really got there, or None while no run was long enough to tell."""
        return self._share.mean if self._share.count else None

    def run_ratio(self, function: str) -> float:
        """Measured run time there ÷ expected run time there; 1.0 until measured."""
        with self._lock:
            own = self._ratios.get(function)
            general = self._ratio.mean if self._ratio.count >= PARTING else 0.0
            if own is None:
                return math.exp(general)
            weight = min(1.0, own.count / PARTING)
            return math.exp(weight * own.mean + (1.0 - weight) * general)
