"""Policies: what a person may demand about where calls go.

``auto`` asks the cost model, ``local`` ships nothing, ``remote`` ships all that can be shipped, and
``chaos:P[:SEED]`` ships each shippable call with probability P (for tests: results must not depend on where a
call ran). No policy overrules safety: a call with effects, or one that was shipped already, stays where it is
under each of them.

`decide` is pure; chance comes in as a number (`draw`), so that a decision can be repeated and tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from bundlebee.decisions.model import Place, Verdict, Work, choose, here_seconds, there_seconds
from bundlebee.errors import UsageError
from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from random import Random

#: Share of the measured run time that may be lost by trying peers that the model does not recommend.
EXPLORATION_SHARE = 0.01
#: Calls shorter than this are not worth a trial: little would be learnt and little won.
EXPLORATION_MIN_RUN = 0.01
#: A trial may be expected to take this many times as long as running here, not more.
EXPLORATION_MAX_LOSS = 3.0


class Kind(StrEnum):
    """The four policies."""

    AUTO = "auto"
    LOCAL = "local"
    REMOTE = "remote"
    CHAOS = "chaos"


class Policy(msgspec.Struct, frozen=True):
    """A parsed policy. ``str(policy)`` gives back a text that `parse` reads."""

    kind: Kind
    probability: float = 1.0  #: of shipping, under chaos
    seed: int | None = None  #: of the dice, under chaos; None: a new one each time

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Read ``auto``, ``local``, ``remote`` or ``chaos:P[:SEED]``; 0 ≤ P ≤ 1, SEED a whole number.

        Raises:
            UsageError: the text is none of these.
        """
        name, *rest = text.strip().split(":")
        if name in ("auto", "local", "remote"):
            if rest:
                raise _wrong(text, f"{name} takes no parameter")
            return cls(Kind(name))
        if name != "chaos":
            raise _wrong(text, "there is no such policy")
        if not 1 <= len(rest) <= 2:
            raise _wrong(text, "chaos takes a probability, and a seed if wanted")
        try:
            probability = float(rest[0])
        except ValueError:
            raise _wrong(text, f"{rest[0]!r} is not a number") from None
        if not 0.0 <= probability <= 1.0:
            raise _wrong(text, "a probability lies between 0 and 1")
        seed: int | None = None
        if len(rest) == 2:
            try:
                seed = int(rest[1])
            except ValueError:
                raise _wrong(text, f"the seed {rest[1]!r} is not a whole number") from None
        return cls(Kind.CHAOS, probability, seed)

    def __str__(self) -> str:
        if self.kind is not Kind.CHAOS:
            return self.kind.value
        seed = "" if self.seed is None else f":{self.seed}"
        return f"chaos:{self.probability:g}{seed}"

    def seeded(self) -> Policy:
        """The same policy with a seed, so that a log can name it and the run can be repeated."""
        if self.kind is not Kind.CHAOS or self.seed is not None:
            return self
        import secrets

        return replace(self, seed=secrets.randbelow(1_000_000))

    def dice(self) -> Random | None:
        """The source of `draw`; None for the policies that leave nothing to chance."""
        if self.kind is not Kind.CHAOS:
            return None
        from random import Random

        return Random(self.seed)


class Trials(msgspec.Struct, frozen=True):
    """What was spent on exploring so far, and what may be."""

    run: float = 0.0  #: seconds of all measured runs
    spent: float = 0.0  #: seconds that trials took beyond what running here would have taken

    def allow(self, loss: float) -> bool:
        """Whether a trial that is expected to lose `loss` seconds is within the bound."""
        return self.spent + max(loss, 0.0) <= self.run * EXPLORATION_SHARE


def decide(
    policy: Policy,
    work: Work | None,
    here: Place,
    peers: Sequence[Place],
    *,
    blocked: tuple[Reason, str] | None = None,
    draw: float = 0.0,
    trials: Trials | None = None,
) -> Verdict:
    """Where a call goes.

    Args:
        policy: what the person demands.
        work: what the call needs; None if it was never measured.
        here: this machine.
        peers: machines that may run the call, with what is known of them.
        blocked: why the call must stay here (its effects, its state), with a text for people; None if it may
            travel.
        draw: a number from [0, 1), read under chaos only.
        trials: what was spent on exploring; None: do not explore.
    """
    if blocked is not None:
        return Verdict(HERE, blocked[0], detail=blocked[1])
    if policy.kind is Kind.LOCAL:
        return Verdict(HERE, Reason.FORCED, _estimates(work, here, ()), "policy local")
    if not peers:
        return Verdict(HERE, Reason.NO_PEER, _estimates(work, here, ()))
    if policy.kind is Kind.REMOTE:
        return _force(work, here, peers, "policy remote")
    if policy.kind is Kind.CHAOS:
        if draw >= policy.probability:
            return Verdict(HERE, Reason.FORCED, _estimates(work, here, peers), f"policy {policy}")
        # What is left of the draw picks the peer: one number decides both.
        free = sorted((peer for peer in peers if peer.free > 0), key=lambda peer: peer.name)
        if not free:
            return Verdict(HERE, Reason.PEER_BUSY, _estimates(work, here, peers))
        picked = free[min(int(draw / policy.probability * len(free)), len(free) - 1)]
        return Verdict(picked.name, Reason.FORCED, _estimates(work, here, peers), f"policy {policy}")
    verdict = choose(work, here, peers)
    if trials is not None and verdict.here and work is not None:
        return _explore(verdict, work, peers, trials)
    return verdict


def _force(work: Work | None, here: Place, peers: Sequence[Place], detail: str) -> Verdict:
    """The best peer with a free slot, however much cheaper it were here."""
    estimates = _estimates(work, here, peers)
    free = [peer for peer in peers if peer.free > 0]
    if not free:
        return Verdict(HERE, Reason.PEER_BUSY, estimates)
    best = free[0]
    if len(free) > 1:
        guess = work or Work(seconds=1.0)
        best = min(
            free, key=lambda peer: (estimates.get(peer.name) or there_seconds(guess, here, peer), peer.name)
        )
    return Verdict(best.name, Reason.FORCED, estimates, detail)


def _explore(verdict: Verdict, work: Work, peers: Sequence[Place], trials: Trials) -> Verdict:
    """Try a peer where this function never ran, if that costs little: it may be faster there than promised."""
    if work.seconds < EXPLORATION_MIN_RUN or verdict.why is Reason.PEER_BUSY:
        return verdict
    at_home = verdict.estimates[HERE]
    unknown = [peer for peer in peers if peer.free > 0 and not peer.measured]
    for peer in sorted(unknown, key=lambda peer: (verdict.estimates[peer.name], peer.name)):
        seconds = verdict.estimates[peer.name]
        if seconds <= at_home * EXPLORATION_MAX_LOSS and trials.allow(seconds - at_home):
            return replace(verdict, where=peer.name, why=Reason.EXPLORING)
    return verdict


def _estimates(work: Work | None, here: Place, peers: Sequence[Place]) -> dict[str, float]:
    if work is None:
        return {}
    estimates = {HERE: here_seconds(work, here)}
    for peer in peers:
        estimates[peer.name] = there_seconds(work, here, peer)
    return estimates if all(map(math.isfinite, estimates.values())) else {}


def _wrong(text: str, why: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a policy",
        why=why,
        hint="use auto, local, remote or chaos:P[:SEED], as in chaos:0.3:42",
    )
