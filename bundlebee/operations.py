"""What a node answers to: leases, bundles, decisions, and its view of the grid. Any thread of its server may ask."""

from __future__ import annotations

import logging
import platform as python_platform
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from bundlebee.bundles import installed
from bundlebee.calls.control import BundlePath
from bundlebee.calls.leasing import PIECE, BundleOffer, BundlePiece, LeaseAnswer, LeaseRequest
from bundlebee.decisions.records import Decision, text
from bundlebee.errors import BundleNotFound, CallError
from bundlebee.loggers import get_logger
from bundlebee.registry.multicast import OPERATIONS

if TYPE_CHECKING:
    from bundlebee.bundles.carrier import Carrier
    from bundlebee.bundles.manager import Manager
    from bundlebee.bundles.repository import Bundle, Repository
    from bundlebee.calls.pool import WorkerPool
    from bundlebee.ledger import Ledger
    from bundlebee.registry.multicast import RegistryDriver
    from bundlebee.words import BundleRef

log = get_logger("bundlebee.node")

Handler = Callable[[bytes, Sequence[bytes]], tuple[bytes, Sequence[bytes]]]
"""Takes the body of a request and its buffers, and gives those of the answer."""


class Operations:
    """Of one node.

    Args:
        name: gives the node's name, which may change.
    """

    def __init__(
        self,
        name: Callable[[], str],
        pool: WorkerPool,
        repository: Repository,
        manager: Manager,
        carrier: Carrier,
        driver: RegistryDriver,
        ledger: Ledger,
    ) -> None:
        self._name = name
        self._pool = pool
        self._repository = repository
        self._manager = manager
        self._carrier = carrier
        self._driver = driver
        self._ledger = ledger
        self._uploads: dict[str, bytearray] = {}
        self._lock = threading.Lock()

    def handlers(self) -> dict[str, Handler]:
        """What answers which operation."""
        handlers: dict[str, Handler] = {
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
        for op in OPERATIONS:
            handlers[op] = self._registry(op)
        return handlers

    def _registry(self, op: str) -> Handler:
        return lambda body, _buffers: (self._driver.serve(op, body), ())

    def _lease(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        request = msgspec.msgpack.decode(body, type=LeaseRequest)
        own = ".".join(python_platform.python_version_tuple()[:2])
        if request.python != own:
            raise CallError(
                f"{self._name()} runs Python {own}, the caller {request.python}",
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
        lacking = self._manager.lacking([path.ref.digest for path in paths])
        if lacking is not None:
            raise CallError(
                f"{self._name()} cannot run this: {lacking.what}", why=lacking.why, hint=lacking.hint
            )
        grant = self._pool.lease(
            paths,
            request.main,
            request.hash_seed,
            request.caller,
            tasks=request.tasks,
            optimize=request.optimize,
        )
        return msgspec.msgpack.encode(LeaseAnswer(grant.token, grant.address, local=grant.local)), ()

    def _hold(self, ref: BundleRef) -> Bundle | None:
        """The bundle, fetched from a node that has it if it is not here; None if nobody has."""
        bundle = self._repository.get(ref.digest)
        if bundle is not None:
            return bundle
        bundle = self._repository.recall(ref)
        if bundle is not None:
            self._manager.adopt(bundle)
            return bundle
        holders = [view for view in self._driver.snapshot().holders(ref.digest) if not view.own]
        if not holders:
            return None
        try:
            bundle = self._carrier.get(ref, [view.row.address for view in holders])
        except BundleNotFound:
            return None
        log.info("fetched %s %s from %s", ref.name, ref.version, holders[0].row.name)
        self._manager.adopt(bundle)
        return bundle

    def _release(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        self._pool.release(body.decode("ascii", "replace"))
        return b"", ()

    @staticmethod
    def _tell_distributions(body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        names = msgspec.msgpack.decode(body, type=list[str])
        return msgspec.msgpack.encode(installed.versions(names)), ()

    def _fate(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        return msgspec.msgpack.encode(self._pool.fate(body.decode("ascii", "replace"))), ()

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
            bundle = self._repository.add(offer.ref, whole)
            log.info("took %s %s from a caller", offer.ref.name, offer.ref.version)
            self._manager.adopt(bundle)
        return b"", ()

    def _fetched(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        piece = msgspec.msgpack.decode(body, type=BundlePiece)
        archive = self._repository.archive(piece.digest)
        return str(len(archive)).encode(), (archive[piece.offset : piece.offset + PIECE],)

    def _view(self, _body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        """The grid as this node sees it, for commands on its machine."""
        views = [(view.row, view.bundles, view.state) for view in self._driver.snapshot().nodes()]
        return msgspec.msgpack.encode(views), ()

    def _told(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        records, summary = msgspec.msgpack.decode(body, type=tuple[list[tuple[Decision, bool]], list[str]])
        self._ledger.add([record for record, _changed in records])
        for record, changed in records:
            level = logging.INFO if changed else logging.DEBUG
            if log.isEnabledFor(level):
                log.log(level, "%s", text(record))
        for line in summary:
            log.info("%s", line)
        return b"", ()

    def _read(self, body: bytes, _buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        after, wait = msgspec.msgpack.decode(body, type=tuple[int, float])
        return msgspec.msgpack.encode(self._ledger.read(after, min(max(wait, 0.0), 10.0))), ()
