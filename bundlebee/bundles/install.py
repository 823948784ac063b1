"""From what lies in a directory to a bundle: read, verify, unpack."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from bundlebee.bundles.archive import unpack
from bundlebee.bundles.bundle import Bundle
from bundlebee.bundles.digest import content, digest
from bundlebee.bundles.metadata import INFO_FILES, Metadata, parse
from bundlebee.bundles.sources import Source
from bundlebee.bundles.store import Known, Record, Store
from bundlebee.errors import BrokenBundle, BundleConflict, DigestMismatch
from bundlebee.words import BundleRef

_COMPILED = (".so", ".pyd", ".dylib", ".dll")
_FRESH = 2.0
"""Seconds. A file that was touched so recently may be touched again without a change of its times, so what it
is now is not remembered for the next start."""


class Installer:
    """Makes bundles of sources, with the help of what a store remembers.

    Args:
        store: where archives are unpacked.
        directory: whose sources these are.
        copy: also keep packages and modules in the store, so that they stay what they are when the originals
            are edited.
    """

    def __init__(self, store: Store, directory: Path, *, copy: bool) -> None:
        self._store = store
        self._directory = directory
        self._copy = copy
        self._known = store.known(directory)
        self._changed = False

    def install(self, source: Source, signature: str, changed: float) -> Bundle:
        """The bundle that a source is.

        Args:
            signature: of the source, as it is now.
            changed: when the source was last touched, seconds since 1970.

        Raises:
            BrokenBundle: it cannot be a bundle.
            BundleConflict: it takes a name that is not free.
        """
        key = source.path.name
        known = self._known.get(key)
        if known is not None and known.signature == signature:
            record = known.record
            if not source.is_archive and not self._copy:
                return record.bundle(source.path.parent, source.path)
            if self._store.get(record.ref) is not None:
                return record.bundle(self._store.place(record.ref), source.path)
        record, files = read(source)
        if source.is_archive or self._copy:
            path = self._store.put(record, files)
        else:
            path = source.path.parent
        if abs(time.time() - changed) > _FRESH:
            self._known[key] = Known(signature, record)
            self._changed = True
        return record.bundle(path, source.path)

    def remember(self, present: set[str]) -> None:
        """Write down what is known of the sources with these names, for the next start."""
        for gone in self._known.keys() - present:
            del self._known[gone]
            self._changed = True
        if self._changed:
            self._store.remember(self._directory, self._known)
            self._changed = False


def read(source: Source) -> tuple[Record, dict[str, bytes]]:
    """What a source is, and its files: code, data and metadata.

    Raises:
        BrokenBundle: it cannot be a bundle.
        BundleConflict: it takes a name of the standard library.
    """
    label = str(source.path)
    if source.is_archive:
        files = _as_installed(unpack(source.path, label))
    else:
        try:
            files = source.tree().read(label)
        except OSError as error:
            raise BrokenBundle(f"{label} cannot be read", why=str(error)) from error
    return examine(files, label, source.names[0] if source.names else "")


def examine(files: Mapping[str, bytes], label: str, name: str) -> tuple[Record, dict[str, bytes]]:
    """What a set of files is, and those of them that make the bundle.

    Args:
        label: what to call it in errors.
        name: of the bundle, where no metadata says it; an empty one takes the import name.
    """
    names, code = content(files)
    if not names:
        raise BrokenBundle(
            f"{label} is no bundle", why="there is no Python package or module at its top level"
        )
    for path in code:
        if path.endswith(_COMPILED) or ".so." in path:
            raise BrokenBundle(
                f"{label} cannot be a bundle",
                why=f"{path} is compiled code, which does not run on every node",
                hint="install it on every node with pip",
            )
    taken = [one for one in names if one in sys.stdlib_module_names or one == "bundlebee"]
    if taken:
        owner = "bundlebee" if taken[0] == "bundlebee" else "Python's standard library"
        raise BundleConflict(
            f"{label} is left alone",
            why=f"the import name {taken[0]!r} belongs to {owner}",
            hint="rename the module",
        )
    info, metadata = _metadata(files, label)
    if metadata is None:
        metadata = Metadata(name or names[0])
    _check_python(metadata, label)
    ref = BundleRef(metadata.name, metadata.version, digest(code), names)
    if info is not None:
        code |= {
            path: data for path, data in files.items() if path in {f"{info}/{one}" for one in INFO_FILES}
        }
    return Record(ref, metadata.requires, metadata.entry_points, info), code


def receive(ref: BundleRef, archive: bytes) -> tuple[Record, dict[str, bytes]]:
    """Verify the archive of a bundle that came over the network.

    Raises:
        DigestMismatch: these are not the files that the digest names.
        BrokenBundle: it is no archive, or no bundle.
    """
    label = f"bundle {ref.name} {ref.version}"
    record, files = examine(unpack(archive, label), label, ref.name)
    if record.ref.digest != ref.digest or record.ref.imports != tuple(ref.imports):
        raise DigestMismatch(
            f"{label} was thrown away",
            why=f"its files have the digest {record.ref.digest[:12]} and not {ref.digest[:12]}",
            hint="somebody may have edited it where it came from; try again",
        )
    # two packagings of the same code may have different metadata; the one that was asked for names it
    return Record(ref, record.requires, record.entry_points, record.info), files


def _as_installed(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a wheel as they lie when it is installed: its ``*.data`` directories are spread out."""
    found: dict[str, bytes] = {}
    for path, data in files.items():
        parts = PurePosixPath(path).parts
        if parts[0].endswith(".data") and len(parts) > 2:
            if parts[1] in ("purelib", "platlib"):
                found["/".join(parts[2:])] = data
        else:
            found[path] = data
    return found


def _metadata(files: Mapping[str, bytes], label: str) -> tuple[str | None, Metadata | None]:
    infos = {
        path.partition("/")[0]
        for path in files
        if path.endswith(".dist-info/METADATA") and path.count("/") == 1
    }
    if not infos:
        return None, None
    info = min(infos)
    offers = files.get(f"{info}/entry_points.txt", b"")
    try:
        return info, parse(
            files[f"{info}/METADATA"].decode("utf-8", "replace"), offers.decode("utf-8", "replace")
        )
    except ValueError as error:
        raise BrokenBundle(f"{label} cannot be read", why=str(error)) from error


def _check_python(metadata: Metadata, label: str) -> None:
    if not metadata.requires_python:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    own = ".".join(map(str, sys.version_info[:3]))
    try:
        fits = SpecifierSet(metadata.requires_python).contains(own, prereleases=True)
    except InvalidSpecifier:
        return  # pip is as lenient with old wheels
    if not fits:
        raise BrokenBundle(
            f"{label} cannot be used", why=f"it needs Python {metadata.requires_python}, and this is {own}"
        )
