"""By which tasks a task was submitted, and how many more may follow: tasks may submit tasks, but not without end.

A program's own tasks may be followed by `HOPS` generations. Each call carries how many are left, and the functions on the way
to it. What is at work in a worker is known to all threads of its process, for a task may start threads that submit; where
workers share a process (`inprocess`), and in the thread that does a worker's own tasks (`helper`), to that thread only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from bundlebee.calls.call import Call

HOPS = 64
"""Who splits a million items into halves, and each half by a task of its own, needs 20. Each generation that waits for the next
holds a thread, so one that never ends is to be told long before the machine is full of them."""


class Lineage(msgspec.Struct, frozen=True):
    """Of what runs now."""

    hops: int = HOPS  #: generations of tasks that may follow
    chain: tuple[
        str, ...
    ] = ()  #: functions of the tasks that led here, outermost first; that of the task at work is the last


PROGRAM = Lineage()
"""Of what no task has submitted."""


class _OfThread(threading.local):
    lineage: Lineage | None = None


_of_thread = _OfThread()
_of_process = PROGRAM


def current() -> Lineage:
    """Of what runs in the calling thread."""
    return _of_thread.lineage or _of_process


def of(call: Call) -> Lineage:
    """Of a task while it runs."""
    return Lineage(call.hops, (*call.chain, call.function.name))


def begin(call: Call | None) -> None:
    """The process has this task at work from now on; None: nothing."""
    global _of_process
    _of_process = PROGRAM if call is None else of(call)


@contextmanager
def inside(call: Call) -> Iterator[None]:
    """The calling thread has this task at work."""
    before = _of_thread.lineage
    _of_thread.lineage = of(call)
    try:
        yield
    finally:
        _of_thread.lineage = before


def shown(chain: tuple[str, ...]) -> str:
    """A chain for people: a long one by its ends."""
    names = chain if len(chain) <= 6 else (*chain[:3], "…", *chain[-2:])
    return " → ".join(names)
