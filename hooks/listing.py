"""Finds a plain source file at a glance.

Python's `FileFinder` tries the suffixes of extension modules first, joins a path for each, and asks the file system whether
what it found is a file: half of what finding a module costs. Here a directory is listed once for each state of it, and what
can only be one thing, a source file, is told from the listing. All else is `FileFinder`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from importlib.util import spec_from_file_location
from typing import Any

from bundlebee.clock import clock
from bundlebee.weaving.cache import SETTLED

_SOURCE = ".py"
_RIVALS = (*EXTENSION_SUFFIXES, *BYTECODE_SUFFIXES, *(s for s in SOURCE_SUFFIXES if s != _SOURCE))


class Listing:
    """The modules of one directory.

    Args:
        directory: as an entry of ``sys.path``.
        source: makes the loader of a source file from module name and path.
    """

    def __init__(self, directory: str, source: Callable[[str, str], SourceFileLoader]) -> None:
        kind: Any = source
        self._source = source
        self._changed = -1
        self._plain: frozenset[str] = frozenset()
        self._others = FileFinder(
            directory,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (kind, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )
        self._prefix = os.path.join(self._others.path, "")

    def find_spec(self, fullname: str) -> ModuleSpec | None:
        """As `FileFinder.find_spec`."""
        try:
            status = os.stat(self._others.path)
            if status.st_mtime_ns != self._changed:
                settled = (
                    status.st_mtime < clock.time() - SETTLED
                )  # else it may change again and keep its time
                self._plain = _plain(self._others.path) if settled else frozenset()
                self._changed = status.st_mtime_ns if settled else -1
        except OSError:
            return self._others.find_spec(fullname)
        name = fullname.rpartition(".")[2]
        if name not in self._plain:
            return self._others.find_spec(fullname)
        path = f"{self._prefix}{name}{_SOURCE}"
        return spec_from_file_location(
            fullname, path, loader=self._source(fullname, path), submodule_search_locations=None
        )

    def invalidate_caches(self) -> None:
        """The directory may have changed."""
        self._changed = -1
        self._others.invalidate_caches()


def _plain(directory: str) -> frozenset[str]:
    """Names of modules that are source files, and of which there is nothing else."""
    with os.scandir(directory) as entries:
        found = {entry.name: entry for entry in entries}
    plain = set()
    for file, entry in found.items():
        if file.endswith(_SOURCE):
            name = file[: -len(_SOURCE)]
            if name not in found and not any(name + rival in found for rival in _RIVALS) and entry.is_file():
                plain.add(name)
    return frozenset(plain)
