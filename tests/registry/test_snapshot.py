"""Look-ups in the picture of the grid."""

from __future__ import annotations

from bundlebee.registry.rows import BundleRow, NodeRow
from bundlebee.registry.snapshot import ALIVE, SUSPECT, NodeView, Snapshot


def view(name: str, *bundles: BundleRow, state: str = ALIVE, own: bool = False) -> NodeView:
    return NodeView(NodeRow(id=f"id-{name}", name=name, address=""), bundles, 0.0, state, own)


def bundle(name: str, version: str, digest: str, *imports: str, state: str = "active") -> BundleRow:
    return BundleRow(name=name, version=version, digest=digest, imports=imports or (name,), state=state)


OLD, NEW = bundle("pack", "1.9", "d19", "pack", "extra"), bundle("pack", "1.10", "d110", "pack")
GRID = Snapshot(
    (
        view("me", OLD, own=True),
        view("x", OLD, NEW, state=SUSPECT),
        view("y", NEW, bundle("odd", "not a version", "d3")),
        view("z", bundle("half", "1", "d4", state="installed")),
    )
)


def test_nodes_and_peers() -> None:
    assert [v.row.name for v in GRID.nodes()] == ["me", "x", "y", "z"]
    assert [v.row.name for v in GRID.peers()] == ["x", "y", "z"]


def test_a_node_is_found_by_id_or_name() -> None:
    assert GRID.node("id-x") is GRID.node("x") is GRID.views[1]
    assert GRID.node("nobody") is None


def test_holders_are_those_where_it_is_active_healthy_ones_first() -> None:
    assert [v.row.name for v in GRID.holders("d110")] == ["y", "x"]
    assert GRID.holders("d4") == [] == GRID.holders("unknown")


def test_bundles_are_found_newest_first_by_version_and_not_by_text() -> None:
    assert [found.bundle.version for found in GRID.find_bundle("pack")] == ["1.10", "1.9"]
    assert [found.bundle.digest for found in GRID.find_import("pack")] == ["d110", "d19"]
    assert [found.bundle.digest for found in GRID.find_import("extra")] == ["d19"]
    assert GRID.find_bundle("half") == [] == GRID.find_import("unknown")


def test_of_equal_versions_the_one_that_more_nodes_hold_comes_first() -> None:
    one, two = bundle("p", "1", "da"), bundle("p", "1", "db")
    grid = Snapshot((view("a", one), view("b", two), view("c", one)))
    assert [found.bundle.digest for found in grid.find_bundle("p")] == ["da", "db"]


def test_a_version_that_is_none_comes_last_and_breaks_nothing() -> None:
    grid = Snapshot((view("a", bundle("p", "weird!", "da")), view("b", bundle("p", "0.1", "db"))))
    assert [found.bundle.version for found in grid.find_bundle("p")] == ["0.1", "weird!"]


def test_all_bundles_by_name() -> None:
    assert [(f.bundle.name, f.bundle.version) for f in GRID.bundles()] == [
        ("odd", "not a version"),
        ("pack", "1.10"),
        ("pack", "1.9"),
    ]


def test_the_empty_grid() -> None:
    assert Snapshot().nodes() == [] == Snapshot().bundles()
