"""A node: everything that one `bundlebee run` puts together.

registry driver   who is there, who holds what                 (bundlebee.registry)
service socket    leases, bundles, pulls, decisions            (bundlebee.calls.rpc, bundlebee.operations)
worker pool       the processes that execute shipped calls     (bundlebee.calls.pool)
repository        the bundles; a manager follows the directory (bundlebee.bundles)
"""

from __future__ import annotations

import logging
import os
import platform as python_platform
import signal
import socket
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
import zmq

from bundlebee import presence
from bundlebee.bundles import installed
from bundlebee.bundles.carrier import Carrier
from bundlebee.bundles.manager import Manager
from bundlebee.bundles.repository import Bundle, Repository, State
from bundlebee.calls.leasing import BundlePiece
from bundlebee.calls.pool import WorkerPool
from bundlebee.calls.rpc import Client, Server
from bundlebee.calls.security import strangers
from bundlebee.decisions.load import Sampler, slots
from bundlebee.decisions.speed import speed
from bundlebee.errors import CallError, ConfigurationError, PortInUse
from bundlebee.ledger import Ledger
from bundlebee.loggers import get_logger
from bundlebee.operations import Operations
from bundlebee.platform import choose_interface
from bundlebee.registry import events as ev
from bundlebee.registry.multicast import RegistryDriver
from bundlebee.registry.rows import BundleRow, NodeRow, new_id
from bundlebee.registry.state import Registry
from bundlebee.settings import GridOptions, cache_directory

log = get_logger("bundlebee.node")

LOOK_SECONDS = 10.0  #: between two looks at what is installed, which take a millisecond each
DEFAULT_PORT = 7766  #: so that a seed can be named by its host; where it is taken, any free port will do


class NodeOptions(msgspec.Struct, frozen=True):
    """What `bundlebee run` was asked for."""

    where: GridOptions
    directory: Path | None = None  #: of bundles; None is ``./bundles``, which need not exist
    name: str | None = None
    workers: int | None = None
    port: int | None = None
    policy: str = "auto"  #: of programs on this machine that name none themselves


class Node:
    """One node. `start`, then `stop`; or `run`, which serves until a signal comes.

    Raises:
        ConfigurationError: the key, the interface, the port or the directory cannot be used.
    """

    def __init__(self, options: NodeOptions) -> None:
        self.options = options
        directory = options.directory if options.directory is not None else Path("bundles")
        if not directory.is_dir():
            if options.directory is not None or directory.exists():
                raise ConfigurationError(
                    f"{directory} is not a directory", hint="name the directory that your packages lie in"
                )
            log.info("there is no ./bundles here: this node brings no bundles, and takes what flows to it")
        self.interface = choose_interface(options.where.interface)
        keys = options.where.load_keys(create=True)
        assert keys is not None
        self.keys = keys
        self.name = options.name or socket.gethostname().split(".")[0] or "node"
        self.id = new_id()
        self.ledger = Ledger()
        self._context: zmq.Context[Any] = zmq.Context()
        self._server = self._listen()
        self.address = self._server.address
        self._client = Client(self._context, keys)
        self.pool = WorkerPool(
            keys,
            self.name,
            self.interface.address,
            options.workers or slots(),
            log,
            self._pulse,
            where=self._own_grid(),
        )
        self._sampler = Sampler(self.pool.pids)
        self._distributions = installed.digest(installed.versions())
        self.repository = Repository(directory if directory.is_dir() else None, copy=True)
        self.carrier = Carrier(self.repository, self._fetch_piece)
        self.manager = Manager(self.repository, self._announce, self._withdraw)
        self.driver = RegistryDriver(
            Registry(self._row(), time.monotonic()),
            keys.datagram,
            self.interface,
            options.where.peers,
            self._ask,
            self._changed,
        )
        self.driver.foreigners.unnamed = strangers.first  # one line a stranger, whichever door it tries first
        self._operations = Operations(
            lambda: self.name,
            self.pool,
            self.repository,
            self.manager,
            self.carrier,
            self.driver,
            self.ledger,
        )
        self._note: Path | None = None
        self._stop = threading.Event()
        self._last_load = 0.0
        self._looked = time.monotonic()  # at what is installed

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve and say hello. Returns at once; workers listen some 0.2 s later."""
        self.pool.start()
        for op, handler in self._operations.handlers().items():
            self._server.handle(op, handler)
        self._sampler.start()
        self.driver.start()
        self.manager.start()
        self._note = presence.leave(
            presence.Note(
                id=self.id,
                grid=self.keys.fingerprint,
                address=self.address,
                pid=os.getpid(),
                started=time.time(),
                policy=self.options.policy,
            )
        )
        self._pulse()

    def stop(self) -> None:
        """Say good-bye and end everything: no process, socket, thread or note is left."""
        presence.remove(self._note)
        self.manager.stop()
        self.driver.stop(goodbye=True)
        self.ledger.close()
        self._server.close()
        self.pool.stop()
        self._sampler.stop()
        self._client.close()
        self._context.destroy(linger=0)

    def run(self) -> None:
        """Serve until Ctrl-C or SIGTERM."""

        def leave(number: int, _frame: FrameType | None) -> None:
            log.info("leaving: %s", signal.Signals(number).name)
            self._stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, leave)
        grid = self.keys.grid
        log.info(
            "%s serves at %s on %s with %d worker%s; grid %r, key %s",
            self.name,
            self.address,
            self.interface.name,
            self.pool.slots,
            "" if self.pool.slots == 1 else "s",
            grid,
            "OPEN" if self.keys.open else self.options.where.key_path,
        )
        if self.keys.open:
            log.warning(
                "the grid %r is open: whoever reaches this network can run code on this machine", grid
            )
        self.start()
        try:
            while not self._stop.wait(1.0):
                self._pulse()
                self._look_at_distributions()
        finally:
            self.stop()
        log.info("%s has left the grid", self.name)

    def _own_grid(self) -> dict[str, Any]:
        """The grid as our workers' tasks reach it: through us."""
        where = self.options.where
        peers = (self.address, *where.peers)
        return msgspec.structs.asdict(
            msgspec.structs.replace(where, peers=peers, interface=self.interface.address)
        )

    def _listen(self) -> Server:
        ip, port = self.interface.address, self.options.port
        try:
            return Server(self._context, self.keys, ip, port or DEFAULT_PORT)
        except PortInUse:
            if port is not None:
                self._context.destroy(linger=0)
                raise
            log.debug("port %d is taken; using a free one", DEFAULT_PORT)
            # a context of its own: the first one's doorman may not have left yet
            self._context.destroy(linger=0)
            self._context = zmq.Context()
            return Server(self._context, self.keys, ip, None)

    # -- the registry ------------------------------------------------------------------------------------

    def _row(self) -> NodeRow:
        load = self._sampler.load()
        return NodeRow(
            id=self.id,
            name=self.name,
            address=self.address,
            pid=os.getpid(),
            host=socket.gethostname(),
            python=python_platform.python_version(),
            slots=self.pool.slots,
            cores=load.cores,
            speed=speed(cache_directory()),
            started=time.time(),
            free=self.pool.slots,
            distributions=self._distributions,
        )

    def _pulse(self) -> None:
        """Put our load into the next beat."""
        load = self._sampler.load()
        share = min(1.0, load.busy / load.cores) if load.cores else 0.0
        self.driver.call(ev.SetLoad(share, load.foreign, self.pool.free()))

    def _look_at_distributions(self) -> None:
        """Somebody may install or upgrade something while we run."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        found = installed.digest(installed.versions())
        if found != self._distributions:
            self._distributions = found
            self.driver.call(ev.SetNode(self._row()))

    def _announce(self, bundle: Bundle) -> None:
        ref = bundle.ref
        level = logging.INFO if bundle.state is State.ACTIVE else logging.DEBUG
        log.log(level, "bundle %s %s is %s (%s)", ref.name, ref.version, bundle.state, ref.digest[:12])
        self.driver.call(
            ev.SetRow(
                BundleRow(
                    name=ref.name,
                    version=ref.version,
                    digest=ref.digest,
                    imports=ref.imports,
                    state=str(bundle.state),
                )
            )
        )

    def _withdraw(self, bundle: Bundle) -> None:
        log.info("bundle %s %s is gone (%s)", bundle.ref.name, bundle.ref.version, bundle.ref.digest[:12])
        self.driver.call(ev.DropRow(bundle.ref.digest))

    def _changed(self, change: ev.Change) -> None:
        if isinstance(change, ev.Joined):
            node = change.node
            log.info(
                "node %s joined: %s, %d slots, Python %s", node.name, node.address, node.slots, node.python
            )
        elif isinstance(change, ev.Left):
            log.info("node %s left: %s", change.node.name, change.why)
        elif isinstance(change, ev.Suspected):
            log.info("node %s has been silent for %.1f s and is being asked", change.node.name, change.silent)
        elif isinstance(change, ev.Renamed):
            log.warning("another node is called %s; this one is %s from now on", change.old, change.new)
            self.name = change.new
        elif isinstance(change, ev.SeedSilent):
            log.warning("nobody answers at %s yet (--peer); asking again", change.address)

    def _ask(self, address: str, op: str, body: bytes) -> bytes | None:
        try:
            return self._client.request(address, op, body, timeout=2.0)[0]
        except CallError as error:
            log.debug("%s of %s: %s", op, address, error)
            return None

    def _fetch_piece(self, address: str, digest: str, offset: int) -> tuple[int, bytes]:
        body, buffers = self._client.request(
            address, "bundle.fetch", msgspec.msgpack.encode(BundlePiece(digest, offset)), timeout=30.0
        )
        return int(body), buffers[0]
