"""A segment, mapped privately: objects are built on it, and when the last of them is gone it may be used again."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final

from bundlebee import platform

if TYPE_CHECKING:
    from mmap import mmap

MOST_ALIVE: Final = 64
"""Deliveries alive in this process; each may be an open file. Beyond that they are copied."""


class Mapping:
    """A segment, mapped."""

    __slots__ = ("_memory", "_used", "free", "inode", "pid")

    def __init__(self, inode: int, memory: mmap) -> None:
        self.inode = inode
        self.free = True
        self.pid = os.getpid()
        self._memory = memory
        self._used = 0

    def deliver(self, length: int, released: Callable[[object], None]) -> memoryview:
        """The first bytes; ``released`` is called when nothing uses them any more."""
        import ctypes

        # An array of ctypes: it exports its memory, and may be referred to weakly.
        whole = (ctypes.c_char * length).from_buffer(self._memory)
        _alive[id(self)] = weakref.ref(whole, released)
        self.free = False
        self._used = length
        return PickleBuffer(whole).raw()

    def release(self, _reference: object) -> None:
        """For `deliver`: it may be used again."""
        _alive.pop(id(self), None)
        if os.getpid() == self.pid:
            self.free = True

    def restore(self) -> None:
        """Make it what the segment is, whatever the objects of the last delivery have written."""
        import ctypes

        address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        platform.restore_pages(self._memory, address, self._used)


def many_alive() -> bool:
    """Whether so many deliveries are in use that the next one should be a copy."""
    return len(_alive) >= MOST_ALIVE


_alive: dict[int, weakref.ref[Any]] = {}  # deliveries whose objects live, in this process
