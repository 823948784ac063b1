"""Cached functions, in the analysis: what a call leaves in their caches, and what comes out of these."""

from __future__ import annotations

from typing import Any

from bundlebee.bundles import lasting
from bundlebee.bundles.abstract import ATOM, BuiltinMethod, Given, Inner, Live, Made, Namespace, Text, Value
from bundlebee.bundles.builtin_calls import Builtins
from bundlebee.bundles.contents import ATOMS
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.specials import Args


class Cached(Builtins):
    """Calls of functions that keep their results."""

    def check_cache(self, thing: Any, args: Args, name: str) -> None:
        """A call fills a cache, and what it keeps outlives a change of whatever it was computed from. Had the call run
        elsewhere, the cache here would be empty, and a later call would see the change. So a cached function may only depend on
        arguments that never change."""
        if (outside := lasting.depends_on(thing)) is not None:
            raise Harm(f"fills the cache of {name}, whose results would outlast a change of {outside!r}")
        if not all(self._never_changes(part) for part in self.inside(args.all())):
            raise Harm(f"fills the cache of {name} under an object that may change")

    def _never_changes(self, value: Value) -> bool:
        if isinstance(value, Live):
            return type(value.object) in ATOMS
        if isinstance(value, Made):
            return value.kind is None or value.kind in (tuple, frozenset)
        if isinstance(value, Given):
            # builtin data: what is mutable in it has no hash, and so is no key
            return not value.cached and not self.classes_of(value)
        return not isinstance(value, BuiltinMethod | Namespace)

    def shared(self, key: Any, results: Values, name: str) -> Values:
        """Results that somebody keeps: they may be read, not written, and no copy will do for them."""
        inside = self.inside(results)
        if all(_unwritable(part) for part in inside):
            return results
        mark = ("cached", key)
        kept = self._once.get(mark)
        if kept is None:
            kept = self._once[mark] = Given(f"what the cache of {name} holds", set(), None, cached=True)
        for part in inside:
            new = set(self.classes_of(part)) - kept.classes
            if new:
                kept.classes |= new
                self.version += 1
                self.held += 1
        return {kept, ATOM}


def _unwritable(value: Value) -> bool:
    if (
        value is ATOM
        or isinstance(value, Text)
        or not isinstance(value, Made | Given | Live | Inner | Namespace)
    ):
        return True
    if not isinstance(value, Made) or value.kind is None:
        return False
    # a named tuple has no attributes of its own
    return value.kind is frozenset or (issubclass(value.kind, tuple) and not value.kind.__dictoffset__)
