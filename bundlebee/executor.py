"""`bundlebee.Executor`: the grid behind the interface of `concurrent.futures`."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from bundlebee import settings
from bundlebee.calls.tasks import Pace
from bundlebee.clock import clock
from bundlebee.dispatcher import Dispatcher
from bundlebee.errors import UsageError
from bundlebee.functions import Functions, unwrapped
from bundlebee.orders import Function, Item, Order, Round, Task
from bundlebee.settings import GridOptions, parse_peers, parse_transport
from bundlebee.words import Reason

T = TypeVar("T")

BATCH = 256  #: tasks that `map` submits at once, if they come quickly
BATCH_SECONDS = 0.002

_running: weakref.WeakSet[Dispatcher] = weakref.WeakSet()
_exiting = False


class Executor(futures.Executor):
    """Runs calls in workers of the grid; with no node anywhere, in processes on this machine.

    Each call runs once or, if its worker dies, fails with `bundlebee.errors.PeerLost`: it is never run twice.
    Functions of the script, lambdas and closures travel by value, as they are when they are submitted.

    Args:
        max_workers: workers to use at a time; None is as many as there are.
        grid: the grid's name.
        key_file: the grid's key.
        interface: network interface, or its address.
        peers: "HOST:PORT" of nodes that multicast does not reach.
        transport: "network", or "in-process" for threads of this very process, without a grid: for tests and debugging.

    What is None is as `bundlebee exec` was told, if that runs the program; else as the ``BUNDLEBEE_*`` variables say.

    Raises:
        UsageError: an argument or variable is wrong.
        KeyFileError: the key cannot be used.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        grid: str | None = None,
        key_file: str | os.PathLike[str] | None = None,
        interface: str | None = None,
        peers: Iterable[str] | None = None,
        transport: str | None = None,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if isinstance(peers, str):
            raise UsageError("peers is a text", hint=f"give a list of them: [{peers!r}]")
        where = settings.of_program or GridOptions.from_environment(os.environ)
        given = {
            "grid": grid,
            "key_file": None if key_file is None else Path(key_file),
            "interface": interface,
            "peers": None if peers is None else parse_peers(tuple(peers)),
            "transport": None if transport is None else parse_transport(transport),
        }
        where = msgspec.structs.replace(where, **{k: v for k, v in given.items() if v is not None})
        self._dispatcher = Dispatcher(where, max_workers)
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        self._functions = Functions(self._dispatcher.look)
        # who forgets to shut down leaves nothing behind either
        weakref.finalize(self, self._dispatcher.finish)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """Call ``fn(*args, **kwargs)`` in a worker, as soon as one is free."""
        return self._submit("", fn, args, kwargs)

    def submit_as(self, name: str, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> futures.Future[T]:
        """As `submit`, for others who bring calls in a form of their own: ``name`` is what records and messages call it."""
        return self._submit(name, fn, args, kwargs)

    def _submit(
        self, name: str, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> futures.Future[T]:
        self._check_process()
        fn, args, kwargs = unwrapped(fn, args, kwargs)
        future: futures.Future[T] = futures.Future()
        try:
            function = self._functions.get(fn, self._refused)
            if name:
                function = self._functions.called(name, function)
        except Exception as error:
            self._put([])
            future.set_exception(error)
        else:
            self._put([Task(future, function, args, kwargs)])
        try:
            return future
        finally:
            del future  # an error that it holds knows this frame

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """The results of ``fn`` for the items of the iterables, in order.

        Args:
            timeout: seconds from now until which all results must be there.
            chunksize: how many at least go to a worker together; quick ones go in larger chunks by themselves.
            buffersize: how many to submit ahead; None submits all at once.

        Raises:
            TimeoutError: while iterating, if there is no result in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        self._check_process()
        deadline = None if timeout is None else clock.monotonic() + timeout
        fn, fixed, kwargs = unwrapped(fn, (), {})
        arguments: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        if fixed:
            arguments = (fixed + more for more in arguments)
        function = self._functions.get(fn, self._refused)
        if chunksize > 1:
            function = Function(function.name, function.call, function.data, Pace(chunksize))
        round: Round[T] = Round(function, kwargs)
        numbered = enumerate(arguments)
        self._put([])  # it may have been shut down
        count = self._submit_from(round, numbered, buffersize)
        more = None if buffersize is None else (lambda: self._submit_from(round, numbered, 1))
        return _results(round, count, deadline, more)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait``, return when all are done and nothing is left behind."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
        if cancel_futures:
            self._dispatcher.cancel_waiting()
        self._dispatcher.finish()
        thread = self._dispatcher.thread
        if wait and thread.ident is not None and thread is not threading.current_thread():
            thread.join()

    def workers(self) -> int:
        """How many workers there are for it, those that are busy included. Waits until the grid has answered: a second at most.

        Raises:
            RuntimeError: it was shut down.
        """
        self._check_process()
        with self._lock:
            self._check()
            self._start()
        return self._dispatcher.workers()

    def abandon(self) -> None:
        """Shut down at once: what waits is cancelled, what runs is interrupted there, and may have run in part."""
        if os.getpid() == self._pid:
            self._dispatcher.abandon()
        self.shutdown(wait=False, cancel_futures=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Shut down. Ctrl-C ends what runs, too, as it does in a process pool, whose workers hear of it themselves."""
        if kind is not None and issubclass(kind, KeyboardInterrupt) and os.getpid() == self._pid:
            self._dispatcher.abandon()
        self.shutdown(wait=True)
        return None

    # -- inside -------------------------------------------------------------------------------------------

    def _put(self, tasks: list[Order]) -> None:
        with self._lock:
            self._check()
            if tasks:
                self._start()
                self._dispatcher.put(tasks)

    def _check_process(self) -> None:
        """Before any lock: a thread of the parent may have held it when the child was made."""
        if os.getpid() != self._pid:
            raise RuntimeError("this executor belongs to the parent process: make another one after a fork")

    def _check(self) -> None:
        """Under the lock: whether it takes tasks."""
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def _start(self) -> None:
        """Under the lock."""
        if self._dispatcher.thread.ident is None:
            _running.add(self._dispatcher)  # first: Ctrl-C may come up in the other
            self._dispatcher.start()

    def _refused(self, function: str, why: Reason, detail: str) -> None:
        with self._lock:
            self._start()
        self._dispatcher.refuse(function, why, detail)

    def _submit_from(
        self, round: Round[Any], arguments: Iterator[tuple[int, tuple[Any, ...]]], count: int | None
    ) -> int:
        """Submit the next ``count``; a batch at a time, for each batch wakes the dispatcher. Returns how many."""
        tasks: list[Order] = []
        began = clock.monotonic()
        submitted = 0
        try:
            for index, args in itertools.islice(arguments, count):
                tasks.append(Item(round, index, args))
                if len(tasks) >= BATCH or clock.monotonic() - began > BATCH_SECONDS:
                    submitted += len(tasks)
                    batch, tasks, began = tasks, [], clock.monotonic()
                    self._put(batch)
        finally:
            if tasks:
                submitted += len(tasks)
                self._put(tasks)
        return submitted


def _results(
    round: Round[T], count: int, deadline: float | None, more: Callable[[], int] | None
) -> Iterator[T]:
    index = 0
    try:
        while index < count:
            if more is not None:
                count += more()
            yield round.result(index, deadline)
            index += 1
    finally:
        round.closed = True


def _complete() -> None:
    """At the end of the interpreter, before its threads are joined: finish what was submitted."""
    global _exiting
    _exiting = True
    interrupted = issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt)
    for dispatcher in list(_running):
        if interrupted:
            dispatcher.abandon()
        dispatcher.finish()
    for dispatcher in list(_running):
        try:
            dispatcher.thread.join()
        except RuntimeError:
            pass  # it has not begun; if it still does, it ends at once, and Python waits for it


def _in_child() -> None:
    for dispatcher in list(_running):
        dispatcher.after_fork()
    _running.clear()


# as `concurrent.futures` does; `atexit` comes too late, after threads are joined
threading._register_atexit(_complete)  # type: ignore[attr-defined]
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
