"""`os.wait`, `os.fork` and their kin under `bundlebee exec`: they see the program's own children, and threads.

Where there is no node, the workers of this machine are children of the program's process. A program that waits for
any child until there is none left would wait for them, too, for ever; so those calls look past them.

Since 3.12 a fork warns if there are other threads. Ours are no reason to: in the child everything runs in place.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bundlebee import platform
from bundlebee.clock import clock

PAUSE = 0.001  #: seconds until an ended worker has been noticed by the thread that waits for it


def hide_ours() -> Callable[[], None]:
    """Stand in for the calls that wait for any child; those that name one are as they were.

    Returns:
        what undoes it.
    """
    kept = {name: getattr(os, name) for name in _STAND_INS if hasattr(os, name) and hasattr(os, "waitid")}
    for name, original in kept.items():
        setattr(os, name, functools.wraps(original)(functools.partial(_STAND_INS[name], original)))

    def undo() -> None:
        for name, original in kept.items():
            setattr(os, name, original)

    return undo


def _wait(original: Callable[..., Any]) -> Any:
    return original() if not platform.children_of_ours else os.wait4(_ended(True), 0)[:2]


def _waitpid(original: Callable[..., Any], pid: int, options: int, /) -> Any:
    found = _any(pid, options)
    return (0, 0) if found == 0 else original(pid if found is None else found, options)


def _wait3(original: Callable[..., Any], options: int) -> Any:
    return original(options) if not platform.children_of_ours else os.wait4(-1, options)


def _wait4(original: Callable[..., Any], pid: int, options: int) -> Any:
    found = _any(pid, options)
    # nothing has ended: what the call itself says of a child that is there
    return original(found or pid, options) if found != 0 else (0, 0, _no_usage())


def _any(pid: int, options: int) -> int | None:
    """The child to ask for instead of any; 0 if none has ended, and that is not waited for; None to ask as it is."""
    if pid != -1 or not platform.children_of_ours or options & ~os.WNOHANG:
        return None
    return _ended(not options & os.WNOHANG)


def _ended(block: bool) -> int:
    """A child of the program's that has ended; 0 for none yet.

    Raises:
        ChildProcessError: the program has none.
    """
    while True:
        theirs = [pid for pid in platform.children() if pid not in platform.children_of_ours]
        if not theirs:
            raise ChildProcessError(errno.ECHILD, os.strerror(errno.ECHILD))
        for pid in theirs:
            try:
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                    return pid
            except ChildProcessError:
                continue  # somebody else has waited for it
        if not block:
            return 0
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if found is not None and found.si_pid in platform.children_of_ours:
            clock.sleep(PAUSE)


def _no_usage() -> Any:
    import resource

    return resource.struct_rusage((0.0, 0.0) + (0,) * 14)


def _fork(original: Callable[[], Any]) -> Any:
    filters = warnings.filters
    filters.insert(0, _QUIET)  # type: ignore[attr-defined]
    try:
        found = original()
    finally:
        filters.remove(_QUIET)  # type: ignore[attr-defined]
    pid = found[0] if isinstance(found, tuple) else found
    if pid and threading.active_count() > 1:
        call = "forkpty" if isinstance(found, tuple) else "fork"
        with suppress(DeprecationWarning):  # where warnings are errors, this one is dropped
            warnings.warn(
                f"This process (pid={os.getpid()}) is multi-threaded, use of {call}() may lead to deadlocks in the child.",
                DeprecationWarning,
                stacklevel=2,
            )
    return found


#: what Python itself says there would be said of this file; `warnings.filterwarnings` would forget what was said already
_QUIET = "ignore", None, DeprecationWarning, re.compile(re.escape(__name__)), 0

_STAND_INS: dict[str, Callable[..., Any]] = {
    "wait": _wait,
    "waitpid": _waitpid,
    "wait3": _wait3,
    "wait4": _wait4,
}
if sys.version_info >= (3, 12):
    _STAND_INS |= {"fork": _fork, "forkpty": _fork}
