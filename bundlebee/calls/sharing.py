"""Shared memory on one connection, both ways, if its ends are on one machine. See `segments` for how, and why that is safe.

The caller `offer`s in its Hello, the worker `accept`s in its Welcome, and the caller hears of it (`accepted`). Where any of
that fails, and on a platform without such memory, everything goes through the socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bundlebee.calls.inlet import Inlet
from bundlebee.calls.outlet import Outlet
from bundlebee.calls.segments import SHARE_FROM, Held, Home


class Sharing:
    """Of one end of one connection. For one thread at a time."""

    __slots__ = ("_inlet", "_outlet", "lends", "near")

    def __init__(self) -> None:
        self._outlet: Outlet | None = None
        self._inlet: Inlet | None = None
        self.near = False  #: memory is shared
        self.lends = False  #: there are segments of ours

    def offer(self) -> Home | None:
        """The caller's first word; None if there is nothing to offer."""
        try:
            self._outlet = Outlet()
        except OSError:
            return None
        return self._outlet.home

    def accept(self, home: Home | None) -> Home | None:
        """The worker's answer to a caller that has shown its token; None if no memory can be shared."""
        if home is None:
            return None
        try:
            self._inlet = Inlet(home)
            self._outlet = Outlet()
        except OSError:
            self.close()
            return None
        self.near = True
        return self._outlet.home

    def accepted(self, home: Home | None) -> bool:
        """What the worker answered. False if it believes that memory is shared, and it is not."""
        if home is not None and self._outlet is not None:
            try:
                self._inlet = Inlet(home)
                self.near = True
                return True
            except OSError:
                pass  # such as one that may open our files, but we not its
        self.close()
        return home is None

    def give_nothing(self) -> None:
        """The other end cannot open what is ours."""
        self.near = self.lends = False
        if self._outlet is not None:
            self._outlet.close()
            self._outlet = None

    def replace(self, frames: list[Any]) -> tuple[list[Any], list[Held]]:
        """The frames that have to be sent, and where the large ones lie."""
        if not self.near or self._outlet is None:
            return frames, []
        rest: list[Any] = []
        held: list[Held] = []
        for index, frame in enumerate(frames):
            one = self._outlet.put(index, frame) if len(frame) >= SHARE_FROM else None
            if one is None:
                rest.append(frame)
            else:
                held.append(one)
                self.lends = True
        return rest, held

    def restore(self, frames: Sequence[Any], held: Sequence[Held]) -> list[Any]:
        """All frames of a message, in order: those that came, and those that lie in segments.

        Raises:
            OSError: a segment cannot be opened: its process is gone, or there are too many open files.
        """
        if self._inlet is None:
            raise OSError("shared memory that nobody has offered")
        whole = list(frames)
        for one in held:
            whole.insert(one.index, self._inlet.take(one))
        return whole

    def skip(self, held: Sequence[Held]) -> None:
        """Nobody wants what came there."""
        if self._inlet is not None:
            self._inlet.skip(held)

    def take_back(self, held: Sequence[Held]) -> None:
        """The message was answered: what the other end has not opened by now it never will."""
        if self._outlet is not None:
            self._outlet.take_back(held)

    def sweep(self) -> None:
        """Let go of memory that is not needed here any more."""
        if self._outlet is not None:
            self._outlet.sweep()

    def close(self) -> None:
        """No more is given or taken. What has arrived stays alive as long as somebody uses it."""
        self.near = self.lends = False
        if self._inlet is not None:
            self._inlet.close()
        if self._outlet is not None:
            self._outlet.close()
        self._inlet = self._outlet = None
