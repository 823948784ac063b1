"""The caller's side of leases: keeps idle channels for the next call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bundlebee.clock import clock

if TYPE_CHECKING:
    from bundlebee.calls.transport import Channel, LeaseRequest, Lessor
    from bundlebee.words import BundleRef

MOMENT = 0.001  #: seconds


class Lessee:
    """Channels to leased workers, by peer. Thread-safe; a channel that is out belongs to whoever took it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[str, list[Channel]] = {}
        self._bundles: dict[str, frozenset[str]] = {}  #: digests, by lease token
        self._out: dict[str, int] = {}
        self._closed = False

    def count(self, place: str) -> tuple[int, int]:
        """Channels to that peer that are ready for a call, and those in use."""
        return len(self._idle.get(place, ())), self._out.get(place, 0)

    def take(self, lessor: Lessor, request: LeaseRequest) -> Channel:
        """An idle channel whose worker has the bundles, else a new lease.

        Raises:
            PeerBusy, PeerLost, CallError: as `transport.Lessor.lease`.
        """
        channel = self.reuse(lessor.name, request.bundles)
        if channel is not None:
            return channel
        channel = lessor.lease(request)
        with self._lock:
            self._bundles[channel.token] = frozenset(ref.digest for ref in request.bundles)
            self._out[lessor.name] = self._out.get(lessor.name, 0) + 1
        return channel

    def reuse(self, place: str, bundles: Sequence[BundleRef]) -> Channel | None:
        """An idle channel to that peer whose worker has the bundles, if there is one."""
        unfit: list[Channel] = []
        found: Channel | None = None
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

    def give_back(self, channel: Channel) -> None:
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
