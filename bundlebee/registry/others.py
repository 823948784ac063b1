"""What follows from what we learn of the other nodes: who joined, who changed, who is doubted, who left."""

from __future__ import annotations

import random

from bundlebee.registry.events import (
    Changed,
    Effect,
    Joined,
    Left,
    Probe,
    Pull,
    PullAnswered,
    Recovered,
    Suspected,
)
from bundlebee.registry.members import Member, Members
from bundlebee.registry.messages import Delta, Heard
from bundlebee.registry.rows import Pulse, RowSet
from bundlebee.registry.snapshot import ALIVE, SUSPECT
from bundlebee.registry.timing import Timing

_NEVER = float("inf")


class Others:
    """The other nodes. Everything that happens to one of them happens in here, and is told to `effects`.

    Args:
        id: our own, which is never one of the others.
        effects: the list that effects are appended to; its owner empties it.
    """

    def __init__(self, id: str, chance: random.Random, timing: Timing, effects: list[Effect]) -> None:
        self.members = Members()
        self.changed_at = 0.0  #: when our view of the grid last changed
        self.dirty = True  #: something that a snapshot shows has changed; reset by its maker
        self.touched: list[Member] = []  #: whose names may collide with ours; emptied by whoever looks
        self._id = id
        self._random = chance
        self._timing = timing
        self._effects = effects
        self._at_address: dict[str, str] = {}  # address → id of the node there
        self._pull_at: dict[str, float] = {}  # node id → when to pull its rows
        self._pulling: dict[str, float] = {}  # node id → when to give up waiting for the answer

    # -- signs of life ------------------------------------------------------------------------------------

    def hear(self, pulse: Pulse, now: float) -> Member | None:
        """A node itself spoke, by multicast. None if it is us, or has left before it said this."""
        member = self._hear(pulse, now, now, None, multicast=True)
        if member is not None:
            member.direct = now
        return member

    def hear_of(self, heard: Heard, told_by: str, now: float, multicast: bool) -> Member | None:
        """Somebody at address `told_by` (empty if it has none) passed on a sign of life.

        Old news bring nobody back: who has been silent for too long has left, noticed or not.
        """
        if not 0 <= heard.age < self._timing.expire:
            return None
        return self._hear(heard.pulse, now - heard.age, now, told_by, multicast)

    def _hear(
        self, pulse: Pulse, at: float, now: float, told_by: str | None, multicast: bool
    ) -> Member | None:
        if pulse.id == self._id:
            return None
        member = self.members.get(pulse.id)
        if member is None:
            member = self.members.admit(pulse, at)
            if member is None:
                return None
            member.advanced = told_by is None
            if member.rows is not None:
                self._rows_changed(member, known=False, now=now)
        elif pulse.count <= member.pulse.count:
            if multicast and pulse.count == member.pulse.count:
                member.unrelayed = False
            return member
        else:
            member.pulse = pulse
            if at > member.heard:
                member.heard = at
            if not member.advanced:
                member.advanced = True
                self.touched.append(member)
        member.told_by = told_by
        member.unrelayed = not multicast
        self.dirty = True
        if member.state is SUSPECT and now - member.heard < self._timing.suspect:
            member.state = ALIVE
            member.probed = None
            if (node := member.node) is not None:
                self._effects.append(Recovered(node))
        if member.have < pulse.version:
            self._plan_pull(member, now)
        return member

    def unrelayed(self, now: float) -> list[Heard]:
        """Signs of life that this LAN has not been told of. Each is returned once."""
        news = []
        for member in self.members:
            if member.unrelayed:
                member.unrelayed = False
                news.append(Heard(member.pulse, max(0.0, now - member.heard), member.have))
        return news

    def directly(self, member: Member | None, now: float) -> bool:
        """Whether multicast reaches us from that node."""
        return member is not None and now - member.direct < self._timing.suspect

    # -- rows -----------------------------------------------------------------------------------------------

    def put(self, rows: RowSet, now: float) -> None:
        """All rows of a node that we have heard of."""
        member = self.members.get(rows.id)
        if member is not None:
            known = member.rows is not None
            if self.members.put(member, rows):
                self._rows_changed(member, known, now)

    def apply(self, member: Member, delta: Delta, now: float) -> None:
        """A change of a node's rows. If one before it was lost, the pull that is planned then will tell."""
        if self.members.apply(member, delta):
            self._rows_changed(member, known=True, now=now)

    def _rows_changed(self, member: Member, known: bool, now: float) -> None:
        self.dirty = True
        self.changed_at = now
        node = member.node
        assert node is not None
        if member.have >= member.pulse.version:
            self._pull_at.pop(node.id, None)
        self._effects.append(Changed(node) if known else Joined(node))
        self.touched.append(member)
        self._only_one_at(node.address, member, now)

    def _only_one_at(self, address: str, member: Member, now: float) -> None:
        """A port belongs to one process: of two nodes at one address, the one that started first has died."""
        other = self.members.get(self._at_address.get(address, ""))
        self._at_address[address] = member.pulse.id
        if other is None or other is member or other.rows is None or member.rows is None:
            return
        if other.rows.node.started > member.rows.node.started:
            self._at_address[address] = other.pulse.id
            other = member
        self.drop(other.pulse.id, "started anew", now, forever=True)

    def drop(self, id: str, why: str, now: float, *, forever: bool) -> None:
        """A node left. With `forever`, nothing brings this incarnation of it back."""
        member = self.members.drop(id, forever)
        self._pull_at.pop(id, None)
        self._pulling.pop(id, None)
        if member is not None and (node := member.node) is not None:
            if self._at_address.get(node.address) == id:
                del self._at_address[node.address]
            self.dirty = True
            self.changed_at = now
            self._effects.append(Left(node, why))

    # -- pulls -----------------------------------------------------------------------------------------------

    def _plan_pull(self, member: Member, now: float) -> None:
        id = member.pulse.id
        if id not in self._pull_at and id not in self._pulling:
            least = self._timing.overtaken if member.have else 0.0
            most = min(self._timing.pull_max, self._timing.pull * len(self.members))
            self._pull_at[id] = now + self._random.uniform(least, least + most)

    def next_pull(self) -> float:
        return min(self._pull_at.values()) if self._pull_at else _NEVER

    def pull(self, now: float) -> None:
        """Send the pulls that are due, to the node itself or to whoever told us of it."""
        for id in [id for id, at in self._pull_at.items() if at <= now]:
            del self._pull_at[id]
            member = self.members.get(id)
            if member is not None and member.have < member.pulse.version:
                addresses = {member.pulse.address, member.told_by or member.pulse.address}
                self._pulling[id] = now + self._timing.answer_lost
                self._effects.append(Pull(self._random.choice(sorted(addresses)), id))

    def pulled(self, event: PullAnswered, now: float) -> None:
        """A pull is over."""
        self._pulling.pop(event.node, None)
        if event.rows is not None:
            self.put(event.rows, now)
        member = self.members.get(event.node)
        if member is not None and member.have < member.pulse.version:
            self._pull_at[event.node] = now + self._timing.pull_again

    # -- silence ---------------------------------------------------------------------------------------------

    def sweep(self, now: float, patience: float) -> bool:
        """Look for silence; says whether somebody is newly doubted.

        Args:
            patience: what to multiply the time-outs by.
        """
        suspect, expire = self._timing.suspect * patience, self._timing.expire * patience
        doubted = False
        for member in [member for member in self.members if now - member.heard >= suspect]:
            silent = now - member.heard
            if silent >= expire:
                self.drop(member.pulse.id, f"silent for {silent:.0f} s", now, forever=False)
                continue
            if member.state is ALIVE:
                member.state = SUSPECT
                self.dirty = doubted = True
                if (node := member.node) is not None:
                    self._effects.append(Suspected(node, silent))
            if member.probed is None or now - member.probed >= self._timing.probe:
                member.probed = now
                self._effects.append(Probe(member.pulse.address, member.pulse.id))
        for id in [id for id, at in self._pulling.items() if at <= now]:
            del self._pulling[id]
        return doubted
