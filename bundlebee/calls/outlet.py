"""The giving end of shared memory: copies buffers into segments, and uses these again. `segments` says how, and why."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any, Final

from bundlebee import platform
from bundlebee.calls.segments import (
    KEPT,
    LEDGER,
    LEFT,
    OPENED,
    RELEASED,
    ROUND,
    SECRET,
    SENT,
    Held,
    Home,
    unmap,
)

MOST_SEGMENTS: Final = 16  #: of one outlet; each is an open file or two
PIECE: Final = 4 << 20  #: bytes copied at once; other threads run between two pieces, 0.4 ms each


class _Segment:
    __slots__ = ("delivery", "descriptor", "inode", "memory", "size")

    def __init__(self, size: int) -> None:
        self.descriptor = platform.new_memory(size)
        try:
            self.inode = platform.inode(self.descriptor)
            self.memory = platform.map_memory(self.descriptor, size, private=False)
        except BaseException:
            os.close(self.descriptor)
            raise
        self.size = size
        self.delivery = 0

    def close(self) -> None:
        unmap(self.memory)
        os.close(self.descriptor)


class Outlet:
    """Gives buffers to one other process. For one thread at a time.

    Raises:
        OSError: this machine shares no memory.
    """

    def __init__(self) -> None:
        if not platform.SHARES_MEMORY:
            raise OSError("no shared memory on this platform")
        secret = os.urandom(SECRET)
        self._descriptor = platform.new_memory(LEDGER)
        self._ledger = platform.map_memory(self._descriptor, LEDGER, private=False)
        self._ledger[-SECRET:] = secret
        self._cells = memoryview(self._ledger).cast("I")
        self._segments: dict[int, _Segment] = {}  # by cell; the one that was used last comes last
        self._deliveries = 0
        self.home = Home(os.getpid(), self._descriptor, secret)
        self._closed = False
        _outlets.add(self)

    def put(self, index: int, frame: Any) -> Held | None:
        """Copy a frame, bytes or a flat view of bytes, into a segment. None if there is no room: send it as it is."""
        view = memoryview(frame)
        found = self._find(view.nbytes)
        if found is None:
            return None
        cell, segment = found
        memory = memoryview(segment.memory)
        for start in range(0, view.nbytes, PIECE):
            memory[start : min(start + PIECE, view.nbytes)] = view[start : start + PIECE]
        self._deliveries = self._deliveries % ROUND + 1
        segment.delivery = self._deliveries
        self._cells[cell] = segment.delivery << 2 | SENT
        self._segments[cell] = self._segments.pop(cell)
        return Held(
            index, cell, segment.delivery, segment.descriptor, segment.inode, segment.size, view.nbytes
        )

    def take_back(self, held: Sequence[Held]) -> None:
        """The message was answered: what the other end has not opened by now it never will."""
        for one in held:
            segment = self._segments.get(one.cell)
            if segment is not None and self._cells[one.cell] == one.delivery << 2 | SENT:
                self._cells[one.cell] = one.delivery << 2 | RELEASED
        self.sweep()

    def sweep(self) -> None:
        """Let go of memory that is not needed here."""
        free = 0
        for cell, segment in reversed(list(self._segments.items())):
            state = self._state(cell, segment)
            if state == RELEASED and free + segment.size <= KEPT:
                free += segment.size
            elif state in (RELEASED, LEFT) or (state == OPENED and segment.size > KEPT):
                self._drop(cell)

    def close(self) -> None:
        """Let go of everything. What the other end has mapped stays with it."""
        if self._closed:
            return
        self._closed = True
        for cell in list(self._segments):
            self._drop(cell)
        self._cells.release()
        unmap(self._ledger)
        os.close(self._descriptor)

    def __del__(self) -> None:
        try:
            if not self._closed:
                self.close()
        except Exception:
            pass  # it was never whole, or the interpreter is on its way out

    def forget(self) -> None:
        """In a child process: it is the parent's. The other end is told nothing."""
        if not self._closed:
            self._closed = True
            for segment in self._segments.values():
                segment.close()
            os.close(self._descriptor)

    def _state(self, cell: int, segment: _Segment) -> int:
        """What the other end made of it. A cell with another number was written late, for an earlier delivery."""
        value = self._cells[cell]
        return value & 3 if value >> 2 == segment.delivery else OPENED

    def _find(self, size: int) -> tuple[int, _Segment] | None:
        """A segment that nobody uses, the smallest that is large enough; a new one if all are much larger."""
        self.sweep()
        best: int | None = None
        for cell, segment in self._segments.items():
            if (
                size <= segment.size <= 4 * size
                and self._state(cell, segment) == RELEASED
                and (best is None or segment.size < self._segments[best].size)
            ):
                best = cell
        if best is not None:
            return best, self._segments[best]
        if len(self._segments) >= MOST_SEGMENTS and not self._make_room():
            return None
        try:
            segment = _Segment(-(-size // LEDGER) * LEDGER)
        except OSError:
            return None
        cell = next(number for number in range(MOST_SEGMENTS) if number not in self._segments)
        self._segments[cell] = segment
        return cell, segment

    def _make_room(self) -> bool:
        """Let go of a segment: one that is free, else one that the other end has; that one's memory stays with it."""
        for wanted in (RELEASED, OPENED):
            for cell, segment in self._segments.items():
                if self._state(cell, segment) == wanted:
                    self._drop(cell)
                    return True
        return False

    def _drop(self, cell: int) -> None:
        self._cells[cell] = LEFT  # of delivery 0: the other end need not keep it, either
        self._segments.pop(cell).close()


_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()


def _in_child() -> None:
    for outlet in list(_outlets):
        outlet.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
