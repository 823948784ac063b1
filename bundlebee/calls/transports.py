"""Where the implementations of `transport.Transport` are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bundlebee.calls.keys import GridKeys
    from bundlebee.calls.network import Network as Network
    from bundlebee.calls.transport import Transport

NETWORK: Final = "network"
IN_PROCESS: Final = "in-process"
KINDS: Final = (NETWORK, IN_PROCESS)
"""The values of ``BUNDLEBEE_TRANSPORT``."""


def network(keys: GridKeys) -> Network:
    """Worker processes of this host and of the grid's nodes."""
    from bundlebee.calls.network import Network

    return Network(keys)


def in_process() -> Transport:
    """Threads of this process; there is no grid."""
    from bundlebee.calls.inprocess import InProcess

    return InProcess()
