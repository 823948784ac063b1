"""Large buffers between two processes of one machine: through shared memory instead of the socket.

Each end of a connection has an *outlet* for what it gives and an *inlet* for what it gets. The outlet keeps *segments*:
anonymous files (`bundlebee.platform`). It copies a buffer into one and names it in the message (`Held`); the inlet maps
that segment and builds the objects on it. There is one copy, and none where it is received.

*Who may write what.* The inlet maps privately: pages are copied when they are written. So what arrives is as writable as
the plain call would have it, whatever is written there is seen by nobody else, and a fork sees what it should. The
outlet writes to a segment only before it is sent and after the inlet has let go of it.

*Who owns what.* Beside its segments an outlet has a *ledger*, one page that both ends map, with a cell a segment. The
outlet writes `SENT` with the number of the delivery; the inlet makes `OPENED` of it, and `RELEASED` when the last
object that is built on it is gone; then the segment is used again: fresh memory costs seven times as much to fill as
memory that was used before. It makes `LEFT` of it where the process has forked meanwhile: a child may still read it.
No process waits for the other, and no message is sent for it.

*Nothing is left over*, whoever is killed: anonymous files go with the last process that has them.

*Same host.* The address says nothing: containers have several, and share some. The caller names its ledger in its
Hello on the short way (`local`): process, descriptor and a secret that lies in it. The worker, if that message shows the
token of its lease, opens that file in /proc and looks for the secret; the kernel lets nobody but the same user do that. Then
it names its own. Two that share a network, but not their processes, find another file there, or none.
"""

from __future__ import annotations

import functools
import hmac
import os
import weakref
from collections.abc import Callable, Sequence
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bundlebee import platform

if TYPE_CHECKING:
    from mmap import mmap

SHARE_FROM: Final = 128 << 10
"""Bytes. A segment costs some 30 µs at both ends together, on a Unix socket that many take as long; 1 MiB takes 250 µs there."""
MOST_SEGMENTS: Final = 16  #: of one outlet; each is an open file or two
MOST_ALIVE: Final = (
    64  #: deliveries alive in this process; each may be an open file. Beyond that they are copied.
)
KEPT: Final = max(64 << 20, platform.physical_memory() // 64)
"""Bytes of segments that wait to be used again, of one outlet; a larger one is never kept. Eight workers and their caller
have sixteen outlets."""
PIECE: Final = 4 << 20  #: bytes copied at once; other threads run between two pieces, 0.4 ms each
LEDGER: Final = 4096  #: bytes
SENT, OPENED, RELEASED, LEFT = range(4)
"""What a cell says of a segment, in its two lowest bits; above them is the number of the delivery."""

_SECRET: Final = 32  # bytes, at the end of the ledger
_ROUND: Final = 1 << 29  # delivery numbers begin again there


class Home(msgspec.Struct, frozen=True, array_like=True):
    """Where a process's ledger is."""

    pid: int
    descriptor: int
    secret: bytes


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A frame that lies in a segment."""

    index: int  #: of the frame in its message
    cell: int
    delivery: int
    descriptor: int  #: of the segment, in the process of the outlet
    inode: int
    size: int  #: of the segment
    length: int  #: of the frame


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
        _close(self.memory)
        os.close(self.descriptor)


class Outlet:
    """Gives buffers to one other process. For one thread at a time.

    Raises:
        OSError: this machine shares no memory.
    """

    def __init__(self) -> None:
        if not platform.SHARES_MEMORY:
            raise OSError("no shared memory on this platform")
        secret = os.urandom(_SECRET)
        self._descriptor = platform.new_memory(LEDGER)
        self._ledger = platform.map_memory(self._descriptor, LEDGER, private=False)
        self._ledger[-_SECRET:] = secret
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
        self._deliveries = self._deliveries % _ROUND + 1
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
        _close(self._ledger)
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
        if not hmac.compare_digest(ledger[-_SECRET:], home.secret):
            _close(ledger)
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
_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()
_forks = 0


def _before_fork() -> None:
    global _forks
    _forks += 1


def _in_child() -> None:
    for outlet in list(_outlets):
        outlet.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)


def _close(memory: mmap) -> None:
    try:
        memory.close()
    except BufferError:
        pass  # somebody looks at it; it goes with the last one
