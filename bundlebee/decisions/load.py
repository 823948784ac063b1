"""What this machine can give: cores, how many of them are busy, memory. Sampled in the background.

A sample costs some 100 µs, and 20 µs for each process of our own, once a second: cheap, but never per call.

A limit that we cannot read (a virtual machine's, a hidden control group's) shows in another way: our
processes wait for a core while cores stand idle. What they got then is all that there is.

Our own processes are told apart from the rest, since the caller counts its calls in flight at once, not at
the next sample: `busy now = load.foreign + calls in flight`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable

import msgspec

from bundlebee.clock import clock
from bundlebee.decisions import cgroup
from bundlebee.decisions.counters import Counters, counters
from bundlebee.loggers import get_logger

logger = get_logger("bundlebee.decisions")

INTERVAL = 1.0  #: seconds between samples: as often as the registry's beats carry them
SMOOTHING = 0.6  #: weight of a new sample; a second is short enough that a single one may mislead
SLOT_TOLERANCE = 0.25  #: a quota of 2.2 cores gets two workers, one of 2.5 three
#: Cores, and share of what ran, that must be waited for in vain before a hidden limit is believed in.
HIDDEN_WAIT = 0.25
MAX_PROCESSES = 64  #: of a group without accounting, as many are added up

_open = open  # a test of the program may put its own in the place of the builtin


class Load(msgspec.Struct, frozen=True):
    """One sample."""

    cores: float  #: that we may use: CPU quota and affinity honoured
    busy: float  #: cores in use, of those that we may use; by anybody
    foreign: float  #: cores in use by others than our own processes
    memory_free: int | None  #: bytes; None until the first sample
    memory_total: int | None
    sampled: bool  #: False: nothing measured yet, the figures of load are assumptions


class Sampler:
    """Takes a `Load` every second in a daemon thread.

    Args:
        own: gives the process ids whose CPU time is ours (the workers); this process is always counted.
        interval: seconds between two samples.
    """

    def __init__(self, own: Callable[[], Iterable[int]] = tuple, *, interval: float = INTERVAL) -> None:
        self._own = own
        self._interval = interval
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._meter = Meter()
        self._load = Load(capacity(self._meter.group), 0.0, 0.0, None, None, False)

    def start(self) -> None:
        """Begin. The first figures are there one interval later."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bundlebee-load", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)

    def load(self) -> Load:
        """The last sample. Cheap: reads one attribute."""
        return self._load

    def _run(self) -> None:
        try:
            self._meter.start(self._own())
            while not self._stop.wait(self._interval):
                self._load = self._meter.sample(self._own(), self._load)
        except Exception:
            # Load is advice. Without it the model takes this machine for idle.
            logger.exception("the load of this machine cannot be sampled any more")


class Meter:
    """Turns counters of CPU time into cores. Not for use from several threads."""

    def __init__(self, group: cgroup.CpuGroup | None = None) -> None:
        self.group = cgroup.find() if group is None else group
        self._counters: Counters | None = None
        self._time = 0.0
        self._group_used: float | None = None
        self._quota = self.group.quota()
        self._hidden: float | None = None
        self._processes: dict[int, tuple[float, float]] = {}

    def start(self, own: Iterable[int]) -> None:
        """Take the first reading of all counters."""
        self._counters = counters()
        self._time = clock.monotonic()
        self._counters.cores()
        self._group_used = self._used()
        self._own_seconds(own)

    def sample(self, own: Iterable[int], before: Load) -> Load:
        """The load since the last reading, smoothed with the one before."""
        now = clock.monotonic()
        elapsed = max(now - self._time, 1e-3)
        self._time = now
        if not self.group.limits or self.group.limits[0].exists():
            self._quota = self.group.quota()  # else the view of it was lost, and the last figure stands
        ran, waited = (seconds / elapsed for seconds in self._own_seconds(own))
        machine, idle = self._machine()
        if self._quota is None:
            self._hidden = hidden_limit(self._hidden, ran, waited, idle)
        limit = self._quota if self._quota is not None else self._hidden
        cores = _cores(limit)
        used, self._group_used = self._group_used, self._used()
        if used is not None and self._group_used is not None:
            busy = max(0.0, self._group_used - used) / elapsed
        else:
            busy = machine if limit is None else ran
        busy = min(busy, cores)
        foreign = max(0.0, busy - ran)
        if before.sampled:
            busy = SMOOTHING * busy + (1.0 - SMOOTHING) * before.busy
            foreign = SMOOTHING * foreign + (1.0 - SMOOTHING) * before.foreign
        assert self._counters is not None
        available, total = self._counters.memory()
        return Load(cores, min(busy, cores), foreign, available, total, True)

    def _machine(self) -> tuple[float, float]:
        """Busy and idle cores of those that we may run on."""
        assert self._counters is not None
        shares = self._counters.cores()
        allowed = affinity()
        if allowed is not None and max(allowed) < len(shares):
            shares = [shares[cpu] for cpu in allowed]
        busy = sum(shares)
        return busy, len(shares) - busy

    def _used(self) -> float | None:
        """CPU seconds of the group with the quota; added up from its processes if the kernel does not."""
        if self._quota is None:
            return None
        used = self.group.used()
        if used is not None:
            return used
        try:
            pids = (self.group.limits[0] / "cgroup.procs").read_text().split()[:MAX_PROCESSES]
        except OSError:
            return None
        assert self._counters is not None
        return sum(self._counters.seconds(int(pid)) or 0.0 for pid in pids)

    def _own_seconds(self, own: Iterable[int]) -> tuple[float, float]:
        """Seconds that our own processes ran, and that they waited for a core, since the last time."""
        ran = waited = 0.0
        seen: dict[int, tuple[float, float]] = {}
        assert self._counters is not None
        for pid in {os.getpid(), *own}:
            seconds = self._counters.seconds(pid)
            if seconds is None:
                continue
            delay = run_delay(pid)
            before = self._processes.get(pid)
            if before is not None:
                ran += max(0.0, seconds - before[0])
                waited += max(0.0, delay - before[1])
            seen[pid] = (seconds, delay)
        self._processes = seen
        return ran, waited


def run_delay(pid: int) -> float:
    """Seconds that a process was ready to run and got no core, as Linux counts them; 0.0 elsewhere."""
    try:
        with _open(f"/proc/{pid}/schedstat") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def hidden_limit(known: float | None, ran: float, waited: float, idle: float) -> float | None:
    """The limit in cores that shows in how our processes fared; None if none shows.

    Args:
        known: the limit believed in so far.
        ran: cores that our processes used.
        waited: cores that they would have used besides.
        idle: cores that stood idle meanwhile.
    """
    if waited > HIDDEN_WAIT and waited > ran * HIDDEN_WAIT and idle > waited:
        return ran if known is None else SMOOTHING * ran + (1.0 - SMOOTHING) * known
    if known is not None and ran > known * 1.2:
        return None  # more than the limit was had, so it is none, or no longer
    return known


def affinity() -> list[int] | None:
    """The CPUs that this process may run on, or None where the system has no such thing."""
    try:
        return sorted(os.sched_getaffinity(0)) or None
    except (AttributeError, OSError):
        return None


def capacity(group: cgroup.CpuGroup | None = None) -> float:
    """Cores that this process may use, as in 0.4 or 8.0: the least of quota, affinity and what is there."""
    return _cores((cgroup.find() if group is None else group).quota())


def slots(cores: float | None = None) -> int:
    """How many workers a machine with so many cores should have: one a core, and one at least."""
    return max(1, math.ceil((capacity() if cores is None else cores) - SLOT_TOLERANCE))


def _cores(quota: float | None) -> float:
    allowed = affinity()
    cores = float(len(allowed) if allowed is not None else os.cpu_count() or 1)
    return cores if quota is None else max(0.01, min(cores, quota))
