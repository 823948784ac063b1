"""The rows that this node writes about itself."""

from __future__ import annotations

from msgspec.structs import replace

from bundlebee.registry.members import view_hash
from bundlebee.registry.messages import Delta
from bundlebee.registry.rows import BundleRow, NodeRow, Pulse, RowSet


class Own:
    """Our own rows and our own sign of life. Each change makes a new version and yields the delta to send."""

    def __init__(self, node: NodeRow) -> None:
        self.node = node
        self.version = 1
        self.hash = view_hash(node.id, 1)
        self._first_name = node.name
        self._bundles: dict[str, BundleRow] = {}
        self._count = 0
        self._load = (node.load, node.busy, node.free)

    @property
    def bundles(self) -> tuple[BundleRow, ...]:
        return tuple(self._bundles.values())

    @property
    def rows(self) -> RowSet:
        return RowSet(self.version, self.node, self.bundles)

    def pulse(self) -> Pulse:
        """The next sign of life; never the same twice."""
        self._count += 1
        return Pulse(self.node.id, self.node.address, self.version, self._count, *self._load)

    def set_load(self, load: float, busy: float, free: int) -> None:
        self._load = (load, busy, free)
        self.node = replace(self.node, load=load, busy=busy, free=free)

    def set_node(self, row: NodeRow) -> Delta | None:
        load, busy, free = self._load
        row = replace(row, id=self.node.id, name=self.node.name, load=load, busy=busy, free=free)
        if row == self.node:
            return None
        self.node = row
        return self._changed(node=row)

    def rename(self, taken: set[str]) -> Delta:
        """Take a name that is not in `taken`: the first one we had, and as much of our id as that needs."""
        for digits in (4, 8, 16):
            name = f"{self._first_name}-{self.node.id[:digits]}"
            if name not in taken:
                break
        self.node = replace(self.node, name=name)
        return self._changed(node=self.node)

    def set_row(self, row: BundleRow) -> Delta | None:
        if self._bundles.get(row.digest) == row:
            return None
        self._bundles[row.digest] = row
        return self._changed(bundles=(row,))

    def drop_row(self, digest: str) -> Delta | None:
        if self._bundles.pop(digest, None) is None:
            return None
        return self._changed(dropped=(digest,))

    def _changed(
        self,
        node: NodeRow | None = None,
        bundles: tuple[BundleRow, ...] = (),
        dropped: tuple[str, ...] = (),
    ) -> Delta:
        base = self.version
        self.version += 1
        self.hash = view_hash(self.node.id, self.version)
        return Delta(self.pulse(), base, node, bundles, dropped)
