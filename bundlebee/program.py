"""A program under `bundlebee exec`: the aspects, the peers and the log, put together around it.

This is the `Grid` that the aspects ask (`bundlebee.aspects.grid`).
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee import hash_seed, settings
from bundlebee.aspects.analysis import Analysis, Running
from bundlebee.aspects.freight import Customs, Freight, Stays
from bundlebee.aspects.remote import Remote
from bundlebee.aspects.scatter import Scatter
from bundlebee.aspects.watch import Watch
from bundlebee.calls import transports
from bundlebee.clock import clock
from bundlebee.decisions.load import slots
from bundlebee.decisions.log import DecisionLog
from bundlebee.decisions.model import Place, Verdict
from bundlebee.decisions.policy import Kind, Policy, Trials
from bundlebee.decisions.records import Decision, text
from bundlebee.errors import BundlebeeError, CallError
from bundlebee.frames import getframe
from bundlebee.guest import Guest
from bundlebee.interrupts import wrap_handlers
from bundlebee.loggers import get_logger
from bundlebee.peers import Peers
from bundlebee.reports import Reports
from bundlebee.settings import GridOptions
from bundlebee.words import HERE, FunctionRef, Reason
from bundlebee.workshop import Workshop

if TYPE_CHECKING:
    from bundlebee.bundles.effects import EffectAnalysis, Summary
    from bundlebee.bundles.fingerprint import Remembered
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.courier import Courier
    from bundlebee.calls.transport import Channel, Outcome
    from bundlebee.errors import PeerLost
    from bundlebee.hooks.install import Handle
    from bundlebee.weaving.joinpoint import JoinPoint

log = get_logger("bundlebee.exec")

SAY_AGAIN = 10.0
"""Seconds until a verdict that comes and goes is told as a change once more."""


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
        self.deadline = options.deadline
        self._workshop = Workshop(options.directory, options.weave, self._guest)
        self._guest.orient()
        own = self._guest.own_node
        policy = options.policy or Policy.parse("auto" if own is None else own.policy)
        self.policy = policy.seeded()
        self._dice = self.policy.dice()
        if self._dice is not None:
            log.info("policy %s", self.policy)
        self._peers = Peers(
            self._guest,
            self._workshop.path,
            self._workshop.archive,
            seed,
            requires=self._workshop.requires,
        )
        self._reports = Reports(self._guest, self._log.catch_up)
        self._log.listen(self._heard)
        self._effects: EffectAnalysis | None = None
        self._handle: Handle | None = None
        self._run_seconds = 0.0
        self._trial_seconds = 0.0
        running = Running()
        customs = Customs(self)
        self._analysis = Analysis(self, Remote(self, customs), running)
        self._scatter = Scatter(self, customs, running, self._analysis.profile_of)
        self._watch = Watch(self._analysis)
        self._said: dict[tuple[str, bool, str], float] = {}
        self._freights: dict[JoinPoint, tuple[Remembered, Freight]] = {}
        self._closing = threading.Lock()
        self._closed = False
        self._courier: Courier | None = None
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
        if self.policy.kind is Kind.AUTO:
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
        prepared.run(handle)

    def _join(self, path: list[str]) -> None:
        """Say hello to the grid, on behalf of a program that may have something to ship: it costs 40 ms of CPU time.

        Args:
            path: to import from meanwhile; the program's directory may hold a ``random.py``.
        """
        if self.policy.kind is Kind.LOCAL:
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
        self.policy = Policy(Kind.LOCAL)
        if self._handle is not None:
            self._handle.loom.unthread()
        self._watch.stop()
        _end_quietly()
        ended = self._scatter.close(1.0)
        if self._courier is not None:
            self._courier.close()
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
        self._freights.clear()
        self._effects = None
        contents = sys.modules.get("bundlebee.bundles.contents")
        if contents is not None:
            contents.forget()

    def _in_child(self) -> None:
        """After a fork: threads and sockets are the parent's, so nothing is shipped from here."""
        self._guest.forget()
        if self._handle is not None:
            self._handle.loom.after_fork()
        self.policy = Policy(Kind.LOCAL)
        self._log.after_fork()
        self._peers.after_fork()
        if self._courier is not None:
            self._courier.after_fork(CallError("the call is the parent process's"))
        log.info("process %d was forked off: its calls run there", os.getpid())

    # -- Grid: to decide -----------------------------------------------------------------------------------

    def summary(self, point: JoinPoint) -> Summary:
        return self._analyser().summary(point.plain)

    def summary_for(
        self,
        point: JoinPoint,
        found: Walk,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        gaps: bool = False,
    ) -> Summary:
        # a worker that is a thread of this process cannot change the code of its functions
        gaps = gaps and self._guest.where.transport != transports.IN_PROCESS
        return self._analyser().for_arguments(point.plain, found, args, kwargs, gaps=gaps)

    def _analyser(self) -> EffectAnalysis:
        if self._effects is None:
            from bundlebee.bundles.effects import EffectAnalysis

            self._effects = EffectAnalysis(self._workshop.facts)
            if self._workshop.standard:
                from bundlebee.bundles.catalogue import catalogue

                catalogue().leave(self._workshop.standard)
        return self._effects

    def spreads(self, point: JoinPoint) -> bool:
        from bundlebee.hooks.install import advice_of

        advice = advice_of(point.module)
        return advice is not None and any(site.qualname == point.qualname for site in advice.sites)

    def runs_code(self, attributes: Sequence[str]) -> bool:
        assert self._handle is not None
        for name in list(self._handle.loom.advices):
            for value in list(vars(sys.modules[name]).values()) if name in sys.modules else ():
                if isinstance(value, type) and _runs_code(value, attributes):
                    return True
        return False

    def here(self) -> Place:
        return self._peers.here()

    def places(self, point: JoinPoint) -> Sequence[Place]:
        return self._peers.places(point.name)

    def expect_places(self, point: JoinPoint) -> Sequence[Place]:
        self._peers.expect()
        return self._peers.places(point.name)

    def slots(self, work: float | None) -> Sequence[tuple[str, int]]:
        return self._peers.slots(forced=self.policy.kind is not Kind.AUTO, work=work)

    def anybody(self) -> bool:
        return self._peers.anybody()

    def coming(self) -> bool:
        return self._peers.coming()

    def busy(self) -> bool:
        return self._peers.busy()

    def draw(self) -> float:
        return 0.0 if self._dice is None else self._dice.random()

    def trials(self) -> Trials | None:
        return Trials(self._run_seconds, self._trial_seconds)

    # -- Grid: to ship -------------------------------------------------------------------------------------

    def freight(self, point: JoinPoint, summary: Summary) -> Freight:
        remembered, last = self._freights.get(point) or (None, None)
        if remembered is None or remembered.reads != summary.reads:
            from bundlebee.bundles.fingerprint import Remembered

            remembered, last = Remembered(summary.reads), None
        try:
            found = remembered.state()
        except BundlebeeError as error:
            raise Stays(error.what, why=error.why, reason=Reason.STATE) from None
        if summary.shown and (told := summary.comes_back(found.objects)) is not None:
            raise Stays(told)
        limit, digits = sys.getrecursionlimit() - _depth(), sys.get_int_max_str_digits()
        if (
            last is not None
            and last.summary is summary
            and last.state is found.objects
            and last.call.recursion_limit == limit
            and last.call.int_max_str_digits == digits
        ):
            return last  # the same object, which the channels know
        from bundlebee.calls.call import Call

        bundle = self._workshop.bundle_of(point.module)
        call = Call(
            FunctionRef(bundle.name, bundle.digest, point.module, point.qualname),
            line=point.original.co_firstlineno,
            reads=summary.reads,
            state=found.digest,
            recursion_limit=limit,
            int_max_str_digits=digits,
            writes=bool(summary.writes),
            gaps=summary.gaps,
        )
        freight = Freight(call, summary, found.objects)
        self._freights[point] = remembered, freight
        return freight

    def ready(self, place: str) -> bool:
        return self._peers.ready(place)

    def open(self, place: str, point: JoinPoint) -> Channel:
        return self._peers.open(place, self._workshop.needed(point.module))

    def lease_again(self, channel: Channel, point: JoinPoint) -> Channel:
        return self._peers.open_again(channel, self._workshop.needed(point.module))

    def done(self, channel: Channel) -> None:
        self._peers.done(channel)

    def why_lost(self, channel: Channel, function: str, error: PeerLost) -> PeerLost:
        return self._peers.why_lost(channel, function, error)

    def courier(self) -> Courier:
        if self._courier is None:
            from bundlebee.calls.courier import Courier

            with self._closing:
                if self._courier is None:
                    self._courier = Courier()
        return self._courier

    # -- Grid: to tell -------------------------------------------------------------------------------------

    def lost(self, place: str, error: BaseException) -> None:
        self._peers.lost(place, error)

    def decided(
        self,
        point: JoinPoint,
        verdict: Verdict,
        *,
        seconds: float | None,
        outcome: Outcome | None = None,
        count: int = 1,
    ) -> None:
        if verdict.where == HERE:
            self._run_seconds += seconds or 0.0
        elif verdict.why is Reason.EXPLORING and seconds is not None:
            self._trial_seconds += max(0.0, seconds - verdict.estimates.get(HERE, 0.0))
        profile, told = point.data, (verdict.where, verdict.why)
        what = (
            point.name,
            self._workshop.bundle_of(point.module).name,
            seconds,
            0 if outcome is None else outcome.bytes_out,
            0 if outcome is None else outcome.bytes_back,
        )
        each = log.isEnabledFor(logging.DEBUG)
        if outcome is not None and profile.told == told and not each:
            self._log.add_later(verdict, *what)
        else:
            if outcome is not None:
                profile.told = told
            self._log.add_now(verdict, *what)
        if count > 1 and (each or self._log.path is not None):
            for _ in range(count - 1):
                self._log.add_later(verdict, *what)
        elif count > 1:
            self._log.count(point.name, verdict.where, verdict.why.value, count - 1)

    def learn(self, point: JoinPoint, place: str, outcome: Outcome, expected: float) -> float:
        return self._peers.learn(place, point.name, outcome, expected)

    def _heard(self, decision: Decision, changed: bool) -> None:
        if changed:
            # a spread loop goes here and there in turn: say each kind of verdict now and then, not each time
            kind, now = (decision.function, decision.where == HERE, decision.why), clock.monotonic()
            changed = now - self._said.get(kind, -SAY_AGAIN) >= SAY_AGAIN
            if changed:
                self._said[kind] = now
        level = logging.INFO if changed else logging.DEBUG
        if log.isEnabledFor(level):
            log.log(level, "%s", text(decision))
        self._reports.add(decision, changed)


def _runs_code(kind: type, attributes: Sequence[str]) -> bool:
    for base in kind.__mro__:
        members = vars(base)
        if base is not object and ("__getattr__" in members or "__getattribute__" in members):
            return True
        for name in attributes:
            member = members.get(name)
            # functions and slots are descriptors too, but reading them runs nothing
            if hasattr(type(member), "__get__") and not isinstance(
                member, (FunctionType, MemberDescriptorType)
            ):
                return True
    return False


def _end_quietly() -> None:
    """The program's handler of SIGCHLD, if it has one, must not hear of our workers' end."""
    import signal

    child = getattr(signal, "SIGCHLD", None)
    if child is not None and threading.current_thread() is threading.main_thread():
        signal.signal(child, signal.SIG_DFL)


def _depth() -> int:
    """Frames on this thread's stack without the advice's: the function finds so many in use when it runs here."""
    # The same stack as the last time? To walk through it makes an object of each frame.
    path = getframe(2).f_code
    total, count = _depths.get(path, (0, 0))
    if total:
        try:
            if getframe(total).f_back is None:
                return count
        except ValueError:
            pass
    frame: FrameType | None = getframe(1)
    ours = 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("bundlebee."):
        frame = frame.f_back
        ours += 1
    count = 0
    while frame is not None:
        frame = frame.f_back
        count += 1
    _depths[path] = ours + count, count
    return count


_depths: dict[CodeType, tuple[int, int]] = {}
"""By the code in the advice that asks: frames on the stack above `_depth`, and how many of them are the program's."""
