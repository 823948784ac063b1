"""A guest: a process that joins a grid to use it, and hosts nothing.

The commands `exec`, `call`, `nodes`, `bundles` and `decisions` are guests. A guest needs the grid's key; without a
key file there is no grid for it, and it works alone. It finds the grid through the node on its own machine if there
is one (at once), by multicast, and by ``--peer``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from bundlebee import late, presence
from bundlebee.calls import transports
from bundlebee.calls.secret import check_grid_name
from bundlebee.clock import clock
from bundlebee.errors import BundlebeeError, CallError, PeerLost
from bundlebee.loggers import get_logger
from bundlebee.registry.rows import BundleRow, NodeRow
from bundlebee.registry.snapshot import NodeView, Snapshot
from bundlebee.settings import DISCOVERY, GridOptions

if TYPE_CHECKING:
    from bundlebee.calls.keys import GridKey, GridKeys
    from bundlebee.calls.transports import Network
    from bundlebee.platform import Interface
    from bundlebee.registry.multicast import RegistryDriver

_NOBODY = Snapshot()
LATE_THREADS = 9  #: eight ask peers (`registry.asking`), one hangs up

log = get_logger("bundlebee.guest")


class Guest:
    """Membership in a grid, as an observer. Use as a context manager, or `join` and `leave`.

    Raises:
        KeyFileError: the key file that was named cannot be used.
        InterfaceError: the interface that was named does not exist.
    """

    def __init__(self, where: GridOptions) -> None:
        self.where = where
        self._key: GridKey | None = where.load_key(create=False)
        if self._key is not None:
            check_grid_name(where.grid)
        self._keys: GridKeys | None = None
        self.own_node: presence.Note | None = None  #: the node on this machine
        self.interface: Interface | None = None
        self._driver: RegistryDriver | None = None
        self._network: Network | None = None
        self._joined = 0.0
        self._joining = False
        self._reserved = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.join()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    @property
    def keys(self) -> GridKeys | None:
        """The grid's keys; None where there is no grid."""
        if self._keys is None and self._key is not None:
            self._keys = self._key.derive(self.where.grid)
        return self._keys

    @keys.setter
    def keys(self, keys: GridKeys) -> None:
        self._keys = keys

    def orient(self) -> None:
        """Choose the interface and find the node on this machine: what costs next to nothing. Says nothing to anybody."""
        if self._key is None or self.interface is not None:
            return
        from bundlebee.platform import choose_interface

        self.interface = choose_interface(self.where.interface)
        self.own_node = next(iter(presence.find(self._key.fingerprint(self.where.grid))), None)

    def join(self) -> None:
        """Say hello; answers come in the background. Does nothing where there is no key, or the second time."""
        if self._key is None or self._driver is not None or self._joining:
            return
        if self.where.transport == transports.IN_PROCESS:
            return
        # what is imported here may look for a module that nobody has, and so lead to `Workshop.fetch` and back
        self._joining = True
        try:
            self._join()
        finally:
            self._joining = False

    def _join(self) -> None:
        from bundlebee.registry.multicast import RegistryDriver
        from bundlebee.registry.state import Registry

        self.orient()
        assert self.interface is not None and self.keys is not None
        seeds = self.where.peers
        if self.own_node is not None and self.own_node.address not in seeds:
            seeds = (*seeds, self.own_node.address)
        registry = Registry(None, clock.monotonic())
        driver = RegistryDriver(registry, self.keys.datagram, self.interface, seeds, self._ask)
        driver.foreigners.level = logging.INFO
        late.reserve(LATE_THREADS)
        self._reserved = LATE_THREADS
        driver.start()
        self._joined = clock.monotonic()
        self._driver = driver

    def forget(self) -> None:
        """After a fork, in the child: there is no grid for this process."""
        self._key = self.own_node = None

    def leave(self, *, hang_up: bool = True) -> None:
        """Leave the grid, and hang up everywhere."""
        try:
            self._leave(hang_up)
        finally:
            late.dismiss(self._reserved)
            self._reserved = 0

    def _leave(self, hang_up: bool) -> None:
        if self._driver is not None:
            self._driver.stop(goodbye=False)
        if self._network is None:
            return
        self._network.close()
        if not hang_up:
            return
        # to close a socket that another thread waits at ends the process
        if self._driver is None or self._driver.asked():
            self._network.destroy()
        else:
            try:
                threading.Thread(target=self._hang_up, name="bundlebee-ask", daemon=True).start()
            except RuntimeError:
                pass  # the interpreter ends, and all that is open with it

    def _hang_up(self) -> None:
        """When the last question has its answer, or none in time."""
        if self._driver is not None and self._network is not None:
            self._driver.asked(None)
            self._network.destroy()

    @property
    def network(self) -> Network:
        """What reaches nodes, and workers; only where there are keys."""
        with self._lock:
            if self._network is None:
                assert self.keys is not None
                self._network = transports.network(self.keys)
            return self._network

    def ask(
        self, address: str, op: str, body: bytes = b"", *, timeout: float = 5.0
    ) -> tuple[bytes, list[bytes]]:
        """Ask a node, as `rpc.Client.request`.

        Args:
            address: ``ip:port``.
            timeout: seconds.

        Raises:
            PeerLost, CallTimeout: it does not answer.
            BundlebeeError: what it raises.
        """
        return self.network.client.request(address, op, body, timeout=timeout)

    def snapshot(self) -> Snapshot:
        """The grid as known now; empty where there is none."""
        return _NOBODY if self._driver is None else self._driver.snapshot()

    def settled(self) -> bool:
        """Whether a node that has not answered yet is not expected any more."""
        return self._driver is None or clock.monotonic() - self._joined > DISCOVERY

    def wait_for(self, wished: Callable[[Snapshot], bool], seconds: float = DISCOVERY) -> Snapshot:
        """The grid once it looks as wished, or ``seconds`` after we joined."""
        if self._driver is not None:
            self._driver.wait_for(wished, max(0.0, seconds - (clock.monotonic() - self._joined)))
        return self.snapshot()

    def wait_for_nodes(self) -> Snapshot:
        """The grid once a node is known, or once none is expected any more."""
        return self.wait_for(lambda grid: bool(grid.nodes()))

    def look(self) -> Snapshot:
        """The grid once all of it is likely to have answered: at once with a node on this machine, else after `DISCOVERY`."""
        if self._driver is None:
            return Snapshot()
        if self.own_node is not None:
            try:
                body, _ = self.ask(self.own_node.address, "view", timeout=2.0)
            except BundlebeeError:
                self.own_node = None  # the note was stale
            else:
                views = msgspec.msgpack.decode(body, type=list[tuple[NodeRow, tuple[BundleRow, ...], str]])
                return Snapshot(tuple(NodeView(row, bundles, 0.0, state) for row, bundles, state in views))
        return self.wait_for(lambda _grid: False)

    def silence(self) -> str:
        """Why there is nobody to be seen, and the next step, for people."""
        if self.keys is None:
            return (
                f"no grid: there is no key file {self.where.key_path}\n"
                "  next: start `bundlebee run` here, or copy the key file of your grid to that path"
            )
        assert self.interface is not None
        return (
            f"no node of the grid {self.keys.grid!r} (key {self.keys.fingerprint}) answers on "
            f"{self.interface.name} ({self.interface.address})\n"
            "  next: is `bundlebee run` running there, with the same key file? is it the right --interface?"
            " try --peer HOST:PORT"
        )

    def decisions(self, node: presence.Note, *, after: int, wait: float, kind: Any) -> tuple[int, list[Any]]:
        """Decision records that a node has heard of since number ``after``.

        Args:
            wait: seconds to wait for the first one.
            kind: the record type.

        Returns:
            the number to ask with next time, and the records, oldest first.
        """
        body, _ = self.ask(
            node.address, "decisions.read", msgspec.msgpack.encode((after, wait)), timeout=wait + 5.0
        )
        decoded: tuple[int, list[Any]] = msgspec.msgpack.decode(body, type=tuple[int, list[kind]])
        return decoded

    def _ask(self, address: str, op: str, body: bytes) -> bytes | None:
        try:
            return self.ask(address, op, body, timeout=2.0)[0]
        except (PeerLost, CallError) as error:
            log.debug("%s of %s: %s", op, address, error)
            return None
        except BundlebeeError:
            return None
