"""The grid as one process sees it at one moment: an immutable picture with look-ups."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bundlebee.registry.rows import BundleRow, NodeRow
from bundlebee.words import BundleRef

ALIVE = "alive"
SUSPECT = "suspect"
ACTIVE = "active"


class NodeView(msgspec.Struct, frozen=True):
    """One node, as seen from here. The row's load, busy and free are those of its last beat."""

    row: NodeRow
    bundles: tuple[BundleRow, ...]
    last_seen: float  #: on the driver's clock (``time.monotonic()`` unless told otherwise)
    state: str  #: `ALIVE` or `SUSPECT`
    own: bool = False  #: it is this very process


class Found(msgspec.Struct, frozen=True):
    """A bundle and the nodes where it is active, those that were heard last first."""

    bundle: BundleRef
    nodes: tuple[NodeView, ...]


class Snapshot:
    """A picture of the grid. Cheap to keep, safe to use in any thread; it does not change.

    Args:
        views: our own first, then by name.
    """

    __slots__ = ("_holders", "_index", "_refs", "views")

    def __init__(self, views: tuple[NodeView, ...] = ()) -> None:
        self.views = views
        self._index: dict[str, NodeView] = {}
        self._holders: dict[str, list[NodeView]] = {}
        self._refs: dict[str, BundleRow] = {}
        for view in views:
            self._index[view.row.id] = view
            for bundle in view.bundles:
                if bundle.state == ACTIVE:
                    self._refs.setdefault(bundle.digest, bundle)
                    self._holders.setdefault(bundle.digest, []).append(view)

    def nodes(self) -> list[NodeView]:
        """All nodes, our own included."""
        return list(self.views)

    def peers(self) -> list[NodeView]:
        """All nodes but our own."""
        return [view for view in self.views if not view.own]

    def node(self, key: str) -> NodeView | None:
        """The node with this id or, if there is none, with this name."""
        view = self._index.get(key)
        return view or next((view for view in self.views if view.row.name == key), None)

    def holders(self, digest: str) -> list[NodeView]:
        """The nodes where the bundle with this digest is active; healthy ones first."""
        return sorted(self._holders.get(digest, ()), key=lambda view: view.state != ALIVE)

    def bundles(self) -> list[Found]:
        """All active bundles of the grid, by name, newest version first."""
        return self._found(self._refs.values())

    def find_bundle(self, name: str) -> list[Found]:
        """The active bundles with this name; newest version first, then the one more nodes hold."""
        return self._found(row for row in self._refs.values() if row.name == name)

    def find_import(self, name: str) -> list[Found]:
        """The active bundles that own this top-level import name; ordered as `find_bundle` does."""
        return self._found(row for row in self._refs.values() if name in row.imports)

    def _found(self, rows: Iterable[BundleRow]) -> list[Found]:
        found = [Found(row.ref, tuple(self.holders(row.digest))) for row in rows]
        if len(found) > 1:
            found.sort(key=lambda one: (len(one.nodes), one.bundle.digest), reverse=True)
            found.sort(key=lambda one: _version_key(one.bundle.version), reverse=True)
            found.sort(key=lambda one: one.bundle.name)
        return found


def _version_key(text: str) -> tuple[bool, object, str]:
    # Imported here: 8 ms that a guest which never compares two versions need not pay.
    from packaging.version import InvalidVersion, Version

    try:
        return True, Version(text), ""
    except InvalidVersion:
        return False, 0, text
