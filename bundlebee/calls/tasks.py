"""Which worker gets how many of the waiting tasks: a state machine without sockets, threads or clock.

Whoever is free takes the next tasks, in the order in which they were submitted. How many at once is learnt for each
function: one at first, then as many as take `TURN` seconds; never more than a fair share of what waits, so that all
workers end together. A worker has a second chunk behind the one it works on, so that it need not wait for the way
there and back, unless its tasks are so long that this does not matter, or so few are left that somebody else may be free
for them before. A worker that is busy with one task for long
hands back what it has not begun; that goes to the front of the queue again. A task that was begun is never given again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

TURN = 0.01  #: seconds of work in a chunk: a message costs 0.1 ms at both ends together, which is 1 % of that
OVERHEAD = 10e-6  #: seconds that a task takes besides its own, for its future, its pickles, its answer
MOST_TASKS = 512  #: tasks in a chunk
GROWTH = 8  #: a chunk has at most so many times the tasks that were measured
CHUNKS = 2  #: chunks that a worker has at a time
LONG = (
    0.1  #: seconds; on busy cores the caller may take 3 ms until it runs and sends the next task: 3 % of this
)


class Pace:
    """How many tasks of one function make a chunk.

    Args:
        least: what the caller wants to go together.
    """

    __slots__ = ("_least", "_seconds", "_size")

    def __init__(self, least: int = 1) -> None:
        self._least = min(max(1, least), MOST_TASKS)
        self._seconds: float | None = None
        self._size = 1

    @property
    def long(self) -> bool:
        """Whether the way there and back does not matter beside a task."""
        return self._seconds is not None and self._seconds > LONG

    @property
    def fills(self) -> bool:
        """Whether a task fills a turn."""
        return self._seconds is not None and self._seconds > TURN

    def chunk(self) -> int:
        """How many to send at once."""
        return max(self._least, self._size)

    def ran(self, count: int, seconds: float) -> None:
        """So many tasks took so long together. Not each by itself: a worker that is kept waiting by its machine for
        a moment in the middle of a quick task has learnt nothing about tasks."""
        known = self._seconds
        mean = seconds / count
        self._seconds = mean if known is None else known + 0.5 * (mean - known)
        fits = int(TURN / (self._seconds + OVERHEAD))
        self._size = max(1, min(fits, self._size * GROWTH, MOST_TASKS))

    def handed_back(self) -> None:
        """A chunk was too much for its worker."""
        self._size = max(1, self._size // GROWTH)


class Sized(Protocol):
    """What the schedule knows of a task."""

    @property
    def pace(self) -> Pace: ...


T = TypeVar("T", bound=Sized)


class Hand(Generic[T]):
    """One worker, and what it has been given and has not answered."""

    __slots__ = ("away", "retiring", "stuck")

    def __init__(self) -> None:
        self.away: dict[int, deque[T]] = {}  #: by ticket, each in the order of its answers
        self.stuck = False  #: it has handed tasks back and is still at the one before them
        self.retiring = False  #: it gets nothing any more

    @property
    def load(self) -> int:
        """Tasks that it has."""
        return sum(map(len, self.away.values()))


class Schedule(Generic[T]):
    """The tasks of one executor, and the workers that it has."""

    def __init__(self) -> None:
        self.waiting: deque[T] = deque()
        self.hands: list[Hand[T]] = []

    def put(self, tasks: Iterable[T]) -> None:
        """New tasks. May be called by any thread."""
        self.waiting.extend(tasks)

    def back(self, tasks: Sequence[T]) -> None:
        """Tasks that were taken and not begun: they are the next ones."""
        self.waiting.extendleft(reversed(tasks))

    def has_room(self, hand: Hand[T]) -> bool:
        """Whether a worker should get a chunk now."""
        if hand.retiring or hand.stuck or len(hand.away) >= CHUNKS:
            return False
        paces = [tasks[0].pace for tasks in hand.away.values() if tasks]
        if any(pace.long for pace in paces):
            return False
        return len(self.waiting) > len(self.hands) or not any(pace.fills for pace in paces)

    def take(self, hand: Hand[T], wanted: Callable[[T], bool] = lambda task: True) -> list[T]:
        """The next chunk for a worker: tasks of one pace, taken from the queue; empty if it is to get none.

        Args:
            wanted: False for tasks that were cancelled; they are dropped.
        """
        chunk: list[T] = []
        if not self.has_room(hand):
            return chunk
        waiting = self.waiting
        share = -(-len(waiting) // (CHUNKS * max(1, len(self.hands))))
        pace: Pace | None = None
        most = 1
        while waiting and len(chunk) < most:
            task = waiting[0]
            if pace is not None and task.pace is not pace:
                break
            waiting.popleft()
            if not wanted(task):
                continue
            if pace is None:
                pace = task.pace
                most = max(1, min(pace.chunk(), share))
            chunk.append(task)
        return chunk

    def given(self, hand: Hand[T], ticket: int, tasks: Sequence[T]) -> None:
        """A chunk is on its way."""
        hand.away[ticket] = deque(tasks)

    def answered(self, hand: Hand[T], ticket: int) -> T:
        """The task that the next answer to a ticket is for."""
        tasks = hand.away[ticket]
        task = tasks.popleft()
        if not tasks:
            del hand.away[ticket]
        hand.stuck = False
        return task

    def handed_back(self, hand: Hand[T], ticket: int, count: int) -> list[T]:
        """The last tasks of a chunk were not begun. Put those of all chunks `back`, in order."""
        tasks = hand.away[ticket]
        returned = [tasks.pop() for _ in range(count)][::-1]
        if not tasks:
            del hand.away[ticket]
        hand.stuck = bool(hand.away)
        returned[0].pace.handed_back()
        return returned

    def lost(self, hand: Hand[T]) -> list[T]:
        """A worker is gone: what it had been given, in order. Some of it may have run."""
        self.hands.remove(hand)
        tasks = [task for chunk in hand.away.values() for task in chunk]
        hand.away.clear()
        return tasks
