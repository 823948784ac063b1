"""One loop, spread: a queue of items that the caller's thread and the workers of peers pull from.

The caller's thread pulls the arguments out of the program's own iterable (only that thread runs the program's
code), runs items itself, and gives results back in order. A second thread, the feeder, keeps the leased workers
supplied, each with about `AHEAD` seconds of work, so that no worker waits for the caller to come round; small items
travel in chunks.

Every item is free of effects (the scatter aspect has seen to that), so it may be run twice without harm. That is
used three times: a lost peer's items go back to the queue; at the end of the loop the caller's thread runs an item
that it would have to wait longer for; and an item that raised an exception is run again by the program itself, which
makes the exception, and its traceback, the program's own.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from bundlebee.aspects.item import Item, Ready, State
from bundlebee.clock import clock
from bundlebee.errors import BundlebeeError, Unshippable
from bundlebee.interrupts import held, hold, let_pass, release, waiting
from bundlebee.loggers import get_logger
from bundlebee.words import HERE

if TYPE_CHECKING:
    from bundlebee.aspects.supply import Supply

log = get_logger("bundlebee.scatter")

AHEAD = 0.25
"""Seconds of work that a worker is given ahead of its answers, to begin with. The caller's thread holds the
interpreter lock for up to 5 ms at a time, and on a host with a tenth of a core that is 50 ms: a worker must not run
dry in a few such turns."""

MOST_AHEAD = 2.0
"""The most that it grows to, each time a worker did run dry. More would be lost when a peer is lost."""

PATIENCE = 1.0
"""Seconds that the thread of a slow caller leaves its part of a core to the threads that open leases."""

FIRST_PACKING = 0.01
"""Seconds that the first item of a loop may take to be packed beyond its own time: it loads what packs, and has the function defined
there."""

CHUNK = 0.1
"""Seconds of work in one message at the most."""

AT_ONCE = 64
"""Results that the loop takes in one look; then it sees to the workers again."""

MESSAGE = 0.0005
"""Seconds of work that a message has at the least, if there is so much: it costs a fifth of that."""

PORTION = 512
"""Items that are pulled ahead before the workers may have them: they need not wait until all are there."""

WINDOW = 100_000
"""Items that are pulled ahead at the most, whatever their size in time."""


class Spread:
    """The queue of one loop.

    Args:
        turns: the targets of the loop's turns. Run in the caller's thread only, as is `args_of`.
        args_of: the arguments of the call at a turn. Where it raises, the program runs that turn itself.
        plain: the function, unadvised.
        here: whether the caller's thread takes items, too (only under the policy ``auto``).
        seconds: expected run time of one item here, None where unknown.
        slow: this machine has less than a core to give.
        on_here: told of each item that the caller's thread ran, with its seconds.
        picks: asked for each item whether it may leave (the policy ``chaos``); None lets all of them.
    """

    def __init__(
        self,
        turns: Iterator[Any],
        args_of: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]],
        plain: Callable[..., Any],
        *,
        here: bool,
        seconds: float | None,
        on_here: Callable[[float], None],
        slow: bool = False,
        picks: Callable[[], bool] | None = None,
    ) -> None:
        self.changed = threading.Condition()
        self.waiting: deque[Item] = deque()
        self.supplies: list[Supply] = []
        self.expecting = 0  #: peers that are still being asked for a lease
        self.over = False  #: nothing more will be shipped
        self.closed = False
        self._packed = False  #: whether it is known how long an item takes to be packed
        self.wake: Callable[[], None] = lambda: None  #: set by the feeder
        self._order: deque[Item] = deque()
        self._turns = turns
        self._args_of = args_of
        self._plain = plain
        self._here = here
        self._on_here = on_here
        self._picks = picks
        self._exhausted = False
        self._failed: BaseException | None = None
        self.seconds = seconds
        self.ahead = AHEAD
        self._patient_until = clock.perf_counter() + PATIENCE if slow else 0.0

    def estimates(self) -> dict[str, float]:
        """Seconds of one item, by place, as measured so far."""
        estimates = {} if self.seconds is None else {HERE: self.seconds}
        for supply in list(self.supplies):
            if supply.seconds is not None:
                estimates[supply.place] = supply.seconds
        return estimates

    # -- the caller's thread -----------------------------------------------------------------------------

    def turns(self) -> Iterator[tuple[Any, Callable[..., Any]]]:
        """Yield ``(targets, callable)`` in the loop's order; the caller calls it with the loop's own arguments."""
        try:
            while True:
                self._fill()
                for item in self._ready():
                    yield item.targets, Ready(item.value)
                    item.value = None
                give, helping = self._next()
                if helping is not None:
                    self._help(helping)
                elif give is None:
                    if self._failed is not None:
                        raise self._failed
                    return
                elif give.state is State.READY:
                    yield give.targets, Ready(give.value)
                else:
                    start = clock.perf_counter()
                    yield give.targets, self._plain
                    self._ran(clock.perf_counter() - start)
        finally:
            self.close()

    def close(self) -> None:
        """The loop is over: nothing more is shipped, and the workers are handed back."""
        with held():
            with self.changed:
                self.closed = True
                self.changed.notify_all()
            self.wake()

    def _fill(self) -> None:
        """Pull arguments ahead: enough that no worker runs dry before this thread comes round again."""
        if self._exhausted:
            return
        fresh: list[Item] = []
        target = self._window()
        while len(self.waiting) + len(fresh) < target and len(self._order) + len(fresh) < WINDOW:
            try:
                targets = next(self._turns)
            except StopIteration:
                self._exhausted = True
                break
            except BaseException as error:
                # the loop's own expression failed: the turns before it come first, then the program sees the error
                self._exhausted = True
                self._failed = error
                break
            item = Item(targets)
            try:
                item.args, item.kwargs = self._args_of(targets)
            except Exception as error:
                let_pass(error)
                item.state = State.OURS
            if self._picks is not None and not self._picks():
                item.state = State.OURS
            fresh.append(item)
            if len(fresh) >= PORTION:
                self._publish(fresh)
                fresh = []
        if fresh:
            self._publish(fresh)

    def _publish(self, fresh: list[Item]) -> None:
        with held():
            with self.changed:
                self._order.extend(fresh)
                self.waiting.extend(item for item in fresh if item.state is State.WAITING)
            self.wake()

    def _window(self) -> int:
        known = [supply.seconds for supply in self.supplies if supply.seconds]
        each = min(known, default=self.seconds or 0.01)
        workers = len(self.supplies) + self.expecting + 1
        return max(64, min(WINDOW, int(4 * workers * (self.ahead / max(each, 1e-6) + 2))))

    def _next(self) -> tuple[Item | None, Item | None]:
        """The head of the loop if it can be given (first), or an item to run meanwhile (second)."""
        hold()
        try:
            return self._choose()
        finally:
            release()

    def _ready(self) -> list[Item]:
        """Results at the head of the loop, if there are several: to ask for each alone costs as much as a tiny item."""
        order = self._order
        if len(order) < 2 or order[0].state is not State.READY or order[1].state is not State.READY:
            return []
        hold()
        try:
            with self.changed:
                count = 0
                for item in islice(order, AT_ONCE):
                    if item.state is not State.READY:
                        break
                    count += 1
                return [order.popleft() for _ in range(count)]
        finally:
            release()

    def _choose(self) -> tuple[Item | None, Item | None]:
        with self.changed:
            while True:
                if not self._order:
                    return None, None
                head = self._order[0]
                if head.state in (State.READY, State.OURS):
                    return self._order.popleft(), None
                if self._waits_for_leases():
                    with waiting():
                        self.changed.wait(timeout=0.05)
                    continue
                alone = self.over or (not self.supplies and not self.expecting)
                if head.state is State.WAITING and (self._here or alone):
                    if alone or self._worth_taking():
                        self.waiting.remove(head)
                        head.state = State.OURS
                        return self._order.popleft(), None
                elif self._here and self.waiting and self._worth_taking():
                    return None, self._take(self.waiting.popleft())
                elif self._here and not self.waiting and self._exhausted:
                    late = self._latest()
                    if late is not None:
                        return None, late
                # a peer's answer, a lost peer or a new lease ends this; the bound is for a clock of our own estimates
                with waiting():
                    self.changed.wait(timeout=0.5)

    def _waits_for_leases(self) -> bool:
        return (
            self.expecting > 0
            and not self.supplies
            and not self.over
            and self._patient_until > 0.0
            and clock.perf_counter() < self._patient_until
        )

    def ran_dry(self) -> None:
        """A worker had to wait for us: give all of them more ahead."""
        self.ahead = min(MOST_AHEAD, 1.5 * self.ahead)

    @staticmethod
    def _take(item: Item) -> Item:
        item.state = State.OURS
        return item

    def _worth_taking(self) -> bool:
        """Whether this thread would finish one more item before the others finish all that is left."""
        if self.seconds is None or not self._exhausted:
            return True
        rate = sum(supply.rate() for supply in self.supplies)
        left = len(self.waiting) + sum(supply.load() for supply in self.supplies)
        return rate == 0.0 or self.seconds <= left / rate

    def _latest(self) -> Item | None:
        """The item that is expected last of all, if this thread would be sooner."""
        if self.seconds is None:
            return None
        now = clock.perf_counter()
        best: tuple[float, Item] | None = None
        for supply in self.supplies:
            for item, due in supply.expected(now):
                if item.state is State.AWAY and (best is None or due > best[0]):
                    best = due, item
        if best is None or best[0] < 1.5 * self.seconds:
            return None
        return best[1]

    def _help(self, item: Item) -> None:
        """Run an item out of turn; whoever is first, this thread or the peer, gives the result."""
        start = clock.perf_counter()
        try:
            value = self._plain(*item.args, **item.kwargs)
        except Exception as error:
            let_pass(error)
            with held(), self.changed:
                item.state = State.OURS  # the program runs it again at its turn, and raises by itself
            return
        seconds = clock.perf_counter() - start
        with held(), self.changed:
            if item.state is not State.READY:
                item.value = value
                item.state = State.READY
        self._ran(seconds)

    def _ran(self, seconds: float) -> None:
        self.seconds = seconds if self.seconds is None else self.seconds + 0.3 * (seconds - self.seconds)
        with held():
            self._on_here(seconds)

    # -- the feeder's thread -----------------------------------------------------------------------------

    def chunk(self, supply: Supply) -> list[Item]:
        """Take the next items for a worker that can use more work; empty where there are none for it."""
        with self.changed:
            if not self.waiting or self.closed or self.over:
                return []
            each = supply.seconds or self.seconds or 0.01
            room = self.ahead - supply.load() * each
            if supply.load() >= 2 and room <= 0:
                return []
            # towards the end of the loop smaller pieces, so that all finish together
            share = len(self.waiting) / (2 * max(1, len(self.supplies) + (1 if self._here else 0)))
            if supply.load() and self._exhausted and not self._in_time(supply, each):
                return []
            each = max(each, 1e-6)
            fair = max(int(share), int(MESSAGE / each))
            count = max(1, min(int(CHUNK / each), fair, len(self.waiting), 4096))
            if self._here and not self._packed:
                count = 1  # large arguments may take much longer to pack than small work on them takes
            taken = [self.waiting.popleft() for _ in range(count)]
            for item in taken:
                item.state = State.AWAY
                item.place = supply
            return taken

    def _in_time(self, supply: Supply, each: float) -> bool:
        """Whether one more item there would be done before the others finish all that is left."""
        rate = sum(other.rate() for other in self.supplies)
        if self._here and self.seconds:
            rate += 1.0 / self.seconds
        left = len(self.waiting) + sum(other.load() for other in self.supplies)
        return rate == 0.0 or (supply.load() + 1) * each <= left / rate + each

    def check_packing(self, seconds: float, count: int) -> None:
        """So many items took so many seconds of this process to be packed: where it would have been quicker to run them, all that
        is left runs here."""
        first, self._packed = not self._packed, True
        floor = FIRST_PACKING if first else 0.0
        if self._here and self.seconds is not None and seconds > floor + count * self.seconds:
            self.give_up(Unshippable("an item takes longer to be packed than to be run"))

    def settle(self, item: Item, value: Any) -> bool:
        """A result has come; False where it was no longer needed."""
        with self.changed:
            if item.state is not State.AWAY:
                return False
            item.value = value
            item.state = State.READY
            item.args = ()
            self.changed.notify()
            return True

    def settle_all(self, items: Sequence[Item], values: Sequence[Any]) -> int:
        """Results have come together; how many of them were still needed."""
        count = 0
        with self.changed:
            for item, value in zip(items, values, strict=True):
                if item.state is State.AWAY:
                    item.value = value
                    item.state = State.READY
                    item.args = ()
                    count += 1
            self.changed.notify()
        return count

    def ours(self, item: Item) -> None:
        """A peer could not give the result of that item: the program runs it at its turn."""
        with self.changed:
            if item.state is State.AWAY:
                item.state = State.OURS
            self.changed.notify()

    def back(self, items: list[Item]) -> None:
        """Items come back unfinished, to the head of the queue."""
        with self.changed:
            again = [item for item in items if item.state is State.AWAY]
            for item in again:
                item.state = State.WAITING
            # keep the loop's order, so that the head of the loop is the head of the queue
            waiting = {id(item) for item in again} | {id(item) for item in self.waiting}
            self.waiting = deque(item for item in self._order if id(item) in waiting)
            self.changed.notify()

    def give_up(self, error: BaseException) -> None:
        """Nothing more will be shipped; what is away comes back."""
        level = logging.INFO if isinstance(error, BundlebeeError) else logging.WARNING
        log.log(level, "the loop goes on here: %s", error)
        with self.changed:
            self.over = True
        self.back([item for item in self._order if item.state is State.AWAY])
