"""What a program brings along for its tasks: the modules of its own that it has imported.

A function that is imported from a module travels by name, so the worker must be able to import that module. Python's
own and installed ones it has, or says that it has not. What lies elsewhere, beside the script for example, is the
program's: it becomes a bundle, and every lease names it. A module that cannot be one travels by value.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from pathlib import Path
from types import ModuleType

from bundlebee.bundles.bundle import Bundle
from bundlebee.bundles.install import read
from bundlebee.bundles.sources import Source
from bundlebee.calls.request import BundlePath
from bundlebee.errors import BundleError, told
from bundlebee.loggers import get_logger
from bundlebee.words import BundleRef

log = get_logger("bundlebee.bundles")


class Luggage:
    """The bundles of one program's own modules. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked = 0  # at so many modules
        self._seen: set[str] = {"__main__", "bundlebee"}
        self._bundles: dict[str, Bundle] = {}  # by digest
        self.refs: tuple[BundleRef, ...] = ()

    def look(self) -> int:
        """Look at what was imported since the last look; how many bundles there are now."""
        if len(sys.modules) != self._looked:
            with self._lock:
                looked = len(sys.modules)
                for name in list(sys.modules):
                    top = name.partition(".")[0]
                    if top not in self._seen:
                        self._seen.add(top)
                        try:
                            self._take(top)
                        except Exception as error:  # one may load itself when it is asked for anything
                            log.debug("%s is left alone: %s", top, told(error))
                self.refs = tuple(bundle.ref for bundle in self._bundles.values())
                self._looked = looked
        return len(self.refs)

    def path(self, ref: BundleRef) -> BundlePath:
        """Where a bundle lies on this disk."""
        return BundlePath(ref, self._bundles[ref.digest].path)

    def requires(self, ref: BundleRef) -> tuple[str, ...]:
        """What a bundle requires, as in ``Requires-Dist``."""
        return self._bundles[ref.digest].requires

    def archive(self, digest: str) -> bytes:
        """A bundle as bytes, for a peer that lacks it."""
        return self._bundles[digest].archive()

    def _take(self, top: str) -> None:
        module = sys.modules.get(top)
        if (
            module is not None and top == "__mp_main__"
        ):  # the script, in a child that multiprocessing has spawned
            _by_value(module)
            return
        if module is None or top in sys.stdlib_module_names or not _is_own(module):
            return
        file = getattr(module, "__file__", None)
        place = Path(os.path.realpath(file or "."))
        if place.name == "__init__.py":
            place = place.parent
        try:
            if file is None:
                raise BundleError("it has no file")
            record, _files = read(Source(place, (top,)))
        except (BundleError, OSError) as error:
            log.debug("%s travels by value: %s", top, error)
            _by_value(module)
        else:
            bundle = record.bundle(place.parent, place)
            self._bundles[bundle.ref.digest] = bundle


def _by_value(module: ModuleType) -> None:
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)


def _is_own(module: ModuleType) -> bool:
    """Whether a top-level module is the program's own, and not one that workers have, too."""
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return file.endswith(".py") and not os.path.realpath(file).startswith(_INSTALLED)
    # a package without `__init__`, or made by hand; else it is built in
    paths = list(getattr(module, "__path__", ()))
    if paths:
        return not any(os.path.realpath(path).startswith(_INSTALLED) for path in paths)
    return getattr(module, "__spec__", None) is None


def _installed() -> tuple[str, ...]:
    import site

    paths = set(sysconfig.get_paths().values()) | {site.getusersitepackages(), *site.getsitepackages()}
    kept = {
        os.path.realpath(path) for name, path in sysconfig.get_paths().items() if name in ("scripts", "data")
    }
    return tuple(
        {os.path.realpath(path) + os.sep for path in paths if path and os.path.realpath(path) not in kept}
    )


_INSTALLED = _installed()
