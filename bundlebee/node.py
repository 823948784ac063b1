"""A node: everything that one `bundlebee run` puts together.

registry driver   who is there, who holds what                 (bundlebee.registry)
service socket    leases, bundles, pulls, decisions            (bundlebee.calls.rpc)
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
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from bundlebee import presence
from bundlebee.bundles import installed
from bundlebee.bundles.carrier import Carrier
from bundlebee.bundles.manager import Manager
from bundlebee.bundles.repository import Bundle, Repository, State
from bundlebee.calls.control import BundlePath
from bundlebee.calls.leasing import PIECE, BundleOffer, BundlePiece, LeaseAnswer, LeaseRequest
from bundlebee.calls.pool import WorkerPool
from bundlebee.calls.rpc import Client, Server
from bundlebee.calls.security import strangers
from bundlebee.decisions.load import Sampler, slots
from bundlebee.decisions.records import Decision, text
from bundlebee.decisions.speed import speed
from bundlebee.errors import BundleNotFound, CallError, ConfigurationError, PortInUse
from bundlebee.ledger import Ledger
from bundlebee.loggers import get_logger
from bundlebee.platform import choose_interface
from bundlebee.registry import events as ev
from bundlebee.registry.multicast import OPERATIONS, RegistryDriver
from bundlebee.registry.rows import BundleRow, NodeRow, new_id
from bundlebee.registry.state import Registry
from bundlebee.settings import GridOptions, cache_directory

if TYPE_CHECKING:
    from bundlebee.words import BundleRef

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
        self._uploads: dict[str, bytearray] = {}
        self._lock = threading.Lock()
        self.driver = RegistryDriver(
            Registry(self._row(), time.monotonic()),
            keys.datagram,
            self.interface,
            options.where.peers,
            self._ask,
            self._changed,
        )
        self.driver.foreigners.unnamed = strangers.first  # one line a stranger, whichever door it tries first
        self._note: Path | None = None
        self._stop = threading.Event()
        self._last_load = 0.0
        self._looked = time.monotonic()  # at what is installed

    # -- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Serve and say hello. Returns at once; workers listen some 0.2 s later."""
        self.pool.start()
        handlers: dict[str, Callable[[bytes, Sequence[bytes]], tuple[bytes, Sequence[bytes]]]] = {
            "lease": self._lease,
            "release": self._release,
            "fate": self._fate,
            "distributions": self._tell_distributions,
            "bundle.offer": self._offered,
            "bundle.fetch": self._fetched,
            "decisions.tell": self._told,
            "decisions.read": self._read,
            "view": self._view,
        }
        for op, handler in handlers.items():
            self._server.handle(op, handler)
        for op in OPERATIONS:
            self._server.handle(op, self._registry(op))
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

    def _registry(self, op: str) -> Callable[[bytes, Sequence[bytes]], tuple[bytes, Sequence[bytes]]]:
        return lambda body, _buffers: (self.driver.serve(op, body), ())

    # -- operations --------------------------------------------------------------------------------------

    def _lease(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        request = msgspec.msgpack.decode(body, type=LeaseRequest)
        own = ".".join(python_platform.python_version_tuple()[:2])
        if request.python != own:
            raise CallError(
                f"{self.name} runs Python {own}, the caller {request.python}",
                why="calls go between equal minor versions only",
                hint=f"run the program with Python {own}, or a node with {request.python}",
            )
        paths, missing = [], []
        for ref in request.bundles:
            bundle = self._hold(ref)
            if bundle is None:
                missing.append(ref.digest)
            else:
                paths.append(BundlePath(bundle.ref, bundle.path))
        if missing:
            return msgspec.msgpack.encode(LeaseAnswer(missing=tuple(missing))), ()
        lacking = self.manager.lacking([path.ref.digest for path in paths])
        if lacking is not None:
            raise CallError(
                f"{self.name} cannot run this: {lacking.what}", why=lacking.why, hint=lacking.hint
            )
        grant = self.pool.lease(paths, request.main, request.hash_seed, request.caller, tasks=request.tasks)
        return msgspec.msgpack.encode(LeaseAnswer(grant.token, grant.address, local=grant.local)), ()

    def _hold(self, ref: BundleRef) -> Bundle | None:
        """The bundle, fetched from a node that has it if it is not here; None if nobody has."""
        bundle = self.repository.get(ref.digest)
        if bundle is not None:
            return bundle
        bundle = self.repository.recall(ref)
        if bundle is not None:
            self.manager.adopt(bundle)
            return bundle
        holders = [view for view in self.driver.snapshot().holders(ref.digest) if not view.own]
        if not holders:
            return None
        try:
            bundle = self.carrier.get(ref, [view.row.address for view in holders])
        except BundleNotFound:
            return None
        log.info("fetched %s %s from %s", ref.name, ref.version, holders[0].row.name)
        self.manager.adopt(bundle)
        return bundle

    def _release(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        self.pool.release(body.decode("ascii", "replace"))
        return b"", ()

    @staticmethod
    def _tell_distributions(body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        names = msgspec.msgpack.decode(body, type=list[str])
        return msgspec.msgpack.encode(installed.versions(names)), ()

    def _fate(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        return msgspec.msgpack.encode(self.pool.fate(body.decode("ascii", "replace"))), ()

    def _offered(self, body: bytes, buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        offer = msgspec.msgpack.decode(body, type=BundleOffer)
        whole: bytes | None = None
        with self._lock:
            if offer.offset == 0:
                if len(self._uploads) >= 16:
                    self._uploads.clear()  # left over from callers that went away
                self._uploads[offer.ref.digest] = bytearray()
            upload = self._uploads.get(offer.ref.digest)
            if upload is None or len(upload) != offer.offset:
                raise CallError("a piece of a bundle is missing", hint="offer it again from its beginning")
            upload += buffers[0]
            if len(upload) >= offer.total:
                whole = bytes(self._uploads.pop(offer.ref.digest))
        if whole is not None:
            bundle = self.repository.add(offer.ref, whole)
            log.info("took %s %s from a caller", offer.ref.name, offer.ref.version)
            self.manager.adopt(bundle)
        return b"", ()

    def _fetched(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        piece = msgspec.msgpack.decode(body, type=BundlePiece)
        archive = self.repository.archive(piece.digest)
        return str(len(archive)).encode(), (archive[piece.offset : piece.offset + PIECE],)

    def _fetch_piece(self, address: str, digest: str, offset: int) -> tuple[int, bytes]:
        body, buffers = self._client.request(
            address, "bundle.fetch", msgspec.msgpack.encode(BundlePiece(digest, offset)), timeout=30.0
        )
        return int(body), buffers[0]

    def _view(self, _body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        """The grid as this node sees it, for commands on its machine."""
        views = [(view.row, view.bundles, view.state) for view in self.driver.snapshot().nodes()]
        return msgspec.msgpack.encode(views), ()

    def _told(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        records, summary = msgspec.msgpack.decode(body, type=tuple[list[tuple[Decision, bool]], list[str]])
        self.ledger.add([record for record, _changed in records])
        for record, changed in records:
            level = logging.INFO if changed else logging.DEBUG
            if log.isEnabledFor(level):
                log.log(level, "%s", text(record))
        for line in summary:
            log.info("%s", line)
        return b"", ()

    def _read(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        after, wait = msgspec.msgpack.decode(body, type=tuple[int, float])
        return msgspec.msgpack.encode(self.ledger.read(after, min(max(wait, 0.0), 10.0))), ()
