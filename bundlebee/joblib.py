"""joblib on the grid: ``import bundlebee.joblib``, then ``joblib.parallel_config(backend="bundlebee")``.

Importing this makes the name known to joblib, and nothing else. ``n_jobs=-1`` are all workers of the grid, or of this
machine where there is none; another number is the most that are used at a time. What travels is what travels for a
`bundlebee.Executor`: lambdas, closures, functions of the script, and arrays without a detour over files.

Batches are tasks. One that was begun is never run twice; its worker's death is a `bundlebee.errors.PeerLost`.
"""

from __future__ import annotations

import functools
import operator
import os
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

try:
    from joblib.parallel import (
        AutoBatchingMixin,
        FallbackToBackend,
        ParallelBackendBase,
        SequentialBackend,
        register_parallel_backend,
    )
except ImportError as error:
    raise ImportError(
        "bundlebee.joblib needs joblib 1.3 or newer: pip install 'bundlebee[joblib]'"
    ) from error

from bundlebee.calls.remote_errors import add_note
from bundlebee.executor import Executor
from bundlebee.functions import name_of

__all__ = ["BundlebeeBackend"]

NAME = "bundlebee"
_QUIET = tuple(
    os.path.dirname(os.path.abspath(code.__code__.co_filename)) + os.sep
    for code in (Future.result, register_parallel_backend)
)


class BundlebeeBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """A backend of joblib.

    Args:
        nesting_level: joblib's: 0 for a call of the program, 1 for one inside a task of that.
        options: as for `bundlebee.Executor`: ``grid``, ``key_file``, ``interface``, ``peers``, ``transport``.
    """

    default_n_jobs = -1
    supports_retrieve_callback = True
    supports_sharedmem = False
    uses_threads = False

    def __init__(self, nesting_level: int | None = None, **options: Any) -> None:
        super().__init__(nesting_level=nesting_level)
        self._options = options
        self._shared: _Shared | None = None
        self._futures: set[Future[Any]] = set()

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.nesting_level, self._options)

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers ``n_jobs`` mean. For a negative number waits until the grid has answered.

        Raises:
            ValueError: it is 0.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return (
            n_jobs
            if n_jobs > 0
            else max(1, _take(self.nesting_level, self._options, None, count=True) + 1 + n_jobs)
        )

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_kwargs: Any) -> int:
        """Get ready for a call of ``Parallel``; what is for backends that write files is ignored."""
        workers: int = self.effective_n_jobs(n_jobs)
        if workers == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._shared = _take(self.nesting_level, self._options, n_jobs if n_jobs > 0 else None)
        return workers

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], Any] | None = None) -> Any:
        """Run a batch in a worker."""
        assert self._shared is not None
        # the batch is an argument, so that what is sent once is a function that is always the same
        future = self._shared.executor.submit_as(_called(func), operator.call, func)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def apply_async(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], Any] | None = None
    ) -> Any:
        """`submit`, as joblib called it before 1.5."""
        return self.submit(func, callback)

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The results of a batch.

        Raises:
            BaseException: what it raised; joblib drops the traceback, so it is in a note.
        """
        try:
            return out.result()
        except BaseException as error:
            lines = [
                entry
                for entry in traceback.extract_tb(error.__traceback__)
                if entry.filename != __file__ and not entry.filename.startswith(_QUIET)
            ]
            if lines:
                add_note(error, "It was raised here:\n" + "".join(traceback.format_list(lines)).rstrip())
            raise

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what this backend has submitted; what runs is interrupted, unless others use the same workers."""
        for future in list(self._futures):
            future.cancel()
        shared = self._shared
        if shared is None or not self._futures:
            return
        _give_up(shared)
        self._shared = None
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def terminate(self) -> None:
        """The call is over. Workers are kept for the next one, as long as an executor keeps idle ones."""
        shared, self._shared = self._shared, None
        if shared is not None:
            _done(shared)
        self.reset_batch_stats()

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """For a ``Parallel`` inside a task: the grid again if it asks for jobs; inside that one there is no further."""
        level = (self.nesting_level or 0) + 1
        if level > 1:
            return SequentialBackend(nesting_level=level), None
        # options may name files of this machine; a worker knows its grid
        options = {name: value for name, value in self._options.items() if name == "transport"}
        return BundlebeeBackend(nesting_level=level, **options), 1


def _called(batch: Any) -> str:
    """The function whose calls a batch has; of several, the first."""
    items: Any = getattr(batch, "items", None)
    try:
        function = items[0][0]
    except (TypeError, LookupError):  # it is no batch of joblib's
        function = batch
    while isinstance(function, functools.partial):
        function = function.func
    return ":".join(name_of(function))


def _made(nesting_level: int | None, options: dict[str, Any]) -> BundlebeeBackend:
    return BundlebeeBackend(nesting_level, **options)


class _Shared:
    """An executor that calls of ``Parallel`` with the same options use, one after the other or at once."""

    def __init__(self, place: tuple[int, int], key: Any, executor: Executor) -> None:
        self.place = place  #: in `_last`
        self.key = key
        self.executor = executor
        self.users = 0


_lock = threading.Lock()
_last: dict[tuple[int, int], _Shared] = {}
"""The one that was used last, for starting workers of our own takes a while: by process, since a forked child needs its own,
and by nesting level, since a task in a thread of this process must not wait for the worker that it has itself."""


def _take(level: int | None, options: dict[str, Any], most: int | None, count: bool = False) -> Any:
    """The executor for these options; with ``count``, how many workers it has."""
    place = os.getpid(), level or 0
    key = most, repr(sorted(options.items()))
    old: _Shared | None = None
    with _lock:
        shared = _last.get(place)
        if shared is None or shared.key != key:
            old, shared = shared, _Shared(place, key, Executor(most, **options))
            _last[place] = shared
        if not count:
            shared.users += 1
    if old is not None and not old.users:
        old.executor.shutdown(wait=False)
    return shared.executor.workers() if count else shared


def _done(shared: _Shared) -> None:
    with _lock:
        shared.users -= 1
        idle = not shared.users and _last.get(shared.place) is not shared
    if idle:
        shared.executor.shutdown(wait=False)


def _give_up(shared: _Shared) -> None:
    """One of its users wants nothing of it any more, and has something running there."""
    with _lock:
        shared.users -= 1
        alone = not shared.users
        if alone and _last.get(shared.place) is shared:
            del _last[shared.place]
    if alone:
        shared.executor.abandon()


register_parallel_backend(NAME, BundlebeeBackend)
