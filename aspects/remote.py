"""The remote aspect: the story of one call, from the question where it should run to its result.

`decide` asks, in this order: is it known how long it takes? may it leave at all? who could take it, and would it
be done sooner there? `ship` then takes it there. It ends in one of two ways: the outcome is in hand (`Came`), or
the call has not happened anywhere and must run here (a verdict, with the reason why). Only calls without effects
are shipped, so one whose peer was lost may run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from bundlebee.aspects.freight import Cleared, Customs, Stays
from bundlebee.aspects.printed import cannot_take, replay
from bundlebee.aspects.profile import SHORT, Profile
from bundlebee.clock import clock
from bundlebee.decisions.features import volume
from bundlebee.decisions.model import Verdict, Work
from bundlebee.decisions.policy import Kind, decide
from bundlebee.errors import (
    BundlebeeError,
    CallTimeout,
    PeerBusy,
    PeerLost,
    Refused,
    Unshippable,
    WorkerLost,
)
from bundlebee.interrupts import let_pass
from bundlebee.loggers import get_logger
from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundlebee.aspects.freight import Freight
    from bundlebee.aspects.grid import Grid
    from bundlebee.calls.transport import Channel, Outcome
    from bundlebee.decisions.features import Features
    from bundlebee.decisions.model import Place

log = get_logger("bundlebee.remote")

WORTH_ASKING = 0.001
"""CPU seconds. Below this no peer is asked about at all: the round trip alone takes about as long."""

QUESTIONS = 0.05
"""Part of the run time that may go into the question whether calls may leave, for calls that then stay. To walk through an
argument of a million parts takes a second, whatever the call does with it."""

CREDIT = 0.002
"""Seconds that such questions may be ahead of their part."""

REFUSALS = 3
"""So many refusals in a row (state, arguments) keep a function here for good; one alone may be that call's own matter."""

HOPELESS = 20
"""So many calls in a row whose arguments cannot travel keep a function here: to find that out means to walk through them."""


FLOOD = 0.005
"""Seconds that a verdict of the policy ``remote`` serves for equal calls; loads are sampled once a second."""

LESSONS = 0.001
"""Seconds between two short calls of one function that something is learnt from: more often there is nothing new."""


class Came(msgspec.Struct, frozen=True):
    """The call ran elsewhere."""

    value: Any = None
    error: BaseException | None = None  #: raised there by the program's own code


class Remote:
    """The advice inside `Analysis`. One for a program."""

    def __init__(self, grid: Grid, customs: Customs) -> None:
        self._grid = grid
        self._customs = customs

    def decide(
        self,
        profile: Profile,
        features: Features,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        draw: float = 0.0,
    ) -> tuple[Verdict, Cleared | None]:
        """Where this call goes; and what it does, if it may leave. ``draw`` is the dice's, under chaos."""
        grid, policy, point = self._grid, self._grid.policy, profile.point
        if profile.pin is not None:
            return Verdict(HERE, profile.pin.reason, detail=profile.pin.detail), None
        if policy.kind is Kind.LOCAL:
            return Verdict(HERE, Reason.FORCED, detail="policy local"), None
        if policy.kind is Kind.REMOTE and profile.spreads is None:
            profile.spreads = grid.spreads(point)
        if profile.spreads and policy.kind is not Kind.CHAOS:
            why = Reason.FORCED if policy.kind is Kind.REMOTE else Reason.CHEAPER_HERE
            return Verdict(HERE, why, detail="its loops are spread from here"), None
        work: Work | None = None
        if policy.kind is Kind.AUTO:
            work = self._work(profile, features)
            if work is None:
                return Verdict(HERE, Reason.UNMEASURED), None
            if work.seconds < WORTH_ASKING:
                return Verdict(HERE, Reason.TOO_SHORT, {HERE: work.seconds}), None
        if policy.kind is Kind.REMOTE:
            last = profile.last
            if (
                last is not None
                and clock.perf_counter() < last[0]
                and last[1] == features
                and grid.ready(last[2].where)
            ):
                # in a flood of calls the grid does not change from one to the next
                cleared = self._clear(profile, args, kwargs)
                return (last[2], cleared) if isinstance(cleared, Cleared) else (cleared, None)
        # asked before the effects: where nobody can take the call, a program need not pay for their analysis
        places = grid.places(point) if policy.kind is Kind.AUTO else grid.expect_places(point)
        if policy.kind is Kind.AUTO and work is not None and not places:
            return Verdict(HERE, Reason.NO_PEER, {HERE: work.seconds}), None
        if policy.kind is Kind.AUTO and work is not None:
            if profile.debt is not None:
                profile.debt = max(0.0, profile.debt - QUESTIONS * work.seconds)
                if profile.debt > CREDIT:
                    return _too_dear(work), None
            start = clock.perf_counter()
            verdict, allowed = self._weigh(profile, work, places, args, kwargs, draw)
            if profile.debt is None:
                profile.debt = 0.0  # the first question includes the analysis of the function, which is kept
            elif verdict.here:
                profile.debt += clock.perf_counter() - start
            return verdict, allowed
        cleared = self._clear(profile, args, kwargs)
        if isinstance(cleared, Verdict):
            return cleared, None
        verdict = decide(policy, self._work(profile, features), grid.here(), places, draw=draw)
        profile.last = None if verdict.here else (clock.perf_counter() + FLOOD, features, verdict)
        return verdict, cleared

    def _weigh(
        self,
        profile: Profile,
        work: Work,
        places: Sequence[Place],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        draw: float,
    ) -> tuple[Verdict, Cleared | None]:
        """Under the policy ``auto``: whether it may leave, and whether it is done sooner there."""
        grid = self._grid
        start = clock.perf_counter()
        cleared = self._clear(profile, args, kwargs)
        if isinstance(cleared, Verdict):
            return cleared, None
        if profile.debt is not None and clock.perf_counter() - start > work.seconds:
            return _too_dear(work), None  # to pack them takes about as long again
        work = replace(
            work,
            bytes_out=work.bytes_out + volume(args) + volume(kwargs.values()),
            bytes_back=work.bytes_back + profile.volume,
        )
        return decide(grid.policy, work, grid.here(), places, draw=draw, trials=grid.trials()), cleared

    def _clear(self, profile: Profile, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cleared | Verdict:
        """What the call does, if it may leave; else why it stays."""
        try:
            return self._customs.clear(profile, args, kwargs)
        except Stays as error:
            return Verdict(HERE, error.reason, detail=error.what)
        except Unshippable as error:
            profile.refusals += 1
            if profile.refusals >= HOPELESS:
                profile.hold(Reason.UNPICKLABLE, str(error))
            return Verdict(HERE, Reason.UNPICKLABLE, detail=str(error))

    def ship(
        self,
        profile: Profile,
        verdict: Verdict,
        cleared: Cleared,
        features: Features,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Came | Verdict:
        """Take the call to the peer of the verdict, and bring back its outcome; or say why it runs here."""
        start = clock.perf_counter()
        embarked = self.embark(profile, verdict, cleared)
        if isinstance(embarked, Verdict):
            return embarked
        freight, channel = embarked
        try:
            outcome = channel.call(
                freight.call, args, kwargs, found=cleared.walk, timeout=self._grid.deadline
            )
        except BaseException as error:
            if isinstance(error, PeerLost):
                error = self.why_lost(channel, profile, error)
            return self.sunk(profile, verdict, channel, error)
        self._grid.done(channel)
        if (why := outcome.disbelief(cleared.walk)) is not None:
            refusal = Refused("its answer is not believed", why=why)
            return self._refused(profile, verdict, Reason.GUARD, refusal)
        return self.landed(profile, verdict, features, clock.perf_counter() - start, outcome)

    def embark(
        self, profile: Profile, verdict: Verdict, cleared: Cleared
    ) -> tuple[Freight, Channel] | Verdict:
        """What the call takes along, and a channel to the peer of the verdict; or why it runs here."""
        grid, point, place = self._grid, profile.point, verdict.where
        try:
            freight = grid.freight(point, cleared.summary)
            self._customs.check_state(freight, cleared.walk)
            return freight, grid.open(place, point)
        except Stays as error:
            return self._refused(profile, verdict, error.reason, error)
        except Unshippable as error:
            return self._refused(profile, verdict, Reason.UNPICKLABLE, error)
        except PeerBusy as error:
            return _stays(verdict, Reason.PEER_BUSY, error)
        except PeerLost as error:
            grid.lost(place, error)
            return _stays(verdict, Reason.PEER_LOST, error)
        except BundlebeeError as error:  # it cannot run this bundle, or does not take it
            grid.lost(place, error)
            return _stays(verdict, Reason.ENVIRONMENT, error)

    def check(self, freight: Freight, cleared: Cleared) -> None:
        """Whether the call may go under that freight. Raises Unshippable."""
        self._customs.check_state(freight, cleared.walk)

    def why_lost(self, channel: Channel, profile: Profile, error: PeerLost) -> PeerLost:
        """Hang up, and ask how the worker ended. May take a second."""
        channel.close()
        self._grid.done(channel)
        return self._grid.why_lost(channel, profile.point.name, error)

    def sunk(self, profile: Profile, verdict: Verdict, channel: Channel, error: BaseException) -> Verdict:
        """The call has no outcome: why it runs here. Raises errors of ours, and Ctrl-C."""
        grid, place = self._grid, verdict.where
        if isinstance(error, PeerLost):
            grid.lost(place, error)
            if isinstance(error, WorkerLost):  # perhaps it was this very call that its worker did not survive
                return self._refused(profile, verdict, Reason.PEER_LOST, error)
            return _stays(verdict, Reason.PEER_LOST, error)
        if not isinstance(error, PeerBusy | Unshippable):
            # a time-out, Ctrl-C, or an error of ours: hanging up stops the work there
            channel.close()
        grid.done(channel)
        if isinstance(error, CallTimeout):
            grid.lost(place, error)
            return _stays(verdict, Reason.DEADLINE, error)
        if isinstance(error, PeerBusy):
            return _stays(verdict, Reason.PEER_BUSY, error)
        if isinstance(error, Unshippable):
            return self._refused(profile, verdict, Reason.UNPICKLABLE, error)
        raise error

    def landed(
        self, profile: Profile, verdict: Verdict, features: Features, seconds: float, outcome: Outcome
    ) -> Came | Verdict:
        """The outcome has come, after so many seconds, and the channel is back."""
        if outcome.output and (why := cannot_take(outcome.output)) is not None:
            return self._refused(profile, verdict, Reason.EFFECTS, Refused("it must run here", why=why))
        try:
            outcome.restore()
        except Unshippable as error:
            return self._refused(profile, verdict, Reason.UNPICKLABLE, error)
        if outcome.refused:
            reason = outcome.reason or Reason.STATE
            if reason is Reason.PEER_BUSY:  # the lease went to somebody else meanwhile
                return _stays(verdict, reason, outcome.refusal())
            return self._refused(profile, verdict, reason, outcome.refusal())
        # from here on it has happened, and must not happen again
        try:
            self._note(profile, verdict, features, seconds, outcome)
        except Exception as error:
            let_pass(error)
            log.debug("could not note a call of %s", profile.point.name, exc_info=True)
        if outcome.output:
            try:
                replay(outcome.output)
            except Exception as error:  # as `print` in the call would have raised it
                return Came(None, error)
        return Came(outcome.value, outcome.error)

    @staticmethod
    def _work(profile: Profile, features: Features) -> Work | None:
        """What the call will probably need."""
        estimate = None if profile.times is None else profile.times.estimate(features)
        return None if estimate is None else Work(estimate.seconds, spread=estimate.spread)

    def _note(
        self, profile: Profile, verdict: Verdict, features: Features, seconds: float, outcome: Outcome
    ) -> None:
        """Put the outcome on record, and learn from it."""
        profile.refusals = 0
        profile.calls += 1
        profile.shipped += 1
        self._grid.decided(profile.point, verdict, seconds=seconds, outcome=outcome)
        now = clock.perf_counter()
        if outcome.seconds < SHORT and now - profile.learnt < LESSONS:
            return
        profile.learnt = now
        profile.volume = outcome.bytes_back
        work = self._work(profile, features)
        cpu = self._grid.learn(profile.point, verdict.where, outcome, 0.0 if work is None else work.seconds)
        profile.measured().observe(features, outcome.seconds, cpu)

    @staticmethod
    def _refused(profile: Profile, verdict: Verdict, why: Reason, error: BundlebeeError) -> Verdict:
        """This call cannot travel. A function of which that is said again and again stays here."""
        profile.refusals += 1
        if why is Reason.GUARD or profile.refusals >= REFUSALS:
            profile.hold(why, str(error))
        return _stays(verdict, why, error)


def _too_dear(work: Work) -> Verdict:
    what = "to look at its arguments takes too long"
    return Verdict(HERE, Reason.CHEAPER_HERE, {HERE: work.seconds}, detail=what)


def _stays(verdict: Verdict, why: Reason, error: BundlebeeError) -> Verdict:
    return replace(verdict, where=HERE, why=why, detail=str(error))
