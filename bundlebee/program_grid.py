"""The `Grid` that the aspects ask (`bundlebee.aspects.grid`), for a program under `bundlebee exec`: peers, freight, and the log."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any

from bundlebee.aspects.freight import Freight, Stays
from bundlebee.calls import transports
from bundlebee.clock import clock
from bundlebee.decisions.model import Place, Verdict
from bundlebee.decisions.policy import Kind, Policy, Trials
from bundlebee.decisions.records import Decision, text
from bundlebee.errors import BundlebeeError, CallError
from bundlebee.frames import program_depth
from bundlebee.loggers import get_logger
from bundlebee.words import HERE, FunctionRef, Reason

if TYPE_CHECKING:
    from bundlebee.bundles.effects import EffectAnalysis, Summary
    from bundlebee.bundles.fingerprint import Remembered
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.courier import Courier
    from bundlebee.calls.transport import Channel, Outcome
    from bundlebee.decisions.log import DecisionLog
    from bundlebee.errors import PeerLost
    from bundlebee.guest import Guest
    from bundlebee.peers import Peers
    from bundlebee.reports import Reports
    from bundlebee.weaving.joinpoint import JoinPoint
    from bundlebee.workshop import Workshop

log = get_logger("bundlebee.exec")

SAY_AGAIN = 10.0
"""Seconds until a verdict that comes and goes is told as a change once more."""


class ProgramGrid:
    """One for a program.

    Args:
        woven: gives the names of the modules that are woven.
    """

    def __init__(
        self,
        policy: Policy,
        deadline: float | None,
        guest: Guest,
        workshop: Workshop,
        peers: Peers,
        log: DecisionLog,
        reports: Reports,
        woven: Callable[[], Iterable[str]],
    ) -> None:
        self.policy = policy
        self.deadline = deadline
        self._dice = policy.dice()
        self._guest = guest
        self._workshop = workshop
        self._peers = peers
        self._log = log
        self._reports = reports
        self._woven = woven
        self._effects: EffectAnalysis | None = None
        self._run_seconds = 0.0
        self._trial_seconds = 0.0
        self._said: dict[tuple[str, bool, str], float] = {}
        self._freights: dict[JoinPoint, tuple[Remembered, Freight]] = {}
        self._lock = threading.Lock()
        self._courier: Courier | None = None
        log.listen(self._heard)

    # -- of the program ------------------------------------------------------------------------------------

    def stay(self) -> None:
        """From now on everything runs here."""
        self.policy = Policy(Kind.LOCAL)

    def close(self) -> None:
        """End the thread that waits for awaited calls."""
        if self._courier is not None:
            self._courier.close()

    def after_fork(self) -> None:
        """In a child process: awaited calls are the parent's."""
        if self._courier is not None:
            self._courier.after_fork(CallError("the call is the parent process's"))

    def forget(self) -> None:
        """Let go of the program's functions and classes."""
        self._freights.clear()
        self._effects = None

    # -- to decide -----------------------------------------------------------------------------------

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
        for name in list(self._woven()):
            for value in list(vars(sys.modules[name]).values()) if name in sys.modules else ():
                if isinstance(value, type) and _runs_code(value, attributes):
                    return True
        return False

    def here(self) -> Place:
        return self._peers.table.here()

    def places(self, point: JoinPoint) -> Sequence[Place]:
        return self._peers.table.places(point.name)

    def expect_places(self, point: JoinPoint) -> Sequence[Place]:
        self._peers.expect()
        return self._peers.table.places(point.name)

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

    # -- to ship -------------------------------------------------------------------------------------

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
        limit, digits = sys.getrecursionlimit() - program_depth(), sys.get_int_max_str_digits()
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

            with self._lock:
                if self._courier is None:
                    self._courier = Courier()
        return self._courier

    # -- to tell -------------------------------------------------------------------------------------

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
        return self._peers.table.learn(place, point.name, outcome, expected)

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
