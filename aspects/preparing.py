"""Sees to workers for awaited calls to come, in the background: a loop does not stand still for a lease."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from bundlebee.aspects.freight import Freight
    from bundlebee.aspects.grid import Grid
    from bundlebee.aspects.profile import Profile
    from bundlebee.calls.transport import Channel
    from bundlebee.decisions.model import Verdict

ASKING = 30.0
"""Seconds for a worker to say whether it would run a call; it may have to import the bundle first."""


class Preparing:
    """One for a program."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._places: set[str] = set()  #: peers that a worker is asked of just now

    def begin(
        self,
        profile: Profile,
        verdict: Verdict,
        freight: Freight,
        channel: Channel | None = None,
    ) -> Verdict:
        """See to a worker for the calls to come, in the background; this one runs here."""
        place = verdict.where
        if place not in self._places or channel is not None:
            self._places.add(place)
            threading.Thread(
                target=self._prepared,
                args=(profile, place, freight, channel),
                name=f"bundlebee-lease-{place}",
                daemon=True,
            ).start()
        return replace(verdict, where=HERE, why=Reason.PEER_BUSY, detail="its worker is being prepared")

    def _prepared(self, profile: Profile, place: str, freight: Freight, channel: Channel | None) -> None:
        grid = self._grid
        try:
            if channel is None:
                channel = grid.open(place, profile.point)
            refusal = channel.ask(freight.call, ASKING)
            if refusal is not None and refusal.reason is not Reason.PEER_BUSY:
                profile.hold(refusal.reason or Reason.STATE, str(refusal.refusal()))
        except Exception as error:
            if channel is not None:
                channel.close()
            grid.lost(place, error)
        finally:
            self._places.discard(place)
            if channel is not None:
                grid.done(channel)
