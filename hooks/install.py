"""Puts the hook into Python and takes it out again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from types import TracebackType

from bundlebee.hooks.finder import BundleFinder, Claim, FallbackFinder
from bundlebee.hooks.loader import WeavingLoader
from bundlebee.weaving.advice import Advice, OnDefined, OnJoinPoint, OnScatter
from bundlebee.weaving.joinpoint import JoinPoint
from bundlebee.weaving.loom import Loom


class Handle:
    """An installed hook. As a context manager it uninstalls itself at the end."""

    def __init__(self, finder: BundleFinder, fallback: FallbackFinder | None, loom: Loom) -> None:
        self.finder = finder
        self.fallback = fallback
        self.loom = loom

    @property
    def claims(self) -> MutableMapping[str, Claim]:
        """Who owns which top-level name; may be changed while installed."""
        return self.finder.claims

    def uninstall(self) -> None:
        """Take the hook out and disarm what was woven through it. Modules that are loaded stay."""
        for finder in (self.finder, self.fallback):
            if finder in sys.meta_path:
                sys.meta_path.remove(finder)
        if self in _handles:
            _handles.remove(self)
        self.loom.unthread()

    def __enter__(self) -> Handle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.uninstall()


_handles: list[Handle] = []


def install(
    claims: MutableMapping[str, Claim],
    *,
    on_join_point: OnJoinPoint | None = None,
    on_defined: OnDefined | None = None,
    on_imported: Callable[[], None] | None = None,
    on_scatter: OnScatter | None = None,
    cache_dir: Path | None = None,
    apprentices: Callable[[], int] = int,
    fetch: Callable[[str], Claim | None] | None = None,
) -> Handle:
    """Let imports of claimed names find their bundles, woven where the claim says so.

    Args:
        claims: by top-level import name; kept, not copied.
        on_join_point: called with each join point as it is made.
        on_defined: asked, in the middle of an import, who takes note of a module's functions; None makes each join point at once.
        on_imported: called when an import is over, the outermost one of its thread.
        on_scatter: called at each scatter site that is reached; None weaves no sites.
        cache_dir: where woven modules are kept; None for the user's cache directory.
        apprentices: how many processes may help when a large package is woven for the first time.
        fetch: brings the bundle of a name that nobody here knows.
    """
    loom = Loom(
        on_join_point=on_join_point,
        on_defined=on_defined,
        on_imported=on_imported,
        on_scatter=on_scatter,
        cache_dir=cache_dir,
        apprentices=apprentices,
    )
    finder = BundleFinder(claims, lambda fullname, path: WeavingLoader(fullname, path, loom))
    fallback = None if fetch is None else FallbackFinder(finder, fetch)
    early = sorted(name for name, claim in claims.items() if claim.weave and name in sys.modules)
    if early:
        from bundlebee.loggers import get_logger

        get_logger("bundlebee.hooks").warning(
            "imported before the hook was there, so not woven: %s", ", ".join(early)
        )
    sys.meta_path.insert(0, finder)
    if fallback is not None:
        sys.meta_path.append(fallback)
    handle = Handle(finder, fallback, loom)
    _handles.append(handle)
    return handle


def advice_of(module_name: str) -> Advice | None:
    """The advice of a woven module, or None if it is not woven."""
    for handle in reversed(_handles):
        advice = handle.loom.advices.get(module_name)
        if advice is not None:
            return advice
    return None


def points() -> Iterator[JoinPoint]:
    """All join points of all woven modules."""
    for handle in list(_handles):
        yield from handle.loom.points()
