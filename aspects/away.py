"""One awaited call that is under way to a worker: what was sent, and what it needs to run here after all."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from bundlebee.clock import clock

if TYPE_CHECKING:
    from bundlebee.aspects.freight import Cleared, Freight
    from bundlebee.aspects.profile import Profile
    from bundlebee.aspects.turns import Turn
    from bundlebee.calls.courier import Trip
    from bundlebee.calls.transport import Channel, Outcome
    from bundlebee.decisions.features import Features
    from bundlebee.decisions.model import Verdict
    from bundlebee.weaving.joinpoint import JoinPoint


class Away:
    """One call that is under way to a worker."""

    def __init__(
        self,
        profile: Profile,
        verdict: Verdict,
        cleared: Cleared,
        marks: Features,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.profile = profile
        self.verdict = verdict
        self.cleared = cleared
        self.marks = marks
        self.args = args
        self.kwargs = kwargs
        self.start = clock.perf_counter()
        self.result: Outcome | BaseException | None = None
        self.seconds = 0.0
        self.channel: Channel
        self.freight: Freight
        self.snapshot: list[Any]  #: of the arguments
        self.trip: Trip
        self.turn: Turn | None = None

    async def as_it_was(self) -> Any:
        """Run it here with its arguments as they were. What of them is in its result is the caller's own."""
        from copy import deepcopy

        from bundlebee.calls import pickling

        ((args, kwargs),) = pickling.loads(self.snapshot)
        result = await coroutine_of(self.profile.point, args, kwargs)
        pairs = zip(pickling.objects(args, kwargs), self.cleared.walk.objects, strict=True)
        memo = {id(theirs): own for theirs, own in pairs}
        return deepcopy(result, memo)


def coroutine_of(point: JoinPoint, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
    """The coroutine that the author's own code makes."""
    found: Coroutine[Any, Any, Any] = point.plain(*args, **kwargs)
    return found
