"""A channel to a worker process: over the short way of one host, else over TCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq

from bundlebee.calls import wire
from bundlebee.calls.call import Call
from bundlebee.calls.channel import LinkChannel
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.link import Link
from bundlebee.calls.local import connect
from bundlebee.calls.outcome import Batch, Ended, Outcome
from bundlebee.calls.sharing import Sharing
from bundlebee.calls.waiting import Waker, wait

if TYPE_CHECKING:
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.connection import Connection
    from bundlebee.calls.sent import Places

__all__ = ["Batch", "Call", "Ended", "LeaseChannel", "Outcome", "Waker", "call", "wait"]


class LeaseChannel(LinkChannel):
    """A channel to the worker at ``address``, for the lease ``token``.

    Connecting takes no time here: a worker that is not there shows as `PeerLost` in `poll`.

    Args:
        local: the name under which callers on the worker's own host find it, see `local`.
        places: where the workers of that node have what was sent to them.

    Raises:
        PeerBusy: the lease is over.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        keys: GridKeys,
        node_name: str,
        address: str,
        token: str,
        caller: str = "",
        local: str = "",
        places: Places | None = None,
    ) -> None:
        sharing = Sharing()
        near = connect(local, token, caller, node_name, address, sharing)
        link: Connection = Link(context, keys, address, node_name) if near is None else near
        super().__init__(link, node_name, address, token, sharing, places)
        if near is None:
            link.send([wire.encode(wire.Hello(token, caller))])


def call(
    channel: LinkChannel,
    call: Call,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    found: Walk | None = None,
    timeout: float | None = None,
) -> Outcome:
    """As `LinkChannel.call`."""
    return channel.call(call, args, kwargs, found=found, timeout=timeout)
