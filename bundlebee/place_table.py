"""The places as decisions see them: this machine, and each peer with its load and what was measured of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bundlebee.clock import clock
from bundlebee.decisions.estimators import PeerTimes
from bundlebee.decisions.load import Sampler
from bundlebee.decisions.model import Place
from bundlebee.settings import cache_directory
from bundlebee.words import HERE, OWN

if TYPE_CHECKING:
    from bundlebee.calls.transport import Outcome, Workers
    from bundlebee.registry.snapshot import NodeView

FRESH = 0.005  #: seconds that a picture of the places serves; loads are sampled once a second
MOST_FUNCTIONS = 512  #: functions for which such a picture is kept


class PlaceTable:
    """Of one program.

    Args:
        views: gives the nodes that can be used; the same list as long as it is the same.
        leases: gives how many channels to a peer there are: idle, and in use.
        pool: gives the private pool, if there is one.
    """

    def __init__(
        self,
        views: Callable[[], list[NodeView]],
        leases: Callable[[str], tuple[int, int]],
        pool: Callable[[], Workers | None],
    ) -> None:
        self._views = views
        self._leases = leases
        self._pool = pool
        self._pictures: dict[str, tuple[Sequence[NodeView], list[object], float, list[Place]]] = {}
        self._times: dict[str, PeerTimes] = {}
        self._lock = threading.Lock()
        self._sampler: Sampler | None = None
        self._speed: float | None = None

    def watch(self) -> None:
        """Begin to sample the load of this machine, if nobody has asked for it yet."""
        if self._sampler is None:
            self.here()

    def close(self) -> None:
        """Nobody asks any more."""
        if self._sampler is not None:
            self._sampler.stop()

    def here(self) -> Place:
        """This machine, for the caller's own thread."""
        if self._sampler is None:
            self._sampler = Sampler(self._own_pids)
            self._sampler.start()
        if self._speed is None:
            from bundlebee.decisions.speed import speed

            self._speed = speed(cache_directory())
        load = self._sampler.load()
        return Place(HERE, speed=self._speed, cores=load.cores, busy=load.foreign)

    def places(self, function: str) -> Sequence[Place]:
        """Every peer that may take a call of ``function`` now; none is asked. The same list while nothing has changed."""
        views = self._views()
        leases: list[object] = [self._leases(view.row.name) for view in views]
        if not views and (pool := self._pool()) is not None:
            leases = [self._leases(OWN), pool.free()]
        known = self._pictures.get(function)
        now = clock.monotonic()
        if known is not None and known[0] is views and known[1] == leases and now - known[2] < FRESH:
            return known[3]
        places = self._picture(views, function)
        if len(self._pictures) >= MOST_FUNCTIONS:
            self._pictures.clear()
        self._pictures[function] = views, leases, now, places
        return places

    def _picture(self, views: Sequence[NodeView], function: str) -> list[Place]:
        places = []
        for view in views:
            row, times = view.row, self._peer_times(view.row.name)
            idle, out = self._leases(row.name)
            places.append(
                Place(
                    row.name,
                    speed=row.speed,
                    cores=row.cores,
                    busy=row.busy + out,
                    free=row.free + idle,
                    round_trip=times.round_trip,
                    bandwidth=times.bandwidth,
                    run_ratio=times.run_ratio(function),
                    measured=times.measured,
                )
            )
        if not places and (pool := self._pool()) is not None:
            here = self.here()
            times = self._peer_times(OWN)
            idle, out = self._leases(OWN)
            places.append(
                Place(
                    OWN,
                    speed=here.speed,
                    cores=here.cores,
                    busy=here.busy + out,
                    free=pool.free() + idle,
                    round_trip=times.round_trip,
                    bandwidth=times.bandwidth,
                    run_ratio=times.run_ratio(function),
                )
            )
        return places

    def learn(self, place: str, function: str, outcome: Outcome, expected: float) -> float:
        """Learn from a shipped call. ``expected`` are CPU seconds here, 0 if unknown.

        Returns:
            the CPU seconds that the run would have taken on a core of this machine.
        """
        ratio = 1.0
        for view in self._views():
            if view.row.name == place:
                ratio = view.row.speed / self.here().speed
                break
        times = self._peer_times(place)
        times.observe_transfer(outcome.round_trip - outcome.seconds, outcome.bytes_out, outcome.bytes_back)
        times.observe_run(function, expected / ratio, outcome.cpu_seconds, outcome.seconds)
        return outcome.cpu_seconds * ratio

    def _peer_times(self, place: str) -> PeerTimes:
        times = self._times.get(place)
        if times is None:
            with self._lock:
                times = self._times.setdefault(place, PeerTimes())
        return times

    def _own_pids(self) -> list[int]:
        pool = self._pool()
        return [] if pool is None else pool.pids()
