"""May this call leave, and what does it take along? One place for the safety of shipping.

Three things must hold for each call: its arguments are plain, the analysis of its effects covers just these
arguments, and no argument is part of the state that the function reads. `Customs` answers for a function and its
arguments; a `Freight` is the header of the calls that passed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.clock import clock
from bundlebee.errors import Unshippable
from bundlebee.observers import FOLLOWED, PROFILED, followed, profiled
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.aspects.grid import Grid
    from bundlebee.aspects.profile import Profile
    from bundlebee.bundles.effects import Effect, Summary
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.transport import Call

PATIENCE = 3
"""Calls in a row that must be found unsafe until the function stays here for good. One may be due to its arguments."""


@cache
def _analysis() -> tuple[Callable[[tuple[Any, ...], dict[str, Any]], Walk], Effect, Effect]:
    """What looks at arguments, and two levels of effects: most programs never need them."""
    from bundlebee.bundles.effects import Effect
    from bundlebee.bundles.values import walk

    return walk, Effect.UNSAFE, Effect.FREE


@cache
def _kinds_of_atoms() -> tuple[frozenset[type], frozenset[type]]:
    from bundlebee.bundles.contents import ATOMS, NUMBERS

    return NUMBERS, ATOMS


class Stays(Unshippable):
    """A call must stay here, for a reason that is not its arguments' pickle."""

    def __init__(
        self, what: str, *, why: str | None = None, hint: str | None = None, reason: Reason = Reason.EFFECTS
    ):
        super().__init__(what, why=why, hint=hint)
        self.reason = reason


def check_look(seconds: float, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Whether to look at the arguments takes less than the call, which takes so many seconds.

    Raises:
        Stays: it does not.
    """
    walk, _, _ = _analysis()
    for _ in range(2):  # the first look at a class takes longer: it is kept what it is
        start = clock.perf_counter()
        walk(args, kwargs)
        if clock.perf_counter() - start <= seconds:
            return
    raise Stays("to look at its arguments takes longer than the call itself", reason=Reason.CHEAPER_HERE)


class Freight(msgspec.Struct, frozen=True):
    """The header of calls of one function, made when the state that they read was looked at."""

    call: Call
    summary: Summary
    state: frozenset[int]  #: ids of the mutable objects in that state


class Cleared(msgspec.Struct, frozen=True):
    """One call that may leave."""

    summary: Summary
    walk: Walk  #: of its arguments


class Customs:
    """Decides whether calls may leave."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def clear(self, profile: Profile, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cleared:
        """What this very call does, if it may leave.

        Raises:
            Unshippable: an argument cannot travel.
            Stays: the call does something that only means the same here.
        """
        if followed():
            profile.hold(Reason.OBSERVED, FOLLOWED)  # who steps into it again meets nothing of ours
            raise Stays(FOLLOWED, reason=Reason.OBSERVED)
        if profiled():
            raise Stays(PROFILED, reason=Reason.OBSERVED)
        walk, unsafe, _ = _analysis()
        found = walk(args, kwargs)
        summary = self._of(profile, found, args, kwargs, gaps=True)
        if summary.level is not unsafe:
            profile.unsafe = 0
            return Cleared(summary, found)
        profile.unsafe += 1
        if profile.unsafe >= PATIENCE:
            profile.hold(Reason.EFFECTS, summary.why)
        raise Stays(summary.why)

    def check(
        self, profile: Profile, freight: Freight, level: Effect, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Whether a call with these arguments may go under that freight; ``level`` is the most that it may do.

        Raises:
            Unshippable: an argument cannot travel, or the freight was made for other calls.
        """
        walk, unsafe, free = _analysis()
        found = walk(args, kwargs)
        self.check_state(freight, found)
        summary = self._under(profile, freight, found, args, kwargs)
        if summary.level is unsafe or (level is free and summary.level is not free):
            raise Stays(summary.why or "it prints")
        if summary.writes and not freight.call.writes:
            raise Stays(summary.writes)
        if summary.reads != freight.summary.reads:
            raise Stays("it reads other state than the calls before it", reason=Reason.STATE)
        if summary.shown and (told := summary.comes_back(freight.state)) is not None:
            raise Stays(told)

    def check_all(
        self, profile: Profile, freight: Freight, calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]
    ) -> Walk | None:
        """One look at many calls: what there is among their arguments, if they hold nothing but atoms and all may go.

        None if that cannot be told of all at once: ask `check` about each.
        """
        values = tuple(chain.from_iterable([args for args, _ in calls]))
        kinds = set(map(type, values))
        number, atoms = _kinds_of_atoms()
        if (
            not kinds <= atoms
            or not (kinds <= number or kinds.isdisjoint(number))
            or len({len(args) for args, _ in calls}) != 1
            or any(kwargs for _, kwargs in calls)
        ):
            return None
        walk, _, free = _analysis()
        try:
            found = walk(values, {})
        except Unshippable:
            return None
        # they are alike to the analysis, so what holds for one holds for all
        summary = self._under(profile, freight, walk(calls[0][0], {}), calls[0][0], {})
        good = summary.level is free and not (
            summary.writes or summary.shown or summary.compares or summary.hashes
        )
        good = good and summary.reads == freight.summary.reads
        return found if good and found.atoms else None

    @staticmethod
    def check_state(freight: Freight, found: Walk) -> None:
        """Whether arguments have nothing in common with the state that the function reads.

        Raises:
            Unshippable: they have.
        """
        if freight.state and not freight.state.isdisjoint(map(id, found.containers)):
            raise Unshippable(
                "an argument cannot travel", why="it is part of the state that the function reads"
            )

    def _under(
        self, profile: Profile, freight: Freight, found: Walk, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Summary:
        """The analysis for one of the calls that go under that freight, which was made for the first of them."""
        summary = self._of(profile, found, args, kwargs)
        if summary.reads != freight.summary.reads and summary is profile.summary:
            # what any call may read was not known yet when the first one left
            summary = self._grid.summary_for(profile.point, found, args, kwargs)
        return summary

    def _of(
        self,
        profile: Profile,
        found: Walk,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        gaps: bool = False,
    ) -> Summary:
        """The analysis for these arguments; once there were some calls, that for any, where it is good enough.

        The one for any arguments is quicker to ask. But it goes through all classes of all bundles: in a large
        package it takes hundreds of milliseconds for one function.

        Args:
            gaps: whether it may leave calls to the guard of a worker.
        """
        general = profile.summary
        unsafe = _analysis()[1]
        if general is not None and general.still_valid():
            if general.level is not unsafe and general.covers(found):
                return general
            return self._grid.summary_for(profile.point, found, args, kwargs, gaps=gaps)
        summary = self._grid.summary_for(profile.point, found, args, kwargs, gaps=gaps)
        if summary.level is not unsafe and not summary.gaps:
            profile.asked += 1
            if profile.asked >= profile.worthwhile:
                # modules that are loaded make it void, so not each time
                profile.asked, profile.worthwhile = 0, 2 * profile.worthwhile
                profile.summary = self._grid.summary(profile.point)
        return summary
