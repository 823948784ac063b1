"""What goes into the registry (events) and what comes out of it (effects).

Events are facts: a message came, a question was answered, time passed, our own rows changed. Effects are
what the driver shall do, or what whoever watches the grid wants to know. Both are plain values, so a run can
be recorded and played again.
"""

from __future__ import annotations

import msgspec

from bundlebee.registry.messages import ExchangeAnswer, ExchangeRequest, Message
from bundlebee.registry.rows import BundleRow, NodeRow, Pulse, RowSet

# -- events --------------------------------------------------------------------------------------------------


class Received(msgspec.Struct, frozen=True):
    """A multicast message came in, and its seal was good."""

    message: Message


class Tick(msgspec.Struct, frozen=True):
    """Time passed. Due at `Registry.next_deadline()` at the latest."""


class SetSeeds(msgspec.Struct, frozen=True):
    """These addresses (``host:port``) are asked even if multicast does not reach them."""

    addresses: tuple[str, ...]


class SetNode(msgspec.Struct, frozen=True):
    """Our own node row is now this. Its id and its name stay what they are."""

    row: NodeRow


class SetRow(msgspec.Struct, frozen=True):
    """We hold this bundle, in this state. The digest is the key."""

    row: BundleRow


class DropRow(msgspec.Struct, frozen=True):
    """We no longer hold the bundle with this digest."""

    digest: str


class SetLoad(msgspec.Struct, frozen=True):
    """Our load, the cores that are busy, and the slots that are free. Goes out with the next beat."""

    load: float
    busy: float
    free: int


class PullAnswered(msgspec.Struct, frozen=True):
    """The end of a `Pull`; rows are None if nobody answered, or if the peer does not have them."""

    node: str
    address: str
    rows: RowSet | None


class ProbeAnswered(msgspec.Struct, frozen=True):
    """The end of a `Probe`; pulse is None if nobody answered."""

    node: str
    pulse: Pulse | None


class ExchangeAnswered(msgspec.Struct, frozen=True):
    """The end of an `Exchange`; answer is None if nobody answered."""

    address: str
    answer: ExchangeAnswer | None


class Leave(msgspec.Struct, frozen=True):
    """We stop. Says good-bye; after that the registry is silent."""


Event = (
    Received
    | Tick
    | SetSeeds
    | SetNode
    | SetRow
    | DropRow
    | SetLoad
    | PullAnswered
    | ProbeAnswered
    | ExchangeAnswered
    | Leave
)

# -- effects: to do ------------------------------------------------------------------------------------------


class Multicast(msgspec.Struct, frozen=True):
    message: Message


class Pull(msgspec.Struct, frozen=True):
    """Ask `address` for the rows of `node`; report with `PullAnswered`."""

    address: str
    node: str


class Probe(msgspec.Struct, frozen=True):
    """Ask `node` at `address` whether it lives; report with `ProbeAnswered`."""

    address: str
    node: str


class Exchange(msgspec.Struct, frozen=True):
    """Compare notes with whoever is at `address`; report with `ExchangeAnswered`."""

    address: str
    request: ExchangeRequest


# -- effects: to know ----------------------------------------------------------------------------------------


class Joined(msgspec.Struct, frozen=True):
    node: NodeRow


class Changed(msgspec.Struct, frozen=True):
    """Its node row or its bundles changed."""

    node: NodeRow


class Suspected(msgspec.Struct, frozen=True):
    """It has been silent for `silent` seconds and is being asked."""

    node: NodeRow
    silent: float


class Recovered(msgspec.Struct, frozen=True):
    """It was suspected, and lives."""

    node: NodeRow


class Left(msgspec.Struct, frozen=True):
    node: NodeRow
    why: str


class Renamed(msgspec.Struct, frozen=True):
    """Somebody else has our name, and the right to it; ours is now `new`."""

    old: str
    new: str


class SeedSilent(msgspec.Struct, frozen=True):
    """Nobody answers at a seed's address. Said once, until it answers again."""

    address: str


class SeedHeard(msgspec.Struct, frozen=True):
    """A seed that was silent, or was never heard before, answers."""

    address: str


Change = Joined | Changed | Suspected | Recovered | Left | Renamed | SeedSilent | SeedHeard
Effect = Multicast | Pull | Probe | Exchange | Change
