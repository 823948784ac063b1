"""What the registry is made of: the rows that a node writes about itself.

A node writes its own rows and nobody else's, so there is never a conflict to resolve: the rows of one node
carry one version number, and the higher number is the newer truth. A node's id is drawn anew at every start, and
stands for the node *and* its incarnation: a restarted node is a new writer.

What changes all the time (load, free slots) is not versioned. It rides on the beat, as a `Pulse`.
"""

from __future__ import annotations

import os

import msgspec

from bundlebee.words import BundleRef


def new_id() -> str:
    """A fresh node id: 16 hex digits, random."""
    return os.urandom(8).hex()


class NodeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One running node, as it describes itself."""

    id: str  #: drawn at start, see `new_id`
    name: str  #: for people; unique in a grid that has settled
    address: str  #: ``ip:port`` of the service socket
    pid: int = 0
    host: str = ""  #: host name of the machine
    python: str = ""  #: as in ``3.11.7``
    slots: int = 0  #: calls that may run at once
    cores: float = 0.0  #: CPU cores that the node may use; a container's quota counts
    speed: float = 1.0  #: of one core, relative to a reference machine
    load: float = 0.0  #: busy share of the cores, 0 to 1 (live: comes with the beat)
    busy: float = 0.0  #: cores that are busy (live: comes with the beat)
    free: int = 0  #: slots that nobody holds a lease on (live: comes with the beat)
    started: float = 0.0  #: wall-clock seconds since 1970
    distributions: str = ""  #: digest over the installed distributions


class BundleRow(msgspec.Struct, frozen=True, kw_only=True):
    """One bundle that a node holds."""

    name: str
    version: str
    digest: str  #: lower-case hex of the content digest
    imports: tuple[str, ...] = ()  #: the top-level import names it owns
    state: str = "active"  #: installed, resolved, starting, active, stopping or uninstalled

    @property
    def ref(self) -> BundleRef:
        return BundleRef(self.name, self.version, self.digest, self.imports)


class RowSet(msgspec.Struct, frozen=True, array_like=True):
    """All rows of one node, at one version."""

    version: int  #: 1 for the first; 0 means "none" wherever a version is asked for
    node: NodeRow
    bundles: tuple[BundleRow, ...] = ()

    @property
    def id(self) -> str:
        return self.node.id


class Pulse(msgspec.Struct, frozen=True, array_like=True):
    """The live part of a node. Each one a node sends has a higher `count` than the one before."""

    id: str
    address: str  #: repeated here, so that who hears an unknown node knows where to ask for its rows
    version: int  #: of its rows: who holds an older one pulls
    count: int  #: sign of life; grows with every message, never repeats
    load: float = 0.0
    busy: float = 0.0
    free: int = 0
