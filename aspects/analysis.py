"""The analysis aspect: it times calls and takes away the advice where there is nothing to gain.

A function is measured from its first call on; in a large package, when the watch first meets it. Three short calls in a
row, and it is left alone: from then on it is its original code, at no cost. The watch (`aspects/watch.py`) looks at the
running stacks now and then, and has those functions measured again that are seen to take time. So the cost does not depend on
how many functions a program has. What takes long, but nobody is there to take it, runs as written until somebody comes.

To measure is to arm, and to time the call in the dispatcher's place; since 3.13 a stopwatch does it (`aspects/stopwatch.py`).

A recursive function is disarmed while its outermost call runs here: what counts is the whole call, and its inner
calls run at full speed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bundlebee.aspects.awaited import Awaited
from bundlebee.aspects.profile import SAMPLES, SHORT, Profile
from bundlebee.aspects.remote import Came
from bundlebee.aspects.stopwatch import Stopwatch
from bundlebee.calls.serving import serving
from bundlebee.clock import clock
from bundlebee.decisions.features import Features, features, volume
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.policy import Kind
from bundlebee.frames import getframe
from bundlebee.interrupts import hold, let_pass, release
from bundlebee.loggers import get_logger
from bundlebee.observers import FOLLOWED, followed
from bundlebee.weaving.joinpoint import JoinPoint, copied, join_point_in
from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from bundlebee.aspects.grid import Grid
    from bundlebee.aspects.remote import Remote
    from bundlebee.weaving.advice import Advice, Note

log = get_logger("bundlebee.aspects")

AT_ONCE = 100
"""Functions that are armed when an import is over; it takes 1 to 2 ms for so many. Where there are more, most are never called."""


_ENTRIES = 3


class Running(threading.local):
    """What the calling thread is in the middle of."""

    def __init__(self) -> None:
        self.points: set[JoinPoint] = set()  #: advised calls on this thread's stack
        #: our own machinery runs, and must not be advised; in a thread that is a worker nothing is
        self.quiet = serving.here
        self.timed: dict[Profile, Any] = {}  #: calls that the stopwatch times


class Analysis:
    """The outermost advice of every join point. One for a program."""

    def __init__(self, grid: Grid, remote: Remote, running: Running) -> None:
        self._grid = grid
        self._remote = remote
        self._running = running
        # both by identity of the original code object, which they keep; with loops that spread, of both originals
        self._profiles: dict[int, Profile] = {}
        self._waiting: dict[int, int] = {}  #: where in the next one a function's three entries begin
        # flat, for an object for each function would have the garbage collector run more often
        self._defined: list[Any] = []  #: code, function, advice; None, None, None
        self._entered = 0  #: so much of it is in `_waiting`
        self._begun = 0  #: so much of it is of imports that are over
        self._idle: list[Profile] = []  #: those with that mark
        self._awaited = Awaited(grid, remote, running, self._observe, self._leave_alone)
        self._stopwatch = Stopwatch(running, self._timed, self._calls_itself, self._suspends)
        self._listens = grid.policy.kind is Kind.AUTO and self._stopwatch.start()
        self._on_first: Callable[[], None] | None = None
        self._observed = False  #: it was said

    def once_there_is_one(self, begin: Callable[[], None]) -> None:
        """Have something called with the first function: a program without any shall not pay for glances at it."""
        self._on_first = begin

    def _begin(self) -> None:
        if self._on_first is not None:
            begin, self._on_first = self._on_first, None
            begin()

    def on_join_point(self, point: JoinPoint) -> None:
        """Take charge of a new join point."""
        self._begin()
        profile = Profile(point)
        point.data = profile
        point.advice = self._awaited.advise if point.awaited else self.advise
        self._profiles[id(point.original)] = profile
        if point.unwoven is not None:
            self._profiles[id(point.unwoven)] = profile
        if followed():  # it is never armed, so that a debugger that steps into it finds nothing but its lines
            profile.hold(Reason.OBSERVED, FOLLOWED)
            self._say_observed()
        else:
            self.sample(profile)

    def _say_observed(self) -> None:
        if not self._observed:
            self._observed = True
            log.info("%s: what it sees stays here", FOLLOWED)

    def sample(self, profile: Profile) -> None:
        """Measure the next calls of a function."""
        if not self._listens:
            profile.point.arm()
        elif profile.recursive:
            # to stand in for it is the only way, and worth it only where somebody might take it
            if self._grid.anybody():
                profile.point.arm()
            else:
                self._wait(profile)
        elif profile.point.blocked is None and not profile.point.armed:
            self._stopwatch.listen(profile)

    def close(self) -> None:
        """Measure nothing any more."""
        self._stopwatch.stop()

    def somebody(self) -> None:
        """Called now and then: if somebody has come who could take calls, arm what takes long."""
        if self._idle and self._grid.anybody():
            while self._idle:
                profile = self._idle.pop()
                profile.idle = False
                if profile.pin is None:
                    profile.point.arm()

    def forget(self) -> None:
        """The program is over: let go of its functions."""
        self._profiles.clear()
        self._defined.clear()
        self._entered = self._begun = 0
        self._waiting.clear()
        self._idle.clear()

    def on_defined(self, advice: Advice) -> Note:
        """A function that an import defines waits until that is over: what imports call is not worth a look, and decorators may
        note the function's code, which is its author's until then. So all that happens now is that it is noted."""
        self._begin()
        extend = self._defined.extend

        def join_point(function: FunctionType) -> FunctionType:
            extend((function.__code__, function, advice))
            return function

        return join_point

    def on_imported(self) -> None:
        """Begin with the functions that were defined; those of a large package wait until the watch meets them, if there is one."""
        begun, self._begun = self._begun, len(self._defined)
        if self._begun - begun <= AT_ONCE * _ENTRIES or self._grid.policy.kind is not Kind.AUTO:
            for code in self._defined[begun : self._begun : _ENTRIES]:
                if code is not None:
                    self.profile_by_code(code)

    def profile_by_code(self, code: CodeType) -> Profile | None:
        """The profile of the function that this is an original code of. One that has waited for this is armed."""
        profile = self._profiles.get(id(code))
        if profile is not None:
            return profile
        if self._entered < len(self._defined):
            self._enter()
        if (place := self._waiting.pop(id(code), None)) is not None:
            entries = slice(place, place + _ENTRIES)
            found, function, advice = self._defined[entries]
            # not so where the program has replaced its code, or two threads imported at the very same moment
            if found is code and function.__code__ is code:
                self._defined[entries] = [None] * _ENTRIES
                try:
                    advice.make(function)
                except Exception:
                    log.debug("%s stays plain", code.co_qualname, exc_info=True)
                profile = self._profiles.get(id(code))
        return profile

    def _enter(self) -> None:
        """Make what was defined since the last time known by its code. Two threads may do so at once."""
        first, end = self._entered, len(self._defined)
        codes = self._defined[first:end:_ENTRIES]
        self._waiting.update(zip(map(id, codes), range(first, end, _ENTRIES), strict=True))
        self._entered = end

    def profile_of(self, function: FunctionType) -> Profile | None:
        """The profile of an advised function, armed or not."""
        profile = self.profile_by_code(function.__code__)
        if profile is None:
            point = join_point_in(function.__code__)
            profile = None if point is None else point.data
        return profile if profile is not None and profile.point.function is function else None

    def advise(self, point: JoinPoint, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one call of an armed function, here or elsewhere."""
        copy = copied(point, getframe(1))
        if copy is not None:
            return copy(*args, **kwargs)
        running = self._running
        if running.quiet:
            return point.plain(*args, **kwargs)
        profile: Profile = point.data
        if point in running.points:
            profile.recursive = True
            point.disarm()
            return point.plain(*args, **kwargs)
        policy = self._grid.policy
        draw = 0.0
        if policy.kind is Kind.CHAOS:
            # first of all: what the dice leave here shall cost no more than the dice
            drawn = profile.chosen(self._grid.draw(), policy.probability)
            if drawn is None:
                return self._left_here(profile, args, kwargs)
            draw = drawn
        came: Came | None = None
        verdict: Verdict | None = None
        hold()
        running.quiet = True
        try:
            marks = features(args, kwargs)
            verdict, cleared = self._remote.decide(profile, marks, args, kwargs, draw)
            if cleared is not None and verdict.where != HERE:
                answer = self._remote.ship(profile, verdict, cleared, marks, args, kwargs)
                if isinstance(answer, Came):
                    came = answer
                else:
                    verdict = answer
        except Exception as error:
            let_pass(error)
            # an aspect that fails is switched off for this function; the plain call runs
            profile.hold(Reason.FAILED, f"{type(error).__name__}: {error}")
            point.disarm()
            verdict = None
            with suppress(Exception):  # what the program did to us may have broken logging, too
                log.warning("advice of %s failed and is off: %s: %s", point.name, type(error).__name__, error)
                log.debug("advice of %s failed", point.name, exc_info=True)
        finally:
            running.quiet = False
            release()
        if verdict is None:
            return point.plain(*args, **kwargs)
        if came is None:
            return self._here(profile, verdict, marks, args, kwargs)
        if came.error is not None:
            raise came.error
        return came.value

    def _left_here(self, profile: Profile, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if profile.told != (HERE, Reason.FORCED):
            verdict = Verdict(HERE, Reason.FORCED, detail=f"policy {self._grid.policy}")
            return self._here(profile, verdict, features(args, kwargs), args, kwargs)
        point = profile.point
        self._running.points.add(point)
        try:
            return point.plain(*args, **kwargs)
        finally:
            self._running.points.discard(point)

    def _here(
        self,
        profile: Profile,
        verdict: Verdict,
        marks: Features,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        point = profile.point
        running = self._running
        result = None
        cpu = clock.thread_time()
        start = clock.perf_counter()
        try:
            running.points.add(point)
            if profile.recursive:
                point.disarm()
            result = point.plain(*args, **kwargs)
            return result
        finally:
            seconds = clock.perf_counter() - start
            cpu = clock.thread_time() - cpu
            running.points.discard(point)
            self._observe(profile, verdict, marks, seconds, cpu, result)

    def _timed(self, profile: Profile, marks: Features, seconds: float, cpu: float) -> None:
        """A call that nobody stood in for has returned."""
        self._observe(profile, Verdict(HERE, Reason.UNMEASURED), marks, seconds, cpu)

    def _calls_itself(self, profile: Profile) -> None:
        profile.recursive = True
        self.sample(profile)

    def _suspends(self, profile: Profile) -> None:
        """A call that nobody stood in for waits for its event loop."""
        self._awaited.suspends(profile)

    def _observe(
        self,
        profile: Profile,
        verdict: Verdict,
        marks: Features,
        seconds: float,
        cpu: float,
        result: Any = None,
    ) -> None:
        hold()
        try:
            profile.calls += 1
            profile.short = profile.short + 1 if seconds < SHORT else 0
            if not profile.short:
                profile.trust = 1
                profile.measured().observe(marks, seconds, cpu)
                if result is not None:
                    profile.volume = volume((result,))
            self._settle(profile)
            if profile.short and profile.pin is None and self._grid.policy.kind is Kind.AUTO:
                verdict = replace(verdict, why=Reason.TOO_SHORT)
            elif profile.idle:
                verdict = replace(verdict, why=Reason.NO_PEER)
            told = verdict.where, verdict.why
            # short calls are told once, and long ones each time
            if seconds >= SHORT or profile.told != told:
                profile.told = told
                self._grid.decided(profile.point, verdict, seconds=seconds)
        except Exception as error:
            let_pass(error)
            log.debug("could not note a call of %s", profile.point.name, exc_info=True)
        finally:
            release()

    def _settle(self, profile: Profile) -> None:
        """Take the advice away where it can gain nothing; give it back where a recursion took it."""
        point, kind = profile.point, self._grid.policy.kind
        if profile.pin is not None or kind is Kind.LOCAL:
            self._leave_alone(profile)
        elif kind is Kind.AUTO and profile.short >= SAMPLES:
            self._leave_alone(profile)
            profile.met = 0.0
        elif kind is Kind.AUTO and not profile.short and self._is_lonely():
            self._leave_alone(profile)
            self._wait(profile)
        elif not point.armed and not (self._listens and profile.short):
            if self._listens:
                self._stopwatch.ignore(profile)
            point.arm()

    def _is_lonely(self) -> bool:
        """Whether nobody could take a call. Who is about to answer is waited for, unless it would leave a mark to be armed."""
        return not self._grid.anybody() and (self._listens or not self._grid.coming())

    def _wait(self, profile: Profile) -> None:
        if not profile.idle:
            profile.idle = True
            self._idle.append(profile)

    def _leave_alone(self, profile: Profile) -> None:
        if self._listens:
            self._stopwatch.ignore(profile)
        profile.point.disarm()
