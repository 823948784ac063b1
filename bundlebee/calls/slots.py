"""Which worker slot serves which lease: a state machine without processes, sockets or clock.

A slot holds one worker. A worker that has served a program has its bundles loaded and its hash seed fixed,
and one that has run tasks may be in any state, so that it serves nobody but who sent them. So a lease is
given, in this order: to an idle worker that has loaded just these bundles; to an idle one whose bundles do
not conflict; to a fresh worker in the place of an idle one that does not fit. There is no queue: with no
idle slot the caller is told so at once.

Callers share fairly. One that was refused, and asks again, gets a slot from whoever has two more than itself, at once, or
from anybody who has had it for a while, if it has none itself; the one at work there ends its chunk first. Until the
caller comes again, the slot is kept for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

CLAIM_SECONDS = 10.0  #: a lease whose caller has not come by then is taken back
ASKS_AGAIN = 1.5  #: seconds for which a refused caller counts as waiting; callers ask again after 0.25 to 0.5
TURN_SECONDS = (
    2.0  #: of the only slot, before it goes to another caller; to start a worker anew takes a tenth of that
)
RECALL_AGAIN = 1.0  #: seconds until a slot that should come back is asked for again


class SlotState(Enum):
    """Where a slot's worker is."""

    EMPTY = "empty"  #: no process
    STARTING = "starting"  #: a process that does not listen yet
    IDLE = "idle"
    LEASED = "leased"


class Need(msgspec.Struct, frozen=True):
    """What a lease asks of a worker."""

    hash_seed: int
    loads: Mapping[str, str]  #: import name -> digest of the bundle that owns it
    main: str | None = None  #: digest of the program's own script
    tasks: str = ""  #: who sends tasks; empty for calls that only compute
    caller: str = ""  #: who asks
    optimize: int = 0  #: as in `LeaseRequest`


class Slot(msgspec.Struct):
    """One slot. ``run`` counts its processes, so that news of an old one is told from news of the new."""

    number: int
    state: SlotState = SlotState.EMPTY
    run: int = 0
    hash_seed: int = 0
    optimize: int = 0
    loads: dict[str, str] = {}
    main: str | None = None
    tasks: str = ""  #: whose tasks it has run
    token: str | None = None  #: the lease, also while the worker for it starts
    caller: str = ""  #: who has the lease
    recalled: float = float("-inf")  #: when it was asked back
    claimed: bool = False
    since: float = 0.0  #: when the lease was given

    def fits(self, need: Need) -> bool:
        """Whether its worker can serve that."""
        return (
            self.hash_seed == need.hash_seed
            and self.optimize == need.optimize
            and self.tasks in ("", need.tasks)
            and (self.main is None or need.main is None or self.main == need.main)
            and all(self.loads.get(name, digest) == digest for name, digest in need.loads.items())
        )

    def warmth(self, need: Need) -> int:
        """How many of the bundles are loaded already, less those that nobody asked for."""
        have = sum(1 for name in need.loads if name in self.loads) + (
            need.main is not None and self.main is not None
        )
        have += bool(need.tasks) and self.tasks == need.tasks
        return 2 * have - len(self.loads) - (self.main is not None)


class Start(msgspec.Struct, frozen=True):
    """Start a worker in that slot; end the one that is there, if any."""

    slot: Slot


class Assign(msgspec.Struct, frozen=True):
    """Tell that slot's worker about its lease."""

    slot: Slot


class Withdraw(msgspec.Struct, frozen=True):
    """Tell that slot's worker that this lease is over."""

    slot: Slot
    token: str


class Recall(msgspec.Struct, frozen=True):
    """Ask that slot's worker to end this lease as soon as the chunk at work is done."""

    slot: Slot
    token: str


Effect = Start | Assign | Withdraw | Recall


class Slots:
    """The slots of one pool."""

    def __init__(self, count: int, hash_seed: int) -> None:
        self.slots = [Slot(number, hash_seed=hash_seed) for number in range(count)]
        self._refused: dict[str, float] = {}  # callers, and when they were

    def fill(self) -> list[Effect]:
        """Start a worker in every empty slot."""
        empty = [slot for slot in self.slots if slot.state is SlotState.EMPTY]
        return [self._start(slot, slot.hash_seed, slot.optimize) for slot in empty]

    def free(self) -> int:
        """Slots that a lease could get."""
        return sum(slot.token is None for slot in self.slots)

    def lease(self, token: str, need: Need, now: float) -> tuple[Slot | None, list[Effect]]:
        """Give a slot, or None if all are leased, or kept for others. The worker may still have to start."""
        effects = self.sweep(now)
        free = [slot for slot in self.slots if slot.token is None]
        self._refused = {who: when for who, when in self._refused.items() if now - when < ASKS_AGAIN}
        mine = self._held(need.caller)
        poorer = [who for who in self._refused if who != need.caller and self._held(who) < mine]
        if len(free) <= len(poorer):
            self._refused[need.caller] = now
            return None, effects + self._recall(need.caller, now)
        self._refused.pop(need.caller, None)
        order = {SlotState.IDLE: 2, SlotState.STARTING: 1}

        def worth(slot: Slot) -> tuple[bool, int, int]:
            return slot.fits(need) and slot.state in order, order.get(slot.state, 0), slot.warmth(need)

        slot = max(free, key=worth)
        if slot.state not in order or not slot.fits(need):
            # of those that do not fit, replace one that has nothing, or else the one with the least to lose
            slot = min(free, key=lambda slot: (slot.state is not SlotState.EMPTY, len(slot.loads)))
            effects.append(self._start(slot, need.hash_seed, need.optimize))
        slot.token = token
        slot.caller = need.caller
        slot.recalled = float("-inf")
        slot.claimed = False
        slot.since = now
        slot.loads.update(need.loads)
        slot.main = need.main or slot.main
        slot.tasks = need.tasks or slot.tasks
        if slot.state is SlotState.IDLE:
            slot.state = SlotState.LEASED
            effects.append(Assign(slot))
        return slot, effects

    def ready(self, slot: Slot, now: float) -> list[Effect]:
        """The slot's worker listens."""
        if slot.token is None:
            slot.state = SlotState.IDLE
            return []
        slot.state = SlotState.LEASED
        slot.since = now
        return [Assign(slot)]

    def claimed(self, slot: Slot, token: str) -> None:
        """The leaseholder has come."""
        if slot.token == token:
            slot.claimed = True

    def over(self, slot: Slot, token: str) -> bool:
        """The lease ended by itself; whether it was this slot's present one."""
        if slot.token != token:
            return False
        slot.token = None
        if slot.state is SlotState.LEASED:
            slot.state = SlotState.IDLE
        return True

    def died(self, slot: Slot) -> None:
        """The slot's worker is gone, and its lease with it."""
        slot.state = SlotState.EMPTY
        slot.token = None
        slot.loads = {}
        slot.main = None
        slot.tasks = ""

    def release(self, token: str) -> list[Effect]:
        """The caller gives a lease back, or the node takes it."""
        for slot in self.slots:
            if slot.token == token:
                slot.token = None
                if slot.state is SlotState.LEASED:
                    slot.state = SlotState.IDLE
                    return [Withdraw(slot, token)]
        return []

    def _held(self, caller: str) -> int:
        return sum(slot.token is not None and slot.caller == caller for slot in self.slots)

    def _recall(self, caller: str, now: float) -> list[Effect]:
        """What to ask back for a caller that was refused: nothing, or one slot of the one that has most."""
        leased = [slot for slot in self.slots if slot.token is not None and slot.caller != caller]
        coming = sum(now - slot.recalled < RECALL_AGAIN for slot in leased)
        free = len(self.slots) - sum(slot.token is not None for slot in self.slots)
        if not leased or coming + free >= len(self._refused):
            return []
        mine = self._held(caller)
        slot = max(leased, key=lambda slot: (self._held(slot.caller), now - slot.since))
        more = self._held(slot.caller) - mine
        if now - slot.recalled < RECALL_AGAIN:
            return []
        if more < 2 and (mine or now - slot.since < TURN_SECONDS):
            return []
        slot.recalled = now
        assert slot.token is not None
        return [Recall(slot, slot.token)]

    def sweep(self, now: float) -> list[Effect]:
        """Take back the leases that nobody came for."""
        effects: list[Effect] = []
        for slot in self.slots:
            late = slot.state is SlotState.LEASED and not slot.claimed and now - slot.since > CLAIM_SECONDS
            if late and slot.token is not None:
                effects += self.release(slot.token)
        return effects

    @staticmethod
    def _start(slot: Slot, hash_seed: int, optimize: int) -> Start:
        slot.state = SlotState.STARTING
        slot.run += 1
        slot.hash_seed = hash_seed
        slot.optimize = optimize
        slot.loads = {}
        slot.main = None
        slot.tasks = ""
        return Start(slot)
