"""What the aspects ask of whoever put the house together (`bundlebee.program_grid`, and fakes in the tests)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from bundlebee.aspects.freight import Freight
    from bundlebee.bundles.effects import Summary
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.courier import Courier
    from bundlebee.calls.transport import Channel, Outcome
    from bundlebee.decisions.model import Place, Verdict
    from bundlebee.decisions.policy import Policy, Trials
    from bundlebee.errors import PeerLost
    from bundlebee.weaving.joinpoint import JoinPoint


class Grid(Protocol):
    """The grid as one program sees it."""

    policy: Policy
    deadline: float | None
    """Seconds that a shipped call may take; then it counts as lost. None waits as long as its peer is alive."""

    # -- to decide ---------------------------------------------------------------------------------------

    def summary(self, point: JoinPoint) -> Summary:
        """What the function reads and does, by analysis, whatever its arguments."""

    def summary_for(
        self,
        point: JoinPoint,
        found: Walk,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        gaps: bool = False,
    ) -> Summary:
        """The same for one call; ``found`` is what `bundlebee.bundles.values.walk` found in its arguments.

        Args:
            gaps: whether it may leave calls of which nothing is known to the guard of a worker.
        """

    def spreads(self, point: JoinPoint) -> bool:
        """Whether the function has loops that may be spread."""

    def runs_code(self, attributes: Sequence[str]) -> bool:
        """Whether reading one of these attributes may run code of a woven module: a property, ``__getattr__``."""

    def here(self) -> Place:
        """This machine, as the caller's own thread finds it."""

    def places(self, point: JoinPoint) -> Sequence[Place]:
        """Peers that may take a call now. Never waits."""

    def expect_places(self, point: JoinPoint) -> Sequence[Place]:
        """As `places`, but waits for the grid to answer, and for this machine's own cores to start."""

    def slots(self, work: float | None) -> Sequence[tuple[str, int]]:
        """Peers and how many workers of each a loop may lease; ``work`` is the loop's length in seconds, if known."""

    def anybody(self) -> bool:
        """Whether there are peers at all, even if none may take a call now."""

    def coming(self) -> bool:
        """Whether peers may still be about to answer."""

    def busy(self) -> bool:
        """Whether there are peers that take no calls just now, but may in a moment."""

    def draw(self) -> float:
        """A number from [0, 1) for the policy ``chaos``; its seed makes it repeatable."""

    def trials(self) -> Trials | None:
        """What may be spent on exploring; None for nothing."""

    # -- to ship -----------------------------------------------------------------------------------------

    def freight(self, point: JoinPoint, summary: Summary) -> Freight:
        """What every call of that function takes along, with the fingerprint of the state that it reads.

        Raises:
            Stays: it reads state that cannot be compared.
        """

    def ready(self, place: str) -> bool:
        """Whether there is a channel to that peer which nobody uses just now."""

    def open(self, place: str, point: JoinPoint) -> Channel:
        """A channel to a worker of that peer, which has the function's bundle.

        Raises:
            PeerBusy: no free slot there.
            PeerLost: it does not answer.
            CallError: it cannot run this bundle; the message says why.
        """

    def lease_again(self, channel: Channel, point: JoinPoint) -> Channel:
        """A channel to another worker of that channel's peer, which has the function's bundle; this one was closed in the
        middle of a call. Waits until its worker has been replaced.

        Raises:
            PeerBusy, PeerLost, CallError: see `bundlebee.errors`.
        """

    def done(self, channel: Channel) -> None:
        """Hand a channel back for the next call."""

    def why_lost(self, channel: Channel, function: str, error: PeerLost) -> PeerLost:
        """The error with what is known of the worker's end. May take a second."""

    def courier(self) -> Courier:
        """Who waits for the outcomes of calls whose callers must not wait."""

    # -- to tell -----------------------------------------------------------------------------------------

    def lost(self, place: str, error: BaseException) -> None:
        """A peer went away, or could not serve: it is left out for a while."""

    def decided(
        self,
        point: JoinPoint,
        verdict: Verdict,
        *,
        seconds: float | None,
        outcome: Outcome | None = None,
        count: int = 1,
    ) -> None:
        """Put a decision and its outcome on record. ``seconds`` run from the decision to the result.

        Args:
            count: of so many calls, all alike and too short to be told one by one.
        """

    def learn(self, point: JoinPoint, place: str, outcome: Outcome, expected: float) -> float:
        """Learn from a shipped call how fast that peer is.

        Args:
            expected: CPU seconds that were expected on a core of this machine, 0 if unknown.

        Returns:
            CPU seconds that the run would have taken on a core of this machine.
        """
