"""When to compare notes, and with whom: with each seed all the time, with others when there is a reason."""

from __future__ import annotations

import random

from bundlebee.registry.events import SeedHeard, SeedSilent
from bundlebee.registry.timing import Timing

_NEVER = float("inf")


class _Seed:
    __slots__ = ("at", "heard", "wait")

    def __init__(self, now: float, wait: float) -> None:
        self.at = now  #: when to ask it next
        self.wait = wait  #: and how long to wait after that
        self.heard: bool | None = None  #: it answered the last time; None before the first


class Exchanges:
    """The schedule of exchanges. One at a time with any address; what is lost is given up after a while."""

    def __init__(self, chance: random.Random, timing: Timing) -> None:
        self._random = chance
        self._timing = timing
        self._seeds: dict[str, _Seed] = {}
        self._anybody_at = _NEVER
        self._differing_at = _NEVER
        self._under_way: dict[str, float] = {}
        self.newcomer = True  #: we have not yet compared notes with anybody

    def set_seeds(self, addresses: tuple[str, ...], now: float) -> None:
        self._seeds = {
            address: self._seeds.get(address) or _Seed(now, self._timing.exchange) for address in addresses
        }

    def ask_anybody(self, at: float) -> None:
        """Compare notes with some node at that time; the earlier of two wishes counts."""
        self._anybody_at = min(self._anybody_at, at)

    def ask_differing(self, at: float) -> None:
        """Compare notes at that time with a node whose view differs from ours, if there still is one then."""
        self._differing_at = min(self._differing_at, at)

    def next_deadline(self) -> float:
        at = min(self._anybody_at, self._differing_at)
        return min(at, *(seed.at for seed in self._seeds.values())) if self._seeds else at

    def due(self, now: float) -> tuple[list[str], bool, bool]:
        """The seeds to ask now; whether to ask anybody; whether to ask somebody whose view differs."""
        anybody, differing = now >= self._anybody_at, now >= self._differing_at
        if anybody:
            self._anybody_at = _NEVER
        if differing:
            self._differing_at = _NEVER
        for address in [address for address, until in self._under_way.items() if until <= now]:
            del self._under_way[address]
        seeds = []
        for address, seed in self._seeds.items():
            if now >= seed.at:
                seed.at = now + seed.wait * self._random.uniform(0.9, 1.1)
                seeds.append(address)
        return seeds, anybody, differing

    def begin(self, address: str, now: float) -> bool:
        """Whether an exchange with that address may begin now: not while another one is under way."""
        if address in self._under_way:
            return False
        self._under_way[address] = now + self._timing.answer_lost
        return True

    def ended(self, address: str, answered: bool, now: float) -> list[SeedHeard | SeedSilent]:
        """An exchange is over; says so if that is news about a seed."""
        self._under_way.pop(address, None)
        seed = self._seeds.get(address)
        if seed is None:
            return []
        before, seed.heard = seed.heard, answered
        if answered:
            seed.wait = self._timing.exchange
            return [] if before else [SeedHeard(address)]
        seed.wait = min(self._timing.exchange_max, seed.wait * 2)
        return [SeedSilent(address)] if before is not False else []
