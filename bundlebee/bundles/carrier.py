"""Brings bundles from the repositories of peers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from bundlebee.bundles.archive import MAX_BYTES
from bundlebee.bundles.repository import Bundle, Repository
from bundlebee.errors import BundlebeeError, BundleNotFound, ProtocolError
from bundlebee.loggers import get_logger
from bundlebee.words import BundleRef

log = get_logger("bundlebee.bundles")

FetchPiece = Callable[[str, str, int], tuple[int, bytes]]
"""Asks the peer at an address for the archive of a digest from an offset on: its whole size, and a piece."""


class Carrier:
    """Fetches a bundle from whoever has it, verifies it and puts it into the repository.

    Any number of threads may want one bundle at once: it is fetched once.
    """

    def __init__(self, repository: Repository, fetch_piece: FetchPiece) -> None:
        self._repository = repository
        self._fetch_piece = fetch_piece
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}

    def get(self, ref: BundleRef, addresses: Sequence[str]) -> Bundle:
        """The bundle, from here if it is here, else from the first peer that delivers it.

        Args:
            addresses: of peers that hold it, the preferred one first.

        Raises:
            BundleNotFound: none of them delivered it; the message says why each did not.
        """
        here = self._repository.get(ref.digest) or self._repository.recall(ref)
        if here is not None:
            return here
        with self._lock:
            flight = self._flights.get(ref.digest)
            mine = flight is None
            if flight is None:
                # it may have landed since we looked
                here = self._repository.get(ref.digest)
                if here is not None:
                    return here
                flight = self._flights[ref.digest] = _Flight()
        if mine:
            try:
                flight.bundle = self._fetch(ref, addresses)
            except BundlebeeError as error:
                flight.error = error
            finally:
                with self._lock:
                    del self._flights[ref.digest]
                flight.landed.set()
        else:
            flight.landed.wait()
        if flight.bundle is not None:
            return flight.bundle
        if mine and flight.error is not None:
            raise flight.error
        what = f"bundle {ref.name} {ref.version} could not be fetched"
        raise BundleNotFound(what, why=None if flight.error is None else flight.error.why)

    def _fetch(self, ref: BundleRef, addresses: Sequence[str]) -> Bundle:
        failures = []
        for address in addresses:
            try:
                return self._repository.add(ref, self._pieces(ref, address))
            except BundlebeeError as error:
                log.debug("%s did not deliver %s: %s", address, ref.name, error)
                failures.append(f"{address}: {error.what}" + (f": {error.why}" if error.why else ""))
        raise BundleNotFound(
            f"bundle {ref.name} {ref.version} could not be fetched",
            why="; ".join(failures) or "nobody holds it",
        )

    def _pieces(self, ref: BundleRef, address: str) -> bytes:
        data = bytearray()
        size: int | None = None
        while size is None or len(data) < size:
            total, piece = self._fetch_piece(address, ref.digest, len(data))
            if size is None:
                size = total
            data += piece
            if not 0 < size <= MAX_BYTES or total != size or len(data) > size or not piece:
                raise ProtocolError(f"the archive of {ref.name} came in pieces that do not fit together")
        return bytes(data)


class _Flight:
    """One fetch that is under way."""

    __slots__ = ("bundle", "error", "landed")

    def __init__(self) -> None:
        self.landed = threading.Event()
        self.bundle: Bundle | None = None
        self.error: BundlebeeError | None = None
