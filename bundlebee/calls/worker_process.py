"""One process of a worker, as its pool has it: its pipes (`control`), what it last said, and how it ended."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import IO, Any

import msgspec

from bundlebee.calls.control import FromWorker, Setup, ToWorker, from_worker, line
from bundlebee.calls.fate import Fate
from bundlebee.calls.slots import Slot
from bundlebee.clock import clock
from bundlebee.platform import (
    children_of_ours,
    end_within,
    exit_words,
    is_stopped,
    memory_kills,
    wait_for_end,
)

STOP_SECONDS = 2.0  #: a worker exits in milliseconds when its pipe ends, unless it is stuck in C code

_Popen = subprocess.Popen  # a test of the program may put its own in the place of it


class WorkerProcess:
    """Starts `python -m bundlebee.worker`, which listens some 0.2 s later.

    Args:
        slot: that it is for, as long as `is_current`.
        setup: what it has to know before it can listen.
    """

    def __init__(self, slot: Slot, setup: Setup) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": str(slot.hash_seed)}
        environment.pop("PYTHONOPTIMIZE", None)  # it is what the caller has
        optimize = ["-" + "O" * slot.optimize] if slot.optimize else []
        own_group: Mapping[str, Any] = (
            {"process_group": 0}  # Ctrl-C at the terminal is for the node, which ends its workers itself
            if os.name == "posix"
            else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        )
        self._popen = _Popen(
            [sys.executable, *optimize, "-P", "-m", "bundlebee.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            **own_group,
        )
        self.pid = self._popen.pid
        children_of_ours.add(self.pid)
        self.slot = slot
        self.port: int | None = None
        self.local = ""
        self.last_words: deque[str] = deque(maxlen=20)
        self.inherited = 0  #: bytes of its peak memory that are not its own
        self._run = slot.run
        self._memory_kills: int | None = None  # of the kernel, when its lease began
        self.tell(setup)

    @property
    def is_current(self) -> bool:
        """Whether it is still the one that its slot has."""
        return self._run == self.slot.run

    def tell(self, message: ToWorker) -> None:
        """Say something to it."""
        try:
            assert self._popen.stdin is not None
            self._popen.stdin.write(line(message))
            self._popen.stdin.flush()
        except (OSError, ValueError):
            pass  # it is dead; its reader thread is about to find out

    def begins_lease(self) -> None:
        """It is about to be told of a lease: who dies for memory from now on may be this one."""
        self._memory_kills = memory_kills(os.getpid())

    def dismiss(self) -> None:
        """End its control pipe, which tells it to end."""
        _close(self._popen.stdin)

    def is_stopped(self) -> bool:
        """Whether it was stopped (SIGSTOP) and has not been told to go on."""
        return is_stopped(self.pid)

    def kill(self) -> None:
        """End it at once."""
        self._popen.kill()

    def wait(self, deadline: float) -> None:
        """Wait until it has ended, which is forced at the deadline (`clock.monotonic`)."""
        try:
            self._popen.wait(max(0.0, deadline - clock.monotonic()))
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def let_go(self, nothing: int) -> None:
        """In a child process: put the descriptor ``nothing`` in the place of the control pipe, which is the parent's."""
        if self._popen.stdin is not None and not self._popen.stdin.closed:
            os.dup2(nothing, self._popen.stdin.fileno(), inheritable=False)

    # -- threads that read ----------------------------------------------------------------------------------

    def read_errors(self, log: logging.Logger) -> None:
        """Read what it writes to standard error, until it ends."""
        assert self._popen.stderr is not None
        for data in self._popen.stderr:
            text = data[:500].decode("utf-8", "replace").rstrip()
            self.last_words.append(text)
            log.debug("worker %d: %s", self.slot.number, text)
        _close(self._popen.stderr)

    def read_status(self, heard: Callable[[FromWorker], None]) -> tuple[int, int | None]:
        """Read its status pipe, until it ends.

        Returns:
            its exit code and its peak memory, see `platform.wait_for_end`.
        """
        assert self._popen.stdout is not None
        for data in self._popen.stdout:
            try:
                message = from_worker.decode(data)
            except msgspec.MsgspecError:
                continue
            heard(message)
        # a task may close whatever is open: one that cannot be heard any more is no worker, though its process goes on
        end_within(self._popen, STOP_SECONDS)
        code, peak = wait_for_end(self._popen)
        children_of_ours.discard(self.pid)
        for pipe in (self._popen.stdin, self._popen.stdout):
            _close(pipe)
        return code, peak

    def fate(self, code: int, peak: int | None) -> Fate:
        """How it ended."""
        if peak is not None and peak <= self.inherited:
            peak = None
        return Fate(self.slot.number, self.pid, self._how(code), peak)

    def _how(self, code: int) -> str:
        before = self._memory_kills
        # its own group cannot be read any more; it is ours, unless somebody has moved it
        if code == -9 and before is not None and (memory_kills(os.getpid()) or 0) > before:
            return "was killed by the kernel for memory (SIGKILL)"
        return exit_words(code)


def _close(pipe: IO[bytes] | None) -> None:
    try:
        if pipe is not None:
            pipe.close()
    except OSError:
        pass
