"""Waiting for many channels at once, whatever carries each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import zmq

from bundlebee.calls.waker import Waker

if TYPE_CHECKING:
    from bundlebee.calls.transport import Channel

    AnyChannel = TypeVar("AnyChannel", bound=Channel)

__all__ = ["Waker", "wait"]


def wait(
    channels: Sequence[AnyChannel], timeout: float | None = None, *, waker: Waker | None = None
) -> list[AnyChannel]:
    """The channels that have an outcome, or a loss, to tell; waits up to ``timeout`` seconds for one.

    An empty list means that the time is over or the waker has rung.
    """
    ready = [channel for channel in channels if channel.has_news]
    polled: list[tuple[Any, int]] = []
    owners: dict[int, AnyChannel] = {}
    for channel in channels:
        for one, events in channel.pollable():
            polled.append((one, events))
            owners[one if isinstance(one, int) else id(one)] = channel
    if waker is not None:
        polled.append((waker.fileno(), zmq.POLLIN))
    milliseconds = 0 if ready else -1 if timeout is None else int(timeout * 1000 + 0.999)
    found = {one if isinstance(one, int) else id(one) for one, _ in zmq.zmq_poll(polled, milliseconds)}
    if waker is not None and waker.fileno() in found:
        waker.clear()
    heard = {id(owners[one]) for one in found if one in owners}
    return [channel for channel in channels if channel in ready or id(channel) in heard]
