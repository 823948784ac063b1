"""The workers of one node, or of a guest without a node: leases, and what a worker's death means.

`Slots` decides, this module does: it starts processes (`worker_process`), speaks with them, and names them in the log when
they die. Two threads a worker read its status and what it writes to standard error.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bundlebee.calls.control import (
    BundlePath,
    Claimed,
    End,
    FromWorker,
    Given,
    Kept,
    Lease,
    MainSource,
    Over,
    Ready,
    Setup,
    Stranger,
)
from bundlebee.calls.fate import Fate
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.security import strangers
from bundlebee.calls.slots import Assign, Effect, Need, Recall, Slot, Slots, SlotState, Start
from bundlebee.calls.worker_process import STOP_SECONDS, WorkerProcess
from bundlebee.clock import clock
from bundlebee.errors import CallError, PeerBusy
from bundlebee.loggers import get_logger

START_SECONDS = 30.0  #: a worker that does not listen by then never will; slow hosts need several seconds
#: Seconds. A lease idle for so long is taken back when another caller asks: what its holder has to pay if it comes again
#: is at most as much, a worker that is started anew.
IDLE_SECONDS = 0.25
RECALL_SECONDS = 0.05  #: that who asks waits for a worker that was asked back: one without work comes at once
MOST_FATES = 256  #: ends of workers that are remembered; who lost one asks at once
MOST_FAILURES = 3  #: workers that die before they listen, in a row; then the pool stops trying for a while

__all__ = ["BundlePath", "LeaseGrant", "MainSource", "WorkerPool"]


class LeaseGrant(msgspec.Struct, frozen=True):
    """A caller's right to one worker: where it listens, and what to say there."""

    token: str
    address: str  #: ``ip:port``
    local: str = ""  #: the same for callers on this host, see `local`


class WorkerPool:
    """Keeps ``slots`` workers ready behind ``bind_ip``.

    Args:
        name: the node's name, which callers see in remote errors.
        log: where deaths of workers are told.
        on_change: called (in any thread) when the number of free slots changed.
        hash_seed: ``PYTHONHASHSEED`` that workers start with; the grid's own if not given.
        where: the grid's options, see `Setup`.
    """

    def __init__(
        self,
        keys: GridKeys,
        name: str,
        bind_ip: str,
        slots: int,
        log: logging.Logger | None = None,
        on_change: Callable[[], None] | None = None,
        hash_seed: int | None = None,
        where: dict[str, Any] | None = None,
    ) -> None:
        self._keys = keys
        self._where = where
        self._name = name
        self._ip = bind_ip
        self._log = log or get_logger("bundlebee.calls")
        self._on_change = on_change or (lambda: None)
        self._hash_seed = keys.hash_seed if hash_seed is None else hash_seed
        self._slots = Slots(slots, self._hash_seed)
        self._processes: dict[int, WorkerProcess] = {}
        self._leaving: list[WorkerProcess] = []  # their slots have been given to others
        self._leases: dict[str, Lease] = {}
        self._given: set[str] = set()  # leases that their worker knows of
        self._kept: set[str] = set()  # leases that were not idle when we asked
        self._fates: dict[str, Fate] = {}  # by lease, of workers that died in the middle of it
        self._changed = threading.Condition()
        self._stopped = False
        self._failures = 0
        self._threads: list[threading.Thread] = []
        self.slots = slots  #: how many workers there are

    def start(self) -> None:
        """Start the workers. Returns at once; they listen some 0.2 s later, and a lease waits for that."""
        with self._changed:
            self._perform(self._slots.fill())

    def free(self) -> int:
        """Slots without a lease."""
        with self._changed:
            return self._slots.free()

    def pids(self) -> list[int]:
        """The workers' processes."""
        with self._changed:
            return [process.pid for process in self._processes.values()]

    def lease(
        self,
        bundles: Sequence[BundlePath],
        main: MainSource | None = None,
        hash_seed: int | None = None,
        caller: str = "",
        timeout: float = START_SECONDS,
        tasks: str = "",
        optimize: int = 0,
    ) -> LeaseGrant:
        """Give a worker to a caller. May wait for a worker to start, but for another caller no longer than it takes to
        tell that one that it has to give way.

        Args:
            bundles: what the calls will need, and where it lies.
            main: the caller's own script, if its functions or classes are to be shipped.
            hash_seed: the caller's; the pool's own if not given.
            caller: who asks, for the log.
            timeout: seconds for a worker to start.
            tasks: who sends tasks, see `LeaseRequest`; ``optimize`` likewise.

        Raises:
            PeerBusy: every slot is leased, and no leaseholder is idle.
            CallError: the worker does not start.
        """
        loads = {name: bundle.ref.digest for bundle in bundles for name in bundle.ref.imports}
        need = Need(
            self._hash_seed if hash_seed is None else hash_seed,
            loads,
            main.digest if main else None,
            tasks,
            caller,
            optimize,
        )
        deadline = clock.monotonic() + timeout
        with self._changed:
            for _ in range(1 + self.slots):
                lease = Lease(secrets.token_hex(16), list(bundles), main)
                process = self._lease(lease, need, deadline)
                if process is not None:
                    break
                # it died under our hands, such as in the middle of a cancelled call: there are others
            else:
                raise CallError(f"a worker of {self._name} does not start", hint="its log says why")
            self._log.debug(
                "worker %d of %s is leased to %s", process.slot.number, self._name, caller or "a caller"
            )
        self._on_change()
        return LeaseGrant(lease.token, f"{self._ip}:{process.port}", process.local)

    def release(self, token: str) -> None:
        """Take a lease back, whether or not its caller is done. Unknown tokens are none of our business."""
        with self._changed:
            self._release(token)
        self._on_change()

    def fate(self, token: str, timeout: float = 1.0) -> Fate | None:
        """How the worker of that lease ended; None if it has not, within ``timeout`` seconds, or was told to.

        Whoever asks has lost it. One that has been stopped (SIGSTOP) will not tell that its caller is gone, and is ended.
        """

        def known() -> bool:
            return token in self._fates or all(slot.token != token for slot in self._slots.slots)

        with self._changed:
            self._changed.wait_for(known, timeout)
            for process in self._processes.values():
                if process.slot.token == token and process.is_stopped():
                    process.kill()
            return self._fates.get(token)

    def stop(self) -> None:
        """End all workers; when this returns no process is left."""
        with self._changed:
            self._stopped = True
            processes = [*self._processes.values(), *self._leaving]
        for process in processes:
            process.dismiss()
        deadline = clock.monotonic() + STOP_SECONDS
        for process in processes:
            process.wait(deadline)
        for thread in list(self._threads):
            thread.join(timeout=STOP_SECONDS)

    def after_fork(self) -> None:
        """In a child process: let go of the workers' control pipes, whose end tells the workers to end."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        for process in list(self._processes.values()):
            process.let_go(nothing)
        os.close(nothing)

    # -- under the lock -----------------------------------------------------------------------------------

    def _lease(self, lease: Lease, need: Need, deadline: float) -> WorkerProcess | None:
        """Give the lease to a worker that has taken it, or None if that worker died."""
        if self._stopped:
            raise PeerBusy(f"{self._name} is stopping")
        token = lease.token
        slot, recalled = self._take(token, need)
        if slot is None and self._reclaim(recalled):
            slot, _ = self._take(token, need)
        if slot is None:
            raise PeerBusy(f"{self._name} has no free worker", why=f"all {self.slots} are leased")
        self._leases[token] = lease
        if slot.state is SlotState.LEASED:
            self._assign(slot)
        self._changed.wait_for(
            lambda: slot.token != token or token in self._given, max(0.0, deadline - clock.monotonic())
        )
        process = self._processes.get(slot.number)
        if slot.token == token and token in self._given and process is not None:
            return process
        self._release(token)
        return None

    def _take(self, token: str, need: Need) -> tuple[Slot | None, bool]:
        """The slot, if there is one, and whether one was asked back."""
        slot, effects = self._slots.lease(token, need, clock.monotonic())
        self._perform([effect for effect in effects if not isinstance(effect, Assign)])
        return slot, any(isinstance(effect, Recall) for effect in effects)

    def _forget(self, token: str) -> None:
        self._leases.pop(token, None)
        self._given.discard(token)

    def _release(self, token: str) -> None:
        self._forget(token)
        self._perform(self._slots.release(token))

    def _reclaim(self, recalled: bool) -> bool:
        """Ask the workers for a lease that its holder does not use. Waits milliseconds for their answers, or for the one
        that was asked back. Whether a slot is free now."""
        asked = {slot.token for slot in self._slots.slots if slot.claimed and slot.token is not None}
        self._kept.clear()
        for process in list(self._processes.values()):
            if process.slot.token in asked and process.slot.token is not None:
                process.tell(End(process.slot.token, IDLE_SECONDS))

        def answered() -> bool:
            held = {slot.token for slot in self._slots.slots}
            return bool(asked - held) or (asked <= self._kept and not recalled)

        if asked:
            self._changed.wait_for(answered, RECALL_SECONDS if recalled else 0.25)
        return self._slots.free() > 0

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Start):
                self._start(effect.slot)
            elif isinstance(effect, Assign):
                self._assign(effect.slot)
            elif (process := self._processes.get(effect.slot.number)) is not None:
                process.tell(End(effect.token, yielding=isinstance(effect, Recall)))

    def _assign(self, slot: Slot) -> None:
        process = self._processes.get(slot.number)
        lease = self._leases.get(slot.token or "")
        if process is not None and lease is not None:
            process.begins_lease()
            process.tell(lease)

    def _start(self, slot: Slot) -> None:
        old = self._processes.pop(slot.number, None)
        if old is not None:
            old.dismiss()
        process = WorkerProcess(slot, Setup(self._keys.dump(), self._ip, self._name, self._where))
        self._processes[slot.number] = process
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for role in (self._read_errors, self._read_status):
            thread = threading.Thread(
                target=role, args=(process,), name=f"bundlebee-worker-{slot.number}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:
                process.kill()
                raise CallError(
                    "no worker can be started any more",
                    why=str(error),
                    hint="Python 3.12.0 and 3.12.1 do not at the end of a program: shut the executor down before",
                ) from None
            self._threads.append(thread)

    # -- the threads of a worker --------------------------------------------------------------------------

    def _read_errors(self, process: WorkerProcess) -> None:
        process.read_errors(self._log)

    def _read_status(self, process: WorkerProcess) -> None:
        def heard(message: FromWorker) -> None:
            with self._changed:
                if process.is_current:
                    self._heard(process, message)
                self._changed.notify_all()
            self._on_change()

        code, peak = process.read_status(heard)
        with self._changed:
            if process in self._leaving:
                self._leaving.remove(process)
            if process.is_current:
                self._died(process, code, peak)
            self._changed.notify_all()
        self._on_change()

    def _heard(self, process: WorkerProcess, message: FromWorker) -> None:
        slot = process.slot
        if isinstance(message, Ready):
            process.port, process.local = message.port, message.local
            process.inherited = message.inherited
            self._failures = 0
            self._perform(self._slots.ready(slot, clock.monotonic()))
        elif isinstance(message, Given):
            self._given.add(message.token)
        elif isinstance(message, Claimed):
            self._slots.claimed(slot, message.token)
        elif isinstance(message, Kept):
            self._kept.add(message.token)
        elif isinstance(message, Stranger):
            strangers.turned_away(message.address)
        elif isinstance(message, Over):
            self._forget(message.token)
            self._slots.over(slot, message.token)
            if message.leaving:
                self._leaving.append(self._processes.pop(slot.number))
                slot.run += 1  # it is no longer the slot's
                self._slots.died(slot)
                if not self._stopped:
                    self._perform(self._slots.fill())

    def _died(self, process: WorkerProcess, code: int, peak: int | None) -> None:
        slot = process.slot
        self._processes.pop(slot.number, None)
        fate = process.fate(code, peak)
        if slot.token is not None:
            self._forget(slot.token)
            self._fates[slot.token] = fate
            while len(self._fates) > MOST_FATES:
                del self._fates[next(iter(self._fates))]
        self._slots.died(slot)
        if self._stopped:
            return
        if process.port is None:
            self._failures += 1
        if code != 0:
            words = "; ".join(process.last_words)
            self._log.warning("%s lost %s%s", self._name, fate, f": {words}" if words else "")
        if self._failures >= MOST_FAILURES:
            self._log.error(
                "workers of %s die before they listen; trying again with the next lease", self._name
            )
        else:
            self._perform(self._slots.fill())
