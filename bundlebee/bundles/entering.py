"""Functions that have facts, in the analysis: each gets a frame when it is first called, and its arguments go into the registers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import CoroutineType, FunctionType, GeneratorType
from typing import Any

from bundlebee.bundles.abstract import ATOM, Given, Inner, Made, Value
from bundlebee.bundles.builtin_methods import BuiltinMethods
from bundlebee.bundles.compiled import compiled
from bundlebee.bundles.facts import ASYNC_GENERATOR, COROUTINE, GENERATOR, ModuleFacts
from bundlebee.bundles.frame import Frame
from bundlebee.bundles.genuine import is_genuine
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.observed import MISSING
from bundlebee.bundles.specials import Args
from bundlebee.bundles.stdlib import facts_of_library, is_standard, real_name


class Entering(BuiltinMethods):
    """Frames, and what goes into them.

    Args:
        given: an argument of which nothing is known.
        facts_of: the facts of a module, by its name.
    """

    def __init__(self, given: Given, facts_of: Callable[[str], ModuleFacts | None]) -> None:
        super().__init__(given)
        self._facts_of = facts_of
        self._frames: dict[Any, Frame] = {}
        self._order: list[Frame] = []
        self._frame: Frame | None = None  #: the one that is being looked at
        self._root: Frame | None = None  #: of the function that is called

    # -- what is known -----------------------------------------------------------------------------------

    def has_facts(self, kind: type) -> bool:
        return self._facts_of(kind.__module__) is not None

    def can_construct(self, kind: type) -> bool:
        return self.has_facts(kind) or (
            is_standard(kind.__module__) and facts_of_library(real_name(kind.__module__)) is not None
        )

    def in_hash(self) -> bool:
        frame = self._frame
        return frame is not None and frame is not self._root and frame.label.endswith("__hash__")

    def has_source(self, frame: Frame) -> bool:
        """Whether a worker can rewrite the function."""
        return self._facts_of(frame.module) is not None

    def is_entered(self, function: Any) -> bool:
        frame = self._frames.get(function) if isinstance(function, FunctionType) else None
        # whether a coroutine may be called depends on who calls it; and some functions are called through others
        return frame is not None and frame.facts.kind != COROUTINE and compiled(function) is None

    # -- frames ------------------------------------------------------------------------------------------

    def frame_of(
        self, function: FunctionType, label: str, *, library: bool = False, context: Value | None = None
    ) -> Frame | None:
        """The frame of a function that exists already; None if its module has no facts, or they do not know it."""
        key = function if context is None else (function, context)
        frame = self._frames.get(key)
        if frame is not None:
            return frame
        code = function.__code__
        module = function.__globals__.get("__name__")
        if not isinstance(module, str):
            return None
        if library:
            module = real_name(module)
        source = (facts_of_library if library else self._facts_of)(module)
        if source is None:
            return None
        if library:
            self.reads.add(("sys", "hexversion"))  # the worker's library may be another edition
        found = source.find(code.co_qualname, code.co_firstlineno)
        if not found:
            return None
        if len(found) > 1:
            raise Harm(f"calls {label}, one of several functions on one line")
        facts = source[found[0]]
        real = sys.modules.get(module)
        if real is None or real.__dict__ is not function.__globals__:
            raise Harm(f"calls {label}, whose module {module!r} was replaced")
        if not is_genuine(facts, source, function, real):
            raise Harm(f"calls {label}, whose code is not that of its source")
        frame = Frame(facts, source, module, code.co_filename, function, None)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                contents = cell.cell_contents
            except ValueError:
                contents = MISSING
            self.observe("cell", cell, name, contents)
            frame.cells[name] = (
                set() if contents is MISSING else {self.live(contents, f"{name!r} of {label}")}
            )
        if self._root is not None:
            self.take_defaults(frame)
        self._frames[key] = frame
        self._enlist(frame)
        return frame

    def take_defaults(self, frame: Frame, names: Iterable[str] | None = None) -> None:
        """Parameters may have their defaults; ``names``: only these."""
        function, facts = frame.function, frame.facts
        assert function is not None
        defaults = function.__defaults__ or ()
        named = dict(zip(facts.positional[len(facts.positional) - len(defaults) :], defaults, strict=True))
        for name, value in {**named, **(function.__kwdefaults__ or {})}.items():
            if names is None or name in names:
                self.add(
                    frame.registers[facts.variables[name]], {self.live(value, f"the default of {name!r}")}
                )

    def inner_frame(self, frame: Frame, number: int) -> Frame:
        """The frame of a nested function."""
        key = (frame, number)
        inner = self._frames.get(key)
        if inner is None:
            inner = self._frames[key] = Frame(
                frame.source[number], frame.source, frame.module, frame.path, None, frame
            )
            self._enlist(inner)
        return inner

    def _enlist(self, frame: Frame) -> None:
        frame.caller = self._frame
        self._order.append(frame)
        self.version += 1

    # -- arguments ---------------------------------------------------------------------------------------

    def enter(
        self, function: FunctionType, args: Args, label: str, context: Value | None = None
    ) -> Values | None:
        """Call a function that has facts; None if it has none.

        Args:
            context: tells calls apart that are not to be mixed up, as those through different decorators are.
        """
        frame = self.frame_of(function, label, context=context)
        return None if frame is None else self._bind(frame, args)

    def enter_library(self, function: FunctionType, args: Args, label: str) -> Values | None:
        """Call a function of the standard library by its own source; None if there is none."""
        frame = self.frame_of(function, label, library=True)
        return None if frame is None else self._bind(frame, args)

    def enter_inner(self, inner: Inner, args: Args) -> Values:
        """Call a nested function."""
        return self._bind(inner.frame, args)

    def _bind(self, frame: Frame, args: Args) -> Values:
        """Give a function its arguments; returns what it returns, as far as that is known by now."""
        facts = frame.facts
        if frame is self._root:
            self.take_defaults(frame)  # it calls itself, perhaps with fewer arguments
        if facts.kind == ASYNC_GENERATOR:
            raise Harm(f"calls {frame.label}, an asynchronous generator")
        count = len(facts.positional)
        star: set[Made] = {self.made((frame, "*"), tuple)} if facts.star is not None else set()
        double_star: set[Made] = {self.made((frame, "**"), dict)} if facts.double_star is not None else set()
        self._take_positions(star, args, count)
        for number, values in enumerate(args.positional):
            if number < count:
                self.add(frame.registers[number + 1], values)
            else:
                self.store(star, values)
        if args.rest:
            for number in range(len(args.positional), count):
                self.add(frame.registers[number + 1], args.rest)
            self.store(star, args.rest)
        known = {*facts.positional, *facts.keyword_only}
        for name, values in args.named.items():
            if name in known:
                self.add(frame.registers[facts.variables[name]], values)
            else:
                self._take_name(double_star, name, values)
        if args.double:
            for name in known.difference(facts.positional[: len(args.positional)]):
                self.add(frame.registers[facts.variables[name]], args.double)
            self.store(double_star, args.double)
        if facts.star is not None:
            self.add(frame.registers[facts.variables[facts.star]], star)
        if facts.double_star is not None:
            for made in double_star:
                self.hold(made.keys, {ATOM})
            self.add(frame.registers[facts.variables[facts.double_star]], double_star)
        if facts.kind == GENERATOR:
            made = self.made((frame, "generator"), GeneratorType)
            self.store({made}, frame.returned)
            return {made}
        if facts.kind == COROUTINE:
            if self._frame is not None and self._frame.facts.kind != COROUTINE:
                raise Harm(f"calls {frame.label}, a coroutine")
            made = self.made((frame, "coroutine"), CoroutineType)
            self.store({made}, frame.returned)
            return {made}
        return frame.returned

    def _take_positions(self, star: set[Made], args: Args, count: int) -> None:
        """What ``*args`` gets, place by place, so that it can be passed on as it came."""
        for made in star:
            fresh = ("positions", made) not in self._once
            self._once["positions", made] = made
            if args.rest:
                if made.positions is not None:
                    made.positions = None
                    self.version += 1
                continue
            if fresh:
                made.positions = {}
            if made.positions is not None:
                extra = args.positional[count:]
                places = made.positions.get(len(extra))
                if places is None:
                    places = made.positions[len(extra)] = [set() for _ in extra]
                    self.version += 1
                for place, values in zip(places, extra, strict=True):
                    self.add(place, values)

    def _take_name(self, double_star: set[Made], name: str, values: Values) -> None:
        """What ``**kwargs`` gets by name."""
        for made in double_star:
            if ("named", made) not in self._once:
                self._once["named", made] = made
                made.named = {}
            self.hold(made.contents, values)
            if made.named is not None:
                self.add(made.named.setdefault(name, set()), values)
