"""Tasks and their results as bytes: pickles in a row, each by itself.

Calls that the analysis lets leave do nothing but compute, so a chunk of them may be one pickle (`pickling`). Tasks
may do anything: two that get the same list must not see each other's changes, and a result is what it was when its
task ended, whatever the next one does to it. So each is pickled alone, in its turn; and one that cannot be does not
spoil the others.

Buffers of 16 KiB and more travel as frames of their own, and a pickle that has some travels alone.
"""

from __future__ import annotations

import functools
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bundlebee.calls.pickling import IN_BAND

MakePickler = Callable[..., pickle.Pickler]
Loads = Callable[..., Any]
"""`pickle.loads`, or what takes its place; called with a pickle, and ``buffers``."""


class Parcel:
    """Collects pickles.

    Args:
        pickler: makes the pickler; called with a stream, a protocol and ``buffer_callback``.
    """

    __slots__ = ("_clear", "_dump", "_stream", "buffers", "ends")

    def __init__(self, pickler: MakePickler) -> None:
        self._stream = io.BytesIO()
        self.ends: list[int] = []  #: where each pickle ends
        self.buffers: list[memoryview] = []  #: large ones, of the one pickle that there is then
        buffers = self.buffers

        def large(buffer: pickle.PickleBuffer) -> bool:
            try:
                raw = buffer.raw()
            except BufferError:  # not contiguous: pickle copies it
                return True
            if raw.nbytes < IN_BAND:
                return True
            buffers.append(raw)
            return False

        made = pickler(self._stream, 5, buffer_callback=large)
        self._clear = made.clear_memo
        self._dump = functools.partial(pickle.Pickler.dump, made)  # cloudpickle's own only renames an error

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def bytes(self) -> int:
        """How large the pickles are, without the large buffers."""
        return self.ends[-1] if self.ends else 0

    def add(self, value: Any) -> bool:
        """Pickle a value; False if it has to travel alone, and there are others: it was not added then.

        Raises:
            Exception: whatever pickling it raises; it was not added.
        """
        start = self._stream.tell()
        try:
            self._dump(value)
        except BaseException:
            self._take_back(start)
            raise
        finally:
            self._clear()
        if self.buffers and self.ends:
            self._take_back(start)
            return False
        self.ends.append(self._stream.tell())
        return True

    def frames(self) -> list[Any]:
        """All of it, to be sent."""
        return [self._stream.getvalue(), *self.buffers]

    def _take_back(self, start: int) -> None:
        self._stream.seek(start)
        self._stream.truncate()
        self.buffers.clear()


def unpack(
    frames: Sequence[Any], ends: Sequence[int], loads: Loads = pickle.loads
) -> Iterator[Callable[[], Any]]:
    """What reads each value of a parcel in turn: one that cannot be read does not spoil the others."""
    body, buffers = memoryview(frames[0]), frames[1:]
    start = 0
    for end in ends:
        yield functools.partial(loads, body[start:end], buffers=buffers)
        start = end
