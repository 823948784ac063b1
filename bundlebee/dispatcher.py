"""Gives the tasks of one executor to workers: the thread that supplies them and reads their answers.

`calls.tasks` decides who gets what, `leases` has the workers; this is the driver around both. A task is in one of three
places: it waits, it is away, or it is done. What was away with a worker that is lost has failed: it may have run, and is
never run again.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from bundlebee import late, settings
from bundlebee.bookkeeping import Bookkeeping
from bundlebee.calls import logged
from bundlebee.calls.tasks import Pace, Schedule
from bundlebee.calls.transport import Outcome
from bundlebee.clock import clock
from bundlebee.decisions.load import slots as own_slots
from bundlebee.decisions.records import EACH
from bundlebee.errors import CallError, PeerLost, told
from bundlebee.guest import Guest
from bundlebee.helper import Helper
from bundlebee.leases import IDLE, RETRY, Leases, Worker
from bundlebee.loggers import get_logger
from bundlebee.luggage import Luggage
from bundlebee.orders import Item, Order, Round
from bundlebee.packing import pack
from bundlebee.peers import Peers
from bundlebee.said import say
from bundlebee.settings import GridOptions
from bundlebee.words import HERE, OWN, Reason

if TYPE_CHECKING:
    from bundlebee.calls.waiting import Waker

log = get_logger("bundlebee.executor")

LONG = 60.0  #: seconds that an idle executor sleeps: whoever wants something wakes it
LATE_THREADS = 8 + 2 * own_slots()  #: two listen to each worker of our own cores; the others ask peers


class _Ran:
    """Tasks of one function that were answered in one go."""

    __slots__ = ("name", "outcomes")

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcomes: list[Outcome] = []


class Dispatcher:
    """Runs from `start` until it was told to `finish` and every task is done.

    Args:
        most: workers to have at a time; None is as many as there are.
    """

    def __init__(self, where: GridOptions, most: int | None) -> None:
        self._guest = Guest(where)
        self._most = most
        self._schedule: Schedule[Order] = Schedule()
        self._luggage = Luggage()
        seed = 1 if self._guest.keys is None else self._guest.keys.hash_seed
        self._peers = Peers(
            self._guest,
            self._luggage.path,
            self._luggage.archive,
            seed,
            tasks=secrets.token_hex(8),
            requires=self._luggage.requires,
        )
        self._books = Bookkeeping(self._guest)
        self._waker: Waker | None = None
        self._joined = threading.Event()
        self._awake = True
        self._finishing = False
        self._over = False  # it takes no tasks any more
        self._failure: BaseException | None = None
        self._sending: Sequence[Order] = ()  # taken from the queue, and not yet given to a worker
        self._abandoned = False
        self._refused: deque[tuple[str, Reason, str]] = deque()
        self._leases = Leases(
            self._peers,
            self._luggage,
            self._schedule,
            most,
            done=self._is_done,
            said=self._said,
            ring=self._ring,
        )
        self.thread = threading.Thread(target=self._run, name="bundlebee-executor")
        self._helper = Helper(self._ring) if settings.in_worker else None

    # -- any thread ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        from bundlebee.calls.waiting import Waker

        self._waker = Waker()
        late.reserve(LATE_THREADS)
        self.thread.start()

    def workers(self) -> int:
        """How many workers it may have at a time; waits until the grid has answered."""
        self._joined.wait()
        self._peers.wait_for_nodes()
        found = sum(slots for _, slots in self._peers.workers(alone=False))
        return min(found, self._most or found)

    def look(self) -> None:
        """Look what of the program's own is imported."""
        self._luggage.look()

    def put(self, tasks: Sequence[Order]) -> None:
        """Give tasks."""
        self._schedule.put(tasks)
        if self._over:  # it has failed, or the interpreter ends: nobody looks at the queue any more
            self._fail_waiting()
        self._wake()

    def refuse(self, function: str, why: Reason, detail: str) -> None:
        """A task was not taken: put that on record."""
        self._refused.append((function, why, detail))
        self._wake()

    def finish(self) -> None:
        """No more tasks will come: end when all are done."""
        self._finishing = True
        self._wake()

    def cancel_waiting(self) -> None:
        """Cancel what has not been sent."""
        for task in list(self._schedule.waiting):
            task.cancel()
        self._wake()

    def abandon(self) -> None:
        """Cancel all that is not done: what runs is interrupted there, and may have run in part."""
        self._abandoned = True
        self._wake()

    def after_fork(self) -> None:
        """In a child process: threads and sockets are the parent's."""
        self._guest.forget()
        self._peers.after_fork()
        self._books.after_fork()

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            self._ring()

    def _ring(self) -> None:
        if self._waker is not None:
            self._waker.wake()

    # -- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._guest.join()
            self._joined.set()
            asked = -RETRY
            while not self._is_done():
                self._adopt()
                if self._abandoned:
                    self._drop_all()
                self._supply()
                self._help()
                now = clock.perf_counter()
                if now - asked > self._leases.pause():
                    asked = now
                    self._leases.ask(now)
                    self._books.settle()
                self._leases.let_go(now)
                self._wait()
        except BaseException as problem:
            if isinstance(problem, CallError):
                log.error("the executor has failed: %s", problem)
            else:
                log.exception("the executor has failed")
            error = problem
        finally:
            self._close(error)

    def _is_done(self) -> bool:
        helping = self._helper is not None and self._helper.busy
        return self._finishing and not self._schedule.waiting and not self._at_work() and not helping

    def _at_work(self) -> bool:
        return any(hand.away for hand in self._schedule.hands)

    def _can_supply(self) -> bool:
        return bool(self._schedule.waiting) and any(map(self._schedule.has_room, self._schedule.hands))

    def _wait(self) -> None:
        from bundlebee.calls.waiting import wait

        workers = self._leases.workers()
        pause = self._leases.pause()
        if not self._schedule.waiting and not self._at_work():
            pause = IDLE if any(worker.place != OWN for worker in workers) else LONG
            self._books.settle()
        self._awake = False
        free = self._helper is not None and not self._helper.busy and bool(self._schedule.waiting)
        # it came in between
        if self._is_done() or self._leases.new or self._abandoned or free or self._can_supply():
            self._awake = True
            return
        ready = wait([worker.channel for worker in workers], pause, waker=self._waker)
        self._awake = True
        if ready:
            by_channel = {id(worker.channel): worker for worker in workers}
            for channel in ready:
                self._answers(by_channel[id(channel)])

    def _adopt(self) -> None:
        error = self._leases.adopt()
        if error is not None:
            for task in self._take_waiting():
                task.fail(_failed("no worker can be had on this machine", error))

    # -- supply -------------------------------------------------------------------------------------------

    def _supply(self) -> None:
        while self._schedule.waiting:
            self._leases.look()
            ready = [worker for worker in self._leases.workers() if self._schedule.has_room(worker)]
            if not ready:
                return
            worker = min(ready, key=lambda worker: worker.load)
            self._sending = self._schedule.take(worker, _begin)
            if self._sending:
                self._send(worker, self._sending)
                self._sending = ()

    def _help(self) -> None:
        """In a worker: what nobody else has room for is done by this very process, whose own task may be waiting for it."""
        self._note_others()
        while self._helper is not None and not self._helper.busy and self._schedule.waiting:
            task = self._schedule.waiting.popleft()
            if _begin(task):
                self._helper.give(task)

    def _note_others(self) -> None:
        """Put on record what no worker has answered."""
        while self._refused:
            name, why, detail = self._refused.popleft()
            self._books.failed(HERE, name, why, 1, detail)
        while self._helper is not None and self._helper.ran:
            name, seconds = self._helper.ran.popleft()
            self._books.ran(HERE, name, 1, seconds, 0, 0)

    def _send(self, worker: Worker, chunk: Sequence[Order]) -> None:
        parcel, packed, rest = pack(chunk)
        self._schedule.back(rest)
        if not packed:
            return
        function = packed[0].function
        try:
            ticket = worker.channel.submit_tasks(function.call, function.data, parcel)
        except CallError as error:
            self._schedule.back(packed)  # they were not sent
            self._lost(worker, error)
        else:
            self._schedule.given(worker, ticket, packed)

    # -- answers ------------------------------------------------------------------------------------------

    def _answers(self, worker: Worker) -> None:
        try:
            outcomes = worker.channel.poll(0.0)
        except CallError as error:
            self._lost(worker, error)
            return
        ran: dict[Pace, _Ran] = {}
        rounds: set[Round[Any]] = set()
        handed_back: dict[int, int] = {}
        chunk = 0
        for outcome in outcomes:
            if outcome.reason is Reason.PEER_BUSY:
                handed_back[outcome.ticket] = handed_back.get(outcome.ticket, 0) + 1
                continue
            task = self._schedule.answered(worker, outcome.ticket)
            if outcome.ticket != chunk:  # the tasks of a chunk are of one function
                chunk = outcome.ticket
                answered = ran.setdefault(task.pace, _Ran(task.function.name))
            if outcome.error is None:
                task.succeed(outcome.value)
                answered.outcomes.append(outcome)
            else:
                task.fail(outcome.error)
                if outcome.raised:
                    answered.outcomes.append(outcome)
                else:
                    reason = outcome.reason or Reason.UNPICKLABLE
                    self._books.failed(worker.place, answered.name, reason, 1, str(outcome.error))
            if type(task) is Item:
                rounds.add(task.round)
        for round in rounds:
            round.announce()
        for pace, answered in ran.items():
            self._note(worker.place, pace, answered)
        if handed_back:
            tasks: list[Order] = []
            for ticket, count in handed_back.items():
                tasks += self._schedule.handed_back(worker, ticket, count)
            self._schedule.back(tasks)
        if worker.channel.over:
            worker.retiring = True  # it refuses what is still on its way to it; nothing of that was begun

    def _said(self, place: str, begun: dict[str, list[str]], stream: str, text: str) -> None:
        """A task there has said something; ``begun`` are the first pieces of what is long."""
        stream, _, number = stream.partition("/")
        if number:
            begun.setdefault(number, []).append(text)
            if stream == logged.MORE:
                return
            text = "".join(begun.pop(number))
        if stream == logged.DECISION:
            self._books.told(place, text)
        else:
            say(stream, text)

    def _note(self, place: str, pace: Pace, answered: _Ran) -> None:
        """Tasks of one function have been answered: learn how long they take, and put them on record."""
        outcomes, name = answered.outcomes, answered.name
        if not outcomes:
            return
        count = len(outcomes)
        seconds = sum([outcome.seconds for outcome in outcomes])
        pace.ran(count, seconds)
        if seconds > count * EACH:
            for one in outcomes:
                self._books.ran(place, name, 1, one.seconds, one.bytes_out, one.bytes_back)
        else:
            out = sum([outcome.bytes_out for outcome in outcomes])
            back = sum([outcome.bytes_back for outcome in outcomes])
            self._books.ran(place, name, count, seconds, out, back)

    def _lost(self, worker: Worker, error: CallError) -> None:
        """A worker is gone. Its node need not be: whoever asks it for another one will see."""
        tasks = self._schedule.lost(worker)
        self._leases.hang_up(worker)
        if tasks and isinstance(error, PeerLost):
            error = self._peers.why_lost(worker.channel, tasks[0].function.name, error)
        for name, count in Counter(task.function.name for task in tasks).items():
            self._books.failed(worker.place, name, Reason.PEER_LOST, count, error.why or error.what)
        kind = type(error) if isinstance(error, PeerLost) else PeerLost
        for task in tasks:
            task.fail(
                kind(
                    f"{worker.place} lost the worker that had {task.function.name}",
                    why=error.why or error.what,
                    hint="it may have run in part, so it is not run again; submit it again if that is harmless",
                )
            )

    def _drop_all(self) -> None:
        self._abandoned = False
        for task in list(self._schedule.waiting):
            task.cancel()
        for worker in self._leases.workers():
            tasks = self._schedule.lost(worker)
            self._leases.hang_up(worker)
            for task in tasks:
                task.fail(CancelledError())

    def _fail_waiting(self) -> None:
        what = "the executor has failed" if self._failure else "the executor has ended"
        while True:
            try:
                task = self._schedule.waiting.popleft()
            except IndexError:
                return
            if _begin(task):
                task.fail(_failed(what, self._failure))

    def _take_waiting(self) -> list[Order]:
        tasks = []
        while self._schedule.waiting:
            task = self._schedule.waiting.popleft()
            if _begin(task):
                tasks.append(task)
        return tasks

    # -- the end ------------------------------------------------------------------------------------------

    def _close(self, error: BaseException | None) -> None:
        self._finishing = True
        self._joined.set()
        left = [] if error is None else list(self._sending)
        if self._helper is not None:
            self._helper.close()
        threads = self._leases.join(5.0)
        self._adopt()
        for worker in self._leases.workers():
            left += self._schedule.lost(worker)
            self._leases.hang_up(worker)
        for task in left:
            task.fail(_failed("the executor has failed", error))
        self._failure, self._over = error, True
        self._fail_waiting()
        self._note_others()
        self._books.close()
        self._peers.close()
        # sockets that a thread still uses must not be closed under it
        self._guest.leave(hang_up=not any(thread.is_alive() for thread in threads))
        if self._waker is not None:
            self._waker.close()
        late.dismiss(LATE_THREADS)


def _begin(task: Order) -> bool:
    return task.begin()


def _failed(what: str, error: BaseException | None) -> CallError:
    if isinstance(error, CallError):
        return error
    return CallError(what, why=None if error is None else told(error))
