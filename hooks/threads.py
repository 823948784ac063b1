"""Keeps our own threads out of the program's sight: it may count its threads, or join all of them."""

from __future__ import annotations

import functools
import threading

OURS = "bundlebee-"
"""What the names of all our threads begin with."""


def hide_ours() -> None:
    """From now on `threading.enumerate` and `threading.active_count` leave our threads out."""
    everybody = threading.enumerate

    @functools.wraps(everybody)
    def enumerate() -> list[threading.Thread]:
        return [thread for thread in everybody() if not thread.name.startswith(OURS)]

    @functools.wraps(threading.active_count)
    def active_count() -> int:
        return len(enumerate())

    threading.enumerate = enumerate
    threading.active_count = active_count
