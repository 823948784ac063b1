"""What a caller has sent to the workers of a node, so that it need not send it again (see `larder`).

A large buffer that looks like one that was sent before, by its length and a few samples, is not sent: its digest is, and
the worker says so if it has no such buffer. The digest is computed each time from what is there at that moment, so a
buffer that was changed in place is another one. One that is sent once costs a look at its samples.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

from bundlebee.calls.content import digest_of
from bundlebee.calls.larder import KEEP_FROM, Named, Place

REMEMBERED: Final = 256  #: buffers
SAMPLES: Final = 16  #: of a buffer
SAMPLE: Final = 64  #: bytes of each
MOST_DOUBT: Final = 64  #: buffers that are sent without a question after many that were not there

Mark = tuple[int, int]


class Places:
    """Where the workers of a node have what. Thread-safe: each has a caller's thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places: OrderedDict[bytes, Place] = OrderedDict()
        self._marks: OrderedDict[Mark, None] = OrderedDict()

    def sent(self, mark: Mark) -> None:
        """A buffer of that look was sent to one of them."""
        with self._lock:
            _remember(self._marks, mark, None)

    def seen(self, mark: Mark) -> bool:
        """Whether one of that look was sent to one of them."""
        with self._lock:
            return mark in self._marks

    def learn(self, named: Named) -> None:
        """One of them has it."""
        if named.place is not None:
            with self._lock:
                _remember(self._places, named.digest, named.place)

    def get(self, digest: bytes) -> Place | None:
        """Where one of them has it, as far as is known."""
        with self._lock:
            return self._places.get(digest)

    def forget(self, digest: bytes) -> None:
        """It was not there."""
        with self._lock:
            self._places.pop(digest, None)


class Sent:
    """What went through one connection. For one thread at a time."""

    def __init__(self, places: Places | None = None) -> None:
        self.places = places or Places()
        self._marks: OrderedDict[Mark, None] = OrderedDict()
        self._doubt = 0
        self._skip = 0

    def replace(self, frames: list[Any]) -> tuple[list[Any], list[Named]]:
        """The frames that have to be sent, and the names of the others."""
        rest: list[Any] = []
        named: list[Named] = []
        for index, frame in enumerate(frames):
            one = self._name(index, frame) if len(frame) >= KEEP_FROM else None
            if one is None:
                rest.append(frame)
            else:
                named.append(one)
        return rest, named

    def there(self) -> None:
        """What was named was there."""
        self._doubt = 0

    def missing(self, named: list[Named], frames: list[Any]) -> None:
        """Something that was named was not there; all of it is sent now."""
        self._doubt = min(2 * self._doubt + 1, MOST_DOUBT)
        self._skip = self._doubt
        for one in named:
            self.places.forget(one.digest)
        for frame in frames:
            if len(frame) >= KEEP_FROM:
                self._note(_mark(frame))

    def _name(self, index: int, frame: Any) -> Named | None:
        mark = _mark(frame)
        mine = mark in self._marks
        if not mine and not self.places.seen(mark):
            self._note(mark)
            return None
        if self._skip:
            self._skip -= 1
            self._note(mark)
            return None
        digest = digest_of(frame)
        place = self.places.get(digest)
        if not mine and place is None:
            self._note(mark)
            return None
        return Named(index, digest, len(frame), place)

    def _note(self, mark: Mark) -> None:
        _remember(self._marks, mark, None)
        self.places.sent(mark)


def _mark(frame: Any) -> Mark:
    """How a buffer looks: two of equal look may be equal."""
    view = memoryview(frame)
    step = max(1, (len(view) - SAMPLE) // (SAMPLES - 1))
    return len(view), hash(
        b"".join(view[step * number : step * number + SAMPLE] for number in range(SAMPLES))
    )


def _remember(known: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > REMEMBERED:
        known.popitem(last=False)
