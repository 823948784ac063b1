"""The worker's end of a connection, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class CallerGone(Exception):
    """Whom an answer was for is not there any more."""


class Way(Protocol):
    """The way back to one caller."""

    def is_same(self, other: Way | None) -> bool:
        """Whether it leads to the same caller."""

    def send(self, frames: Sequence[Any], copy: bool = True, wait: bool = True) -> None:
        """Send an answer; waits for a caller who reads slowly, or without ``wait`` drops what there is no room for.

        Raises:
            CallerGone: it has hung up.
        """

    def hang_up(self) -> None:
        """End the connection, so that the caller hears of it at once. Any thread may."""


class Letters(Protocol):
    """The messages of one worker; `poll` and `keep` are for whoever holds the lock over the answers."""

    idle: Callable[[], bool]
    """Does something while nothing is asked, for a millisecond; whether there is more to do."""

    def call(self) -> None:
        """End the wait of `next` that is going on, or else the next one. Any thread may."""

    def next(self) -> tuple[Way, list[Any]] | None:
        """The next message, and whom to answer; waits for it. None: somebody has called."""

    def poll(self) -> tuple[Way, list[Any]] | None:
        """A message that has come already, and was not kept."""

    def keep(self, message: tuple[Way, list[Any]]) -> None:
        """Put a message back, behind those that were put back before: `next` will give it."""

    def dismiss(self, way: Way) -> None:
        """The lease of that caller is over, and it was told so."""
