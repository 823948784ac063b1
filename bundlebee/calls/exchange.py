"""The code of functions with gaps, exchanged for code in which these calls go through the gate, while a guarded call runs."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from bundlebee.bundles.facts import ModuleFacts, facts_of_source
from bundlebee.bundles.gated import Gated, gate
from bundlebee.bundles.originals import standing_in
from bundlebee.errors import Unshippable

if TYPE_CHECKING:
    from bundlebee.bundles.gaps import Gap

Source = Callable[[str], tuple[bytes, str] | None]
"""The source of a module of a bundle, and its path; None for any other module."""

Change = tuple[FunctionType, CodeType, CodeType]
"""A function, its code, and the one in its place."""


class Exchange:
    """Of one worker.

    Args:
        source: of the modules that there may be gaps in.
        gatekeeper: what the calls go through, see `bundlebee.bundles.gated.gate`.
    """

    def __init__(self, source: Source, gatekeeper: object) -> None:
        self._source = source
        self._gatekeeper = gatekeeper
        self._facts: dict[str, tuple[object, ModuleFacts | None]] = {}
        self._gaps: list[Gap] = []  # by their numbers
        self._numbers: dict[Gap, int] = {}
        self._modules: dict[tuple[ModuleType, frozenset[Gap]], dict[Any, Gated]] = {}
        self._in_place: dict[str, frozenset[Gap]] = {}
        self._exchanged: dict[FunctionType, CodeType] = {}
        self._plans: dict[tuple[ModuleType, frozenset[Gap]], tuple[list[FunctionType], list[Change]]] = {}
        self._functions: dict[str, tuple[dict[str, Any], int, list[FunctionType]]] = {}

    def gap(self, number: int) -> Gap:
        """The gap with the number that the gate is told."""
        return self._gaps[number]

    def facts(self, name: str) -> ModuleFacts | None:
        """What can be said of the functions of a module; None for one that came with no bundle."""
        module = sys.modules.get(name)
        known = self._facts.get(name)
        if known is None or known[0] is not module:
            found = None if module is None else self._source(name)
            known = self._facts[name] = (module, None if found is None else facts_of_source(found[0], name))
        return known[1]

    def put_in_place(self, gaps: Sequence[Gap]) -> None:
        """From now on these gaps are guarded.

        Raises:
            Unshippable: they cannot be.
        """
        for name in {gap[0] for gap in gaps}:
            before = self._in_place.get(name, frozenset())
            wanted = before.union(gap for gap in gaps if gap[0] == name)
            if wanted != before:
                for function, original, code in self._plan(name, wanted):
                    self._exchanged.setdefault(function, original)
                    standing_in[code] = original
                    function.__code__ = code
                self._in_place[name] = wanted

    def _gated(self, name: str, gaps: frozenset[Gap]) -> dict[Any, Gated]:
        key = sys.modules[name], gaps
        found = self._modules.get(key)
        if found is None:
            source = self._source(name)
            if source is None:
                raise Unshippable(f"the source of {name} is not there")
            ordered = sorted(gaps)
            numbers = [self._number(gap) for gap in ordered]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they came when it was compiled first
                found = self._modules[key] = gate(*source, name, ordered, numbers, self._gatekeeper)
        return found

    def _number(self, gap: Gap) -> int:
        number = self._numbers.get(gap)
        if number is None:
            number = self._numbers[gap] = len(self._gaps)
            self._gaps.append(gap)
        return number

    def _plan(self, name: str, gaps: frozenset[Gap]) -> list[Change]:
        """All functions of a module that have the code of one with gaps, as it was and as it is to be."""
        key = sys.modules[name], gaps
        functions = self._functions_of(name)
        known = self._plans.get(key)
        if (
            known is not None
            and known[0] is functions
            and all(self._original(function) is original for function, original, _ in known[1])
        ):
            return known[1]
        gated = self._gated(name, gaps)
        missing = {key for key in gated if "<locals>" not in key[0]}
        plan: list[Change] = []
        for function in functions:
            original = self._original(function)
            which = original.co_qualname, original.co_firstlineno
            code = gated.get(which)
            if code is None:
                continue
            if code.plain != original:
                raise Unshippable(f"the source of {name}.{which[0]} is not that of its code")
            missing.discard(which)
            plan.append((function, original, code.gated.replace(co_filename=original.co_filename)))
        if missing:
            raise Unshippable(f"{name}.{sorted(missing)[0][0]} cannot be found")
        self._plans[key] = functions, plan
        return plan

    def _original(self, function: FunctionType) -> CodeType:
        return self._exchanged.get(function, function.__code__)

    def _functions_of(self, name: str) -> list[FunctionType]:
        """All functions of a module, wherever they are kept. Copies of them are made by decorators, when modules are imported."""
        space, when = vars(sys.modules[name]), len(sys.modules)
        known = self._functions.get(name)
        if known is None or known[0] is not space or known[1] != when:
            found = [
                thing
                for thing in gc.get_objects()
                if type(thing) is FunctionType and thing.__globals__ is space
            ]
            known = self._functions[name] = space, when, found
        return known[2]

    def take_away(self) -> None:
        """Every function has its own code again."""
        for function, code in self._exchanged.items():
            function.__code__ = code
        self._exchanged.clear()
        self._in_place.clear()
        standing_in.clear()
