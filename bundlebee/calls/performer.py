"""Runs tasks in a worker: without the guard, each unpickled in its turn, each result pickled at its end.

Tasks come in chunks, and nobody knows beforehand which of them takes long. So a second thread, the *steward*, looks
every `PATIENCE` seconds whether the same task is still at work. If it is, and takes longer than the one before it led
to expect, the steward sends the results that wait, and hands back all tasks that were not begun, those of chunks that
wait in the socket, too: they run elsewhere. Main thread and steward use socket and answers in turn, under one lock,
which the main thread does not hold while a task runs.

A task that nobody wants any more, for its caller has hung up or its node is leaving, is interrupted as by Ctrl-C, so
that its ``finally`` and ``with`` blocks run; the process ends after it, and `GRACE` seconds later in any case.

A task may fork. A child has no part in the connection: what it says is dropped, and one that comes to the end of the task
ends there, as a program does.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from bundlebee.calls import remote_errors, wire
from bundlebee.calls.answers import GATHER, Answers, is_ours
from bundlebee.calls.byvalue import Homebound
from bundlebee.calls.output import Printing
from bundlebee.calls.parcels import Parcel, unpack
from bundlebee.calls.pickling import blame
from bundlebee.calls.recursion import depth
from bundlebee.calls.tasks import LONG
from bundlebee.calls.way import CallerGone, Letters, Way
from bundlebee.clock import clock
from bundlebee.errors import PeerBusy, ProtocolError, Unshippable, told
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.calls.call import Call
    from bundlebee.calls.surroundings import Surroundings

PATIENCE = 0.02  #: seconds that one task may keep others waiting; a look costs some 20 µs
MOST_PATIENCE = 2 * LONG  #: seconds; there is no chunk behind a task that is expected to take `LONG`
GRACE = 1.0  #: seconds; less than a pool waits for its workers (`worker_process.STOP_SECONDS`)
MOST_WAITING = 64  #: messages that the steward takes from the socket in one look
FULL = 256 << 10  #: bytes of results that are sent without waiting for more

Times = tuple[float, float]


class Performer:
    """Performs the chunks of one worker.

    Args:
        surroundings: the process that they run in.
        rest: tells that nothing runs any more; called before the last answer of a chunk is sent.
    """

    def __init__(
        self,
        inbox: Letters,
        answers: Answers,
        printing: Printing,
        surroundings: Surroundings,
        rest: Callable[[], None],
    ) -> None:
        self._inbox = inbox
        self._answers = answers
        self._printing = printing
        self._rest = rest
        self._surroundings = surroundings
        self._leave = surroundings.leave
        surroundings.expect_tasks(printing, _pickle, self._interrupted)
        printing.flush = self._flush_output
        self._pid = os.getpid()
        self._cancelled = False
        self._runs = False  # the program's code does
        self._closed = False
        self._lock = answers.lock
        self._way: Way | None = None
        self._ticket = 0
        self._count = 0  # of the chunk at work, less what was handed back; 0: there is none
        self._begun = 0  # tasks begun, of all chunks: it tells the steward whether the same one is at work
        self._index = 0  # of the task at work
        self._last = 0.0  # seconds of the task before it
        self._first = 0  # of the results that wait
        self._results = Parcel(Homebound)
        self._times: list[Times] = []
        self._printed: list[wire.Printed] = []
        self._sent = 0.0
        self._at_work = threading.Event()
        self._steward: threading.Thread | None = None

    def cancel(self) -> bool:
        """Interrupt the task at work, and end the worker after it; False if there is none. Any thread may ask."""
        if self._cancelled:
            return True
        if not self._runs:
            return False
        self._cancelled = True
        late = threading.Timer(GRACE, self._leave)
        late.daemon = True
        late.start()
        self._surroundings.interrupt()
        return True

    def close(self) -> None:
        """There will be no more tasks."""
        self._closed = True
        self._at_work.set()

    def hand_back(self) -> None:
        """Hand back what of the chunk at work is not begun. Any thread may ask."""
        with self._lock:
            if self._count:
                self._hand_back()

    def _interrupted(self) -> bool:
        return self._cancelled and self._runs

    def perform(
        self,
        function: Callable[..., Any],
        call: Call,
        way: Way,
        message: wire.Submit,
        frames: list[Any],
    ) -> None:
        """Run a chunk to its end, or to where the rest was handed back."""
        self._surroundings.limit(call, depth())
        self._surroundings.apply(call.settings)
        self._answers.begin(way, message.ticket)
        self._call_steward()
        with self._lock:
            self._way, self._ticket, self._count = way, message.ticket, len(message.ends)
            self._sent = clock.perf_counter()
        self._at_work.set()
        try:
            with self._surroundings.at_work(call):
                for index, read in enumerate(unpack(frames, message.ends, self._surroundings.loads)):
                    with self._lock:
                        if index >= self._count:
                            break
                        self._index = index
                        self._begun += 1
                    self._task(index, function, read)
        finally:
            self._printing.index = None
            with self._lock:
                self._count = 0
                self._rest()
                self._flush()

    def _task(self, index: int, function: Callable[..., Any], read: Callable[[], Any]) -> None:
        try:
            args, kwargs = read()
        except BaseException as error:
            problem = Unshippable("the arguments cannot be read there", why=told(error))
            with self._lock:
                self._refuse(index, problem)
            return
        printing = self._printing
        printing.index = index
        cpu = clock.thread_time()
        start = clock.perf_counter()
        try:
            self._runs = True
            result = function(*args, **kwargs)
            self._runs = False
            if os.getpid() != self._pid:
                raise SystemExit
        except BaseException as error:
            self._runs = False
            if os.getpid() != self._pid:
                _end_child(error)
            if self._cancelled:
                self._leave()
            times = clock.perf_counter() - start, clock.thread_time() - cpu
            with self._lock:
                if index + 1 >= self._count:
                    self._rest()
                self._raised(index, error, times)
            return
        if self._cancelled:
            self._leave()
        times = clock.perf_counter() - start, clock.thread_time() - cpu
        with self._lock:
            if printing.parts:
                self._printed += printing.take()
            self._returned(index, result, times)

    # -- under the lock -----------------------------------------------------------------------------------

    def _returned(self, index: int, result: Any, times: Times) -> None:
        try:
            if not self._results.add(result):
                self._flush()
                self._results.add(result)
        except Exception as error:
            self._refuse(index, blame(result, error, "result", _pickle))
            return
        except BaseException as error:  # of a `__reduce__`
            self._refuse(index, Unshippable("result cannot travel", why=told(error)))
            return
        self._last = times[0]
        if not self._times:
            self._first = index
        self._times.append(times)
        if (
            times[0] > GATHER / 5
            or clock.perf_counter() - self._sent > GATHER
            or self._results.buffers
            or self._results.bytes > FULL
        ):
            if index + 1 >= self._count:
                self._rest()
            self._flush()

    def _raised(self, index: int, error: BaseException, times: Times) -> None:
        try:
            data = remote_errors.pack(error, is_ours, _pickle, stand_ins=True)
        except Exception as problem:  # groups in groups without end, for example
            kind = type(error).__qualname__
            self._refuse(index, Unshippable(f"the exception {kind} cannot travel", why=told(problem)))
            return
        self._flush()
        header = wire.Raised(self._ticket, index, *times, self._printing.take())
        self._answers.send(header, [data])

    def _refuse(self, index: int, problem: Unshippable) -> None:
        """What came of a task cannot travel, or it could not be read. What it printed is printed."""
        self._flush()
        printed = self._printed + self._printing.take()
        self._printed = []
        if printed:
            self._answers.send(wire.Output(self._ticket, printed), [])
        self._answers.refuse(self._way, self._ticket, index, 1, Reason.UNPICKLABLE, problem)

    def _flush(self) -> None:
        """Send the results that wait."""
        self._sent = clock.perf_counter()
        if not self._times:
            return
        results, times, printed = self._results, self._times, self._printed
        self._results, self._times, self._printed = Parcel(Homebound), [], []
        frames, ends, body = results.frames(), results.ends, b""
        if wire.inside(frames):
            body = frames.pop()
        header = wire.Reply(self._ticket, self._first, times, printed, ends=ends, body=body)
        # copied: whatever the next task does to an array, what was returned is what it was
        self._answers.send(header, frames, copy=True)

    def _flush_output(self) -> None:
        """Send what was said so far, after what was said before it. Any thread of a task may ask for it."""
        if os.getpid() != self._pid:
            self._printing.take()
            return
        try:
            with self._lock:
                self._flush()
                if printed := self._printing.take():
                    self._answers.send(wire.Output(self._ticket, printed), [])
        except CallerGone:
            self._leave()  # nobody is there to read it

    # -- the steward --------------------------------------------------------------------------------------

    def _call_steward(self) -> None:
        if self._steward is None:
            self._steward = threading.Thread(target=self._watch, name="bundlebee-steward", daemon=True)
            self._steward.start()

    def _watch(self) -> None:
        while True:
            self._at_work.wait()
            if self._closed:
                return
            self._at_work.clear()
            seen, since = -1, 0.0
            while True:
                clock.sleep(PATIENCE)
                with self._lock:
                    if not self._count:
                        break
                    now = clock.perf_counter()
                    if self._begun != seen:
                        seen, since = self._begun, now
                    elif now - since >= min(3 * self._last, MOST_PATIENCE) - PATIENCE:
                        self._hand_back()

    def _hand_back(self) -> None:
        begun = self._index + 1
        try:
            self._flush_output()
            if begun < self._count:
                left, self._count = self._count - begun, begun
                self._answers.refuse(self._way, self._ticket, begun, left, Reason.PEER_BUSY, _LATER)
            self._hand_back_chunks()
        except CallerGone:
            pass  # the caller is gone, and soon so are we

    def _hand_back_chunks(self) -> None:
        for _ in range(MOST_WAITING):
            found = self._inbox.poll()
            if found is None:
                return
            way, frames = found
            message = None
            if way.is_same(self._way):
                try:
                    message = wire.decode_to_worker(frames[0])
                except ProtocolError:
                    pass  # whoever reads it next says so
            if isinstance(message, wire.Submit) and message.ends:
                self._answers.refuse(way, message.ticket, 0, message.count, Reason.PEER_BUSY, _LATER)
            else:
                self._inbox.keep(found)


def _end_child(error: BaseException) -> NoReturn:
    """End a process that a task has forked, as Python ends a program. What is left to clean up is the parent's."""
    code: Any = 1
    if isinstance(error, SystemExit):
        code = error.code
    else:
        import traceback

        os.write(2, "".join(traceback.format_exception(error)).encode("utf-8", "replace"))
    os._exit(code & 0xFF if isinstance(code, int) else int(code is not None))


_LATER = PeerBusy("another task is at work there", hint="it was not begun, and may run elsewhere")


def _pickle(value: Any) -> bytes:
    stream = io.BytesIO()
    Homebound(stream, 5).dump(value)
    return stream.getvalue()
