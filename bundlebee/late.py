"""Threads that can be started while the interpreter ends.

CPython 3.12.0 and 3.12.1, and no other, start no thread any more once they have begun to end, which is before it waits for the threads
that there are. What a program has submitted to an executor by then is done all the same, and it takes threads to ask for
workers and to listen to them; and to leave a grid can take one. So there some wait ahead (`reserve`), and each becomes
a thread of ours that could not be started. The program's own threads get what its Python gives them.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from queue import SimpleQueue
from typing import Any

NEEDED = (3, 12) <= sys.version_info < (3, 12, 2)

_jobs: SimpleQueue[tuple[Any, tuple[Any, ...]] | None] = SimpleQueue()
_lock = threading.Lock()
_waiting = 0
_plain: Any = None


def reserve(count: int) -> None:
    """Have so many more threads wait; each costs some 50 µs."""
    global _waiting, _plain
    if not NEEDED:
        return
    with _lock:
        if _plain is None:
            module: Any = threading
            _plain, module._start_new_thread = module._start_new_thread, _start
            os.register_at_fork(after_in_child=_in_child)
        for _ in range(count):
            _thread.start_new_thread(_wait, ())
            _waiting += 1


def dismiss(count: int) -> None:
    """So many fewer are needed."""
    for _ in range(count):
        if _take():
            _jobs.put(None)


def _take() -> bool:
    global _waiting
    with _lock:
        if not _waiting:
            return False
        _waiting -= 1
        return True


def _start(function: Any, args: tuple[Any, ...] = (), *more: Any) -> Any:
    """As `_thread.start_new_thread`, for `threading`."""
    try:
        return _plain(function, args, *more)
    except RuntimeError:
        name = getattr(getattr(function, "__self__", None), "name", "")
        if not name.startswith("bundlebee-") or not _take():
            raise
    _jobs.put((function, args))
    return None


def _wait() -> None:
    job = _jobs.get()
    if job is not None:
        function, args = job
        function(*args)


def _in_child() -> None:
    global _lock, _waiting
    _lock, _waiting = threading.Lock(), 0
