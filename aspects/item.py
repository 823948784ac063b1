"""One turn of a loop that is spread: where it is, and what stands in for the call once its result is there."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundlebee.aspects.supply import Supply


class State(Enum):
    """Where an item is."""

    WAITING = "waiting"  #: in the queue
    AWAY = "away"  #: with a peer
    READY = "ready"  #: its result is here
    OURS = "ours"  #: the program itself must run it


class Item:
    """One turn of the loop."""

    __slots__ = ("args", "deaths", "kwargs", "place", "state", "targets", "value")

    def __init__(self, targets: Any) -> None:
        self.targets = targets
        self.args: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.state = State.WAITING
        self.place: Supply | None = None
        self.value: Any = None
        self.deaths = 0  #: workers that ended while it was in the chunk at work


class Ready:
    """Stands in for the function at a turn whose result is already here."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.value
