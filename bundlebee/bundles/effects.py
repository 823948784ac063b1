"""May this call run elsewhere, and give exactly the answer that it would give here?

`EffectAnalysis` answers for a function, or better for one call of it, with a `Summary`. The answer rests on the
facts that the weaver collected (`bundlebee.bundles.facts`), on the real objects that the function's names mean at
this moment, and on the catalogue of the standard library. What cannot be shown to be harmless is UNSAFE, and the
summary says why: the chain of calls, what happens there, the file and the line.

The answer holds as long as

- the arguments are plain (`bundlebee.bundles.values.walk`), and are what the summary was asked for: with
  instances of those classes only, and those functions only;
- what the analysis looked at is unchanged (`Summary.still_valid`);
- the worker's state is the same (`bundlebee.bundles.fingerprint` of `Summary.reads`), and no argument is itself
  part of that state (`bundlebee.bundles.fingerprint.State.objects`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from enum import Enum
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.bundles.contents import cannot_travel
from bundlebee.bundles.facts import ModuleFacts
from bundlebee.bundles.observed import unchanged
from bundlebee.bundles.values import ANYTHING, DATA, NOTHING, NUMBER, keep_hashes, keep_identities, refined
from bundlebee.errors import Unshippable
from bundlebee.loggers import get_logger

if TYPE_CHECKING:
    from bundlebee.bundles.gaps import Gap
    from bundlebee.bundles.values import Shape, Walk

log = get_logger("bundlebee.effects")

KEPT = 64
"""Summaries that are kept for one function: one for each kind of arguments."""


class Effect(Enum):
    """What a call does, beside computing its result and changing its arguments (`Summary.writes`)."""

    FREE = "free"  #: nothing
    PRINTS = "prints"  #: prints to standard output
    UNSAFE = "unsafe"  #: something that only means the same here, or that nobody knows


class Summary(msgspec.Struct, frozen=True, eq=False):
    """What is known about a function, or about its calls with a certain kind of arguments."""

    level: Effect
    why: str  #: for UNSAFE: the chain of calls, what happens, file and line; else ``""``
    reads: tuple[tuple[str, str], ...]  #: (module, global) of all state that the result depends on, sorted
    observed: tuple[tuple[str, Any, Any, Any], ...] = ()
    #: of the instances it allows for
    classes: frozenset[type] = frozenset()
    what: str = ""  #: for UNSAFE: what happens at the end of that chain, without chain and place
    #: for the others: how the first write to an argument reads. The caller's arguments are to be changed likewise
    writes: str = ""
    #: objects of the state that it may return or leave in an argument, with how that reads. No copy will do for them: the worker
    #: refuses to send one, and knows them by the state that it has compared. So they must be part of that (`comes_back`).
    shown: tuple[tuple[Any, str], ...] = ()
    #: whether it compares identities of arguments, or of what they hold: numbers lose theirs (`values.keep_identities`)
    compares: bool = False
    #: whether it gives a hash of an argument away, or of what they hold: of None and of objects that may be an address
    hashes: bool = False
    #: calls of which the analysis cannot tell what they run: it holds if the guard looks at each of them (`bundlebee.bundles.gaps`).
    #: Then `why` and `what` tell of the first
    gaps: tuple[Gap, ...] = ()

    def comes_back(self, objects: frozenset[int]) -> str | None:
        """What may come back of the state without being noticed, as it reads; None for nothing.

        Args:
            objects: ids of the mutable objects in the state that was compared (`fingerprint.State.objects`).
        """
        return next((told for thing, told in self.shown if id(thing) not in objects), None)

    @property
    def free(self) -> bool:
        """Whether it does nothing but compute its result, so that nobody can tell how often and in which order it ran."""
        return self.level is Effect.FREE and not self.writes and not self.gaps

    def covers(self, walk: Walk) -> bool:
        """Whether a general answer (`EffectAnalysis.summary`) speaks of a call with such arguments, too."""
        if walk.callables or walk.fragile or walk.fills or self.compares or self.hashes:
            return False
        return walk.classes <= self.classes

    def still_valid(self) -> bool:
        """Whether all that the analysis looked at is unchanged. Costs some 100 ns for each global that is read."""
        return unchanged(self.observed)


class Clearance(msgspec.Struct, frozen=True):
    """All that is to be known before one call is shipped."""

    summary: Summary
    walk: Walk  #: of its arguments
    state: bytes  #: digest of the state that it reads, for the worker to compare; empty if the call is UNSAFE


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

        Arguments may be instances of every class that modules with facts define at this moment, if it can travel; so the answer is
        careful, and `for_call` can be better. Before a call is shipped by this answer, `Summary.covers` must say yes
        to its arguments.
        """
        del qualname  # the function's own code says it
        found = self._summary(function, None, None, {})
        # A module that is loaded later may bring classes that nobody has looked at.
        mark = ("size", sys.modules, None, len(sys.modules))
        return msgspec.structs.replace(found, observed=(mark, *found.observed))

    def for_call(self, function: FunctionType, walk: Walk, *, gaps: bool = False) -> Summary:
        """What a call of the function with such arguments does.

        Args:
            function: the function itself (woven or not).
            walk: what `bundlebee.bundles.values.walk` found in all arguments.
            gaps: whether it may leave calls to the guard.
        """
        shapes = _shapes(function, walk)
        return self._summary(function, walk.classes, walk.callables, shapes, walk.fragile, walk.fills, gaps)

    def for_arguments(
        self,
        function: FunctionType,
        walk: Walk,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        gaps: bool = False,
    ) -> Summary:
        """As `for_call`; where that is not good enough, each argument is looked at by itself. With ``gaps``, what is left are calls
        of which nothing is known, if there is nothing else."""
        summary = self.for_call(function, walk)
        closer = walk
        if summary.level is Effect.UNSAFE:
            closer = refined(walk, args, kwargs)
            if closer is not walk:
                summary = self.for_call(function, closer)
        if gaps:
            summary = self.with_gaps(function, closer, summary)
        if summary.compares and not keep_identities(args, kwargs):
            what = "compares identities, which copies of numbers do not keep"
            return msgspec.structs.replace(summary, level=Effect.UNSAFE, why=what, what=what)
        if summary.hashes and not keep_hashes(args, kwargs):
            what = "looks at addresses: hashes of arguments"
            return msgspec.structs.replace(summary, level=Effect.UNSAFE, why=what, what=what)
        return summary

    def with_gaps(self, function: FunctionType, walk: Walk, summary: Summary) -> Summary:
        """A summary that leaves calls to the guard; the one that there is, if that does not help."""
        if summary.level is Effect.UNSAFE:
            from bundlebee.bundles.gaps import FILLABLE
            from bundlebee.bundles.reasons import kind_of

            if kind_of(summary.what) in FILLABLE:
                left = self.for_call(function, walk, gaps=True)
                # what a gap brings is not part of the state that was compared, and may be any number
                if left.level is not Effect.UNSAFE and not (left.shown or left.compares or left.hashes):
                    return left
        return summary

    def clear(self, function: FunctionType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Clearance:
        """Everything that must be asked before a call is shipped, in one.

        Raises:
            Unshippable: an argument cannot travel, or is itself part of the state that the call reads.
            Unfingerprintable: that state cannot be compared.
        """
        from bundlebee.bundles.fingerprint import state
        from bundlebee.bundles.values import walk

        walked = walk(args, kwargs)
        summary = self.for_arguments(function, walked, args, kwargs)
        if summary.level is Effect.UNSAFE:
            return Clearance(summary, walked, b"")
        found = state(summary.reads, modules=sys.modules)
        if (told := summary.comes_back(found.objects)) is not None:
            harmful = msgspec.structs.replace(summary, level=Effect.UNSAFE, why=told, what=told)
            return Clearance(harmful, walked, b"")
        if walked.containers and not found.objects.isdisjoint(map(id, walked.containers)):
            shared = next(value for value in walked.containers if id(value) in found.objects)
            raise Unshippable(
                f"a {type(shared).__qualname__} among the arguments cannot travel",
                why="it is also reached from a module global that the call reads, and a copy would be another object",
            )
        return Clearance(summary, walked, found.digest)

    def _summary(
        self,
        function: FunctionType,
        classes: frozenset[type] | None,
        callables: tuple[Any, ...] | None,
        shapes: dict[str, Shape],
        fragile: bool = False,
        fills: frozenset[type] = frozenset(),
        gaps: bool = False,
    ) -> Summary:
        world = self._all_classes() if classes is None else classes
        key = (
            world,
            None if callables is None else frozenset(map(id, callables)),
            tuple(shapes.items()),
            fragile,
            fills,
            gaps,
        )
        known = self._known.setdefault(function, {})
        summary = known.get(key)
        if summary is not None and summary.still_valid():
            return summary
        if len(known) >= KEPT:
            known.clear()
        known[key] = summary = self._analyse(function, world, callables, shapes, fragile, fills, gaps)
        return summary

    def _analyse(
        self,
        function: FunctionType,
        classes: frozenset[type],
        callables: tuple[Any, ...] | None,
        shapes: dict[str, Shape],
        fragile: bool,
        fills: frozenset[type],
        gaps: bool,
    ) -> Summary:
        from bundlebee.bundles.flow import Flow
        from bundlebee.bundles.heap import Harm

        flow = Flow(self._facts_of, function, set(classes), callables, shapes, fragile, fills, gaps)
        left: tuple[Gap, ...] = ()
        try:
            flow.run()
        except Harm as harm:
            level, why, what = Effect.UNSAFE, flow.story(harm), harm.what
        except RecursionError:
            level, why = Effect.UNSAFE, "is nested too deeply to analyse"
            what = why
        except Exception as error:
            log.exception("the effect analysis of %s failed", function.__qualname__)
            level, why = Effect.UNSAFE, f"the analysis failed: {error!r}"
            what = why
        else:
            level, why, what = Effect.PRINTS if flow.prints else Effect.FREE, "", ""
            if flow.gaps and flow.first is not None:
                left, why, what = tuple(flow.gaps), flow.story_of_first, flow.first.what
        observed = (*flow.observed, *(("keep", thing, None, None) for thing in callables or ()))
        writes = "" if level is Effect.UNSAFE else flow.written
        shown = () if level is Effect.UNSAFE else tuple(flow.shown.values())
        reads = tuple(sorted(flow.reads))
        return Summary(
            *(level, why, reads, observed, frozenset(classes), what, writes, shown),
            compares=flow.compares,
            hashes=flow.hashes,
            gaps=left,
        )

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
        return frozenset(kind for kind in found if cannot_travel(kind) is None)


def _shapes(function: FunctionType, walk: Walk) -> dict[str, Shape]:
    """The shape of what each parameter gets."""
    code = function.__code__
    names = code.co_varnames
    count = code.co_argcount
    last = count + code.co_kwonlyargcount
    shapes: dict[str, Shape] = dict.fromkeys(names[:last], NOTHING)
    shapes.update(zip(names[:count], walk.shapes, strict=False))
    extra: list[Shape] = []
    for name, shape in walk.named.items():
        if name in shapes and name not in names[: code.co_posonlyargcount]:
            shapes[name] = shape
        else:
            extra.append(shape)
    if code.co_flags & VARARGS:
        shapes[names[last]] = _common(walk.shapes[count:])
        last += 1
    if code.co_flags & VARKEYWORDS:
        shapes[names[last]] = _common(extra)
    return shapes


def _common(shapes: Iterable[Shape]) -> Shape:
    found = set(shapes)
    if found <= {NUMBER, DATA}:
        return DATA
    return found.pop() if len(found) == 1 else ANYTHING


VARARGS, VARKEYWORDS = 4, 8  # of co_flags
