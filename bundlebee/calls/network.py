"""Worker processes, on this host and on others: ZeroMQ and CURVE between hosts, Unix sockets and shared memory on one.

A lease is asked for with a request (`rpc`) at a node, or of a pool of the program's own (`pool`); the channel then leads to
the worker itself (`client`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from bundlebee.calls import local
from bundlebee.calls.client import LeaseChannel
from bundlebee.calls.fate import Fate
from bundlebee.calls.leasing import PIECE, BundleOffer, BundlePiece, LeaseAnswer, LeaseRequest
from bundlebee.calls.pool import WorkerPool
from bundlebee.calls.rpc import Client
from bundlebee.calls.sent import Places
from bundlebee.errors import CallError

if TYPE_CHECKING:
    from bundlebee.calls.control import BundlePath
    from bundlebee.calls.keys import GridKeys
    from bundlebee.calls.transport import Lessor
    from bundlebee.words import BundleRef

LEASE_SECONDS = 30.0  #: a peer may have to fetch a bundle and start a worker first
FATE_SECONDS = 1.5  #: a node waits for a second for a worker's end; one that is dead itself answers nothing
OWN_IP = "127.0.0.1"


class Network:
    """See `transport.Transport`. One for a process and its keys.

    Attributes:
        client: asks nodes.
    """

    separate = True

    def __init__(self, keys: GridKeys) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._keys = keys
        self._lock = threading.Lock()
        self._places: dict[str, Places] = {}  # of buffers, by lessor
        self.client = Client(self._context, keys)

    def node(self, name: str, address: str, archive: Callable[[str], bytes]) -> Lessor:
        return NodeLessor(self, name, address, archive)

    def workers(
        self, name: str, slots: int, hash_seed: int, path: Callable[[BundleRef], BundlePath]
    ) -> PoolWorkers:
        return PoolWorkers(self, WorkerPool(self._keys, name, OWN_IP, slots, hash_seed=hash_seed), name, path)

    def channel(self, name: str, answer: LeaseAnswer, caller: str) -> LeaseChannel:
        """A channel for a lease that was granted.

        Raises:
            PeerBusy: it is over already.
        """
        with self._lock:
            places = self._places.setdefault(name, Places())
        return LeaseChannel(
            self._context, self._keys, name, answer.address, answer.token, caller, answer.local, places
        )

    def piece(self, address: str, digest: str, offset: int) -> tuple[int, bytes]:
        """A piece of a bundle's archive from the node at ``address``, and the size of the whole in bytes.

        Raises:
            PeerLost, CallTimeout: it does not answer.
            BundlebeeError: it does not have it.
        """
        wanted = msgspec.msgpack.encode(BundlePiece(digest, offset))
        body, buffers = self.client.request(address, "bundle.fetch", wanted, timeout=LEASE_SECONDS)
        return int(body), buffers[0]

    def after_fork(self) -> None:
        local.after_fork()

    def close(self) -> None:
        """Hang up everywhere; sockets of channels that are still open stay, see `destroy`."""
        self.client.close()

    def destroy(self) -> None:
        """Close every socket. To close one that another thread waits at ends the process: nobody may."""
        self._context.destroy(linger=0)


class NodeLessor:
    """A node of the grid."""

    def __init__(self, network: Network, name: str, address: str, archive: Callable[[str], bytes]) -> None:
        self.name = name
        self._network = network
        self._address = address
        self._archive = archive

    def lease(self, request: LeaseRequest) -> LeaseChannel:
        """See `transport.Lessor`."""
        answer = self._ask(request)
        if answer.missing:
            wanted = [ref for ref in request.bundles if ref.digest in answer.missing]
            for ref in wanted:
                self._offer(ref, self._archive(ref.digest))
            answer = self._ask(request)
        if answer.missing:
            raise CallError(f"{self.name} does not take the bundle {wanted[0].name}", hint="its log says why")
        return self._network.channel(self.name, answer, request.caller)

    def release(self, token: str) -> None:
        """See `transport.Lessor`."""
        self._network.client.request(self._address, "release", token.encode(), timeout=FATE_SECONDS)

    def fate(self, token: str) -> Fate | None:
        """See `transport.Lessor`."""
        body, _ = self._network.client.request(self._address, "fate", token.encode(), timeout=FATE_SECONDS)
        return msgspec.msgpack.decode(body, type=Fate | None)

    def _ask(self, request: LeaseRequest) -> LeaseAnswer:
        body, _ = self._network.client.request(
            self._address, "lease", msgspec.msgpack.encode(request), timeout=LEASE_SECONDS
        )
        return msgspec.msgpack.decode(body, type=LeaseAnswer)

    def _offer(self, ref: BundleRef, archive: bytes) -> None:
        for offset in range(0, max(1, len(archive)), PIECE):
            offer = msgspec.msgpack.encode(BundleOffer(ref, offset, len(archive)))
            self._network.client.request(
                self._address,
                "bundle.offer",
                offer,
                [archive[offset : offset + PIECE]],
                timeout=LEASE_SECONDS,
            )


class PoolWorkers:
    """The program's own worker processes, on this machine: see `transport.Workers`."""

    def __init__(
        self, network: Network, pool: WorkerPool, name: str, path: Callable[[BundleRef], BundlePath]
    ) -> None:
        self.name = name
        self.slots = pool.slots
        self._network = network
        self._pool = pool
        self._path = path
        self.start = pool.start
        self.free = pool.free
        self.pids = pool.pids
        self.stop = pool.stop
        self.after_fork = pool.after_fork
        self.release = pool.release

    def lease(self, request: LeaseRequest) -> LeaseChannel:
        """See `transport.Lessor`."""
        paths = [self._path(ref) for ref in request.bundles]
        grant = self._pool.lease(
            paths,
            request.main,
            request.hash_seed,
            request.caller,
            tasks=request.tasks,
            optimize=request.optimize,
        )
        answer = LeaseAnswer(grant.token, grant.address, local=grant.local)
        return self._network.channel(self.name, answer, request.caller)

    def fate(self, token: str) -> Fate | None:
        """See `transport.Lessor`."""
        return self._pool.fate(token)
