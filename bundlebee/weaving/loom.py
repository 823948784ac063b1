"""The loom: from a source to running woven code, for the loader of modules and for the start of a program.

It holds what belongs together at run time: the cache, the aspects' two entries, and the advice of every
module that was woven through it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundlebee.weaving.advice import Advice, OnDefined, OnJoinPoint, OnScatter
from bundlebee.weaving.cache import Status, WovenCache, default_directory, status_of
from bundlebee.weaving.joinpoint import JoinPoint
from bundlebee.weaving.outcomes import ADVICE_NAME, WovenModule

if TYPE_CHECKING:
    from bundlebee.weaving.ahead import Ahead

_WORTH_WEAVING = (b"def", b"class", b"for", b"map")
"""A source without any of these has no join point, no loop and no class: it need not be parsed (``-c`` one-liners)."""


class _Imports(threading.local):
    """How many woven modules a thread is in the middle of importing."""

    depth = 0


class Loom:
    """Weaves sources, out of the cache where it can.

    Args:
        on_join_point: called with each `JoinPoint` as it is made.
        on_defined: asked, in the middle of an import, who takes note of a module's functions; None makes each join point at once.
        on_imported: called when an import is over, the outermost one of its thread.
        on_scatter: called at each scatter site that is reached; None weaves no sites.
        cache_dir: where woven modules are kept; None for the user's cache directory.
        apprentices: how many processes may help when a large package is woven for the first time.
    """

    def __init__(
        self,
        *,
        on_join_point: OnJoinPoint | None = None,
        on_defined: OnDefined | None = None,
        on_imported: Callable[[], None] | None = None,
        on_scatter: OnScatter | None = None,
        cache_dir: Path | None = None,
        apprentices: Callable[[], int] = int,
    ) -> None:
        self.advices: dict[str, Advice] = {}  #: by module name
        self._on_join_point = on_join_point
        self._on_defined = on_defined
        self._on_imported = on_imported
        self._imports = _Imports()
        self._apprentices = apprentices
        self._ahead: dict[str, Ahead | None] = {}  #: by top-level name
        self._begun: dict[str, tuple[str, str]] = {}  #: likewise: its first module with nothing to weave
        self._on_scatter = on_scatter
        self._cache_dir = cache_dir
        self._cache: WovenCache | None = None

    def weave(self, source: bytes, *, module: str, path: str) -> WovenModule | None:
        """The woven form of a source, or None where it is to be loaded plain. The log says why; this never raises."""
        if not is_worth_weaving(source):
            return None
        return self._woven(lambda: source, module, path, None)

    def weave_file(self, read: Callable[[], bytes], *, module: str, path: str) -> WovenModule | None:
        """The same for a file, which is read only if it has changed since it was woven."""
        return self._woven(read, module, path, status_of(path))

    def _woven(
        self, read: Callable[[], bytes], module: str, path: str, status: Status | None
    ) -> WovenModule | None:
        scatter = self._on_scatter is not None
        try:
            if self._cache is None:
                self._cache = WovenCache(self._cache_dir or default_directory())
            woven = self._cache.load(read, module=module, path=path, scatter=scatter, status=status)
            if woven is None:
                source = read()
                if not is_worth_weaving(source):
                    # such a file never gets an entry: that it has none is no sign that the package is new here
                    self._begun.setdefault(module.partition(".")[0], (module, path))
                    return None
                if self._imports.depth and self._is_done(module, path):
                    woven = self._cache.load(
                        lambda: source, module=module, path=path, scatter=scatter, status=status
                    )
                    if woven is not None:
                        return woven
                if status is None:
                    return self._woven_program(source, module, path)
                from bundlebee.weaving.weaver import weave  # brings ast and libcst

                woven = weave(source, module=module, path=path, scatter=scatter)
                self._cache.store(woven, scatter=scatter, status=status)
            return woven
        except (SyntaxError, ValueError, OSError):
            return None  # the plain import will say so, as ever
        except Exception as error:
            _log_plain(module, error)
            return None

    def _woven_program(self, source: bytes, module: str, path: str) -> WovenModule | None:
        """Python compiles a program each time it starts, and warns each time of what it finds in it: if it does, nothing is kept."""
        import warnings

        from bundlebee.weaving.weaver import weave

        scatter = self._on_scatter is not None
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            woven = weave(source, module=module, path=path, scatter=scatter)
        if not heard and self._cache is not None:
            self._cache.store(woven, scatter=scatter, status=None)
        try:
            for one in heard:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        except Warning:
            return None  # the plain start will say so, as ever: warnings are errors
        return woven

    def _is_done(self, module: str, path: str) -> bool:
        """Whether an apprentice has woven a file meanwhile. The first new module of a large package starts some."""
        top = module.partition(".")[0]
        if top not in self._ahead:
            self._ahead[top] = self._help(*self._begun.get(top, (module, path)))
        ahead = self._ahead[top]
        return ahead is not None and ahead.take(path)

    def _help(self, module: str, path: str) -> Ahead | None:
        count = self._apprentices()
        if not count:
            return None
        from bundlebee.weaving.ahead import WORTH_HELP, Ahead
        from bundlebee.weaving.order import expected

        modules = expected(module, path)
        if sum(size for _, _, size in modules) < WORTH_HELP:
            return None
        assert self._cache is not None
        scatter = self._on_scatter is not None
        names = [(name, file) for name, file, _ in modules]
        ahead = Ahead(names, self._cache.directory, scatter=scatter, apprentices=count)
        ahead.start()
        from bundlebee.loggers import get_logger

        get_logger("bundlebee.progress").info(
            "weaving %s for the first time (%d modules); its next start takes them from the cache",
            module.partition(".")[0],
            len(modules),
        )
        return ahead

    def after_fork(self) -> None:
        """In a child process: let go of what belongs to the parent."""
        for ahead in self._ahead.values():
            if ahead is not None:
                ahead.after_fork()
        self._apprentices = int

    def thread(self, woven: WovenModule, namespace: MutableMapping[str, Any]) -> Advice:
        """Give a module its advice; then its woven code may be executed in the namespace."""
        advice = Advice(
            woven.module,
            woven.spread,
            on_join_point=self._on_join_point,
            on_defined=self._on_defined if self._imports.depth else None,
            on_scatter=self._on_scatter,
            facts=partial(self._facts, woven.facts, woven.module, woven.path, woven.digest),
            unwoven=woven.unwoven,
        )
        self.advices[woven.module] = advice
        namespace[ADVICE_NAME] = advice
        return advice

    def _facts(self, known: bytes | None, module: str, path: str, digest: str) -> bytes:
        if known is not None or self._cache is None:
            return known or b""
        return self._cache.facts(digest, module=module, path=path, scatter=self._on_scatter is not None)

    def begin_import(self) -> None:
        """A module is about to be threaded and executed in this thread; call `end_import` in any case."""
        self._imports.depth += 1

    def end_import(self) -> None:
        """It is there, or it has failed."""
        self._imports.depth -= 1
        if not self._imports.depth and self._on_imported is not None:
            try:
                self._on_imported()
            except Exception as error:
                _log_failure("functions stay plain", error)

    def points(self) -> Iterator[JoinPoint]:
        """All join points there are."""
        for advice in list(self.advices.values()):
            yield from list(advice.points)

    def unthread(self) -> None:
        """Let every woven function and site run as its author wrote it, from now on."""
        for advice in self.advices.values():
            advice.still()
            for point in advice.points:
                point.retire()


def is_worth_weaving(source: bytes) -> bool:
    """Whether there may be anything to weave in a source."""
    return any(word in source for word in _WORTH_WEAVING)


def _log_failure(what: str, error: Exception) -> None:
    from bundlebee.loggers import get_logger

    get_logger("bundlebee.weaving").warning("%s: %s: %s", what, type(error).__name__, error, exc_info=error)


def _log_plain(module: str, error: Exception) -> None:
    from bundlebee.errors import WeaveError
    from bundlebee.loggers import get_logger

    log = get_logger("bundlebee.hooks")
    if isinstance(error, WeaveError):
        log.info("%s runs plain: %s", module, error)
    else:
        log.warning("%s runs plain: the weaver failed", module, exc_info=error)
