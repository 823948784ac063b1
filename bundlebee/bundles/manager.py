"""The life of the bundles on a node: follows the directory, starts what can run, ends what is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from bundlebee.bundles.metadata import normal
from bundlebee.bundles.repository import Bundle, Repository
from bundlebee.bundles.resolution import installed_versions, lack, resolve
from bundlebee.bundles.states import State
from bundlebee.bundles.syntax import check
from bundlebee.bundles.watcher import Watcher
from bundlebee.errors import BundleError
from bundlebee.loggers import get_logger

log = get_logger("bundlebee.bundles")

SETTLE = 0.25
"""Seconds that a package must have been left alone before it is taken: longer than the pauses of a copying
tool, short enough that it runs within a second."""

PATIENCE = 3.0
"""Seconds until an archive that looks damaged, and may be half-copied, is called broken."""


class Manager:
    """The life of all bundles of one node.

    Args:
        repository: with the directory to follow.
        announce: called with each bundle whose state has changed.
        withdraw: called with each bundle that is gone.
    """

    def __init__(
        self,
        repository: Repository,
        announce: Callable[[Bundle], None],
        withdraw: Callable[[Bundle], None],
        *,
        polling: bool = False,
    ) -> None:
        self._repository = repository
        self._announce = announce
        self._withdraw = withdraw
        self._polling = polling
        self._lock = threading.RLock()
        self._held: dict[str, Bundle] = {}  #: what is announced, by digest
        self._adopted: dict[str, Bundle] = {}
        self._refused: dict[str, BundleError] = {}  #: does not compile, by digest
        self._waits: dict[str, BundleError] = {}  #: for what, by digest
        self._problems: tuple[BundleError, ...] = ()
        self._watcher: Watcher | None = None
        self._taken = -1  #: the repository's count of changes when it was last brought into line

    def start(self) -> None:
        """Start what is there, then follow the directory in a thread."""
        self._repository.store.prune()
        self._look(settle=0.0)
        directory = self._repository.directory
        if directory is not None:
            self._watcher = Watcher(directory, self._look, polling=self._polling)
            self._watcher.start()

    def stop(self) -> None:
        """Follow no more. Nothing is announced from now on."""
        if self._watcher is not None:
            self._watcher.stop()
        with self._lock:
            for bundle in self._held.values():
                bundle.state = State.UNINSTALLED
            self._held.clear()

    def adopt(self, bundle: Bundle) -> None:
        """Start a bundle that came over the network."""
        with self._lock:
            self._adopted.setdefault(bundle.ref.digest, bundle)
            self._reconcile()

    def problems(self) -> list[BundleError]:
        """What is wrong at this moment."""
        with self._lock:
            return list(self._problems)

    def lacking(self, digests: Iterable[str]) -> BundleError | None:
        """What the first of these bundles waits for; None if all of them are active."""
        with self._lock:
            for digest in digests:
                bundle = self._held.get(digest)
                if bundle is not None and bundle.state is not State.ACTIVE:
                    return self._waits.get(digest)
        return None

    def _look(self, settle: float = SETTLE) -> float | None:
        again = self._repository.scan(settle, PATIENCE)
        with self._lock:
            waits = any(bundle.state is State.INSTALLED for bundle in self._held.values())
            # what a bundle waits for may have been installed with pip meanwhile
            if waits or self._taken != self._repository.changes:
                self._taken = self._repository.changes
                self._reconcile()
        return again

    def _reconcile(self) -> None:
        """Bring what runs into line with what is here."""
        while True:
            able = [one for one in self._repository.installed() if one.ref.digest not in self._refused]
            adopted = [one for digest, one in self._adopted.items() if digest not in self._refused]
            resolution = resolve(able, partial(_versions, adopted=adopted))
            chosen = {bundle.ref.digest: bundle for bundle in resolution.chosen}
            waiting = {bundle.ref.digest: bundle for bundle in resolution.waiting}
            problems = [*self._repository.broken(), *self._refused_here(), *resolution.problems]
            self._waits = dict(resolution.lacks)
            for bundle in adopted:
                if bundle.ref.digest in chosen:
                    continue
                problem = lack(bundle, [*resolution.chosen, *adopted], _versions)
                if problem is None:
                    chosen[bundle.ref.digest] = bundle
                    waiting.pop(bundle.ref.digest, None)
                else:
                    waiting[bundle.ref.digest] = bundle
                    self._waits[bundle.ref.digest] = problem
                    problems.append(problem)
            if all(self._run(bundle) for bundle in chosen.values()):
                break
        for digest, bundle in waiting.items():
            if digest not in self._held:
                self._held[digest] = bundle
                self._set(bundle, State.INSTALLED)
            elif self._held[digest].state is not State.INSTALLED:
                self._set(self._held[digest], State.INSTALLED)
        for digest in self._held.keys() - chosen.keys() - waiting.keys():
            self._end(self._held.pop(digest))
        self._tell(tuple(problems))

    def _run(self, bundle: Bundle) -> bool:
        """Take a bundle through its states until it is active; whether it got there."""
        digest = bundle.ref.digest
        held = self._held.get(digest)
        if held is not None and held.state is State.ACTIVE:
            if held is not bundle:  # the same code, packed anew
                bundle.state = State.ACTIVE
                self._held[digest] = bundle
                if held.ref != bundle.ref:
                    self._announce(bundle)
            return True
        self._held[digest] = bundle
        if held is None:
            self._set(bundle, State.INSTALLED)
        self._set(bundle, State.RESOLVED)
        self._set(bundle, State.STARTING)
        # one that came over the network was checked where it was dropped in
        problem: BundleError | None
        try:
            problem = None if digest in self._adopted else check(bundle)
        except BundleError as error:  # its files have gone meanwhile
            problem = error
        if problem is not None:
            self._refused[digest] = problem
            self._end(self._held.pop(digest))
            return False
        self._repository.store.touch(bundle.ref)
        self._set(bundle, State.ACTIVE)
        return True

    def _end(self, bundle: Bundle) -> None:
        if bundle.state is State.ACTIVE:
            self._set(bundle, State.STOPPING)
        bundle.state = State.UNINSTALLED
        self._withdraw(bundle)

    def _set(self, bundle: Bundle, state: State) -> None:
        bundle.state = state
        self._announce(bundle)

    def _refused_here(self) -> list[BundleError]:
        here = {bundle.ref.digest for bundle in self._repository.installed()}
        for digest in self._refused.keys() - here:
            del self._refused[digest]
        return list(self._refused.values())

    def _tell(self, problems: tuple[BundleError, ...]) -> None:
        """Log each problem when it appears."""
        known = {str(problem) for problem in self._problems}
        for problem in problems:
            if str(problem) not in known:
                log.warning("%s", problem)
        self._problems = problems


def _versions(name: str, adopted: Sequence[Bundle] = ()) -> list[str]:
    """The versions of a distribution that are here apart from those in the directory."""
    here = [bundle.ref.version for bundle in adopted if normal(bundle.ref.name) == normal(name)]
    return [*here, *installed_versions(name)]
