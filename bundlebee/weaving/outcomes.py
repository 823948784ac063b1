"""What weaving found and made, as values. Pure data; what reads it from the cache needs no libcst."""

from __future__ import annotations

from types import CodeType

import msgspec

ADVICE_NAME = "__bee__"
"""The global under which a woven module sees its `Advice`."""


class Woven(msgspec.Struct, frozen=True):
    """A function that became a join point."""

    qualname: str  #: as `function.__qualname__`
    line: int  #: line of the ``def``, from 1


class Skipped(msgspec.Struct, frozen=True):
    """A function that stayed as it was, and why."""

    qualname: str
    line: int
    reason: str  #: a clause for people, as in "is a generator"


class ScatterSite(msgspec.Struct, frozen=True):
    """An expression whose calls may be spread: the program does so while ``__bee__.s<index>`` is true."""

    index: int  #: position in `WovenModule.spread`, and the number in ``__bee__.s<index>``
    kind: str  #: "list", "set", "dict", "generator" or "map"
    callee: str  #: the called expression as written, ``package.module.function``
    qualname: str  #: of the function (or "<module>") that holds it
    line: int  #: where the expression starts, from 1
    column: int  #: in UTF-8 bytes, from 0
    #: attribute names that the operands read; a property would run once more
    attributes: tuple[str, ...] = ()
    #: the iterable is made on the spot by ``enumerate``, ``zip`` or ``reversed``: the program keeps no hold of it
    fresh: bool = False


class SkippedSite(msgspec.Struct, frozen=True):
    """An expression that calls something for each item, but is not spread: one could see the difference."""

    kind: str
    callee: str
    qualname: str
    line: int
    column: int
    reason: str


class WovenModule(msgspec.Struct, frozen=True):
    """A module after weaving: what the loader executes, and what was found on the way."""

    module: str  #: dotted name
    path: str  #: what tracebacks show
    text: str | None  #: the woven source; None where it came from the cache
    code: CodeType
    points: tuple[Woven | Skipped, ...]  #: in the order of the source; none where it came from the cache
    sites: tuple[ScatterSite | SkippedSite, ...]
    facts: (
        bytes | None
    )  #: `bundlebee.bundles.facts` of the original source, encoded; None: `WovenCache.facts` has them
    digest: str  #: of the original source, see `cache.digest_of`
    unwoven: bytes = b""  #: see `weaver.unwoven`; empty where there is nothing to exchange

    @property
    def woven(self) -> tuple[Woven, ...]:
        """The join points among `points`."""
        return tuple(point for point in self.points if isinstance(point, Woven))

    @property
    def spread(self) -> tuple[ScatterSite, ...]:
        """The scatter sites among `sites`, by index."""
        return tuple(site for site in self.sites if isinstance(site, ScatterSite))
