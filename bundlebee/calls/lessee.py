"""The caller's side of leases: ask for a worker, give the peer the bundles it lacks, keep idle channels for the next call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bundlebee.calls.client import LeaseChannel
from bundlebee.calls.fate import Fate
from bundlebee.calls.leasing import PIECE, BundleOffer, LeaseAnswer, LeaseRequest
from bundlebee.calls.sent import Places
from bundlebee.clock import clock
from bundlebee.errors import CallError

if TYPE_CHECKING:
    import zmq

    from bundlebee.calls.control import BundlePath
    from bundlebee.calls.keys import GridKeys
    from bundlebee.calls.pool import WorkerPool
    from bundlebee.calls.rpc import Client
    from bundlebee.words import BundleRef

MOMENT = 0.001  #: seconds
LEASE_SECONDS = 30.0  #: a peer may have to fetch a bundle and start a worker first
FATE_SECONDS = 1.5  #: a node waits for a second for a worker's end; one that is dead itself answers nothing


class Lessor(Protocol):
    """Somebody with workers."""

    name: str

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        """Grant a worker.

        Raises:
            PeerBusy, PeerLost, CallError: see `bundlebee.errors`.
        """

    def release(self, token: str) -> None:
        """Take it back, if that can be said without waiting."""

    def fate(self, token: str) -> Fate | None:
        """How the worker of a lease ended; None if it has not, or was told to. Waits a second at the most.

        Raises:
            PeerLost, CallTimeout: nobody is there to say.
        """


class NodeLessor:
    """A node of the grid."""

    def __init__(self, client: Client, name: str, address: str, archive: Callable[[str], bytes]) -> None:
        self.name = name
        self._client = client
        self._address = address
        self._archive = archive

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        answer = self._ask(request)
        if answer.missing:
            wanted = [ref for ref in request.bundles if ref.digest in answer.missing]
            for ref in wanted:
                self._offer(ref, self._archive(ref.digest))
            answer = self._ask(request)
        if answer.missing:
            raise CallError(f"{self.name} does not take the bundle {wanted[0].name}", hint="its log says why")
        return answer

    def release(self, token: str) -> None:
        """Nothing to say: the worker notices when its caller hangs up."""

    def fate(self, token: str) -> Fate | None:
        body, _ = self._client.request(self._address, "fate", token.encode(), timeout=FATE_SECONDS)
        return msgspec.msgpack.decode(body, type=Fate | None)

    def _ask(self, request: LeaseRequest) -> LeaseAnswer:
        body, _ = self._client.request(
            self._address, "lease", msgspec.msgpack.encode(request), timeout=LEASE_SECONDS
        )
        return msgspec.msgpack.decode(body, type=LeaseAnswer)

    def _offer(self, ref: BundleRef, archive: bytes) -> None:
        for offset in range(0, max(1, len(archive)), PIECE):
            offer = msgspec.msgpack.encode(BundleOffer(ref, offset, len(archive)))
            self._client.request(
                self._address,
                "bundle.offer",
                offer,
                [archive[offset : offset + PIECE]],
                timeout=LEASE_SECONDS,
            )


class PoolLessor:
    """The caller's own workers, on this machine."""

    def __init__(self, pool: WorkerPool, name: str, path: Callable[[BundleRef], BundlePath]) -> None:
        self.name = name
        self._pool = pool
        self._path = path

    def lease(self, request: LeaseRequest) -> LeaseAnswer:
        paths = [self._path(ref) for ref in request.bundles]
        grant = self._pool.lease(paths, request.main, request.hash_seed, request.caller, tasks=request.tasks)
        return LeaseAnswer(grant.token, grant.address, local=grant.local)

    def release(self, token: str) -> None:
        self._pool.release(token)

    def fate(self, token: str) -> Fate | None:
        return self._pool.fate(token)


class Lessee:
    """Channels to leased workers, by peer. Thread-safe; a channel that is out belongs to whoever took it."""

    def __init__(self, context: zmq.Context[Any], keys: GridKeys, caller: str) -> None:
        self._context = context
        self._keys = keys
        self._caller = caller
        self._lock = threading.Lock()
        self._idle: dict[str, list[LeaseChannel]] = {}
        self._bundles: dict[str, frozenset[str]] = {}  #: digests, by lease token
        self._out: dict[str, int] = {}
        self._places: dict[str, Places] = {}  #: of buffers, by peer
        self._closed = False

    def count(self, place: str) -> tuple[int, int]:
        """Channels to that peer that are ready for a call, and those in use."""
        return len(self._idle.get(place, ())), self._out.get(place, 0)

    def take(self, lessor: Lessor, request: LeaseRequest) -> LeaseChannel:
        """An idle channel whose worker has the bundles, else a new lease.

        Raises:
            PeerBusy, PeerLost, CallError: as `Lessor.lease`.
        """
        channel = self.reuse(lessor.name, request.bundles)
        if channel is not None:
            return channel
        needed = frozenset(ref.digest for ref in request.bundles)
        answer = lessor.lease(request)
        with self._lock:
            places = self._places.setdefault(lessor.name, Places())
        channel = LeaseChannel(
            self._context,
            self._keys,
            lessor.name,
            answer.address,
            answer.token,
            self._caller,
            answer.local,
            places,
        )
        with self._lock:
            self._bundles[answer.token] = needed
            self._out[lessor.name] = self._out.get(lessor.name, 0) + 1
        return channel

    def reuse(self, place: str, bundles: Sequence[BundleRef]) -> LeaseChannel | None:
        """An idle channel to that peer whose worker has the bundles, if there is one."""
        unfit: list[LeaseChannel] = []
        found: LeaseChannel | None = None
        with self._lock:
            waiting = self._idle.get(place)
            while waiting and found is None:
                channel = waiting.pop()
                has = self._bundles.get(channel.token, frozenset())
                # one that was in use a moment ago stands, or is lost as it might be in the middle of the call
                fresh = clock.perf_counter() - channel.rested < MOMENT
                if (fresh or channel.usable()) and (not bundles or all(ref.digest in has for ref in bundles)):
                    found = channel
                    self._out[place] = self._out.get(place, 0) + 1
                else:
                    unfit.append(channel)
                    self._bundles.pop(channel.token, None)
        for channel in unfit:
            channel.close()
        return found

    def give_back(self, channel: LeaseChannel) -> None:
        """Keep a channel for the next call; one that is lost or at work is hung up."""
        place = channel.node_name
        with self._lock:
            self._out[place] = max(0, self._out.get(place, 0) - 1)
            if not self._closed and channel.at_rest:
                channel.rested = clock.perf_counter()
                self._idle.setdefault(place, []).append(channel)
                return
            self._bundles.pop(channel.token, None)
        channel.close()

    def close(self) -> None:
        """Hang up every idle channel, and from now on each that comes back."""
        with self._lock:
            self._closed = True
            channels = [channel for channels in self._idle.values() for channel in channels]
            self._idle.clear()
        for channel in channels:
            channel.close()
