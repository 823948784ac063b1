"""Runs the calls of a chunk in a worker, one after the other, under the guard. (Tasks are the performer's.)"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, thread_time
from typing import TYPE_CHECKING

from bundlebee.calls import pickling
from bundlebee.calls.recursion import depth

if TYPE_CHECKING:
    from bundlebee.calls.answers import Answers
    from bundlebee.calls.changes import Before
    from bundlebee.calls.definition import Definition
    from bundlebee.calls.output import Printing
    from bundlebee.calls.surroundings import Surroundings

CLOCK = 50e-6  #: seconds; a run that is over sooner had a core to itself, or its CPU time says as little


class Runner:
    """Of one worker.

    Args:
        rest: called when nothing runs any more; before the last answer is sent.
    """

    def __init__(
        self, answers: Answers, printing: Printing, surroundings: Surroundings, rest: Callable[[], None]
    ) -> None:
        self._answers = answers
        self._printing = printing
        self._surroundings = surroundings
        self._guard = surroundings.guard
        self._rest = rest
        self._depth = 0  # of the stack where items run

    def run(self, definition: Definition, items: list[pickling.Item]) -> None:
        """Run the items of one chunk, and send what came of them."""
        if not self._depth:
            self._depth = depth()  # always the same: only `WorkerLoop.run` leads here
        self._surroundings.limit(definition.call, self._depth)
        function = definition.function
        printing = self._printing
        guard = self._guard
        last = len(items) - 1
        try:
            for index, item in enumerate(items):
                items[index] = None  # type: ignore[call-overload]  # its memory goes when it is done
                printing.index = index
                args, kwargs = item
                error = None
                result = None
                guard.tripped = None
                before = _before(item) if definition.call.writes else None
                cpu = thread_time()
                start = perf_counter()
                guard.active = True
                try:
                    result = function(*args, **kwargs)
                except BaseException as raised:
                    guard.active = False
                    error = raised
                guard.active = False
                seconds = perf_counter() - start
                # asking for CPU time is a system call, and there is no need to where the clock can say it
                times = seconds, seconds if seconds < CLOCK else thread_time() - cpu
                if index == last:
                    self._rest()
                    undisturbed = error is None and guard.tripped is None and before is None
                    short = undisturbed and not index and type(result) in pickling.ATOMS
                    if short and not pickling.refers(result, item, definition.objects):
                        self._answers.only(result, times)
                        return
                if error is None and guard.tripped is None:
                    self._answers.returned(index, item, result, times, definition.objects, before)
                else:
                    self._answers.failed(index, item, error, times, definition.objects, before)
        finally:
            guard.active = False
            printing.index = None
            error = None  # its traceback knows this frame
        self._answers.flush(len(items))


def _before(item: pickling.Item) -> Before:
    """What the arguments hold, to tell afterwards what was changed."""
    from bundlebee.bundles.values import walk
    from bundlebee.calls.changes import Before

    return Before(walk(*item))
