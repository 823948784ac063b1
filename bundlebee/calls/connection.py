"""The protocol that carries messages to one worker and back, whatever it is made of.

There are three: `link.Link` over TCP, `local.LocalLink` on one host, `queues.QueueLink` inside of one process. A channel
(`channel.LinkChannel`) speaks over any of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from bundlebee.errors import PeerLost


class Connection(Protocol):
    """What carries messages to one worker and back: `link.Link`, `local.LocalLink`, `queues.QueueLink`."""

    lost: str | None
    """Why the worker is lost, once it is."""
    closed: bool
    keeps: bool
    """The worker keeps large frames: one that came need not come again."""

    def send(self, frames: Sequence[Any], *, copy: bool = True) -> bool:
        """Queue one message. False if the queue is full: read what has arrived, then try again.

        Raises:
            PeerLost: the connection is known to be gone.
        """

    def recv(self, timeout: float | None = None) -> list[Any] | None:
        """The next message; None after ``timeout`` seconds.

        Raises:
            PeerLost: the connection is gone, and everything that had arrived before was read.
        """

    def pollable(self) -> list[tuple[Any, int]]:
        """What to wait for, for `zmq.zmq_poll`."""

    def check_lost(self) -> bool:
        """Whether the worker is lost, as far as is known without waiting."""

    def give_up(self, why: str) -> None:
        """Hang up, as if the worker were lost: the next to ask for a message is told so."""

    def peer_lost(self) -> PeerLost:
        """The error to raise for it."""

    def close(self) -> None:
        """Hang up."""
