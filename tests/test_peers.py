"""Who counts as a peer."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from bundlebee.guest import Guest
from bundlebee.peers import OWN, Peers
from bundlebee.registry.rows import NodeRow
from bundlebee.registry.snapshot import NodeView, Snapshot
from bundlebee.settings import GridOptions

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"


class Pool:
    slots = 2

    def free(self) -> int:
        return 2


def peers(monkeypatch: pytest.MonkeyPatch, *pythons: str) -> Peers:
    guest = Guest(GridOptions.from_environment({}))
    views = tuple(
        NodeView(
            NodeRow(id=f"i{n}", name=f"n{n}", address="127.0.0.1:1", python=one, slots=3), (), 0.0, "alive"
        )
        for n, one in enumerate(pythons)
    )
    monkeypatch.setattr(guest, "snapshot", lambda: Snapshot(views))
    monkeypatch.setattr(guest, "settled", lambda: True)
    found: Any = Peers(guest, lambda ref: None, lambda digest: b"", 1)  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(found, "_start_pool", lambda: setattr(found, "_pool", Pool()))
    return found


def test_a_node_with_another_python_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = peers(monkeypatch, "2.7.18")
    assert not alone.anybody()
    assert alone.workers(alone=False) == [(OWN, 2)]
    looped = peers(monkeypatch, "2.7.18")
    looped.expect()
    assert looped.anybody() and looped.slots(forced=True, work=None) == [(OWN, 2)]


def test_one_with_ours_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = peers(monkeypatch, "2.7.18", f"{OURS}.99")
    found.expect()
    assert found.anybody() and found.workers(alone=False) == [("n1", 3)]
    assert found.slots(forced=True, work=None) == [("n1", 3)]
