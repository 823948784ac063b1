"""The loom: from a source to running woven code, for the loader of modules and for the start of a program.

It holds what belongs together at run time: the cache, the aspects' two entries, and the advice of every
module that was woven through it.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

from bundlebee.weaving.advice import Advice, OnJoinPoint, OnScatter
from bundlebee.weaving.cache import WovenCache, default_directory
from bundlebee.weaving.joinpoint import JoinPoint
from bundlebee.weaving.outcomes import ADVICE_NAME, WovenModule

_WORTH_WEAVING = (b"def", b"class", b"for", b"map")
"""A source without any of these has no join point, no loop and no class: it need not be parsed (``-c`` one-liners)."""


class Loom:
    """Weaves sources, out of the cache where it can.

    Args:
        on_join_point: called with each `JoinPoint` as its function is defined.
        on_scatter: called at each scatter site that is reached; None weaves no sites.
        cache_dir: where woven modules are kept; None for the user's cache directory.
    """

    def __init__(
        self,
        *,
        on_join_point: OnJoinPoint | None = None,
        on_scatter: OnScatter | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self.advices: dict[str, Advice] = {}  #: by module name
        self._on_join_point = on_join_point
        self._on_scatter = on_scatter
        self._cache_dir = cache_dir
        self._cache: WovenCache | None = None

    def weave(self, source: bytes, *, module: str, path: str) -> WovenModule | None:
        """The woven module, or None where it is to be loaded plain. The log says why; this never raises."""
        if not any(word in source for word in _WORTH_WEAVING):
            return None
        scatter = self._on_scatter is not None
        try:
            if self._cache is None:
                self._cache = WovenCache(self._cache_dir or default_directory())
            woven = self._cache.load(source, module=module, path=path, scatter=scatter)
            if woven is None:
                from bundlebee.weaving.weaver import weave  # brings ast and libcst

                woven = weave(source, module=module, path=path, scatter=scatter)
                self._cache.store(woven, scatter=scatter)
            return woven
        except (SyntaxError, ValueError):
            return None  # the plain import will say so, as ever
        except Exception as error:
            _log_plain(module, error)
            return None

    def thread(self, woven: WovenModule, namespace: MutableMapping[str, Any]) -> None:
        """Give a module its advice; then its woven code may be executed in the namespace."""
        advice = Advice(
            woven.module,
            woven.spread,
            on_join_point=self._on_join_point,
            on_scatter=self._on_scatter,
            facts=woven.facts,
        )
        self.advices[woven.module] = advice
        namespace[ADVICE_NAME] = advice

    def points(self) -> Iterator[JoinPoint]:
        """All join points there are."""
        for advice in list(self.advices.values()):
            yield from list(advice.points)

    def unthread(self) -> None:
        """Let every woven function and site run as its author wrote it, from now on."""
        for advice in self.advices.values():
            for site in advice.sites:
                advice.switch(site.index, False)
            for point in advice.points:
                point.retire()


def _log_plain(module: str, error: Exception) -> None:
    import logging

    from bundlebee.errors import WeaveError

    log = logging.getLogger("bundlebee.hooks")
    if isinstance(error, WeaveError):
        log.info("%s runs plain: %s", module, error)
    else:
        log.warning("%s runs plain: the weaver failed", module, exc_info=error)
