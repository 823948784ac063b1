"""Who awaits a call, and in which order results are handed out.

A `Line` belongs to one event loop. Calls join it when they are sent; each gets its result when it has come and all calls
before it have had theirs. In plain code, where such calls never suspend, one is over before the next is begun: so what
programs do with their results (append them to a list, print them) happens in the order that they know. To wait for those
before it costs a call nothing that it would not have waited in plain code, too.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any

_SUSPENDING = 0x80 | 0x100 | 0x20 | 0x200
"""Flags of code objects: coroutines, coroutines made of generators, generators, asynchronous generators."""


drivers: set[CodeType] = set()
"""Code of ours that drives a coroutine by hand and hands on what that yields."""


class Turn:
    """The place of one call in the line."""

    __slots__ = ("_future", "_is_ready", "_line")

    def __init__(self, line: Line) -> None:
        self._line = line
        self._future = line.loop.create_future()
        self._is_ready = False

    def ready(self) -> None:
        """Its result has come. Any thread may tell."""
        line = self._line
        if threading.get_ident() == line.thread:
            self._step()
            return
        try:
            line.loop.call_soon_threadsafe(self._step)
        except RuntimeError:
            pass  # the loop was closed, so nobody waits any more

    def _step(self) -> None:
        self._is_ready = True
        self._line.move()

    async def wait(self) -> None:
        """Until the result has come and it is its turn."""
        try:
            await self._future
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Nobody waits for it any more."""
        with_us = self._line.waiting
        if self in with_us:
            with_us.remove(self)
            self._line.move()


class Line:
    """The calls of one event loop that have not got their results."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.thread = threading.get_ident()
        self.waiting: deque[Turn] = deque()  #: used by the loop's thread only

    def join(self) -> Turn:
        """A place at its end."""
        turn = Turn(self)
        self.waiting.append(turn)
        return turn

    def move(self) -> None:
        """Let those go on whose turn it is."""
        waiting = self.waiting
        while waiting and waiting[0]._is_ready:
            future = waiting.popleft()._future
            if not future.done():
                future.set_result(None)


class _Lines(threading.local):
    line: Line | None = None


_lines = _Lines()


def loop_that_awaits(frame: FrameType) -> Line | None:
    """The line of the asyncio loop that awaits the coroutine of this frame; None if something else drives it.

    To suspend is only right where each frame up to the task's own really awaits the one below: a coroutine that somebody
    drives by hand, in the middle of a task, hands what it yields to that somebody.
    """
    events, tasks = sys.modules.get("asyncio.events"), sys.modules.get("asyncio.tasks")
    if events is None or tasks is None:
        return None
    loop = events._get_running_loop()
    if loop is None:
        return None
    task = tasks.current_task(loop)
    if task is None or not hasattr(task, "get_coro"):
        return None
    coroutine = task.get_coro()
    top = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    current: FrameType | None = frame
    while current is not top:
        assert current is not None
        current = current.f_back
        if current is None or not (current.f_code in drivers or _awaits(current)):
            return None
    line = _lines.line
    if line is None or line.loop is not loop:
        line = _lines.line = Line(loop)
    return line


def _awaits(frame: FrameType) -> bool:
    """Whether a frame that is on the stack waits in an ``await`` or ``yield from``, rather than in a call."""
    code = frame.f_code
    return bool(code.co_flags & _SUSPENDING) and frame.f_lasti in _sends(code)


@lru_cache(256)
def _sends(code: CodeType) -> frozenset[int]:
    """Offsets at which a frame stands that awaits: of the instructions that send, with their caches, and of the two behind
    them, which yield and go on: there it stands while an exception is thrown into what it awaits."""
    import opcode

    send = opcode.opmap["SEND"]
    found: set[int] = set()
    instructions = code.co_code
    for offset in range(0, len(instructions), 2):
        if instructions[offset] == send:
            found.add(offset)
            behind = offset + 2
            while instructions[behind] == 0:
                found.add(behind)
                behind += 2
            found |= {behind, behind + 2}
    return frozenset(found)
