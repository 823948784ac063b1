"""A worker's own hand: the thread that runs what a task there has submitted and no other worker is free for.

Without it an executor that is used inside a task, on a grid whose workers are all busy with such tasks, would wait for
itself. Every task that waits for others has this thread at its side, so that something always goes on.

A task runs here as it would in another worker: on copies of its arguments, and what comes of it is a copy, too.
"""

from __future__ import annotations

import io
import pickle
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bundlebee.calls import lineage, remote_errors
from bundlebee.calls.answers import is_ours
from bundlebee.calls.byvalue import Homebound, Outbound
from bundlebee.calls.pickling import blame, blame_items
from bundlebee.clock import clock
from bundlebee.errors import Unshippable, told
from bundlebee.orders import Item

if TYPE_CHECKING:
    from bundlebee.orders import Function, Order

KNOWN = 64  #: functions that are kept unpickled


class Helper:
    """Runs one task at a time.

    Args:
        done: called in the thread when a task is done.
    """

    def __init__(self, done: Callable[[], None]) -> None:
        self.busy = False  #: it is at a task; written by `give` and by the thread when that is done
        self.ran: deque[tuple[str, float]] = deque()  #: functions that it has called, and seconds
        self._done = done
        self._tasks: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._functions: dict[Function, Callable[..., Any]] = {}
        self._thread: threading.Thread | None = None

    def give(self, task: Order) -> None:
        """Run a task that has begun."""
        self.busy = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bundlebee-helper", daemon=True)
            self._thread.start()
        self._tasks.put(task)

    def close(self) -> None:
        """No more tasks will come."""
        self._tasks.put(None)

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                self._perform(task)
            except BaseException as error:  # of a `__reduce__`, for example
                task.fail(
                    Unshippable(f"what {task.function.name} takes or gives cannot travel", why=told(error))
                )
            finally:
                del task
                self.busy = False
                self._done()

    def _perform(self, task: Order) -> None:
        try:
            function = self._function(task.function)
            args, kwargs = _copy((task.args, task.kwargs), Outbound)
        except Exception as error:
            task.fail(blame_items([(task.args, task.kwargs)], error, _outbound))
            return
        start = clock.perf_counter()
        try:
            try:
                with lineage.inside(task.function.call):
                    result = function(*args, **kwargs)
            finally:
                self.ran.append((task.function.name, clock.perf_counter() - start))
        except BaseException as error:
            data = remote_errors.pack(error, _is_ours, _homebound, stand_ins=True)
            try:
                task.fail(remote_errors.unpack(data, "this worker"))
            except Unshippable as problem:
                task.fail(problem)
            return
        try:
            copy = _copy(result, Homebound)
        except Exception as error:
            task.fail(blame(result, error, "result", _homebound))
            return
        task.succeed(copy)
        if isinstance(task, Item):
            task.round.announce()

    def _function(self, function: Function) -> Callable[..., Any]:
        found = self._functions.get(function)
        if found is None:
            if len(self._functions) >= KNOWN:
                self._functions.clear()
            found = self._functions[function] = pickle.loads(function.data)
        return found


def _is_ours(code: Any) -> bool:
    return code.co_filename == __file__ or is_ours(code)


def _outbound(value: Any) -> bytes:
    return _pickle(value, Outbound)


def _homebound(value: Any) -> bytes:
    return _pickle(value, Homebound)


def _pickle(value: Any, pickler: Any) -> bytes:
    stream = io.BytesIO()
    pickler(stream, 5).dump(value)
    return stream.getvalue()


def _copy(value: Any, pickler: Any) -> Any:
    return pickle.loads(_pickle(value, pickler))
