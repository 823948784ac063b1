"""A bundle that is here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundlebee.bundles.archive import pack
from bundlebee.bundles.metadata import EntryPoint
from bundlebee.bundles.sources import Source
from bundlebee.bundles.states import State
from bundlebee.errors import BrokenBundle
from bundlebee.words import BundleRef


class Bundle:
    """One version of one bundle, on this disk."""

    __slots__ = ("entry_points", "info", "path", "ref", "requires", "source", "state")

    def __init__(
        self,
        ref: BundleRef,
        path: Path,
        source: Path,
        *,
        requires: Sequence[str] = (),
        entry_points: Sequence[EntryPoint] = (),
        info: str | None = None,
    ) -> None:
        self.ref = ref
        self.path = path  #: the directory to put on the search path
        self.source = source  #: what a person dropped in; `path` for a bundle that came over the network
        self.requires = tuple(requires)  #: requirements, as in ``Requires-Dist``
        self.entry_points = tuple(entry_points)
        self.info = info  #: its ``*.dist-info`` in `path`, by name
        self.state = State.INSTALLED

    def __repr__(self) -> str:
        return f"<Bundle {self.ref.name} {self.ref.version} {self.state}>"

    def files(self) -> dict[str, bytes]:
        """Its code, its data and its metadata, by path below `path`.

        Raises:
            BrokenBundle: a file cannot be read any more.
        """
        label = f"bundle {self.ref.name}"
        lie = Source(self.path / self.ref.imports[0], self.ref.imports, self.info)
        try:
            return lie.tree().read(label)
        except OSError as error:
            raise BrokenBundle(f"{label} cannot be read", why=str(error)) from error

    def archive(self) -> bytes:
        """Everything that a peer needs of it, as a zip archive.

        Made of the files as they are now: if somebody has edited them, who gets the archive sees that the
        digest is wrong.

        Raises:
            BrokenBundle: a file cannot be read any more.
        """
        return pack(self.files())
