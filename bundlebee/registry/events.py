"""What goes into the registry (events) and what comes out of it (effects).

Events are facts: a message came, a question was answered, time passed, our own rows changed. Effects are
what the driver shall do, or what whoever watches the grid wants to know. Both are plain values, so a run can
be recorded and played again.
"""

from __future__ import annotations

from dataclasses import dataclass

from bundlebee.registry.messages import ExchangeAnswer, ExchangeRequest, Message
from bundlebee.registry.rows import BundleRow, NodeRow, Pulse, RowSet

# -- events --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """A multicast message came in, and its seal was good."""

    message: Message


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed. Due at `Registry.next_deadline()` at the latest."""


@dataclass(frozen=True, slots=True)
class SetSeeds:
    """These addresses (``host:port``) are asked even if multicast does not reach them."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetNode:
    """Our own node row is now this. Its id and its name stay what they are."""

    row: NodeRow


@dataclass(frozen=True, slots=True)
class SetRow:
    """We hold this bundle, in this state. The digest is the key."""

    row: BundleRow


@dataclass(frozen=True, slots=True)
class DropRow:
    """We no longer hold the bundle with this digest."""

    digest: str


@dataclass(frozen=True, slots=True)
class SetLoad:
    """Our load, the cores that are busy, and the slots that are free. Goes out with the next beat."""

    load: float
    busy: float
    free: int


@dataclass(frozen=True, slots=True)
class PullAnswered:
    """The end of a `Pull`; rows are None if nobody answered, or if the peer does not have them."""

    node: str
    address: str
    rows: RowSet | None


@dataclass(frozen=True, slots=True)
class ProbeAnswered:
    """The end of a `Probe`; pulse is None if nobody answered."""

    node: str
    pulse: Pulse | None


@dataclass(frozen=True, slots=True)
class ExchangeAnswered:
    """The end of an `Exchange`; answer is None if nobody answered."""

    address: str
    answer: ExchangeAnswer | None


@dataclass(frozen=True, slots=True)
class Leave:
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


@dataclass(frozen=True, slots=True)
class Multicast:
    message: Message


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask `address` for the rows of `node`; report with `PullAnswered`."""

    address: str
    node: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask `node` at `address` whether it lives; report with `ProbeAnswered`."""

    address: str
    node: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """Compare notes with whoever is at `address`; report with `ExchangeAnswered`."""

    address: str
    request: ExchangeRequest


# -- effects: to know ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Joined:
    node: NodeRow


@dataclass(frozen=True, slots=True)
class Changed:
    """Its node row or its bundles changed."""

    node: NodeRow


@dataclass(frozen=True, slots=True)
class Suspected:
    """It has been silent for `silent` seconds and is being asked."""

    node: NodeRow
    silent: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """It was suspected, and lives."""

    node: NodeRow


@dataclass(frozen=True, slots=True)
class Left:
    node: NodeRow
    why: str


@dataclass(frozen=True, slots=True)
class Renamed:
    """Somebody else has our name, and the right to it; ours is now `new`."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class SeedSilent:
    """Nobody answers at a seed's address. Said once, until it answers again."""

    address: str


@dataclass(frozen=True, slots=True)
class SeedHeard:
    """A seed that was silent, or was never heard before, answers."""

    address: str


Change = Joined | Changed | Suspected | Recovered | Left | Renamed | SeedSilent | SeedHeard
Effect = Multicast | Pull | Probe | Exchange | Change
