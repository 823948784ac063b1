"""Doubting oneself first (after memberlist's ``awareness.go`` and the Lifeguard paper).

Nodes of this grid are busy by design, and a starved node hears beats late and thinks that the others died. So
a node that notices that it is late itself becomes slower to blame others, and only gradually trusts itself
again.
"""

from __future__ import annotations


class Awareness:
    """How much we trust our own sense of time: 0 is full trust, `worst` the least."""

    def __init__(self, worst: int = 4, recover_after: float = 10.0) -> None:
        self.score = 0
        self._worst = worst
        self._recover_after = recover_after
        self._since = 0.0

    @property
    def patience(self) -> float:
        """What to multiply time-outs by: 1.0 when healthy, up to 3.0."""
        return 1.0 + self.score * 0.5

    def late(self, now: float) -> None:
        """We did not run when we should have."""
        self.score = min(self._worst, self.score + 1)
        self._since = now

    def punctual(self, now: float) -> None:
        """We ran in time; after `recover_after` seconds of that, one point of trust returns."""
        if self.score and now - self._since >= self._recover_after:
            self.score -= 1
            self._since = now
