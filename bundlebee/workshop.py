"""The bundles of one program: what it imports woven, what it brings along for its peers, what the grid brings it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundlebee.bundles.repository import Repository, from_distribution
from bundlebee.bundles.standard import PREFIX
from bundlebee.errors import ConfigurationError, encodable
from bundlebee.hashing import sha256
from bundlebee.hooks.finder import Claim
from bundlebee.loggers import get_logger
from bundlebee.words import BundleRef

if TYPE_CHECKING:
    from bundlebee.bundles.facts import ModuleFacts
    from bundlebee.bundles.repository import Bundle
    from bundlebee.calls.request import BundlePath, MainSource
    from bundlebee.guest import Guest
    from bundlebee.hooks.program import MainProgram

log = get_logger("bundlebee.bundles")

MAIN = "__main__"


class Workshop:
    """Claims, archives and facts of one program's bundles.

    Args:
        directory: of bundles; None is ``./bundles`` if there is one.
        distributions: installed distributions to treat as bundles, or ``stdlib:NAME``.
        guest: to ask the grid for bundles that are imported and not here.

    Raises:
        ConfigurationError: the directory does not exist.
        BundleError: a distribution is not installed, or cannot be a bundle.
    """

    def __init__(self, directory: Path | None, distributions: Sequence[str], guest: Guest) -> None:
        if directory is not None and not directory.is_dir():
            raise ConfigurationError(
                f"{directory} is not a directory", hint="name the directory that your packages lie in"
            )
        place = directory if directory is not None else Path("bundles")
        self._guest = guest
        self._lock = threading.Lock()
        self._main = BundleRef("main", "0", "", (MAIN,))
        self._facts: dict[str, ModuleFacts | None] = {}
        self._used: tuple[tuple[int, int], set[str], dict[str, tuple[BundleRef, ...]]] | None = None
        self._repository = Repository(place.absolute() if place.is_dir() else None)
        self._repository.scan()
        for problem in self._repository.problems():
            log.warning("%s", problem)
        self._bundles: dict[str, Bundle] = {}
        self.claims: dict[str, Claim] = {}
        self.standard: frozenset[str] = frozenset()  #: modules of the standard library that are bundles here
        for name in distributions:
            if name.startswith(PREFIX):
                # our own code needs much of the standard library: it must not meet it half loaded, nor take
                # classes of a bundle for builtin data
                import bundlebee.bundles.effects
                import bundlebee.bundles.flow
                import bundlebee.bundles.values
                import bundlebee.weaving.weaver  # noqa: F401

                self.standard |= {name.removeprefix(PREFIX)}
            self._claim(from_distribution(name))
        for bundle in self._repository.bundles():
            self._claim(bundle)

    def adopt_main(self, main: MainProgram) -> MainSource:
        """Treat the program's main module as a bundle of one module, which travels with each lease."""
        digest = sha256(main.source).hexdigest()
        name = (
            main.module_name.removesuffix(".__main__")
            if main.module_name
            else Path(main.path).stem.strip("<>")
        )
        self._main = BundleRef(name or "main", "0", digest, (MAIN,))
        package = main.module_name.rpartition(".")[0] if main.module_name else None
        from bundlebee.calls.request import MainSource

        return MainSource(main.source, encodable(main.path), digest, package)

    def bundle_of(self, module: str) -> BundleRef:
        """The bundle that a woven module belongs to."""
        claim = self.claims.get(module.partition(".")[0])
        return self._main if claim is None else claim.bundle

    def needed(self, module: str) -> tuple[BundleRef, ...]:
        """What a worker must be able to import for functions of that module: all bundles that are in use here."""
        mark = len(sys.modules), len(self.claims)
        used = self._used
        if used is None or used[0] != mark:
            # each call asks, and a program may have imported thousands of modules
            found = {top for name in list(sys.modules) if (top := name.partition(".")[0]) in self.claims}
            used = self._used = mark, found, {}
        refs = used[2].get(module)
        if refs is None:
            top = module.partition(".")[0]
            names = used[1] | {top} if top in self.claims else used[1]
            bundles = {self.claims[name].bundle.digest: self.claims[name].bundle for name in names}
            refs = used[2][module] = tuple(bundles[digest] for digest in sorted(bundles))
        return refs

    def path(self, ref: BundleRef) -> BundlePath:
        """Where a bundle lies on this disk."""
        from bundlebee.calls.request import BundlePath

        return BundlePath(ref, self._bundles[ref.digest].path)

    def requires(self, ref: BundleRef) -> tuple[str, ...]:
        """What a bundle requires, as in ``Requires-Dist``."""
        bundle = self._bundles.get(ref.digest)
        return () if bundle is None else bundle.requires

    def archive(self, digest: str) -> bytes:
        """A bundle as bytes, for a peer that lacks it."""
        return self._bundles[digest].archive()

    def facts(self, module: str) -> ModuleFacts | None:
        """What the weaver found out about a module; None for modules that are not woven."""
        if module not in self._facts:
            from bundlebee.bundles.facts import decode
            from bundlebee.hooks.install import advice_of

            advice = advice_of(module)
            if advice is None:
                return None
            self._facts[module] = decode(advice.facts) if advice.facts else None
        return self._facts[module]

    def fetch(self, name: str) -> Claim | None:
        """Bring the bundle that owns an import name from the grid; None where nobody has it."""
        from bundlebee.bundles.carrier import Carrier
        from bundlebee.bundles.import_lock import released

        self._guest.join()
        # we are in the middle of an import, and the threads that we wait for import too
        with released():
            # nodes answer one by one, and the first one need not be the one that has it
            found = self._guest.wait_for(lambda grid: bool(grid.find_import(name))).find_import(name)
            if not found and self._guest.own_node is not None:
                found = self._guest.look().find_import(name)
            if not found:
                return None
            holders = [view.row.address for view in found[0].nodes]
            bundle = Carrier(self._repository, self._piece).get(found[0].bundle, holders)
        log.info("fetched %s %s from %s", bundle.ref.name, bundle.ref.version, found[0].nodes[0].row.name)
        return self._claim(bundle)

    def _piece(self, address: str, digest: str, offset: int) -> tuple[int, bytes]:
        return self._guest.network.piece(address, digest, offset)

    def _claim(self, bundle: Bundle) -> Claim:
        claim = Claim(bundle.path, bundle.ref)
        self._bundles[bundle.ref.digest] = bundle
        for name in bundle.ref.imports:
            if name in self.claims and self.claims[name].bundle.digest != bundle.ref.digest:
                other = self.claims[name].bundle.name
                log.warning("%s of %s is left alone: %s has that name already", name, bundle.ref.name, other)
                continue
            self.claims[name] = claim
        return claim
