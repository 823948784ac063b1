"""Peers that are left out: for a moment, for a while, or as long as they run another Python. Why is said once."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bundlebee.clock import clock
from bundlebee.errors import CallTimeout, EnvironmentDiffers, PeerBusy, PeerLost, WorkerLost
from bundlebee.loggers import get_logger

if TYPE_CHECKING:
    from bundlebee.registry.snapshot import NodeView

log = get_logger("bundlebee.peers")

BUSY = 0.25  #: seconds that a busy peer is left out
LOST = 3.0  #: seconds that a lost peer is left out; by then the registry knows more
UNFIT = 60.0  #: seconds that a peer is left out that cannot run our bundles


class LeftOut:
    """Of the peers of one program, by name."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}  #: when they are tried again (`clock.monotonic`)
        self._told: set[tuple[str, str]] = set()

    def has(self, place: str) -> bool:
        """Whether a peer is left out now."""
        until = self.until.get(place)
        if until is not None and clock.monotonic() >= until:
            # unless somebody else has just put it there again
            if self.until.get(place) == until:
                self.until.pop(place, None)
            return False
        return until is not None

    def put(self, place: str, seconds: float) -> None:
        """Leave a peer out for so long."""
        self.until[place] = clock.monotonic() + seconds

    def for_a_moment(self, names: Collection[str]) -> bool:
        """Whether one of these is left out for a moment only, such as a peer whose workers are all taken."""
        now = clock.monotonic()
        return any(name in names and until - now <= LOST for name, until in list(self.until.items()))

    def lost(self, place: str, error: BaseException) -> None:
        """Leave a peer out for a while, and say why, once."""
        if isinstance(error, PeerBusy):
            self.put(place, BUSY)
        elif not isinstance(error, WorkerLost):  # then the node is well
            self.put(place, LOST if isinstance(error, (PeerLost, CallTimeout)) else UNFIT)
        if isinstance(error, PeerBusy):
            return
        if isinstance(error, EnvironmentDiffers):  # that has been said, as a table
            return
        key = place, type(error).__name__ if isinstance(error, PeerLost) else str(error)
        if key not in self._told or isinstance(error, PeerLost):
            self._told.add(key)
            log.warning("%s", error)

    def mismatch(self, view: NodeView, python: str) -> None:
        """Say, once, that a node runs another minor version of Python than this program."""
        if (view.row.name, "python") not in self._told:
            self._told.add((view.row.name, "python"))
            log.warning(
                "%s is not used: it runs Python %s, this program %s",
                view.row.name,
                view.row.python,
                python,
            )
