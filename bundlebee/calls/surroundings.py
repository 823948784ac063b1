"""What a worker may do to the process that it is in: everything to its own, nothing to one that it shares with its caller."""

from __future__ import annotations

import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType, FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from bundlebee.calls import lineage
from bundlebee.calls.functions import find_function
from bundlebee.calls.guard import Guard
from bundlebee.calls.output import divide
from bundlebee.calls.queues import Ended
from bundlebee.calls.recursion import SLACK
from bundlebee.platform import interrupt_main, interrupt_thread, take_back_interrupts

if TYPE_CHECKING:
    from bundlebee.calls.call import Call
    from bundlebee.calls.output import Printing
    from bundlebee.calls.parcels import Loads

Dumps = Callable[[Any], bytes]


class Surroundings(Protocol):
    """Of one worker."""

    guard: Guard
    loads: Loads
    """Reads the pickles of functions and of tasks."""

    def find(self, call: Call) -> Callable[..., Any]:
        """The function that a call names, as its author wrote it.

        Raises:
            UnknownFunction: there is none.
        """

    def limit(self, call: Call, depth: int) -> None:
        """Set what the call needs of the interpreter; ``depth`` frames are in use."""

    def expect_tasks(self, printing: Printing, dumps: Dumps, interrupted: Callable[[], bool]) -> None:
        """From now on there are tasks: what they say is to reach the caller.

        Args:
            interrupted: asked when an interrupt has come, whether it is for the task.
        """

    def at_work(self, call: Call) -> AbstractContextManager[None]:
        """A context in which tasks of that call are at work."""

    def apply(self, settings: bytes) -> None:
        """Make levels of loggers and filters of warnings those of the caller."""

    def interrupt(self) -> None:
        """Interrupt the task at work, as by Ctrl-C. Any thread may ask."""

    def leave(self) -> None:
        """End the worker now, whatever it is doing. Any thread may ask."""


class OwnProcess:
    """The worker has a process of its own, and serves in its main thread.

    Args:
        leave: ends it.
    """

    loads: Loads = staticmethod(pickle.loads)

    def __init__(self, guard: Guard, leave: Callable[[], NoReturn]) -> None:
        self.guard = guard
        self.leave: Callable[[], None] = leave
        self._apply: Callable[[bytes], None] = lambda settings: None

    def find(self, call: Call) -> Callable[..., Any]:
        return find_function(call.function, call.line)

    def limit(self, call: Call, depth: int) -> None:
        sys.set_int_max_str_digits(call.int_max_str_digits)
        sys.setrecursionlimit(max(call.recursion_limit, SLACK) + depth)

    def expect_tasks(self, printing: Printing, dumps: Dumps, interrupted: Callable[[], bool]) -> None:
        from bundlebee.calls.logged import Telling

        self._apply = Telling(printing, dumps).apply
        printing.all_threads = True

        def handle(_number: int, _frame: FrameType | None) -> None:
            if interrupted():
                raise KeyboardInterrupt

        signal.signal(signal.SIGINT, handle)

    @contextmanager
    def at_work(self, call: Call) -> Iterator[None]:
        lineage.begin(call)
        try:
            yield
        finally:
            lineage.begin(None)

    def apply(self, settings: bytes) -> None:
        self._apply(settings)

    def interrupt(self) -> None:
        interrupt_main()


class SharedProcess:
    """The worker is a thread among the program's own."""

    def __init__(self, guard: Guard) -> None:
        from bundlebee.calls.byvalue import loads_here

        self.guard = guard
        self.loads: Loads = loads_here
        self._lock = threading.Lock()
        self._thread: int | None = None

    def find(self, call: Call) -> Callable[..., Any]:
        function = find_function(call.function, call.line)
        weaving = sys.modules.get("bundlebee.weaving.joinpoint")
        if weaving is not None and type(function) is FunctionType:
            point = weaving.join_point_in(function.__code__)
            if point is not None:
                return point.plain  # type: ignore[no-any-return]
        return function

    def limit(self, call: Call, depth: int) -> None:
        """The limits are the caller's; but streams that the program has set since are divided, too."""
        divide()

    def expect_tasks(self, printing: Printing, dumps: Dumps, interrupted: Callable[[], bool]) -> None:
        """What they say goes to the program's own streams, handlers and filters by itself."""

    def at_work(self, call: Call) -> AbstractContextManager[None]:
        return lineage.inside(call)

    def apply(self, settings: bytes) -> None:
        """They are the caller's."""

    def interrupt(self) -> None:
        self._raise(KeyboardInterrupt)

    def leave(self) -> None:
        if threading.get_ident() == self._thread:
            raise Ended
        self._raise(Ended)

    # -- of the worker's thread ---------------------------------------------------------------------------

    def enter(self) -> None:
        """The calling thread is the worker's."""
        self._thread = self.guard.thread = threading.get_ident()

    def exit(self) -> None:
        """From now on nothing comes up in this thread any more, not even what was about to. What does so just now is raised
        from here: call it again then."""
        with self._lock:
            self._thread = None
        take_back_interrupts()

    def _raise(self, kind: type[BaseException]) -> None:
        with self._lock:
            if self._thread is not None:
                interrupt_thread(self._thread, kind)
