"""The peers of one program: which there are, and channels to their workers.

Peers are the nodes of the grid; with no node anywhere, a private pool of workers on this machine stands in.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bundlebee import settings
from bundlebee.calls import transports
from bundlebee.decisions.load import slots as own_slots
from bundlebee.environments import Environments
from bundlebee.errors import BundlebeeError, PeerBusy, PeerLost, WorkerLost, encodable
from bundlebee.left_out import BUSY, LOST, LeftOut
from bundlebee.loggers import get_logger
from bundlebee.place_table import PlaceTable
from bundlebee.words import OWN

if TYPE_CHECKING:
    from bundlebee.calls.keys import GridKeys
    from bundlebee.calls.lessee import Lessee
    from bundlebee.calls.transport import (
        BundlePath,
        Channel,
        Lessor,
        MainSource,
        Transport,
        Workers,
    )
    from bundlebee.guest import Guest
    from bundlebee.registry.snapshot import NodeView
    from bundlebee.words import BundleRef

log = get_logger("bundlebee.peers")


class Peers:
    """Who can take calls of this program.

    Args:
        guest: our membership in the grid.
        path: gives the place of a bundle on this disk.
        archive: gives a bundle's archive by digest, for peers that lack it.
        hash_seed: this process's ``PYTHONHASHSEED``.
        tasks: leases are for tasks, see `LeaseRequest`.
        requires: gives the requirements of a bundle, as in ``Requires-Dist``.

    Attributes:
        main: the program's own main module, which travels with each lease; None until the program is found.
        table: the places as decisions see them.
    """

    def __init__(
        self,
        guest: Guest,
        path: Callable[[BundleRef], BundlePath],
        archive: Callable[[str], bytes],
        hash_seed: int,
        *,
        tasks: str = "",
        requires: Callable[[BundleRef], Sequence[str]] = lambda ref: (),
    ) -> None:
        self._guest = guest
        self._path = path
        self._archive = archive
        self._hash_seed = hash_seed
        self._tasks = tasks
        self._environments = Environments(guest, requires)
        self._python = f"{sys.version_info.major}.{sys.version_info.minor}"
        self.main: MainSource | None = None
        self._left_out = LeftOut()
        self._known: tuple[object, list[NodeView]] = None, []  # the last snapshot, and who of it can be used
        self._closing = False
        self._lock = threading.RLock()
        self._lessee: Lessee | None = None
        self._transport: Transport | None = None
        self._pool: Workers | None = None
        self.table = PlaceTable(self._views, self._leases, lambda: self._pool)
        self._caller = f"{_program() or 'python'}-{os.getpid()}"

    # -- who there is ------------------------------------------------------------------------------------

    def expect(self) -> None:
        """Wait until a node is known, or until none is expected any more; then see to this machine's own cores."""
        if self._pool is not None or self._nodes():
            return
        self.wait_for_nodes()
        if not self._nodes():
            self._views()  # says why not
            self._start_pool()

    def wait_for_nodes(self) -> None:
        """Until a node of use is known, or until none is expected any more."""
        self._guest.wait_for(lambda grid: any(map(self._same_python, grid.nodes())))

    def anybody(self) -> bool:
        """Whether there is anybody who could take a call, now or after a while."""
        return self._pool is not None or bool(self._nodes())

    def coming(self) -> bool:
        """Whether a node may still be about to answer our greeting."""
        return not self._guest.settled()

    def busy(self) -> bool:
        """Whether somebody is left out for a moment only, such as a peer whose workers are all taken."""
        names = {OWN, *(view.row.name for view in self._nodes())}
        return self._left_out.for_a_moment(names)

    def slots(self, *, forced: bool, work: float | None) -> Sequence[tuple[str, int]]:
        """For a loop: each peer, with the number of its workers that the loop may lease.

        A peer on this very machine shares its cores with the caller's own thread, which works, too: so one worker
        less, unless the policy keeps the caller's thread idle.

        Args:
            forced: the caller's thread does not take items.
            work: the loop's length in seconds, if known; our own cores are not started for a short one.
        """
        slots = []
        views = self._views()
        for view in views:
            count = view.row.slots
            if not forced and self._on_this_machine(view):
                count = min(count, round(view.row.cores) - 1)
            if count > 0:
                slots.append((view.row.name, count))
        if not views and not self.coming() and not self._nodes():
            if self._pool is None and own_slots() > 1 and (work is None or work > 0.5):
                self._start_pool()
            if self._pool is not None and not self._left_out.has(OWN):
                count = self._pool.slots if forced else self._pool.slots - 1
                if count > 0:
                    slots.append((OWN, count))
        return slots

    def workers(self, *, alone: bool) -> Sequence[tuple[str, int]]:
        """For tasks that have to run in a worker: each peer, with the number of its workers.

        Args:
            alone: nobody has given us a worker for a while: use this machine's own cores, too.
        """
        workers = [(view.row.name, view.row.slots) for view in self._views()]
        if not settings.in_worker and (alone or not (workers or self.coming() or self._nodes())):
            self._start_pool()
        if self._pool is not None and not self._left_out.has(OWN):
            workers.append((OWN, self._pool.slots))
        return workers

    def ready(self, place: str) -> bool:
        """Whether there is a channel to that peer which nobody uses just now."""
        return self._lessee is not None and self._lessee.count(place)[0] > 0

    # -- channels ----------------------------------------------------------------------------------------

    def open(self, place: str, bundles: Sequence[BundleRef]) -> Channel:
        """A channel to a worker of that peer, which can import these bundles.

        Raises:
            EnvironmentDiffers: it has other versions of what a bundle needs.
            PeerBusy, PeerLost, CallError: see `bundlebee.errors`.
        """
        lessee = self._lessees()
        channel = lessee.reuse(place, bundles)
        if channel is not None:
            return channel
        from bundlebee.calls.request import LeaseRequest

        if place != OWN:
            for ref in bundles:
                self._environments.compare(place, ref)
        request = LeaseRequest(
            self._caller,
            self._python,
            self._hash_seed,
            tuple(bundles),
            self.main,
            self._tasks,
            sys.flags.optimize,
        )
        try:
            return lessee.take(self._lessor(place), request)
        except PeerBusy:
            self._left_out.put(place, BUSY)
            raise

    def open_again(self, channel: Channel, bundles: Sequence[BundleRef]) -> Channel:
        """As `open`, at the peer of a channel that was closed in the middle of a call. Its worker ends with that; waits for
        the next one, which takes its place.

        Raises:
            As `open`.
        """
        place = channel.node_name
        self._lessor(place).release(channel.token)
        return self.open(place, bundles)

    def done(self, channel: Channel) -> None:
        """Hand a channel back."""
        self._lessees().give_back(channel)

    def why_lost(self, channel: Channel, function: str, error: PeerLost) -> PeerLost:
        """A channel was lost in the middle of a call: a `WorkerLost` that says how the worker ended, if its node is
        there to be asked (which takes a second at the most, and is tried once while the node is left out)."""
        place = channel.node_name
        if self._closing or self._left_out.has(place):
            return error
        try:
            fate = self._lessor(place).fate(channel.token)
        except BundlebeeError:
            self._left_out.put(place, LOST)  # the node is gone, too; its other workers need not ask
            return error
        if fate is None:
            return error
        return WorkerLost(f"{place} lost the worker that had {function}", why=str(fate))

    def lost(self, place: str, error: BaseException) -> None:
        """Leave a peer out for a while, and say why, once."""
        if not self._closing:  # else we hung up ourselves
            self._left_out.lost(place, error)

    def after_fork(self) -> None:
        """In a child process: let go of the private pool, so that it ends with the parent."""
        if self._transport is not None:
            self._transport.after_fork()
        if self._pool is not None:
            self._pool.after_fork()

    def close(self) -> None:
        """Hang up everywhere and end the private pool."""
        with self._lock:  # somebody may be about to start the pool, and then it is started
            self._closing = True
        if self._lessee is not None:
            self._lessee.close()
        if self._pool is not None:
            self._pool.stop()
        self.table.close()

    # -- inside ------------------------------------------------------------------------------------------

    def _nodes(self) -> Sequence[NodeView]:
        """Nodes that may be of use, now or after a while: another Python stays another one."""
        return [view for view in self._guest.snapshot().nodes() if self._same_python(view)]

    def _same_python(self, view: NodeView) -> bool:
        return view.row.python.rpartition(".")[0] == self._python

    def _views(self) -> list[NodeView]:
        """Nodes with our minor version of Python that are not left out."""
        snapshot = self._guest.snapshot()
        if not self._left_out.until:
            known, views = self._known
            if known is snapshot:
                return views
        views = []
        for view in snapshot.nodes():
            if self._left_out.has(view.row.name):
                continue
            if not self._same_python(view):
                self._left_out.mismatch(view, self._python)
                continue
            views.append(view)
        if not self._left_out.until:
            self._known = snapshot, views
        return views

    def _on_this_machine(self, view: NodeView) -> bool:
        from bundlebee.platform import interfaces

        if not hasattr(self, "_addresses"):
            self._addresses = {one.address for one in interfaces()}
        return view.row.address.rpartition(":")[0] in self._addresses

    def _leases(self, place: str) -> tuple[int, int]:
        """Channels to that peer: idle, and in use."""
        return (0, 0) if self._lessee is None else self._lessee.count(place)

    def _lessees(self) -> Lessee:
        if self._lessee is None:
            from bundlebee.calls.lessee import Lessee

            with self._lock:
                if self._lessee is None:
                    self._lessee = Lessee()
        return self._lessee

    def _carrier(self) -> Transport:
        with self._lock:
            if self._transport is None:
                if self._guest.where.transport == transports.IN_PROCESS:
                    self._transport = transports.in_process()
                else:
                    if self._guest.keys is None:
                        # no grid: the private pool gets a key that nobody else knows
                        self._guest.keys = _keys()
                    self._transport = self._guest.network
            return self._transport

    def _lessor(self, place: str) -> Lessor:
        if place == OWN and self._pool is not None:
            return self._pool
        view = self._guest.snapshot().node(place)
        if view is None:
            raise PeerLost(f"lost {place}", why="it has left the grid")
        return self._carrier().node(place, view.row.address, self._archive)

    def _start_pool(self) -> None:
        with self._lock:
            if self._pool is not None or self._closing:
                return
            self._pool = self._carrier().workers(OWN, own_slots(), self._hash_seed, self._path)
            log.info(
                "no node answers: using %d worker%s on this machine", own_slots(), "s"[: own_slots() != 1]
            )
            self._pool.start()
            if not self._tasks:  # they go to whoever is free: nobody asks for loads
                self.table.watch()


def _program() -> str:
    arguments = getattr(sys, "argv", None)  # where Python is embedded there need be none
    return encodable(os.path.basename(arguments[0])) if arguments else ""


def _keys() -> GridKeys:
    from bundlebee.calls.keys import GridKey

    return GridKey(os.urandom(32)).derive()
