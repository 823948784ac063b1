"""What lies in a directory of bundles: packages, modules, wheels, zips, and what is none of them."""

from __future__ import annotations

import os
from keyword import iskeyword
from pathlib import Path

import msgspec

from bundlebee.bundles.digest import is_left_over
from bundlebee.bundles.metadata import INFO_FILES
from bundlebee.bundles.tree import Tree, is_package
from bundlebee.errors import BrokenBundle, BundleConflict, BundleError

_ARCHIVES = (".whl", ".zip")
_SOURCE_DISTRIBUTIONS = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".egg")


class Source(msgspec.Struct, frozen=True):
    """One thing in the directory that should be a bundle."""

    path: Path  #: what a person dropped in
    names: tuple[str, ...] = ()  #: import names; empty for an archive, whose names are inside
    info: str | None = None  #: its ``*.dist-info`` beside it, by name

    @property
    def is_archive(self) -> bool:
        return not self.names

    def info_files(self) -> list[str]:
        """Relative paths of its metadata."""
        if self.info is None:
            return []
        place = self.path.parent
        return [path for name in INFO_FILES if (place / (path := f"{self.info}/{name}")).is_file()]

    def tree(self) -> Tree:
        """Its files as they lie on the disk.

        Raises:
            OSError: it is gone, or closed to us.
        """
        return Tree(self.path.parent, self.names, self.info_files())

    def signature(self) -> tuple[str, float]:
        """A text that changes when a file of it is touched, and when that last happened (seconds since 1970).

        Raises:
            OSError: it is gone, or closed to us.
        """
        if self.is_archive:
            status = self.path.stat()
            text = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
            return text, max(status.st_mtime, status.st_ctime)
        tree = self.tree()
        return tree.signature, tree.changed


class Listing(msgspec.Struct):
    """What `look` found."""

    sources: list[Source] = []  #: by name
    problems: dict[Path, BundleError] = {}  #: things that cannot be bundles


def look(directory: Path) -> Listing:
    """List a directory. Opens nothing but the records of installed distributions.

    Raises:
        OSError: the directory cannot be listed.
    """
    listing = Listing()
    names = sorted(os.listdir(directory))
    owners = _owners(directory, names)
    for name in names:
        path = directory / name
        lower = name.lower()
        if name.startswith((".", "__")) or is_left_over(name):
            continue
        if lower.endswith(_SOURCE_DISTRIBUTIONS):
            listing.problems[path] = BrokenBundle(
                f"{path} is no bundle",
                why="it has to be built first",
                hint="make a wheel of it: pip wheel --no-deps FILE",
            )
        elif path.is_dir():
            _directory(path, owners, listing)
        elif not path.is_file():
            continue  # a pipe would be read for ever
        elif lower.endswith(_ARCHIVES):
            listing.sources.append(Source(path))
        elif name.endswith(".py"):
            _named(path, path.stem, owners, listing)
    return listing


def _directory(path: Path, owners: dict[str, tuple[str, tuple[str, ...]]], listing: Listing) -> None:
    try:
        depth = None if path.name.isidentifier() else 2  # a project's directory is not searched through
        if _has_source(path, depth):
            _named(path, path.name, owners, listing)
    except OSError as error:
        listing.problems[path] = BrokenBundle(f"{path} cannot be read", why=str(error))


def _named(path: Path, name: str, owners: dict[str, tuple[str, tuple[str, ...]]], listing: Listing) -> None:
    if not name.isidentifier() or iskeyword(name):
        hint = "drop in the package that lies inside" if path.is_dir() else "rename the file"
        listing.problems[path] = BrokenBundle(
            f"{path} is no bundle", why=f"{name!r} cannot be imported, it is no Python name", hint=hint
        )
        return
    if path.is_dir() != is_package(path.with_name(name)):
        owner = path.with_name(name if path.suffix == ".py" else f"{name}.py")
        listing.problems[path] = BundleConflict(
            f"{path} is left alone",
            why=f"the import name {name!r} belongs to {owner}",
            hint="take one of the two away",
        )
        return
    info, together = owners.get(name, (None, (name,)))
    if name == together[0]:  # the others of one distribution are part of its first
        listing.sources.append(Source(path, together, info))


def _has_source(path: Path, depth: int | None) -> bool:
    """Whether a Python file lies somewhere below."""
    directories = []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(".py") and entry.is_file():
                return True
            if (
                not is_left_over(entry.name)
                and not entry.name.startswith(".")
                and not entry.is_symlink()
                and entry.is_dir()
            ):
                directories.append(entry.path)
    if depth == 1:
        return False
    return any(_has_source(Path(below), None if depth is None else depth - 1) for below in directories)


def _owners(directory: Path, names: list[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """For each import name that ``pip install --target`` brought: the record's name, and all names in it."""
    present = set(names)
    owners: dict[str, tuple[str, tuple[str, ...]]] = {}
    for info in names:
        if info.endswith(".dist-info"):
            own = tuple(
                name
                for name in recorded_names(directory / info)
                if name in present or f"{name}.py" in present
            )
            for name in own:
                owners.setdefault(name, (info, own))
    return owners


def recorded_names(info: Path) -> tuple[str, ...]:
    """The top-level import names of an installed distribution, sorted."""
    found = set()
    try:
        for line in (info / "RECORD").read_text("utf-8", "replace").splitlines():
            path = line.rsplit(",", 2)[0].strip('"')
            top, slash, _rest = path.partition("/")
            name = top if slash else top.removesuffix(".py")
            if path.endswith(".py") and name.isidentifier() and not name.startswith("__editable__"):
                found.add(name)
    except OSError:
        pass
    if not found:
        try:
            found = set((info / "top_level.txt").read_text("utf-8", "replace").split())
        except OSError:
            pass
    return tuple(sorted(name for name in found if name.isidentifier()))
