"""What we know of the other nodes: signs of life, rows, and who left.

Bookkeeping only. What follows from it is decided in `others`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from bundlebee.hashing import blake2b
from bundlebee.registry.messages import Delta, Heard
from bundlebee.registry.rows import NodeRow, Pulse, RowSet
from bundlebee.registry.snapshot import ALIVE, NodeView

#: How many nodes that left are remembered, so that late datagrams and late gossip do not bring them back.
REMEMBERED = 1_024

LONG_AGO = float("-inf")


def view_hash(id: str, version: int) -> int:
    """The hash of one node at one version. The xor of these over all nodes is the hash of a view."""
    return int.from_bytes(blake2b(f"{id}:{version}".encode(), digest_size=8).digest(), "big")


class Member:
    """One other node."""

    __slots__ = (
        "advanced",
        "differs",
        "direct",
        "heard",
        "probed",
        "pulse",
        "rows",
        "state",
        "told_by",
        "unrelayed",
        "view",
    )

    def __init__(self, pulse: Pulse, heard: float) -> None:
        self.pulse = pulse  #: its last sign of life
        self.heard = heard  #: when that was sent, on our clock
        self.direct = LONG_AGO  #: when multicast last brought us something from the node itself
        self.told_by: str | None = None  #: address of whoever told us; None if it was the node itself
        self.rows: RowSet | None = None
        self.state = ALIVE
        self.advanced = False  #: it gave a sign of life since we know of it, so it is no ghost
        self.unrelayed = False  #: the LAN has not been told of this sign of life
        self.view = 0  #: hash of its view of the grid, as it last said
        self.differs: float | None = None  #: since when its view of the grid differs from ours
        self.probed: float | None = None  #: when it was last asked whether it lives

    @property
    def have(self) -> int:
        """The version of its rows that we hold; 0 if none."""
        return 0 if self.rows is None else self.rows.version

    @property
    def node(self) -> NodeRow | None:
        """Its node row with the live values of its last pulse; None while unknown."""
        if self.rows is None:
            return None
        pulse = self.pulse
        return replace(self.rows.node, load=pulse.load, busy=pulse.busy, free=pulse.free)


class _Gone:
    __slots__ = ("count", "rows")

    def __init__(self, count: float, rows: RowSet | None) -> None:
        self.count = count  #: only a higher one brings it back; infinite if nothing shall
        self.rows = rows  #: kept, so that a healed partition needs no pulls


class Members:
    """All other nodes that we know of, by id."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._gone: dict[str, _Gone] = {}
        self.view = 0  #: xor of `view_hash` over all members whose rows we hold

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._members.values())

    def get(self, id: str) -> Member | None:
        return self._members.get(id)

    def admit(self, pulse: Pulse, heard: float) -> Member | None:
        """A node that we do not know gives this sign of life. None if it is one that left, and this is old."""
        gone = self._gone.get(pulse.id)
        if gone is not None and pulse.count <= gone.count:
            return None
        member = self._members[pulse.id] = Member(pulse, heard)
        if gone is not None:
            del self._gone[pulse.id]
            if gone.rows is not None:
                self.put(member, gone.rows)
        return member

    def put(self, member: Member, rows: RowSet) -> bool:
        """Take its rows; says whether they are newer than what we had."""
        if member.rows is not None:
            if rows.version <= member.rows.version:
                return False
            self.view ^= view_hash(rows.id, member.rows.version)
        member.rows = rows
        self.view ^= view_hash(rows.id, rows.version)
        return True

    def apply(self, member: Member, delta: Delta) -> bool:
        """Take a change of its rows; False if it does not build on what we hold."""
        rows = member.rows
        if rows is None or rows.version != delta.base:
            return False
        bundles = {bundle.digest: bundle for bundle in rows.bundles}
        for digest in delta.dropped:
            bundles.pop(digest, None)
        bundles.update((bundle.digest, bundle) for bundle in delta.bundles)
        node = rows.node if delta.node is None else delta.node
        return self.put(member, RowSet(delta.pulse.version, node, tuple(bundles.values())))

    def drop(self, id: str, forever: bool) -> Member | None:
        """Forget a node; remember that it left. With `forever`, no sign of life brings it back."""
        member = self._members.pop(id, None)
        if member is not None and member.rows is not None:
            self.view ^= view_hash(id, member.rows.version)
        if forever:
            self._remember(id, _Gone(float("inf"), None))
        elif member is not None:
            self._remember(id, _Gone(member.pulse.count, member.rows))
        return member

    def _remember(self, id: str, gone: _Gone) -> None:
        self._gone.pop(id, None)
        self._gone[id] = gone
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def names(self) -> set[str]:
        return {member.rows.node.name for member in self if member.rows is not None}

    def heard(self, now: float, within: float) -> tuple[Heard, ...]:
        """Everybody's last sign of life that is not older than `within` seconds."""
        return tuple(Heard(m.pulse, max(0.0, now - m.heard), m.have) for m in self if now - m.heard < within)

    def shift(self, seconds: float) -> None:
        """We were not listening for `seconds`: let nobody's silence count for that time."""
        for member in self:
            member.heard += seconds
            member.direct += seconds
            if member.differs is not None:
                member.differs += seconds

    def views(self) -> list[NodeView]:
        views = []
        for member in self:
            node = member.node
            if node is not None and member.rows is not None:
                views.append(NodeView(node, member.rows.bundles, member.heard, member.state))
        return views
