"""Times calls without standing in for them: for interpreters that never forgive an exchange of ``__code__``.

Since CPython 3.13 a function whose code was exchanged once is called the slow way for ever, even with its own code back: the
interpreter specialises calls only of functions that never changed. So there a function is not armed to find out how long
it takes. `sys.monitoring` tells of its calls instead, for the first few; then its code runs as if nothing had been. Only
what is worth a journey is armed. (3.12 has `sys.monitoring`, too, but there what was watched once stays slow; and it forgives.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from bundlebee.clock import clock
from bundlebee.decisions.features import Features, features
from bundlebee.frames import getframe
from bundlebee.interrupts import hold, let_pass, release
from bundlebee.loggers import get_logger

if TYPE_CHECKING:
    from bundlebee.aspects.analysis import Running
    from bundlebee.aspects.profile import Profile

log = get_logger("bundlebee.aspects")

_monitoring: Any = getattr(sys, "monitoring", None)

AVAILABLE = sys.version_info >= (3, 13)

TOOLS = (4, 3)
"""Identities of tools that CPython has given no meaning; the program may use them, too: first come, first served."""

INNER = 200
"""Calls of a function inside its own call until the stopwatch gives up: each costs about a microsecond."""

_VARARGS, _VARKEYWORDS = 0x4, 0x8

Done = Callable[["Profile", Features, float, float], None]
"""``done(profile, features, seconds, cpu_seconds)``"""


class _Call:
    """One call under way."""

    __slots__ = ("cpu", "frame", "inner", "marks", "start")

    def __init__(self, frame: int, marks: Features) -> None:
        self.frame = frame  #: identity of its frame
        self.marks = marks
        self.inner = 0
        self.cpu = clock.thread_time()
        self.start = clock.perf_counter()


class Stopwatch:
    """One for a program.

    Args:
        running: what the calling thread is in the middle of.
        done: called in the calling thread with each call that was timed.
        gave_up: called with a function whose calls cannot be timed, since it calls itself too often.
        suspended: called with a coroutine function whose call waits for something: its time is not its own.
    """

    def __init__(
        self,
        running: Running,
        done: Done,
        gave_up: Callable[[Profile], None],
        suspended: Callable[[Profile], None],
    ) -> None:
        self._running = running
        self._done = done
        self._gave_up = gave_up
        self._suspended = suspended
        self._tool: int | None = None
        self._profiles: dict[int, Profile] = {}  #: by identity of the code, which they keep

    def start(self) -> bool:
        """Begin; False where this interpreter, or the program, has no place for it."""
        if not AVAILABLE:
            return False
        monitoring = _monitoring
        for tool in TOOLS:
            try:
                monitoring.use_tool_id(tool, "bundlebee")
            except ValueError:
                continue
            self._tool = tool
            self._events = monitoring.events.PY_START | monitoring.events.PY_RETURN
            monitoring.register_callback(tool, monitoring.events.PY_START, self._begins)
            monitoring.register_callback(tool, monitoring.events.PY_RETURN, self._ends)
            monitoring.register_callback(tool, monitoring.events.PY_YIELD, self._yields)
            return True
        return False

    def stop(self) -> None:
        """End it for all functions, and give the place back."""
        if self._tool is not None:
            for profile in list(self._profiles.values()):
                self.ignore(profile)
            _monitoring.free_tool_id(self._tool)
            self._tool = None

    def listen(self, profile: Profile) -> None:
        """Time calls of a function, until `ignore`."""
        if self._tool is not None:
            code = profile.point.original
            self._profiles[id(code)] = profile
            events = self._events | (_monitoring.events.PY_YIELD if profile.point.awaited else 0)
            _monitoring.set_local_events(self._tool, code, events)

    def ignore(self, profile: Profile) -> None:
        """Leave it alone."""
        if self._tool is not None:
            _monitoring.set_local_events(self._tool, profile.point.original, 0)

    def _begins(self, code: CodeType, _offset: int) -> None:
        running = self._running
        profile = self._profiles.get(id(code))
        if running.quiet or profile is None:
            return
        hold()
        running.quiet = True
        try:
            frame = getframe(1)
            call = running.timed.get(profile)
            if call is not None and _is_inside(frame, call.frame):
                call.inner += 1
                if call.inner > INNER:
                    del running.timed[profile]
                    self.ignore(profile)
                    self._gave_up(profile)
                return
            # a call that was there before has ended with an exception
            running.timed[profile] = _Call(id(frame), features(*_arguments(frame, code)))
        except Exception as error:
            let_pass(error)
            self.ignore(profile)
            log.debug("cannot time %s", profile.point.name, exc_info=True)
        finally:
            running.quiet = False
            release()

    def _ends(self, code: CodeType, _offset: int, _result: object) -> None:
        running = self._running
        profile = self._profiles.get(id(code))
        call = None if profile is None else running.timed.get(profile)
        if profile is None or call is None or running.quiet or id(getframe(1)) != call.frame:
            return
        seconds, cpu = clock.perf_counter() - call.start, clock.thread_time() - call.cpu
        del running.timed[profile]
        self._done(profile, call.marks, seconds, cpu)

    def _yields(self, code: CodeType, _offset: int, _value: object) -> None:
        running = self._running
        profile = self._profiles.get(id(code))
        call = None if profile is None else running.timed.get(profile)
        if profile is not None and call is not None and id(getframe(1)) == call.frame:
            del running.timed[profile]
            self.ignore(profile)
            self._suspended(profile)


def _is_inside(frame: FrameType, outer: int) -> bool:
    current = frame.f_back
    while current is not None:
        if id(current) == outer:
            return True
        current = current.f_back
    return False


def _arguments(frame: FrameType, code: CodeType) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a function that has just begun was called with, as its dispatcher would give it."""
    values, names = frame.f_locals, code.co_varnames
    first = code.co_argcount
    last = first + code.co_kwonlyargcount
    args = tuple([values[name] for name in names[:first]])
    kwargs = {name: values[name] for name in names[first:last]}
    if code.co_flags & _VARARGS:
        args += values[names[last]]
        last += 1
    if code.co_flags & _VARKEYWORDS:
        kwargs.update(values[names[last]])
    return args, kwargs
