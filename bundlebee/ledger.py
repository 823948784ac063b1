"""The decisions that a node has heard of: a bounded, numbered list that readers can follow."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundlebee.decisions.records import Decision

CAPACITY = 10_000  #: records; about 4 MB


class Ledger:
    """Append and follow, from any thread."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._records: deque[Decision] = deque(maxlen=capacity)
        self._last = 0
        self._changed = threading.Condition()
        self._closed = False

    def add(self, records: list[Decision]) -> None:
        """Append records, and wake those who follow."""
        with self._changed:
            self._records.extend(records)
            self._last += len(records)
            self._changed.notify_all()

    def read(self, after: int, wait: float, most: int = 1000) -> tuple[int, list[Decision]]:
        """At most ``most`` records added after number ``after``; waits up to ``wait`` seconds for the first.

        Returns:
            the number of the last one, to read on from, and the records, oldest first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._last > after or self._closed, wait)
            first = self._last - len(self._records)
            skip = max(0, after - first)
            records = list(self._records)[skip : skip + most]
            return first + skip + len(records), records

    def close(self) -> None:
        """Let everybody go who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
