"""The bundles of one process: those of a directory, and those that came over the network."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from pathlib import Path

import msgspec

from bundlebee.bundles.bundle import Bundle
from bundlebee.bundles.distributions import from_distribution
from bundlebee.bundles.install import Installer, receive
from bundlebee.bundles.resolution import resolve
from bundlebee.bundles.sources import Listing, Source, look
from bundlebee.bundles.states import State
from bundlebee.bundles.store import Store
from bundlebee.errors import BrokenBundle, BundleError, BundleNotFound
from bundlebee.loggers import get_logger
from bundlebee.words import BundleRef

__all__ = ["Bundle", "Repository", "State", "from_distribution"]

log = get_logger("bundlebee.bundles")

_ARCHIVES = 8  #: packed bundles that are kept at hand while peers fetch them piece by piece
_ARCHIVE_BYTES = 64 << 20


class _Seen(msgspec.Struct):
    """A source, the way it was last taken."""

    signature: str
    outcome: Bundle | BundleError


class _Waiting(msgspec.Struct):
    """A source that changes: what it looks like now, and since when."""

    signature: str
    since: float


class Repository:
    """All bundles that are here. May be used from any thread.

    Args:
        directory: of bundles; None for none.
        store: where archives are unpacked; None is this user's.
        copy: keep packages and modules of the directory in the store, and serve those: what workers import
            does not change under them when somebody edits the originals.
    """

    def __init__(self, directory: Path | None, store: Path | None = None, *, copy: bool = False) -> None:
        self.directory = directory
        self.store = Store(store)
        self._copy = copy
        self.changes = 0  #: grows whenever something in the directory comes, goes or changes
        self._lock = threading.RLock()
        self._installer: Installer | None = None
        self._seen: dict[Path, _Seen] = {}  #: in the order in which they came
        self._waiting: dict[Path, _Waiting] = {}
        self._misplaced: dict[Path, BundleError] = {}
        self._added: dict[str, Bundle] = {}
        self._archives: OrderedDict[str, bytes] = OrderedDict()

    # -- following the directory ------------------------------------------------------------------------

    def scan(self, settle: float = 0.0, patience: float = 0.0) -> float | None:
        """Take the directory as it is now.

        Args:
            settle: seconds that a new or changed source must have been left alone; until then, its old
                state stays.
            patience: the same for sources that look broken: they may be half-copied.

        Returns:
            Seconds after which to scan again, because something has not settled; None where all is taken.
        """
        if self.directory is None:
            return None
        with self._lock:
            try:
                listing = look(self.directory)
            except OSError as error:
                problem = BrokenBundle(f"{self.directory} cannot be read", why=str(error))
                listing = Listing(problems={self.directory: problem})
            if listing.problems.keys() != self._misplaced.keys():
                self.changes += 1
            self._misplaced = listing.problems
            if self._installer is None:
                self._installer = Installer(self.store, self.directory, copy=self._copy)
            now = time.monotonic()
            present = set()
            for source in listing.sources:
                if self._take(source, now, settle, patience):
                    present.add(source.path)
            for gone in self._seen.keys() - present:
                if self._quiet(gone, "", now, None) >= settle:
                    del self._seen[gone]
                    self.changes += 1
                    self._waiting.pop(gone, None)
            for path in self._waiting.keys() - present - self._seen.keys():
                del self._waiting[path]
            self._installer.remember({path.name for path in present})
            return max(settle, 0.05) if self._waiting else None

    def _take(self, source: Source, now: float, settle: float, patience: float) -> bool:
        """Take one source, if it is time; whether it exists."""
        assert self._installer is not None
        path = source.path
        outcome: Bundle | BundleError
        try:
            signature, changed = source.signature()
        except FileNotFoundError:
            return False
        except OSError as error:
            return self._note(path, "", BrokenBundle(f"{path} cannot be read", why=str(error)))
        seen = self._seen.get(path)
        if seen is not None and seen.signature == signature:
            self._waiting.pop(path, None)
            return True
        quiet = self._quiet(path, signature, now, changed)
        if quiet < settle:
            return True
        try:
            outcome = self._installer.install(source, signature, changed)
        except BundleError as error:
            if quiet < patience:
                return True
            outcome = error
        except Exception as error:  # whatever is wrong with one, the others go on
            log.debug("taking %s failed", path, exc_info=True)
            outcome = BrokenBundle(f"{path} cannot be read", why=f"{type(error).__name__}: {error}")
        return self._note(path, signature, outcome)

    def _note(self, path: Path, signature: str, outcome: Bundle | BundleError) -> bool:
        self._waiting.pop(path, None)
        before = self._seen.get(path)
        self._seen[path] = _Seen(signature, outcome)
        if before is None or str(before.outcome) != str(outcome) or isinstance(outcome, Bundle):
            self.changes += 1
        return True

    def _quiet(self, path: Path, signature: str, now: float, changed: float | None) -> float:
        """For how many seconds a source has looked like this."""
        waiting = self._waiting.get(path)
        if waiting is None or waiting.signature != signature:
            # at first sight, its own times tell; they may lie in the future
            age = 0.0 if changed is None or waiting is not None else max(0.0, time.time() - changed)
            waiting = self._waiting[path] = _Waiting(signature, now - age)
        return now - waiting.since

    # -- what is here -----------------------------------------------------------------------------------

    def installed(self) -> list[Bundle]:
        """Every whole bundle of the directory, those that came first first; older versions too."""
        with self._lock:
            return [seen.outcome for seen in self._seen.values() if isinstance(seen.outcome, Bundle)]

    def broken(self) -> list[BundleError]:
        """What lies in the directory and is no bundle."""
        with self._lock:
            broken = [seen.outcome for seen in self._seen.values() if not isinstance(seen.outcome, Bundle)]
            return [*broken, *self._misplaced.values()]

    def bundles(self) -> list[Bundle]:
        """The bundles to use: of each distribution the newest, no two with one import name.

        What came over the network is among them.
        """
        with self._lock:
            chosen = list(resolve(self.installed()).chosen)
            digests = {bundle.ref.digest for bundle in chosen}
            return chosen + [bundle for bundle in self._added.values() if bundle.ref.digest not in digests]

    def problems(self) -> list[BundleError]:
        """What is wrong in the directory: what is broken, and what is left alone for another's sake."""
        with self._lock:
            return [*self.broken(), *resolve(self.installed()).problems]

    def get(self, digest: str) -> Bundle | None:
        """The bundle with that digest, of whatever origin."""
        with self._lock:
            found = next((bundle for bundle in self.installed() if bundle.ref.digest == digest), None)
            return found or self._added.get(digest)

    def find_import(self, name: str) -> Bundle | None:
        """The bundle to use for a top-level import name."""
        return next((bundle for bundle in self.bundles() if name in bundle.ref.imports), None)

    # -- what comes and goes over the network -----------------------------------------------------------

    def archive(self, digest: str) -> bytes:
        """A bundle, packed.

        Raises:
            BundleNotFound: it is not here.
            BrokenBundle: its files cannot be read any more.
        """
        with self._lock:
            packed = self._archives.get(digest)
            if packed is not None:
                self._archives.move_to_end(digest)
                return packed
            bundle = self.get(digest)
        if bundle is None:
            raise BundleNotFound(f"no bundle with the digest {digest[:12]} is here")
        packed = bundle.archive()
        with self._lock:
            self._archives[digest] = packed
            while len(self._archives) > 1 and (
                len(self._archives) > _ARCHIVES or sum(map(len, self._archives.values())) > _ARCHIVE_BYTES
            ):
                self._archives.popitem(last=False)
        return packed

    def add(self, ref: BundleRef, data: bytes) -> Bundle:
        """Verify, unpack and keep a bundle that came over the network.

        Raises:
            DigestMismatch: the archive is not that bundle.
            BrokenBundle: it is no bundle at all, or the disk is full.
        """
        here = self.get(ref.digest)
        if here is not None:
            return here
        record, files = receive(ref, data)
        return self._keep(record.bundle(self.store.put(record, files), self.store.place(record.ref)))

    def recall(self, ref: BundleRef) -> Bundle | None:
        """A bundle that came over the network some time ago and is still in the store."""
        record = self.store.get(ref)
        if record is None:
            return None
        place = self.store.place(ref)
        return self._keep(record.bundle(place, place))

    def _keep(self, bundle: Bundle) -> Bundle:
        with self._lock:
            return self._added.setdefault(bundle.ref.digest, bundle)
