"""Packages and modules as they lie on a disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bundlebee.bundles.archive import MAX_BYTES, MAX_FILES
from bundlebee.bundles.digest import is_left_over
from bundlebee.errors import BrokenBundle
from bundlebee.hashing import blake2b


class Tree:
    """The files below some import names, and when they last changed. Made by one walk; reads no content.

    Raises:
        OSError: the directory cannot be listed.
    """

    __slots__ = ("_root", "bytes", "changed", "paths", "signature")

    def __init__(self, root: Path, names: Iterable[str], extra: Iterable[str] = ()) -> None:
        self._root = os.fspath(root)
        self.paths: list[str] = []  #: relative, with ``/``
        self.bytes = 0
        self.changed = 0.0  #: the youngest file or directory; seconds since 1970
        state = blake2b(digest_size=16)
        stack: list[tuple[str, str]] = []
        for name in names:
            if is_package(root / name):
                stack.append((os.path.join(self._root, name), name + "/"))
            else:
                self._add(name + ".py", os.stat(os.path.join(self._root, name + ".py")), state)
        for path in extra:
            self._add(path, os.stat(os.path.join(self._root, path)), state)
        while stack and len(self.paths) <= MAX_FILES:
            directory, prefix = stack.pop()
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
            for entry in entries:
                if is_left_over(entry.name):
                    continue
                if entry.is_dir():
                    # a linked directory may lead back up
                    if not entry.is_symlink():
                        stack.append((entry.path, prefix + entry.name + "/"))
                elif entry.is_file():
                    self._add(prefix + entry.name, entry.stat(), state)
        self.signature = state.hexdigest()  #: equal as long as no file was touched

    def _add(self, path: str, status: os.stat_result, state: blake2b) -> None:
        self.paths.append(path)
        self.bytes += status.st_size
        self.changed = max(self.changed, status.st_mtime, status.st_ctime)
        line = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\n"
        state.update(line.encode("utf-8", "surrogateescape"))

    def read(self, label: str) -> dict[str, bytes]:
        """The content of all files.

        Raises:
            BrokenBundle: a file cannot be read, or there is too much.
        """
        if len(self.paths) > MAX_FILES or self.bytes > MAX_BYTES:
            what = f"{self.bytes >> 20} MiB" if self.bytes > MAX_BYTES else f"more than {MAX_FILES} files"
            raise BrokenBundle(
                f"{label} is too large", why=f"it holds {what}", hint="keep data outside of the package"
            )
        files = {}
        try:
            for path in self.paths:
                path.encode()
                with open(os.path.join(self._root, path), "rb") as file:
                    files[path] = file.read()
        except OSError as error:
            raise BrokenBundle(f"{label} cannot be read", why=str(error)) from error
        except UnicodeEncodeError as error:
            raise BrokenBundle(
                f"{label} cannot be a bundle",
                why=f"the name of {path!r} is not UTF-8, and does not mean the same everywhere",
                hint="rename that file",
            ) from error
        return files


def is_package(path: Path) -> bool:
    """Whether an import of that name finds the directory, and not a module ``path.py`` beside it."""
    return path.is_dir() and (
        (path / "__init__.py").is_file() or not path.with_name(path.name + ".py").is_file()
    )
