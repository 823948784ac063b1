"""The scatter aspect: a loop over a function free of effects runs on many machines at once.

The weaver has put a switch round each comprehension that may be spread; while it is on, the loop's iterable comes
through `Scatter.loop`, which yields the loop's own turns in order, each with what to call at that turn: the
function itself where the turn runs right there, or a stand-in that hands out the ready result. The first turns run
plainly and are timed. Then:

* the function is too short, does more than compute, or nobody can take work: the rest runs plainly, and after a
  few such loops the switch goes off, and the author's comprehension runs at its own speed;
* otherwise the rest goes through `aspects.spread`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import length_hint
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from bundlebee.aspects.freight import Stays, check_look
from bundlebee.aspects.iterables import pulls_unseen
from bundlebee.aspects.profile import SHORT, Profile
from bundlebee.bundles.import_lock import importing
from bundlebee.clock import clock
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.policy import Kind
from bundlebee.errors import Unshippable
from bundlebee.interrupts import held, hold, let_pass, release
from bundlebee.loggers import get_logger
from bundlebee.weaving.advice import Unrepeatable
from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from bundlebee.aspects.analysis import Running
    from bundlebee.aspects.feeder import Feeder
    from bundlebee.aspects.freight import Customs, Freight
    from bundlebee.aspects.grid import Grid
    from bundlebee.aspects.item import Item
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.transport import Outcome
    from bundlebee.weaving.advice import Advice, Shape
    from bundlebee.weaving.joinpoint import JoinPoint
    from bundlebee.weaving.outcomes import ScatterSite

log = get_logger("bundlebee.scatter")

Turn = tuple[Any, Callable[..., Any]]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
ArgsOf = Callable[[Any], Arguments]

WORTH = 0.03
"""Seconds. What is left of a loop must be longer than this to be worth a lease (two round trips and a thread)."""

PROBE = 0.005
"""Seconds of turns that are run and timed before it is decided whether to spread the rest."""

TINY = 20e-6
"""Seconds. Items shorter than this cost more to pickle than to run (some 10 µs each way)."""

WAITS = 1.0
"""Seconds. What is left of a loop must be longer than this if nobody can take work when it begins: busy peers are asked again
twice a second, and until then each turn costs some microseconds more."""

HANDOVER = 0.1
"""Seconds that a loop waits for the workers of the one before it. They come in a fraction of a millisecond, unless one of them
is still being leased; without them the loop would be told that all are taken, and ask again half a second later."""

VAIN = 3
"""Loops in a row that were not worth it until a site is switched off."""


def _plain(point: JoinPoint) -> Callable[..., Any]:
    """The function unadvised. A loop calls it with the program's own arguments: missing ones are today's defaults."""
    plain: FunctionType = point.plain
    plain.__defaults__ = point.function.__defaults__
    plain.__kwdefaults__ = point.function.__kwdefaults__
    return plain


def _each_looked_up(turns: Iterator[Any], function: Callable[[], Any]) -> Iterator[Turn]:
    """Turns that run plainly, with the function looked up at each as the program does."""
    return zip(turns, itertools.starmap(function, itertools.repeat(())))  # noqa: B905  # the second never ends


_END: Any = object()


class Scatter:
    """The advice at the loops. One for a program."""

    def __init__(
        self,
        grid: Grid,
        customs: Customs,
        running: Running,
        profile_of: Callable[[FunctionType], Profile | None],
    ) -> None:
        self._grid = grid
        self._customs = customs
        self._running = running
        self._profile_of = profile_of
        self._feeders: WeakSet[Feeder] = WeakSet()

    def close(self, seconds: float) -> bool:
        """End all loops: one that an exception ended may still be held by its traceback. Whether all ended in time."""
        deadline = clock.perf_counter() + seconds
        ended = [feeder.stop(deadline) for feeder in list(self._feeders)]
        return all(ended)

    def loop(
        self,
        advice: Advice,
        site: ScatterSite,
        function: Callable[[], Any],
        iterable: Any,
        shape: Shape | None,
        args_of: ArgsOf,
    ) -> Iterator[Turn]:
        """The turns of one loop; see the module's text. Called by woven code."""
        turns = iter(iterable) if shape is None else shape(iterable)
        if self._running.quiet or not pulls_unseen(iterable, site.fresh):
            self._in_vain(advice, site, None, "its iterable might notice")
            return _each_looked_up(turns, function)
        if site.attributes and self._grid.runs_code(site.attributes):
            self._in_vain(advice, site, None, "an operand is a property")
            return _each_looked_up(turns, function)
        left = length_hint(iterable, -1) if shape is None else -1
        # chained in C, so that a turn that runs plainly passes through none of our frames
        return itertools.chain.from_iterable(self._stages(advice, site, function, turns, left, args_of))

    def _stages(
        self,
        advice: Advice,
        site: ScatterSite,
        function: Callable[[], Any],
        turns: Iterator[Any],
        left: int,
        args_of: ArgsOf,
    ) -> Iterator[Iterator[Turn]]:
        """The loop in parts; each is run before the next is made."""
        first = next(turns, _END)
        if first is _END:
            return
        turns = itertools.chain((first,), turns)
        called = function()
        found = self._advised(called)
        if found is None:
            self._in_vain(advice, site, None, "it does not call a woven function")
            yield zip(turns, itertools.repeat(called))
            return
        profile, plain, receiver = found
        point = profile.point
        kind = self._grid.policy.kind
        if kind is Kind.LOCAL or profile.pin is not None:
            self._in_vain(advice, site, profile, "it stays here")
            yield zip(turns, itertools.repeat(called))
            return
        if kind is Kind.CHAOS:
            picked: list[Any] = []
            yield self._until_picked(turns, called, picked)
            if not picked:
                return
            turns = itertools.chain(picked, turns)
        if kind is not Kind.AUTO:
            freight = self._may_spread(profile, receiver, args_of, first, None)
            if freight is not None:
                yield self._spread(profile, freight, plain, receiver, turns, args_of, None)
            else:
                yield zip(turns, itertools.repeat(called))
            return

        # this loop times its turns itself, so the function's own advice is off meanwhile
        armed = point.armed
        point.disarm()
        try:
            worth: list[float] = []
            yield self._probe(advice, site, profile, plain, turns, left, worth)
            for seconds in worth:
                work = None if left < 0 else left * seconds
                freight = self._may_spread(profile, receiver, args_of, first, work, seconds)
                if freight is not None:
                    profile.short = 0
                    yield self._spread(profile, freight, plain, receiver, turns, args_of, seconds)
                    return
            yield zip(turns, itertools.repeat(plain))
        finally:
            if armed and profile.pin is None:
                point.arm()

    def _until_picked(self, turns: Iterator[Any], called: Any, picked: list[Any]) -> Iterator[Turn]:
        """Run the turns that the dice leave here; puts the first one that they send away into ``picked``."""
        draw, probability = self._grid.draw, self._grid.policy.probability
        for targets in turns:
            if draw() < probability:
                picked.append(targets)
                return
            yield targets, called

    def _advised(self, called: object) -> tuple[Profile, Callable[..., Any], tuple[Any, ...]] | None:
        """The profile of what a loop calls, what to call instead to run it plainly, and the receiver of a method."""
        if type(called) is FunctionType:
            profile = self._profile_of(called)
            return None if profile is None or profile.point.awaited else (profile, _plain(profile.point), ())
        if type(called) is MethodType and type(called.__func__) is FunctionType:
            profile = self._profile_of(called.__func__)
            receiver = called.__self__
            if profile is not None and not profile.point.awaited:
                return profile, MethodType(_plain(profile.point), receiver), (receiver,)
        return None

    def _probe(
        self,
        advice: Advice,
        site: ScatterSite,
        profile: Profile,
        plain: Callable[..., Any],
        turns: Iterator[Any],
        left: int,
        worth: list[float],
    ) -> Iterator[Turn]:
        """Run and time the first turns. Puts their mean seconds into ``worth`` where spreading the rest may pay."""
        spent, count = 0.0, 0
        for targets in turns:
            start = clock.perf_counter()
            yield targets, plain
            seconds = clock.perf_counter() - start
            spent += seconds
            count += 1
            if seconds >= SHORT:
                self._grid.decided(profile.point, Verdict(HERE, Reason.UNMEASURED), seconds=seconds)
            if count >= 64 and spent < count * TINY:
                vain = "its calls are too short"
                break
            if spent >= PROBE:
                if left < 0 or (left - count) * spent / count >= WORTH:
                    worth.append(spent / count)
                    return
                vain = "too little is left"
                break
        else:
            vain = "it is over too soon"
        if count:
            self._told(profile, Reason.TOO_SHORT, spent / count)
        self._in_vain(advice, site, profile, vain)

    def _may_spread(
        self,
        profile: Profile,
        receiver: tuple[Any, ...],
        args_of: ArgsOf,
        sample: Any,
        work: float | None,
        seconds: float | None = None,
    ) -> Freight | None:
        """What the items take along, if they are free of effects and somebody can take them, or may soon.

        Judged by the first turn; each item is looked at again before it leaves. Where the answer is None, the reason
        is put on record.

        Args:
            work: seconds that all that is left would take here.
            seconds: that one item takes here; None where that does not matter.
        """
        grid, point = self._grid, profile.point
        hold()
        self._running.quiet = True
        try:
            if importing():
                raise Stays("it runs while a module is being imported, so its calls are shipped one by one")
            args, kwargs = args_of(sample)
            if seconds is not None:
                check_look(seconds, receiver + args, kwargs)
            summary = self._customs.clear(profile, receiver + args, kwargs).summary
            if not summary.free:
                why = summary.writes or summary.what or "it prints"  # it may have gaps
                raise Stays(f"{why}, so its calls are shipped one by one")
            freight = grid.freight(point, summary)
            if grid.policy.kind is not Kind.AUTO:
                grid.expect_places(point)
            if grid.slots(work) or grid.coming() or (grid.busy() and (work is None or work > WAITS)):
                return freight
            self._told(profile, Reason.NO_PEER, None)
            return None
        except Stays as error:
            self._told(profile, error.reason, None, str(error))
            return None
        except (Unshippable, Unrepeatable) as error:
            self._told(profile, Reason.UNPICKLABLE, None, str(error))
            return None
        except Exception as error:
            let_pass(error)
            log.warning("advice of %s failed and is off: %s: %s", point.name, type(error).__name__, error)
            log.debug("advice of %s failed", point.name, exc_info=True)
            profile.hold(Reason.FAILED, str(error))
            return None
        finally:
            self._running.quiet = False
            release()

    def _spread(
        self,
        profile: Profile,
        freight: Freight,
        plain: Callable[..., Any],
        receiver: tuple[Any, ...],
        turns: Iterator[Any],
        args_of: ArgsOf,
        seconds: float | None,
    ) -> Iterator[Turn]:
        from bundlebee.aspects.feeder import Feeder
        from bundlebee.aspects.spread import Spread
        from bundlebee.bundles.effects import Effect

        grid, point = self._grid, profile.point
        kind = grid.policy.kind
        here_why, there_why = Reason.CHEAPER_HERE, Reason.CHEAPER_THERE
        if kind is not Kind.AUTO:
            here_why = there_why = Reason.FORCED

        def on_here(spent: float) -> None:
            grid.decided(point, Verdict(HERE, here_why, spread.estimates()), seconds=spent)

        def on_there(place: str, outcome: Outcome, count: int = 1) -> None:
            profile.shipped += count
            verdict = Verdict(place, there_why, spread.estimates())
            grid.decided(point, verdict, seconds=outcome.seconds, outcome=outcome, count=count)

        for outer in self._running.points:
            outer.data.spreads = True
        for timed in self._running.timed:
            timed.spreads = True
        spread = Spread(
            turns,
            args_of,
            plain,
            here=kind is Kind.AUTO,
            seconds=seconds,
            on_here=on_here,
            slow=grid.here().cores < 1.0,
            picks=self._picks() if kind is Kind.CHAOS else None,
        )

        def pack(item: Item) -> tuple[tuple[Any, ...], dict[str, Any]]:
            args = receiver + item.args
            self._customs.check(profile, freight, Effect.FREE, args, item.kwargs)
            return args, item.kwargs

        def pack_all(items: Sequence[Item]) -> tuple[list[Arguments], Walk | None]:
            packed = [(receiver + item.args, item.kwargs) for item in items]
            found = self._customs.check_all(profile, freight, packed) if len(packed) > 1 else None
            if found is None:
                packed = [pack(item) for item in items]
            return packed, found

        for before in list(self._feeders):
            before.let_go(HANDOVER)
        feeder = Feeder(grid, point, freight.call, pack_all, spread, on_there=on_there)
        self._feeders.add(feeder)
        try:
            with held():
                feeder.start()
        except BaseException:  # Ctrl-C
            spread.close()
            raise
        return spread.turns()

    def _picks(self) -> Callable[[], bool]:
        """Whether the dice send the next item away; the first one is picked already."""
        first = [True]
        return lambda: bool(first and first.pop()) or self._grid.draw() < self._grid.policy.probability

    def _told(self, profile: Profile, why: Reason, seconds: float | None, detail: str | None = None) -> None:
        if profile.told == (HERE, why):
            return
        profile.told = HERE, why
        with held():
            self._grid.decided(profile.point, Verdict(HERE, why, detail=detail), seconds=seconds)

    def _in_vain(self, advice: Advice, site: ScatterSite, profile: Profile | None, why: str) -> None:
        """Count a loop that gained nothing; after a few in a row the author's own runs.

        The watch switches the site on again when it arms the function.
        """
        if self._grid.policy.kind not in (Kind.AUTO, Kind.LOCAL):
            return
        count = advice.site_data[site.index] = advice.site_data.get(site.index, 0) + 1
        if count >= VAIN:
            advice.site_data[site.index] = 0
            advice.switch(site.index, False)
            if profile is not None:
                profile.sites.add((advice, site.index))
            with held():
                log.debug("loop %d of %s runs as written: %s", site.index, advice.module, why)
