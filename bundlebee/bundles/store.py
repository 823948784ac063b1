"""Where bundles are kept on this machine: unpacked, under their digest, never changed.

A bundle lies in ``<name>-<version>-<16 digits of the digest>/``, beside a note of what it is and how large
each file has to be. It is written under another name and renamed when it is whole, so any number of processes
may use one store. What is damaged (caches get swept) counts as absent and is written again.

The store also remembers what the files in a directory of bundles were, by size and times, so that a wheel is
read once and not at each start.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bundlebee.bundles.bundle import Bundle
from bundlebee.bundles.metadata import EntryPoint
from bundlebee.errors import BrokenBundle
from bundlebee.hashing import blake2b
from bundlebee.places import user_directory
from bundlebee.words import BundleRef

_NOTE = ".bundlebee.json"
_KEPT_DAYS = 30


class Record(msgspec.Struct, frozen=True):
    """A bundle, as it is written down."""

    ref: BundleRef
    requires: tuple[str, ...] = ()
    entry_points: tuple[EntryPoint, ...] = ()
    info: str | None = None

    def bundle(self, path: Path, source: Path) -> Bundle:
        """The bundle whose files lie in ``path``."""
        return Bundle(
            self.ref, path, source, requires=self.requires, entry_points=self.entry_points, info=self.info
        )


class Known(msgspec.Struct, frozen=True):
    """What a source was when its signature was this."""

    signature: str
    record: Record


class _Note(msgspec.Struct, frozen=True):
    record: Record
    sizes: dict[str, int]


class Store:
    """A store of unpacked bundles.

    Args:
        root: its directory, made when it is first written to; None is the one of this user.
    """

    def __init__(self, root: Path | None = None) -> None:
        if root is None:
            root = Path(user_directory("cache")) / "bundles"
        self.root = root

    def place(self, ref: BundleRef) -> Path:
        """The directory of a bundle, whether it is there or not."""
        label = re.sub(r"[^A-Za-z0-9._+-]+", "-", f"{ref.name}-{ref.version}")[:100]
        return self.root / f"{label}-{ref.digest[:16]}"

    def get(self, ref: BundleRef) -> Record | None:
        """The bundle, if it is here and whole."""
        place = self.place(ref)
        try:
            note = msgspec.json.decode((place / _NOTE).read_bytes(), type=_Note)
            if note.record.ref != ref:
                return None
            root = os.fspath(place) + os.sep
            if any(os.stat(root + path).st_size != size for path, size in note.sizes.items()):
                return None
        except (OSError, msgspec.MsgspecError):
            return None
        return note.record

    def put(self, record: Record, files: Mapping[str, bytes]) -> Path:
        """Write a bundle down, unless it is here; the directory to search for it.

        Raises:
            BrokenBundle: the disk does not take it.
        """
        place = self.place(record.ref)
        if self.get(record.ref) is not None:
            return place
        import shutil  # both take some ms, and a start that finds everything here does without them
        import tempfile

        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
            try:
                for path, data in files.items():
                    target = made / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
                note = _Note(record, {path: len(data) for path, data in files.items()})
                (made / _NOTE).write_bytes(msgspec.json.encode(note))
                made.chmod(0o755)
                self._move(made, place, record.ref)
            finally:
                shutil.rmtree(made, ignore_errors=True)
        except OSError as error:
            raise BrokenBundle(
                f"bundle {record.ref.name} cannot be unpacked",
                why=str(error),
                hint=f"make room in {self.root}",
            ) from error
        return place

    def _move(self, made: Path, place: Path, ref: BundleRef) -> None:
        import shutil
        import tempfile

        for _attempt in range(3):
            try:
                os.rename(made, place)
                return
            except OSError:
                if not place.is_dir():
                    raise
            if self.get(ref) is not None:
                return  # another process was faster
            aside = Path(tempfile.mkdtemp(prefix=".old-", dir=self.root))
            try:
                os.rename(place, aside / "damaged")
            except FileNotFoundError:
                pass  # another process had the same thought
            shutil.rmtree(aside, ignore_errors=True)
        raise OSError(f"{place} is being written by others all the time")

    def prune(self) -> None:
        """Throw away what nobody has used for a month, and what was left half-written."""
        import shutil

        limit = time.time() - _KEPT_DAYS * 86_400
        try:
            entries = list(os.scandir(self.root))
        except OSError:
            return
        for entry in entries:
            try:
                note = os.path.join(entry.path, _NOTE)
                used = os.stat(note if os.path.exists(note) else entry.path).st_mtime
                if entry.is_dir(follow_symlinks=False) and entry.name != "known" and used < limit:
                    shutil.rmtree(entry.path, ignore_errors=True)
            except OSError:
                continue

    def touch(self, ref: BundleRef) -> None:
        """Say that a bundle is in use."""
        try:
            os.utime(self.place(ref) / _NOTE)
        except OSError:
            pass

    # -- what the sources in a directory were -----------------------------------------------------------

    def known(self, directory: Path) -> dict[str, Known]:
        """What is remembered of a directory, by the name of the source in it."""
        try:
            return msgspec.json.decode(self._page(directory).read_bytes(), type=dict[str, Known])
        except (OSError, msgspec.MsgspecError):
            return {}

    def remember(self, directory: Path, known: Mapping[str, Known]) -> None:
        """Write down what the sources of a directory are. A store that cannot be written to is no error."""
        import tempfile

        page = self._page(directory)
        try:
            page.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=page.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(msgspec.json.encode(known))
                os.replace(name, page)
            except (OSError, UnicodeEncodeError):  # a source whose name is not UTF-8
                os.unlink(name)
        except OSError:
            pass

    def _page(self, directory: Path) -> Path:
        key = blake2b(os.fsencode(os.path.abspath(directory)), digest_size=10).hexdigest()
        return self.root / "known" / f"{key}.json"
