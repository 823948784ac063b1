"""How a worker ended that nobody had told to end: what its node saw, for the caller whose call it had."""

from __future__ import annotations

import msgspec


class Fate(msgspec.Struct, frozen=True):
    """The end of one worker."""

    worker: int  #: its number at the node
    pid: int
    how: str  #: a clause: ``was killed by SIGSEGV``
    peak: int | None = None  #: the most memory that it had at a time, in bytes, where that is known

    def __str__(self) -> str:
        memory = "" if self.peak is None else f"; its memory was {_size(self.peak)} at most"
        return f"worker {self.worker} there (process {self.pid}) {self.how}{memory}"


def _size(count: int) -> str:
    mebibytes = count / (1 << 20)
    return f"{mebibytes / 1024:.1f} GiB" if mebibytes >= 1024 else f"{mebibytes:.0f} MiB"
