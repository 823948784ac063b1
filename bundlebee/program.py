"""A program under `bundlebee exec`: the aspects, the peers and the log, put together around it."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bundlebee import hash_seed, late, settings
from bundlebee.aspects.analysis import Analysis, Running
from bundlebee.aspects.freight import Customs
from bundlebee.aspects.remote import Remote
from bundlebee.aspects.scatter import Scatter
from bundlebee.aspects.watch import Watch
from bundlebee.decisions.load import slots
from bundlebee.decisions.log import DecisionLog
from bundlebee.decisions.policy import Kind, Policy
from bundlebee.guest import Guest
from bundlebee.interrupts import wrap_handlers
from bundlebee.loggers import get_logger
from bundlebee.peers import Peers
from bundlebee.program_grid import ProgramGrid
from bundlebee.reports import Reports
from bundlebee.settings import GridOptions
from bundlebee.workshop import Workshop

if TYPE_CHECKING:
    from bundlebee.hooks.install import Handle

log = get_logger("bundlebee.exec")


class ProgramOptions(msgspec.Struct, frozen=True):
    """What `bundlebee exec` was asked for."""

    where: GridOptions
    directory: Path | None = None  #: of bundles; None is ``./bundles`` if that exists
    weave: tuple[str, ...] = ()  #: installed distributions to treat as bundles
    policy: Policy | None = None  #: None is that of the node on this machine, else ``auto``
    decisions: Path | None = None  #: file for decision records
    deadline: float | None = None  #: seconds that a shipped call may take before it counts as lost


class Program:
    """One run of one program.

    Raises:
        BundlebeeError: an option cannot be followed; the program has not begun.
    """

    def __init__(self, options: ProgramOptions) -> None:
        self._guest = Guest(options.where)
        settings.of_program = options.where
        seed = hash_seed.in_force(options.where)
        self._log = settings.decisions = DecisionLog(options.decisions)
        self._workshop = Workshop(options.directory, options.weave, self._guest)
        self._guest.orient()
        own = self._guest.own_node
        policy = (options.policy or Policy.parse("auto" if own is None else own.policy)).seeded()
        if policy.kind is Kind.CHAOS:
            log.info("policy %s", policy)
        self._peers = Peers(
            self._guest,
            self._workshop.path,
            self._workshop.archive,
            seed,
            requires=self._workshop.requires,
        )
        self._reports = Reports(self._guest, self._log.catch_up)
        self._handle: Handle | None = None
        grid = self._grid = ProgramGrid(
            policy,
            options.deadline,
            self._guest,
            self._workshop,
            self._peers,
            self._log,
            self._reports,
            woven=lambda: () if self._handle is None else self._handle.loom.advices,
        )
        running = Running()
        customs = Customs(grid)
        self._analysis = Analysis(grid, Remote(grid, customs), running)
        self._scatter = Scatter(grid, customs, running, self._analysis.profile_of)
        self._watch = Watch(self._analysis)
        self._closing = threading.Lock()
        self._closed = False
        self._pid = os.getpid()

    def execute(self, kind: str, target: str, arguments: Sequence[str]) -> None:
        """Run the program to its end: ``kind`` is ``m`` (module), ``c`` (code) or ``script``.

        Its exceptions pass through to the top of the interpreter, as under python.
        """
        from bundlebee.hooks import children, program, spawned
        from bundlebee.hooks.install import install
        from bundlebee.hooks.threads import hide_ours
        from bundlebee.hooks.warned import count_theirs

        # registered first, so it runs last: the program's own exit handlers may still ship calls
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)
        hide_ours()
        count_theirs()
        if self._workshop.claims:
            self._join(sys.path)
        handle = self._handle = install(
            self._workshop.claims,
            on_join_point=self._analysis.on_join_point,
            on_defined=self._analysis.on_defined,
            on_imported=self._analysis.on_imported,
            on_scatter=self._scatter.loop,
            apprentices=lambda: slots() - 1,
            fetch=self._workshop.fetch,
        )
        spawned.show_bundles(handle.finder)
        if self._grid.policy.kind is Kind.AUTO:
            # the thread is there before the program can lay hands on how threads begin
            self._watch.start()
            self._analysis.once_there_is_one(self._watch.begin)
        prepare = {
            "m": program.prepare_module,
            "c": program.prepare_code,
            "script": program.prepare_script,
        }[kind]
        # what is ours stays, and need not be looked through each time the program's garbage is collected
        gc.freeze()
        gc.enable()
        ours = list(sys.path)
        prepared = prepare(target, arguments)
        if prepared.main is not None:
            if b"def" in prepared.main.source:
                self._join(ours)
            self._peers.main = self._workshop.adopt_main(prepared.main)
        wrap_handlers()
        children.hide_ours()
        if (
            late.NEEDED
        ):  # once it begins to end it lets nobody start a thread: what is called from then on runs here
            threading._register_atexit(self._grid.stay)  # type: ignore[attr-defined]
        prepared.run(handle)

    def _join(self, path: list[str]) -> None:
        """Say hello to the grid, on behalf of a program that may have something to ship: it costs 40 ms of CPU time.

        Args:
            path: to import from meanwhile; the program's directory may hold a ``random.py``.
        """
        if self._grid.policy.kind is Kind.LOCAL:
            return
        theirs = list(sys.path)
        sys.path[:] = path
        try:
            self._guest.join()
        finally:
            sys.path[:] = theirs

    def close(self) -> None:
        """Hang up, end what was started, sum up."""
        with self._closing:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
        # what still runs, such as `__del__` of objects that live to the end, is on its own
        self._grid.stay()
        if self._handle is not None:
            self._handle.loom.unthread()
        self._watch.stop()
        _end_quietly()
        ended = self._scatter.close(1.0)
        self._grid.close()
        self._peers.close()
        summary = self._log.summary()
        for line in summary:
            log.info("%s", line)
        self._reports.close(summary)
        self._log.close()
        # sockets that a thread still uses must not be closed under it: the process takes them along
        self._guest.leave(hang_up=ended)
        self._let_go()

    def _let_go(self) -> None:
        """Forget the program's functions and classes: what is ours was frozen for the garbage collector, and would keep
        the program's objects for ever, so that their `__del__` is never called."""
        if self._handle is not None:
            self._handle.loom.advices.clear()
        self._analysis.forget()
        self._grid.forget()
        contents = sys.modules.get("bundlebee.bundles.contents")
        if contents is not None:
            contents.forget()

    def _in_child(self) -> None:
        """After a fork: threads and sockets are the parent's, so nothing is shipped from here."""
        self._guest.forget()
        if self._handle is not None:
            self._handle.loom.after_fork()
        self._grid.stay()
        self._log.after_fork()
        self._peers.after_fork()
        self._grid.after_fork()
        log.info("process %d was forked off: its calls run there", os.getpid())


def _end_quietly() -> None:
    """The program's handler of SIGCHLD, if it has one, must not hear of our workers' end."""
    import signal

    child = getattr(signal, "SIGCHLD", None)
    if child is not None and threading.current_thread() is threading.main_thread():
        signal.signal(child, signal.SIG_DFL)
