"""May this call run elsewhere, and give exactly the answer that it would give here?

`EffectAnalysis` answers for a function, or better for one call of it, with a `Summary`. The answer rests on the facts
that the weaver collected (`bundlebee.bundles.facts`), on the real objects that the function's names mean at this moment, and on the
catalogue of the standard library. What cannot be shown to be harmless is UNSAFE, and the summary says why: the chain of calls, what
happens there, the file and the line.

The answer holds as long as

- the arguments are plain (`bundlebee.bundles.values.walk`), and are what the summary was asked for: with instances of
  those classes only, and those functions only;
- what the analysis looked at is unchanged (`Summary.still_valid`);
- the worker's state is the same (`bundlebee.bundles.fingerprint` of `Summary.reads`), and no argument is itself part of that
  state (`bundlebee.bundles.fingerprint.State.objects`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from types import FunctionType
from typing import TYPE_CHECKING, Any

from bundlebee.bundles.facts import ModuleFacts

if TYPE_CHECKING:
    from bundlebee.bundles.values import Walk

KEPT = 64
"""Summaries that are kept for one function: one for each kind of arguments."""


class Effect(Enum):
    """What a call does, beside computing its result."""

    FREE = "free"  #: nothing
    PRINTS = "prints"  #: prints to standard output
    UNSAFE = "unsafe"  #: something that only means the same here, or that nobody knows


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known about a function, or about its calls with a certain kind of arguments."""

    level: Effect
    why: str  #: for UNSAFE: the chain of calls, what happens, file and line; else ``""``
    reads: tuple[tuple[str, str], ...]  #: (module, global) of all state that the result depends on, sorted
    observed: tuple[tuple[str, Any, Any, Any], ...] = field(default=(), repr=False, compare=False)

    def still_valid(self) -> bool:
        """Whether all that the analysis looked at is unchanged. Costs some 100 ns for each global that is read."""
        from bundlebee.bundles.objects import unchanged

        return unchanged(self.observed)


class EffectAnalysis:
    """Summaries for the functions of woven modules.

    Args:
        facts_of: gives the facts of a module by its name, or None for a module that is not part of a bundle.
    """

    def __init__(self, facts_of: Callable[[str], ModuleFacts | None]) -> None:
        self._facts_of = facts_of
        self._known: dict[FunctionType, dict[Any, Summary]] = {}

    def summary(self, function: FunctionType, qualname: str = "") -> Summary:
        """What the function does whatever plain arguments it gets, functions and classes among them excepted.

        Arguments may be instances of every class that modules with facts define at this moment; so the answer is careful, and
        `for_call` can be better. A caller that ships by this answer must see to it that `Walk.callables` is empty.
        """
        del qualname  # the function's own code says it
        return self._summary(function, None, None, frozenset())

    def for_call(self, function: FunctionType, args: tuple[Any, ...], walk: Walk) -> Summary:
        """What a call of the function with these arguments does.

        Args:
            function: the function itself (woven or not).
            args: the positional arguments.
            walk: what `bundlebee.bundles.values.walk` found in all arguments.
        """
        del args
        return self._summary(function, walk.classes, walk.callables, self._frozen(function, walk))

    def _frozen(self, function: FunctionType, walk: Walk) -> frozenset[str]:
        """The parameters that got immutable data."""
        code = function.__code__
        names = code.co_varnames
        count = code.co_argcount
        frozen = {name for name, is_frozen in zip(names[:count], walk.frozen, strict=False) if is_frozen}
        # Parameters that got nothing take their defaults, which are part of the analysis anyway.
        frozen.update(names[len(walk.frozen) : count])
        frozen.update(names[count : count + code.co_kwonlyargcount])
        frozen.difference_update(name for name in walk.names if name not in walk.frozen_names)
        extra = count + code.co_kwonlyargcount
        if code.co_flags & 4:
            if all(walk.frozen[count:]):
                frozen.add(names[extra])
            extra += 1
        if code.co_flags & 8:
            known = set(names[: count + code.co_kwonlyargcount])
            if all(name in walk.frozen_names for name in walk.names if name not in known):
                frozen.add(names[extra])
        return frozenset(frozen)

    def _summary(
        self,
        function: FunctionType,
        classes: frozenset[type] | None,
        callables: tuple[Any, ...] | None,
        frozen: frozenset[str],
    ) -> Summary:
        world = self._all_classes() if classes is None else classes
        key = (world, None if callables is None else frozenset(map(id, callables)), frozen)
        known = self._known.setdefault(function, {})
        summary = known.get(key)
        if summary is not None and summary.still_valid():
            return summary
        if len(known) >= KEPT:
            known.clear()
        known[key] = summary = self._analyse(function, world, callables, frozen)
        return summary

    def _analyse(
        self,
        function: FunctionType,
        classes: Iterable[type],
        callables: tuple[Any, ...] | None,
        frozen: frozenset[str],
    ) -> Summary:
        from bundlebee.bundles.flow import Flow
        from bundlebee.bundles.objects import Harm

        flow = Flow(self._facts_of, function, set(classes), callables, frozen)
        try:
            flow.run()
        except Harm as harm:
            return Summary(Effect.UNSAFE, flow.story(harm), tuple(sorted(flow.reads)), tuple(flow.observed))
        except RecursionError:
            return Summary(Effect.UNSAFE, "is nested too deeply to analyse", (), ())
        level = Effect.PRINTS if flow.prints else Effect.FREE
        observed = (*flow.observed, *(("keep", thing, None, None) for thing in callables or ()))
        return Summary(level, "", tuple(sorted(flow.reads)), observed)

    def _all_classes(self) -> frozenset[type]:
        """Every class that a module with facts holds at this moment."""
        found: set[type] = set()
        for name, module in list(sys.modules.items()):
            if self._facts_of(name) is None:
                continue
            stack = [value for value in list(vars(module).values()) if isinstance(value, type)]
            while stack:
                kind = stack.pop()
                if kind not in found and self._facts_of(kind.__module__) is not None:
                    found.add(kind)
                    stack.extend(value for value in list(vars(kind).values()) if isinstance(value, type))
        return frozenset(found)
