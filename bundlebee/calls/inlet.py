"""The taking end of shared memory: maps segments, and says when nobody uses them any more. `segments` says how, and why."""

from __future__ import annotations

import functools
import hmac
import os
from collections.abc import Sequence

from bundlebee import platform
from bundlebee.calls.mapping import Mapping, many_alive
from bundlebee.calls.segments import (
    KEPT,
    LEDGER,
    LEFT,
    OPENED,
    RELEASED,
    SECRET,
    Held,
    Home,
    unmap,
)


class Inlet:
    """Gets buffers from one other process. One thread takes; the last object of a delivery may die in any.

    Raises:
        OSError: that process is not on this machine, or not ours.
    """

    def __init__(self, home: Home) -> None:
        if not platform.SHARES_MEMORY:
            raise OSError("no shared memory on this platform")
        descriptor = platform.open_memory(home.pid, home.descriptor, LEDGER)
        try:
            ledger = platform.map_memory(descriptor, LEDGER, private=False)
        finally:
            os.close(descriptor)
        if not hmac.compare_digest(ledger[-SECRET:], home.secret):
            unmap(ledger)
            raise OSError("another process's memory")
        self._pid = home.pid
        self._ledger = ledger
        self._cells = memoryview(ledger).cast("I")
        self._mappings: dict[int, Mapping] = {}  # by cell

    def take(self, held: Held) -> memoryview:
        """A frame in a segment: writable, and nobody else's.

        Raises:
            OSError: the segment cannot be opened: its process is gone, or there are too many open files.
        """
        self._forget()
        if many_alive():
            return self._copy(held)
        mapping = self._mappings.pop(held.cell, None)
        if mapping is not None and mapping.free and mapping.inode == held.inode:
            try:
                mapping.restore()
            except OSError:
                mapping = None
        else:
            mapping = None
        if mapping is None:
            mapping = self._map(held)
        self._cells[held.cell] = held.delivery << 2 | OPENED
        self._mappings[held.cell] = mapping
        return mapping.deliver(held.length, functools.partial(self._release, held, mapping, _forks))

    def skip(self, held: Sequence[Held]) -> None:
        """Nobody wants these."""
        for one in held:
            self._cells[one.cell] = one.delivery << 2 | RELEASED

    def close(self) -> None:
        """No more will come. What is alive stays so."""
        self._mappings.clear()

    def _map(self, held: Held) -> Mapping:
        descriptor = self._open(held)
        try:
            return Mapping(held.inode, platform.map_memory(descriptor, held.size, private=True))
        finally:
            os.close(descriptor)

    def _copy(self, held: Held) -> memoryview:
        """As `take`, into memory of our own."""
        memory = platform.fresh_memory(held.length)
        view = memoryview(memory)
        descriptor = self._open(held)
        try:
            done = 0
            while done < held.length:
                got = os.preadv(descriptor, [view[done:]], done)
                if not got:
                    raise OSError("shared memory that is shorter than it should be")
                done += got
        finally:
            os.close(descriptor)
        self._cells[held.cell] = held.delivery << 2 | RELEASED
        return view

    def _open(self, held: Held) -> int:
        descriptor = platform.open_memory(self._pid, held.descriptor, held.size)
        if platform.inode(descriptor) != held.inode or held.length > held.size:
            os.close(descriptor)
            raise OSError("another segment than the one that was sent")
        return descriptor

    def _release(self, held: Held, mapping: Mapping, forks: int, reference: object) -> None:
        """The last object is gone. Called wherever that happens: takes no lock, and does nothing that can fail."""
        mapping.release(reference)
        if not mapping.free:
            return  # a child: the parent's objects are still there
        again = forks == _forks
        if self._cells[held.cell] == held.delivery << 2 | OPENED:
            self._cells[held.cell] = held.delivery << 2 | (RELEASED if again else LEFT)
            again = again and held.size <= KEPT
        else:
            again = False  # the outlet has let go of it
        if not again and self._mappings.get(held.cell) is mapping:
            del self._mappings[held.cell]

    def _forget(self) -> None:
        """Unmap what the outlet has let go of."""
        for cell, mapping in list(self._mappings.items()):
            if mapping.free and self._cells[cell] & 3 == LEFT:
                del self._mappings[cell]


_forks = 0


def _before_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
