"""The advice of coroutine functions: what becomes of a call that is awaited, and how it runs here.

Its question is asked in the coroutine's first step, when plain code would begin to run. What leaves is `aspects.abroad`'s.

A call that suspends while it runs here is none of ours: its time would be that of other tasks, too. It is not measured, and
its function is left alone.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bundlebee.aspects.abroad import Abroad
from bundlebee.aspects.away import Away, coroutine_of
from bundlebee.aspects.profile import Profile
from bundlebee.aspects.turns import Line, drivers, loop_that_awaits
from bundlebee.clock import clock
from bundlebee.decisions.features import Features, features
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.policy import Kind
from bundlebee.frames import getframe
from bundlebee.interrupts import hold, let_pass, release
from bundlebee.loggers import get_logger
from bundlebee.weaving.joinpoint import copied
from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from bundlebee.aspects.analysis import Running
    from bundlebee.aspects.grid import Grid
    from bundlebee.aspects.remote import Remote
    from bundlebee.weaving.joinpoint import JoinPoint

log = get_logger("bundlebee.aspects")

Observe = Callable[[Profile, Verdict, Features, float, float, Any], None]

SUSPENDS = "it waits for its event loop"


class Awaited:
    """The outermost advice of every coroutine function. One for a program.

    Args:
        observe: told of each call that ran here and never suspended.
        leave_alone: disarms a function.
    """

    def __init__(
        self,
        grid: Grid,
        remote: Remote,
        running: Running,
        observe: Observe,
        leave_alone: Callable[[Profile], None],
    ) -> None:
        self._grid = grid
        self._remote = remote
        self._running = running
        self._observe = observe
        self._leave_alone = leave_alone
        self._abroad = Abroad(grid, remote, running, self._here, self._fail)

    def advise(self, point: JoinPoint, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        """What to await for one call of an armed function; asked in its first step."""
        copy = copied(point, getframe(1))
        if copy is not None:
            awaited: Awaitable[Any] = copy(*args, **kwargs)
            return awaited
        running = self._running
        if running.quiet:
            return coroutine_of(point, args, kwargs)
        profile: Profile = point.data
        if point in running.points:
            profile.recursive = True
            point.disarm()
            return coroutine_of(point, args, kwargs)
        policy = self._grid.policy
        draw = 0.0
        if policy.kind is Kind.CHAOS:
            # first of all: what the dice leave here shall cost no more than the dice
            draw = self._grid.draw()
            if draw >= policy.probability:
                if profile.told == (HERE, Reason.FORCED):
                    return coroutine_of(point, args, kwargs)
                verdict = Verdict(HERE, Reason.FORCED, detail=f"policy {policy}")
                return self._here(profile, verdict, features(args, kwargs), args, kwargs)
        answer: Away | Verdict | None = None
        line: Line | None = None
        try:
            hold()
            running.quiet = True
            try:
                marks = features(args, kwargs)
                verdict, cleared = self._remote.decide(profile, marks, args, kwargs, draw)
                answer = verdict
                if cleared is not None:
                    line = loop_that_awaits(getframe(1))
                    if verdict.where != HERE or (
                        policy.kind is not Kind.AUTO and verdict.why in (Reason.PEER_BUSY, Reason.NO_PEER)
                    ):
                        answer = self._abroad.send(profile, verdict, cleared, marks, args, kwargs, line)
            except Exception as error:
                let_pass(error)
                self._fail(profile, error)
                answer = None
            finally:
                running.quiet = False
                release()
        except BaseException:
            if isinstance(answer, Away):  # Ctrl-C, in the very last moment
                self._abroad.drop(answer)
            raise
        if isinstance(answer, Away):
            return self._abroad.outcome(answer)
        if answer is None:
            return coroutine_of(point, args, kwargs)
        if line is not None and line.waiting:
            return self._in_turn(line, self._here(profile, answer, marks, args, kwargs))
        return self._here(profile, answer, marks, args, kwargs)

    # -- here ----------------------------------------------------------------------------------------------

    @types.coroutine
    def _here(
        self,
        profile: Profile,
        verdict: Verdict,
        marks: Features,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Generator[Any, Any, Any]:
        """Run the call, and time it if it never suspends."""
        point, points = profile.point, self._running.points
        coroutine = coroutine_of(point, args, kwargs)
        suspended = False
        result = None
        cpu = clock.thread_time()
        start = clock.perf_counter()
        try:
            points.add(point)
            if profile.recursive:
                point.disarm()
            wanted = coroutine.send(None)
            suspended = True
        except StopIteration as end:
            result = end.value
        finally:
            seconds = clock.perf_counter() - start
            cpu = clock.thread_time() - cpu
            points.discard(point)
            if not suspended:
                self._observe(profile, verdict, marks, seconds, cpu, result)
        if not suspended:
            return result
        self.suspends(profile)
        while True:
            error: BaseException | None = None
            try:
                sent = yield wanted
            except BaseException as raised:
                error = raised
                # without this frame: where it was raised is further in
                BaseException.with_traceback(error, error.__traceback__ and error.__traceback__.tb_next)
            try:
                if isinstance(error, GeneratorExit):
                    coroutine.close()
                    raise error
                wanted = coroutine.send(sent) if error is None else coroutine.throw(error)
            except StopIteration as end:
                return end.value
            finally:
                error = None

    def suspends(self, profile: Profile) -> None:
        """A call waits for its event loop, so its time would be that of others, too: leave the function alone."""
        hold()
        try:
            told = HERE, Reason.EFFECTS
            if profile.told != told:
                profile.told = told
                self._grid.decided(
                    profile.point, Verdict(HERE, Reason.EFFECTS, detail=SUSPENDS), seconds=None
                )
            if profile.pin is not None or self._grid.policy.kind in (Kind.AUTO, Kind.LOCAL):
                self._leave_alone(profile)
                profile.met = 0.0
            elif profile.recursive:
                profile.point.arm()
        except Exception as error:
            let_pass(error)
            log.debug("could not note a call of %s", profile.point.name, exc_info=True)
        finally:
            release()

    async def _in_turn(self, line: Line, here: Awaitable[Any]) -> Any:
        """Run a call that might as well have left, and hand its result out after those of the calls before it."""
        try:
            result, error = await here, None
        except Exception as raised:
            result, error = None, raised
        if line.waiting:
            turn = line.join()
            turn.ready()
            await turn.wait()
        if error is not None:
            try:
                raise error
            finally:
                error = None
        return result

    def _fail(self, profile: Profile, error: Exception) -> None:
        """An aspect that fails is switched off for this function; the plain call runs."""
        profile.hold(Reason.FAILED, f"{type(error).__name__}: {error}")
        profile.point.disarm()
        with suppress(Exception):  # what the program did to us may have broken logging, too
            log.warning(
                "advice of %s failed and is off: %s: %s", profile.point.name, type(error).__name__, error
            )
            log.debug("advice of %s failed", profile.point.name, exc_info=True)


drivers.add(Awaited._here.__code__)
