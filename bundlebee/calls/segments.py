"""Large buffers between two processes of one machine: through shared memory instead of the socket.

Each end of a connection has an *outlet* (`outlet.Outlet`) for what it gives and an *inlet* (`inlet.Inlet`) for what it
gets. The outlet keeps *segments*: anonymous files (`bundlebee.platform`). It copies a buffer into one and names it in the
message (`Held`); the inlet maps that segment (`mapping.Mapping`) and builds the objects on it. There is one copy, and none
where it is received. Here is what both ends agree on.

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

from typing import TYPE_CHECKING, Final

import msgspec

from bundlebee import platform

if TYPE_CHECKING:
    from mmap import mmap

SHARE_FROM: Final = 128 << 10
"""Bytes. A segment costs some 30 µs at both ends together, on a Unix socket that many take as long; 1 MiB takes 250 µs there."""
KEPT: Final = max(64 << 20, platform.physical_memory() // 64)
"""Bytes of segments that wait to be used again, of one outlet; a larger one is never kept. Eight workers and their caller
have sixteen outlets."""
LEDGER: Final = 4096  #: bytes
SENT, OPENED, RELEASED, LEFT = range(4)
"""What a cell says of a segment, in its two lowest bits; above them is the number of the delivery."""

SECRET: Final = 32  #: bytes, at the end of the ledger
ROUND: Final = 1 << 29  #: delivery numbers begin again there


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


def unmap(memory: mmap) -> None:
    """Let go of it, as far as we are concerned."""
    try:
        memory.close()
    except BufferError:
        pass  # somebody looks at it; it goes with the last one
