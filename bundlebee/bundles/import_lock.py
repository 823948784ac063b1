"""Python's import locks, where one thread waits for another.

Each module being imported has a lock of its own, but while Python asks the finders where a module is, it also
holds one lock that every import of every thread needs for a moment. A finder that fetches a bundle waits for
threads that talk to the grid; if one of those imports something just then, both wait for ever. So the lock is
given back for that time. Nothing depends on it: the module that is looked for stays locked by its own.

That lock cannot be given back. Whoever pickles a class looks up its module, and waits for the thread that is importing it.
So a thread in the middle of an import must not wait for another one that pickles for it.
"""

from __future__ import annotations

import _imp
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_getframe = sys._getframe  # a program may take it away


@contextmanager
def released() -> Iterator[None]:
    """Let other threads import meanwhile. Harmless where this thread does not hold the lock."""
    depth = 0
    while True:
        try:
            _imp.release_lock()
        except RuntimeError:
            break  # not ours, or not any more
        depth += 1
    try:
        yield
    finally:
        for _ in range(depth):
            _imp.acquire_lock()


def importing() -> bool:
    """Whether this thread is in the middle of an import, further up its stack."""
    frame: FrameType | None = _getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
