"""One explicit call: what `bundlebee call` does.

Unlike calls of a program under `exec`, this one is asked for by name, so it is shipped without an analysis, and
at most once: a peer that is lost while it runs is an error.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundlebee.errors import BundleNotFound, CallTimeout, PeerBusy, PeerLost
from bundlebee.guest import Guest
from bundlebee.peers import Peers
from bundlebee.settings import DISCOVERY, GridOptions
from bundlebee.words import OWN, BundleRef, FunctionRef
from bundlebee.workshop import Workshop

if TYPE_CHECKING:
    from bundlebee.calls.transport import Channel, Outcome

BUSY_SECONDS = 10.0  #: how long a busy grid is asked again when no time-out was given


def call_once(
    where: GridOptions,
    directory: Path | None,
    module: str,
    qualname: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    timeout: float | None = None,
) -> Outcome:
    """Call ``module:qualname`` on the grid.

    Args:
        directory: of bundles of our own, for a machine without a grid; None is ``./bundles``.
        timeout: seconds for everything; None waits for the result without limit.

    Raises:
        BundleNotFound: nobody holds a bundle with that import name.
        UnknownFunction: the bundle has no such function.
        Unshippable: an argument or the result cannot travel.
        PeerLost: the peer died while the call ran.
        CallTimeout: no result in time.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    with Guest(where) as guest:
        workshop = Workshop(directory, (), guest)
        seed = 1 if guest.keys is None else guest.keys.hash_seed
        peers = Peers(guest, workshop.path, workshop.archive, seed)
        try:
            ref, places = _places(guest, workshop, peers, module)
            channel, place = _lease(peers, ref, places, deadline)
            try:
                return _ship(channel, place, ref, module, qualname, args, kwargs, deadline)
            except PeerLost as error:
                channel.close()
                raise peers.why_lost(channel, f"{module}:{qualname}", error) from None
            finally:
                peers.done(channel)
        finally:
            peers.close()


def _places(guest: Guest, workshop: Workshop, peers: Peers, module: str) -> tuple[BundleRef, Sequence[str]]:
    """The bundle, and who may run it: the node of this machine first, then those that hold it."""
    top = module.partition(".")[0]
    note = guest.own_node
    grid = guest.wait_for(
        lambda grid: bool(grid.find_import(top)) and (note is None or grid.node(note.id) is not None),
        DISCOVERY,
    )
    found = grid.find_import(top)
    own = None if guest.own_node is None else grid.node(guest.own_node.id)
    first = [] if own is None else [own.row.name]
    if found:
        holders = [view.row.name for view in found[0].nodes]
        return found[0].bundle, [*first, *(name for name in holders if name not in first)]
    claim = workshop.claims.get(top)
    if claim is None:
        if not grid.nodes():
            raise BundleNotFound(f"no bundle {top!r} here, and no grid to ask", hint=guest.silence())
        names = ", ".join(sorted({row.name for view in grid.nodes() for row in view.bundles})) or "none"
        raise BundleNotFound(
            f"no node of the grid holds a bundle with the import name {top!r}",
            why=f"it holds {names}",
            hint="drop the package into the bundles directory of a node, or see `bundlebee bundles`",
        )
    if grid.nodes():
        return claim.bundle, first or [view.row.name for view in grid.nodes()]
    peers.expect()
    return claim.bundle, [OWN]


def _lease(
    peers: Peers, ref: BundleRef, places: Sequence[str], deadline: float | None
) -> tuple[Channel, str]:
    until = time.monotonic() + BUSY_SECONDS if deadline is None else deadline
    pause = 0.05
    while True:
        problem: PeerBusy | PeerLost | None = None
        for place in places:
            try:
                return peers.open(place, [ref]), place
            except (PeerBusy, PeerLost) as error:
                # a lost peer is the last word only where no busy one is left to wait for
                problem = error if problem is None or isinstance(error, PeerBusy) else problem
        assert problem is not None
        if isinstance(problem, PeerLost) or time.monotonic() + pause > until:
            raise problem
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)


def _ship(
    channel: Channel,
    place: str,
    ref: BundleRef,
    module: str,
    qualname: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    deadline: float | None,
) -> Outcome:
    from bundlebee.calls.call import Call

    function = FunctionRef(ref.name, ref.digest, module, qualname)
    channel.submit(Call(function, recursion_limit=sys.getrecursionlimit()), [(args, kwargs)])
    while True:
        outcomes = channel.poll(None if deadline is None else max(0.0, deadline - time.monotonic()))
        if outcomes:
            return outcomes[0]
        if deadline is not None and time.monotonic() >= deadline:
            channel.close()
            raise CallTimeout(
                f"no result of {function.name} from {place} in time", why="the call there has been cancelled"
            )
