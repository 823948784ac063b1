"""Finders for the modules of bundles.

They do not inherit from `importlib.abc.MetaPathFinder`, which gives them nothing: its module imports tempfile, random and more.

`BundleFinder` stands at the head of ``sys.meta_path``. It knows the top-level names that bundles own, and
rejects all others with one dictionary look-up, before anything else happens. `FallbackFinder` stands at the
end, where names arrive that nobody found, and asks the grid.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from importlib.machinery import ModuleSpec, NamespaceLoader, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from bundlebee.frames import getframe
from bundlebee.hooks.listing import Listing
from bundlebee.interrupts import held
from bundlebee.words import BundleRef


class Claim(msgspec.Struct, frozen=True):
    """That a bundle owns a top-level import name."""

    path: Path  #: the directory to search, as an entry of ``sys.path``
    bundle: BundleRef
    weave: bool = True  #: False loads its modules plain


class BundleFinder:
    """Finds the modules of claimed names in the directory of their claim.

    Args:
        claims: by top-level import name. The mapping is kept, not copied: it may change at any time.
        weaving_loader: makes the loader of a source file from module name and path.
    """

    def __init__(
        self, claims: MutableMapping[str, Claim], weaving_loader: Callable[[str, str], SourceFileLoader]
    ) -> None:
        self.claims = claims
        self._weaving_loader = weaving_loader
        #: by full name: what is to be done with a module that is no bundle's, as soon as it has been imported
        self.once_imported: dict[str, Callable[[ModuleType], None]] = {}
        self._listings: dict[tuple[str, bool], Listing] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top = fullname.partition(".")[0]
        claim = self.claims.get(top)
        if claim is None:
            return self._followed(fullname, path) if fullname in self.once_imported else None
        root = os.fspath(claim.path)
        if path is None:
            return self._search(fullname, None, [root], claim)
        # a package may have put other directories on its __path__; those are not the bundle's
        return self._search(fullname, path, [entry for entry in path if _is_below(entry, root)], claim)

    def lacks(self, name: str) -> bool:
        """Whether nothing of that top-level name is found here; asks nobody."""
        return name not in self.claims

    def places(self, path: Iterable[str]) -> list[str]:
        """Where bundles lie that are not found along a path such as ``sys.path``."""
        known = set(map(os.path.abspath, path))
        roots = {os.fspath(claim.path): None for claim in list(self.claims.values())}
        return [root for root in roots if os.path.abspath(root) not in known]

    def _followed(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """A module as Python finds it, with what is to be done after its import."""
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return None
        loader: Any = spec.loader
        load = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # a reload is none of ours
            load(module)
            self.once_imported.pop(fullname, _nothing)(module)

        loader.exec_module = exec_module
        return spec

    def _search(
        self, fullname: str, path: Sequence[str] | None, entries: Iterable[str], claim: Claim
    ) -> ModuleSpec | None:
        portions: list[str] = []
        for entry in entries:
            spec = self._listing(entry, claim.weave).find_spec(fullname)
            if spec is None:
                continue
            if spec.loader is not None:
                return spec
            portions += spec.submodule_search_locations or []
        return self._namespace(fullname, path, portions) if portions else None

    def _listing(self, entry: str, weave: bool) -> Listing:
        listing = self._listings.get((entry, weave))
        if listing is None:
            loader = self._weaving_loader if weave else SourceFileLoader
            listing = self._listings[entry, weave] = Listing(entry, loader)
        return listing

    def _namespace(self, fullname: str, path: Sequence[str] | None, portions: list[str]) -> ModuleSpec:
        """A package without ``__init__``: our portions first, then those of other distributions."""
        elsewhere = PathFinder.find_spec(fullname, path)
        if elsewhere is not None and elsewhere.loader is None:
            portions += [p for p in elsewhere.submodule_search_locations or [] if p not in portions]
        known = ModuleSpec(fullname, None, is_package=True)
        known.submodule_search_locations = portions
        # asked again after each change of sys.path; a bundle stays where it is
        loader = NamespaceLoader(fullname, portions, lambda name, path: known)
        spec = ModuleSpec(fullname, loader, is_package=True)
        spec.submodule_search_locations = loader._path  # type: ignore[attr-defined]
        return spec

    def invalidate_caches(self) -> None:
        for listing in self._listings.values():
            listing.invalidate_caches()

    def find_distributions(self, context: Any = None) -> Iterable[Any]:
        """The metadata of bundles that are not on ``sys.path``; `importlib.metadata` asks for it."""
        from importlib.metadata import DistributionFinder, MetadataPathFinder

        name = None if context is None else context.name
        places = self.places(sys.path)
        return MetadataPathFinder.find_distributions(DistributionFinder.Context(name=name, path=places))


class FallbackFinder:
    """Asks the grid for a top-level name that nobody here knows; each name once.

    Args:
        finder: gets the claim, and finds the module with it.
        fetch: brings the bundle that owns a name to this machine; None where nobody has it. It may raise: the
            import then fails as it would have anyway, and the log says why.
    """

    def __init__(self, finder: BundleFinder, fetch: Callable[[str], Claim | None]) -> None:
        self._finder = finder
        self._fetch = fetch
        self._asked: set[str] = set()
        self._busy = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or "." in fullname or fullname in self._asked:
            return None
        # names of the standard library that are not on this platform are asked for all the time
        if fullname in sys.stdlib_module_names or getattr(self._busy, "now", False) or _asked_by_python():
            return None
        self._asked.add(fullname)
        self._busy.now = True  # what fetching imports is not to be fetched
        try:
            with held():
                claim = self._fetch(fullname)
        except Exception as error:
            from bundlebee.loggers import get_logger

            get_logger("bundlebee.hooks").warning("cannot fetch %s: %s", fullname, error)
            return None
        finally:
            self._busy.now = False
        if claim is None:
            return None
        self._finder.claims[fullname] = claim
        return self._finder.find_spec(fullname, None, target)

    def lacks(self, name: str) -> bool:
        """Whether the grid was asked for that top-level name, and nobody had it."""
        return name in self._asked and name not in self._finder.claims

    def forget(self) -> None:
        """Ask again for names that nobody had: the grid has changed."""
        self._asked.clear()


def _nothing(module: ModuleType) -> None:
    pass


def _asked_by_python() -> bool:
    """Whether a module of the standard library looks for it as it is imported itself: `copy` does so for Jython's."""
    frame = getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None or frame.f_code.co_name != "<module>":
        return False
    return frame.f_globals.get("__name__", "").partition(".")[0] in sys.stdlib_module_names


def _is_below(entry: str, root: str) -> bool:
    return entry == root or entry.startswith(root.rstrip(os.sep) + os.sep)
