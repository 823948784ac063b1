"""One leased worker of a spread loop, and what it has of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bundlebee.clock import clock

if TYPE_CHECKING:
    from bundlebee.aspects.item import Item
    from bundlebee.calls.transport import Channel


class Supply:
    """One leased worker, and what it has been given and has not answered yet."""

    def __init__(self, place: str, channel: Channel, seconds: float | None) -> None:
        self.place = place
        self.channel = channel
        self.seconds = seconds  #: run time of one item there, as measured
        self.away: dict[int, deque[Item]] = {}  #: by ticket, in the order of the answers
        self._since = clock.perf_counter()

    def load(self) -> int:
        """Items that it has."""
        return sum(len(items) for items in self.away.values())

    def rate(self) -> float:
        """Items a second."""
        return 0.0 if not self.seconds else 1.0 / self.seconds

    def given(self, ticket: int, items: Sequence[Item]) -> None:
        """Note a chunk on its way."""
        if not self.away:
            self._since = clock.perf_counter()
        self.away[ticket] = deque(items)

    def answered(self, ticket: int, seconds: float) -> Item:
        """The item that the next answer to this ticket is for; ``seconds`` is what it took there."""
        items = self.away[ticket]
        item = items.popleft()
        if not items:
            del self.away[ticket]
        self._since = clock.perf_counter()
        self.seconds = seconds if self.seconds is None else self.seconds + 0.3 * (seconds - self.seconds)
        return item

    def silent(self) -> float:
        """Seconds since it was given something, or has answered."""
        return clock.perf_counter() - self._since

    def answered_all(self, ticket: int, count: int, seconds: float) -> list[Item]:
        """The items that the next answers to this ticket are for; each took ``seconds`` there."""
        waiting = self.away[ticket]
        items = [waiting.popleft() for _ in range(count)]
        if not waiting:
            del self.away[ticket]
        self._since = clock.perf_counter()
        self.seconds = seconds if self.seconds is None else self.seconds + 0.3 * (seconds - self.seconds)
        return items

    def expected(self, now: float) -> Iterator[tuple[Item, float]]:
        """Each item that it has, with the seconds until its result is expected."""
        due = self._since - now
        for items in list(self.away.values()):
            for item in list(items):
                due += self.seconds or 0.0
                yield item, due

    def unanswered(self) -> list[Item]:
        """Take back all that was not answered."""
        items = [item for chunk in self.away.values() for item in chunk]
        self.away.clear()
        return items
