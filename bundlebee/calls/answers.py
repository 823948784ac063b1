"""The answers to the chunk at work, on their way to the caller.

Results that come quickly are gathered for `GATHER` seconds and sent together; whatever takes longer is sent
at once. Exceptions are never held back, and neither is anything when a chunk ends.
"""

from __future__ import annotations

import functools
import os
import pickle
import re
import threading
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bundlebee.calls import pickling, remote_errors, wire
from bundlebee.calls.guard import WARNS, Guard, GuardStop
from bundlebee.calls.inbox import LocalWay
from bundlebee.calls.output import Printing
from bundlebee.calls.rpc import pack_error
from bundlebee.calls.segments import SHARE_FROM
from bundlebee.calls.way import CallerGone, Way
from bundlebee.clock import clock
from bundlebee.errors import BundlebeeError, Refused, Unshippable
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.calls.changes import Before

GATHER = 0.005  #: seconds; a message costs some 50 µs, so gathering for longer than this gains less than 1 %
#: Bytes. ZeroMQ's bookkeeping for a frame that is not copied costs as much as copying this.
COPY_BELOW = 64 << 10

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep

_ADDRESS = re.compile(rb" at 0x")
"""In the text of an object that has none of its own: ``<function f at 0x7f12…>``. A call that shows one runs at the caller."""


class Answers:
    """Sends what becomes of items; one chunk at a time, between `begin` and `flush`.

    Args:
        guard: of the thread where calls run.
        leave: ends the worker at once.
    """

    def __init__(self, printing: Printing, guard: Guard, leave: Callable[[], None]) -> None:
        self._printing = printing
        self._guard = guard
        self._leave = leave
        #: over inbox and way, where another thread answers, too; what is pickled may print, so it is taken twice
        self.lock = threading.RLock()
        self._way: Way | None = None  # whom the answers go to
        self._ticket = 0
        self._waiting: list[Any] = []  # results not yet sent, with their times
        self._times: list[tuple[float, float]] = []
        self._first = 0  # index of the first of them
        self._sent = 0.0
        self.met: list[wire.Met] = []  #: by the one item of a chunk with gaps

    def begin(self, way: Way, ticket: int) -> None:
        """From now on answer that chunk. One whose caller went away may have left something behind."""
        self._way = way
        self._ticket = ticket
        self._waiting, self._times, self._first = [], [], 0
        self.met = []
        self._printing.take()
        self._sent = clock.perf_counter()

    def returned(
        self,
        index: int,
        item: pickling.Item,
        result: Any,
        times: tuple[float, float],
        objects: frozenset[int],
        before: Before | None = None,
    ) -> None:
        """An item came to its end.

        Args:
            times: seconds and CPU seconds.
            objects: ids of the mutable objects in the module state that the function reads.
            before: what its arguments held, if it may write them.
        """
        try:
            if before is not None and (changes := before.changes()):
                both = (result, changes)
                pickling.refers(both, item, objects)
                self.flush(index)
                self._first = index + 1
                dump = functools.partial(pickling.dumps_referring, both, item, before.objects)
                self._send_results(index, [times], dump, both, refers=True, wrote=True)
                return
            refers = pickling.refers(result, item, objects)
        except Exception as error:
            self.flush(index)
            if not isinstance(error, Unshippable):  # it is nested too deeply, for example
                error = pickling.blame(result, error, "result")
            self._cannot_travel(index, error)
            return
        if refers:
            self.flush(index)
            self._first = index + 1
            dump = functools.partial(pickling.dumps_referring, result, item)
            self._send_results(index, [times], dump, result, refers=True)
            return
        self._waiting.append(result)
        self._times.append(times)
        if times[0] > GATHER / 5 or clock.perf_counter() - self._sent > GATHER:
            self.flush(index + 1)

    def only(self, result: Any, times: tuple[float, float]) -> None:
        """The one item of a chunk came to its end; the result is an atom."""
        printed = self._printing.take() if self._printing.parts else []
        try:
            body = pickle.dumps([result], 5)
        except MemoryError as error:
            self._cannot_travel(0, pickling.blame(result, error, "result"))
            return
        if _ADDRESS.search(body):
            self._cannot_travel(0, _shows_address("result"))
            return
        if len(body) <= wire.SMALL:
            self.send(wire.Reply(self._ticket, 0, [times], printed, body=body, met=self.met), [], copy=True)
        else:
            self.send(wire.Reply(self._ticket, 0, [times], printed, met=self.met), [body])

    def _cannot_travel(self, index: int, error: BundlebeeError) -> None:
        self._first = index + 1
        self._drop_output(index)
        self.refuse(self._way, self._ticket, index, 1, Reason.UNPICKLABLE, error)

    def flush(self, next_index: int) -> None:
        """Send the results that wait."""
        results, times, first = self._waiting, self._times, self._first
        self._waiting, self._times, self._first = [], [], next_index
        if results:
            dump = functools.partial(pickling.dumps, results)
            self._send_results(first, times, dump, results)

    def _send_results(
        self,
        first: int,
        times: list[tuple[float, float]],
        dump: Callable[[], list[Any]],
        value: Any,
        *,
        refers: bool = False,
        wrote: bool = False,
    ) -> None:
        try:
            frames = dump()
            if _ADDRESS.search(frames[0]):
                raise _shows_address("result")
        except Exception as error:
            if not refers and len(value) > 1:
                # one of them cannot travel: send them one by one
                for offset in range(len(value)):
                    alone = value[offset : offset + 1]
                    dump_alone = functools.partial(pickling.dumps, alone)
                    self._send_results(first + offset, times[offset : offset + 1], dump_alone, alone)
                return
            culprit = value if refers else value[0]
            self._drop_output(first)
            refusal = error if isinstance(error, Unshippable) else pickling.blame(culprit, error, "result")
            self.refuse(self._way, self._ticket, first, 1, Reason.UNPICKLABLE, refusal)
            return
        printed = self._printing.take()
        body = b""
        if wire.inside(frames):
            body = bytes(frames.pop())
        reply = wire.Reply(self._ticket, first, times, printed, refers, wrote=wrote, body=body, met=self.met)
        self.send(reply, frames)
        self._sent = clock.perf_counter()

    def failed(
        self,
        index: int,
        item: pickling.Item,
        error: BaseException | None,
        times: tuple[float, float],
        objects: frozenset[int] = frozenset(),
        before: Before | None = None,
    ) -> None:
        """An item raised, or the guard stopped it. The arguments are as for `returned`."""
        self.flush(index)
        self._first = index + 1
        refusal: BundlebeeError
        guard = self._guard
        if guard.tripped is not None or isinstance(error, GuardStop):
            # data decide whether it warns: the next call may be welcome
            reason = Reason.EFFECTS if guard.tripped == WARNS else Reason.GUARD
            refusal = Refused(f"the effect guard stopped it: it {guard.tripped}")
        elif isinstance(error, (MemoryError, RecursionError)):
            # how much memory and stack there is differs from host to host: only the caller's own count
            reason = Reason.ENVIRONMENT
            refusal = Refused(f"it raised {type(error).__name__} here", hint="it may not at the caller")
        else:
            assert error is not None
            try:
                frames: list[Any] = [remote_errors.pack(error, is_ours)]
                told = (error.args, error.__dict__)
                if pickling.refers(told, item, objects):
                    raise Unshippable("the exception holds an argument")
                changes = [] if before is None else before.changes()
                if before is not None and changes:
                    pickling.refers(changes, item, objects)
                    if pickling.share(told, (changes, before.objects)):
                        raise Unshippable("the exception holds what an argument holds, too")
                    frames += pickling.dumps_referring(changes, item, before.objects)
                    if _ADDRESS.search(frames[1]):
                        raise _shows_address("change of an argument")
                if _ADDRESS.search(frames[0]):
                    raise _shows_address("exception")
            except Unshippable as problem:
                reason = Reason.UNPICKLABLE
                refusal = problem
            except Exception as problem:
                reason = Reason.UNPICKLABLE
                refusal = pickling.blame(told, problem, "exception")
            else:
                wrote = bool(changes)
                printed = self._printing.take()
                self.send(wire.Raised(self._ticket, index, *times, printed, wrote, self.met), frames)
                return
        self._drop_output(index)
        self.refuse(self._way, self._ticket, index, 1, reason, refusal)

    def _drop_output(self, index: int) -> None:
        """The caller will run that item itself, and print again."""
        self._printing.parts = [part for part in self._printing.parts if part[0] != index]

    def flush_output(self) -> None:
        """Send what was printed so far."""
        # called by the stream in the middle of a call: sending is our doing, not the program's
        guard = self._guard
        active, guard.active = guard.active, False
        try:
            with self.lock:
                self.send(wire.Output(self._ticket, self._printing.take()), [])
        except CallerGone:
            self._leave()  # nobody is there to read it
        finally:
            guard.active = active

    def refuse(
        self,
        way: Way | None,
        ticket: int,
        first: int,
        count: int,
        reason: str,
        error: BundlebeeError,
        lease_over: bool = False,
        wait: bool = True,
    ) -> None:
        """Items are not done, and may be done at the caller."""
        header = wire.Refusal(ticket, first, count, reason, pack_error(error), lease_over)
        if way is not None:
            way.send([wire.encode(header)], wait=wait)

    def send(self, header: wire.ToCaller, frames: list[Any], *, copy: bool | None = None) -> None:
        """Send a message; without ``copy``, its size decides whether buffers are copied first."""
        size = sum(map(len, frames))
        if size >= SHARE_FROM and isinstance(header, wire.Reply) and isinstance(self._way, LocalWay):
            frames, held = self._way.sharing.replace(frames)
            if held:
                header = replace(header, held=held)
                size = sum(map(len, frames))
        if copy is None:
            copy = len(frames) < 2 and size < COPY_BELOW
        if self._way is not None:
            self._way.send([wire.encode(header), *frames], copy)


def _shows_address(what: str) -> Unshippable:
    return Unshippable(
        f"its {what} shows the address of an object", why="the caller's own object has another one"
    )


def is_ours(code: CodeType) -> bool:
    """Whether it is code of this room, which a traceback leaves out."""
    return code.co_filename.startswith(_OURS)
