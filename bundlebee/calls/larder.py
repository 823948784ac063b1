"""What a worker keeps of the large buffers that came through the socket, so that they need not come again.

A buffer is kept under the digest of its contents. While the worker has nothing to do it copies what has come into memory
of its own and computes the digest of that copy (`Larder.step`); if it is asked before it got to that, it does it then.
So the path of a call that comes once pays nothing; and whatever a call has done to its arguments meanwhile, an entry is
what its digest says. Each call that names an entry gets a private mapping of it (see `mapping`), writable, as the buffer
itself would have come; where there is no such memory, a copy.

Workers of one node take each other's entries: the caller tells one where the other has it (`Place`).
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict, deque
from collections.abc import Sequence
from mmap import mmap
from typing import Any, Final

import msgspec

from bundlebee import platform
from bundlebee.calls.content import Content
from bundlebee.calls.mapping import Mapping, many_alive
from bundlebee.calls.segments import KEPT

KEEP_FROM: Final = 256 << 10
"""Bytes. CURVE takes 4 ms a MiB, and a network more; a digest takes 0.6 ms on one core. Below, the bookkeeping is not worth it."""
STEP: Final = 1 << 20  #: bytes that are looked at between two looks at the socket: 1 ms
MOST: Final = 32  #: entries; each is an open file or two


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a worker has an entry, for others of its node."""

    pid: int
    descriptor: int
    inode: int
    size: int


class Named(msgspec.Struct, frozen=True, array_like=True):
    """A frame that is not sent, because it may be there."""

    index: int  #: of the frame in its message
    digest: bytes
    length: int
    place: Place | None = None


class Missing(Exception):
    """A named frame is not here: it has to be sent."""


class _Entry:
    """A kept buffer. Without shared memory it is a copy of our own."""

    __slots__ = ("_mapping", "descriptor", "length", "memory", "place")

    def __init__(self, length: int, place: Place | None = None) -> None:
        self.length = length
        self.descriptor = -1
        self.memory: mmap | None = None
        self.place = place
        self._mapping: Mapping | None = None
        if place is not None:
            self.descriptor = platform.open_memory(place.pid, place.descriptor, place.size)
            if platform.inode(self.descriptor) != place.inode or length > place.size:
                self.close()
                raise OSError("another process's memory")
        elif platform.SHARES_MEMORY:
            self.descriptor = platform.new_memory(length)
            try:
                self.memory = platform.map_memory(self.descriptor, length, private=False)
            except OSError:
                self.close()
                raise
            self.place = Place(os.getpid(), self.descriptor, platform.inode(self.descriptor), length)
        else:
            self.memory = platform.fresh_memory(length)

    def seal(self) -> None:
        """It is filled, and will not be written any more."""
        if self.descriptor >= 0:
            self.memory = None

    def give(self) -> memoryview:
        """The buffer, writable, and nobody else's.

        Raises:
            OSError: there is no room for it.
        """
        if self.memory is not None:
            copy = platform.fresh_memory(self.length)
            copy[:] = memoryview(self.memory)
            return memoryview(copy)
        mapping = self._mapping
        if mapping is not None and mapping.free:
            with contextlib.suppress(OSError):
                mapping.restore()
                return mapping.deliver(self.length, mapping.release)
        assert self.place is not None
        memory = platform.map_memory(self.descriptor, self.place.size, private=True)
        if many_alive():
            copy = platform.fresh_memory(self.length)
            copy[:] = memoryview(memory)[: self.length]
            return memoryview(copy)
        mapping = Mapping(self.place.inode, memory)
        self._mapping = mapping
        return mapping.deliver(self.length, mapping.release)

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Larder:
    """The buffers of one worker. For one thread."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()  # the one that was used last comes last
        self.pending: deque[Any] = deque()  #: buffers that came, and were not looked at
        self._work: tuple[Any, _Entry, Any, int] | None = (
            None  # the one at work: buffer, entry, hash, how far
        )
        self.news: list[Named] = []  #: entries that nobody was told of

    def came(self, frames: Sequence[Any]) -> None:
        """These came with a call that has ended. They may be changed from now on, by whoever still uses them."""
        for frame in frames:
            if KEEP_FROM <= len(frame) <= KEPT:
                self.pending.append(frame)
        while sum(map(len, self.pending)) > KEPT:
            self._skip()

    def step(self) -> bool:
        """Look at some bytes of what came; whether there is more to look at."""
        if not self.pending:
            return False
        if self._work is None:
            try:
                self._work = (self.pending[0], _Entry(len(self.pending[0])), Content(), 0)
            except OSError:
                self.pending.clear()  # too many open files
                return False
        frame, entry, digest, start = self._work
        assert entry.memory is not None
        end = min(start + STEP, entry.length)
        memory = memoryview(entry.memory)
        memory[start:end] = frame[start:end]
        digest.update(memory[start:end])
        self._work = (frame, entry, digest, end)
        if end == entry.length:
            del memory
            self.pending.popleft()
            self._work = None
            self._add(digest.digest(), entry)
        return bool(self.pending)

    def restore(self, frames: Sequence[Any], named: Sequence[Named]) -> list[Any]:
        """All frames of a message, in order: those that came, and those that are here.

        Raises:
            Missing: one of them is not.
        """
        whole = list(frames)
        for one in named:
            whole.insert(one.index, self._find(one))
        return whole

    def clear(self) -> None:
        """Keep nothing."""
        if self._work is not None:
            self._work[1].close()
            self._work = None
        self.pending.clear()
        self.news.clear()
        while self._entries:
            self._entries.popitem()[1].close()

    def _find(self, one: Named) -> memoryview:
        if one.digest not in self._entries:
            while any(len(frame) == one.length for frame in self.pending):
                self.step()
        if one.digest not in self._entries and one.place is not None:
            with contextlib.suppress(OSError):
                self._add(one.digest, _Entry(one.length, one.place), ours=False)
        entry = self._entries.get(one.digest)
        if entry is None or entry.length != one.length:
            raise Missing
        self._entries.move_to_end(one.digest)
        try:
            return entry.give()
        except OSError:
            raise Missing from None

    def _add(self, digest: bytes, entry: _Entry, *, ours: bool = True) -> None:
        entry.seal()
        old = self._entries.pop(digest, None)
        if old is not None:
            old.close()
        self._entries[digest] = entry
        if ours and entry.place is not None:
            self.news.append(Named(0, digest, entry.length, entry.place))
        while (
            len(self._entries) > MOST or sum(entry.length for entry in self._entries.values()) > KEPT
        ) and len(self._entries) > 1:
            self._entries.popitem(last=False)[1].close()

    def _skip(self) -> None:
        if self._work is not None:
            self._work[1].close()
            self._work = None
        self.pending.popleft()
