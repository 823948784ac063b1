"""Python's import lock, while a finder waits for the network.

Each module being imported has a lock of its own, but while Python asks the finders where a module is, it also
holds one lock that every import of every thread needs for a moment. A finder that fetches a bundle waits for
threads that talk to the grid; if one of those imports something just then, both wait for ever. So the lock is
given back for that time. Nothing depends on it: the module that is looked for stays locked by its own.
"""

from __future__ import annotations

import _imp
from collections.abc import Iterator
from contextlib import contextmanager


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
