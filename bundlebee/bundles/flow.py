"""The effect analysis of one call: everything that may run, and where values may go, to a fixed point.

Each function that may be reached has one `Frame`, whatever it is called with and from where: its registers collect
all values that they may ever hold. Operations are looked at again and again until no set grows any more. The first
harm that is found ends it: sets only grow, so it would be found in the end anyhow.

The classes build on each other, each with one concern: `heap.Heap` (objects, and what was looked at) → `containers.Containers`
(what they hold) → `descriptors.Descriptors` → `attributes.Attributes` → `specials.Specials` (special methods, operators) →
`arrays.Arrays` (NumPy) → `known.Known` (the catalogue) → `generated.Generated` (methods that nobody wrote) → `access.Access`
(getters and setters) → `classes.Classes` (instances) → `items.Items` → `builtin_calls.Builtins` → `cached.Cached` →
`builtin_methods.BuiltinMethods` → `calling.Calls` → `narrowing.Narrowing` → `operations.Operations` → `gaps.Gaps` (calls that
are left to the guard) → `Flow`.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from enum import Enum
from types import CoroutineType, FunctionType, GeneratorType, ModuleType
from typing import Any

from bundlebee.bundles.abstract import ATOM, NUMBER, Given, Inner, Live, Made, Namespace, Value
from bundlebee.bundles.compiled import compiled
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.facts import ASYNC_GENERATOR, COROUTINE, GENERATOR, FunctionFacts, ModuleFacts
from bundlebee.bundles.frame import Frame
from bundlebee.bundles.gaps import Gaps
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.observed import MISSING
from bundlebee.bundles.operations import OPERATIONS
from bundlebee.bundles.originals import original_code, used_names
from bundlebee.bundles.specials import Args
from bundlebee.bundles.stdlib import facts_of_library, is_standard, real_name
from bundlebee.bundles.values import ANYTHING, DATA, NOTHING, Reach, Shape
from bundlebee.bundles.values import NUMBER as NUMBER_SHAPE

BUDGET = 400_000
"""Steps that one analysis takes; about a second. An operation is one, and what it has to look through."""

GENERAL_BUDGET = 25_000
"""The same where any arguments are allowed for: what that leads to is seldom harmless if it is much, and the analysis of the very
call comes after it."""


class Flow(Gaps):
    """One analysis. Make it, `run` it once, and read `prints`, `reads` and `observed`.

    Args:
        facts_of: the facts of a module, by its name.
        function: the function that is called.
        classes: of the instances among its arguments.
        callables: functions and classes among its arguments; None: any.
        shapes: of its arguments, by parameter; what is left out is `ANYTHING`.
        fragile: whether its arguments hold a set over which the call must not iterate.
        fills: factories of the defaultdicts that its arguments hold.
        gaps: whether calls of which nothing is known may be left to the guard.
    """

    def __init__(
        self,
        facts_of: Callable[[str], ModuleFacts | None],
        function: FunctionType,
        classes: set[type],
        callables: tuple[Any, ...] | None,
        shapes: dict[str, Shape],
        fragile: bool = False,
        fills: frozenset[type] = frozenset(),
        gaps: bool = False,
    ) -> None:
        super().__init__(Given("?", classes, callables))
        if gaps:
            self.leave_gaps(Given("?", classes, ()))
        self._facts_of = facts_of
        self._function = function
        self._classes = classes
        self._callables = callables
        self._shapes = shapes
        self.fragile = fragile
        if fills:
            self.written = "may fill a defaultdict among its arguments"
            self.fills = True
            self.put_items |= {self.made(("filled", kind), kind) for kind in fills} | {ATOM, NUMBER}
        self._frames: dict[Any, Frame] = {}
        self._order: list[Frame] = []
        self._raised: Values = set()
        self._budget = GENERAL_BUDGET if callables is None else BUDGET
        self._frame: Frame | None = None
        self._root: Frame | None = None  #: of the function that is called
        self._line = 0
        #: objects of the module state that it may return or leave in an argument, and how that reads; by identity
        self.shown: dict[int, tuple[Any, str]] = {}
        self._settled = False  #: whether nothing changes any more as long as branches wait for values
        self._waiting = False  #: whether one of them does

    # -- running -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """To the fixed point.

        Raises:
            Harm: what it does; `story` tells how it gets there.
        """
        root = self._root = self._frame_of(self._function, self._function.__qualname__)
        if root is None:
            raise Harm("nothing is known about its source")
        facts = root.facts
        self._frame, self._line = root, facts.line
        if facts.kind == GENERATOR:
            raise Harm("is a generator")
        if facts.kind == ASYNC_GENERATOR:
            raise Harm("is an asynchronous generator")
        self.reads.add((root.module, facts.qualname.partition(".")[0]))
        if any(map(self.is_arrays, self._classes)):
            self.uses_numpy()
        left_out = [name for name, shape in self._shapes.items() if shape == NOTHING]
        self._take_defaults(root, left_out if self._shapes else None)
        for name in (*facts.positional, *facts.keyword_only):
            if name not in left_out:
                shape = self._shapes.get(name, ANYTHING)
                self.add(root.registers[facts.variables[name]], self._givens(name, shape))
        for extra, kind in ((facts.star, tuple), (facts.double_star, dict)):
            if extra is not None:
                made = self.made((root, extra), kind)
                given = self._givens(extra, self._shapes.get(extra, ANYTHING))
                self.store({made}, given, {ATOM} if kind is dict else ())
                self.add(root.registers[facts.variables[extra]], {made})
        while True:
            before = -1
            while before != self.version:
                before = self.version
                self._waiting = False
                for frame in self._order:  # grows while we go
                    self._run_frame(frame)
            if self._settled or not self._waiting:
                break
            self._settled = True
        self._frame, self._line = root, facts.line
        self._check_result(root.returned, "returns")
        if root.returned and all(
            isinstance(value, Live) and id(value.object) in self.shown for value in root.returned
        ):
            raise Harm(
                next(iter(self.shown.values()))[1]
            )  # no call of it would give anything that may travel
        self._check_result(self._raised, "raises")
        put = self.put_keys.union(self.put_items, *self.put_attributes.values())
        self._check_result(put, "leaves in an argument")
        if facts.kind == COROUTINE:
            if self.first is not None:  # that a call is stopped midway must not be seen by other tasks
                raise self.first
            self._check_unseen()
            if self.shown:
                raise Harm(next(iter(self.shown.values()))[1])

    def _check_unseen(self) -> None:
        """While a call is awaited elsewhere, other tasks run here. They must not see that it has not yet done what it would
        have done at once."""
        if self.written:
            raise Harm(f"{self.written}, and other tasks may look at it first")
        if self.prints:
            raise Harm("prints, and other tasks may print first")

    def _givens(self, name: str, shape: Shape) -> Values:
        """What an argument of that shape may be."""
        if isinstance(shape, frozenset):
            return set().union(*(self._givens(name, each) for each in shape))
        return {self._given(name, shape)}

    def _given(self, name: str, shape: Shape) -> Value:
        """The value of an argument of that shape."""
        if shape == NUMBER_SHAPE:
            return NUMBER
        if shape == DATA:
            return ATOM
        if isinstance(shape, Reach):
            if shape.itself:  # it travels by its name, so it is that very object there
                return self.live(shape.callables[0], f"its argument {name!r}")
            inside = Given(name, set(shape.classes), shape.callables)
            return (
                inside
                if shape.kind is None
                else Given(name, {shape.kind}, (), inside=inside, hides=shape.hides)
            )
        given = Given(name, self._classes, self._callables)
        if shape != ANYTHING:
            given.kind = shape[0]
            given.contents.add(self._given(name, shape[-1]))
            if self.surely_array(given):
                given.contents |= {given, ATOM}
            if len(shape) == 3:
                given.keys.add(self._given(name, shape[1]))
        return given

    def story(self, harm: Harm) -> str:
        """``a → b: opens a local file (io.open) (b.py:12)``"""
        frame = self._frame
        if frame is None:
            return harm.what
        place = f"{frame.path}:{self._line}"
        chain = [frame.label]
        while frame.caller is not None and len(chain) < 12:
            frame = frame.caller
            chain.append(frame.label)
        told = " → ".join(reversed(chain[:-1]))
        return f"{told + ': ' if told else ''}{harm.what} ({place})"

    def _run_frame(self, frame: Frame) -> None:
        self._frame = frame
        skipped = 0  # up to the operation of that number
        for number, operation in enumerate(frame.facts.operations):
            if number < skipped:
                continue
            self._budget -= 1 + self.spent
            self.spent = 0
            if self._budget < 0:
                raise Harm("reaches too much code to analyse")
            if operation[0] == "only":
                if self._not_taken(frame, operation):
                    skipped = number + 1 + operation[4]
                continue
            self._line = operation[1]
            self.site = (frame, number)
            OPERATIONS[operation[0]](self, frame, operation)

    def _not_taken(self, frame: Frame, operation: tuple[Any, ...]) -> bool:
        """Whether a branch is not taken, as far as is known by now: with no value of the variable the test comes out so. Where no
        value is known at all, the branch waits until everything else is settled, and then it counts as taken."""
        _, _, narrowed, source, _ = operation
        if frame.registers[narrowed]:
            return False
        if frame.registers[source]:
            return True
        self._waiting = True
        return not self._settled

    # -- functions ---------------------------------------------------------------------------------------

    def has_facts(self, kind: type) -> bool:
        return self._facts_of(kind.__module__) is not None

    def can_construct(self, kind: type) -> bool:
        return self.has_facts(kind) or (
            is_standard(kind.__module__) and facts_of_library(real_name(kind.__module__)) is not None
        )

    def raised(self) -> Values:
        return self._raised

    def has_source(self, frame: Frame) -> bool:
        return self._facts_of(frame.module) is not None

    def _frame_of(
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
        if not _is_its_source(facts, source, function, real):
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
            self._take_defaults(frame)
        self._frames[key] = frame
        self._enlist(frame)
        return frame

    def _take_defaults(self, frame: Frame, names: Iterable[str] | None = None) -> None:
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

    def enter(
        self, function: FunctionType, args: Args, label: str, context: Value | None = None
    ) -> Values | None:
        frame = self._frame_of(function, label, context=context)
        return None if frame is None else self._bind(frame, args)

    def enter_library(self, function: FunctionType, args: Args, label: str) -> Values | None:
        frame = self._frame_of(function, label, library=True)
        return None if frame is None else self._bind(frame, args)

    def enter_inner(self, inner: Inner, args: Args) -> Values:
        return self._bind(inner.frame, args)

    def is_entered(self, function: Any) -> bool:
        frame = self._frames.get(function) if isinstance(function, FunctionType) else None
        # whether a coroutine may be called depends on who calls it; and some functions are called through others
        return frame is not None and frame.facts.kind != COROUTINE and compiled(function) is None

    def _bind(self, frame: Frame, args: Args) -> Values:
        """Give a function its arguments; returns what it returns, as far as that is known by now."""
        facts = frame.facts
        if frame is self._root:
            self._take_defaults(frame)  # it calls itself, perhaps with fewer arguments
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

    # -- the result --------------------------------------------------------------------------------------

    def _check_result(self, values: Values, how: str) -> None:
        """Objects that exist here already must not come back as copies; and some do not travel."""
        found = set(values)
        stack = list(found)
        while stack:
            value = stack.pop()
            parts: Values = set()
            if isinstance(value, Given) and value.cached:
                raise Harm(f"{how} {value.name}")
            if isinstance(value, Inner):
                raise Harm(f"{how} a function that it makes")
            if isinstance(value, Namespace):
                raise Harm(f"{how} the __dict__ of an object itself")
            if isinstance(value, Live):
                if not self.travels_by_name(value.object):
                    if how == "raises" or not _is_noticed(value.object):
                        raise Harm(f"{how} {value.name} itself")
                    self.shown[id(value.object)] = value.object, f"{how} {value.name} itself"
                    continue
                if type(value.object) in (tuple, frozenset):
                    parts = self.elements(value)
            elif isinstance(value, Made):
                if value.kind is GeneratorType and how != "raises":
                    raise Harm(f"{how} a generator")
                if value.kind is CoroutineType and how != "raises":
                    raise Harm(f"{how} a coroutine")
                parts = self.elements(value).union(*value.attributes.values())
            for part in parts - found:
                found.add(part)
                stack.append(part)

    def travels_by_name(self, thing: Any) -> bool:
        """Whether a copy of it is it: by name, or because it cannot be written."""
        if isinstance(thing, type | FunctionType | Enum) or type(thing) in (tuple, frozenset, type(len)):
            return True
        entry = self.catalogue.type(type(thing))
        return entry is not None and entry.immutable and type(thing) is not object


def _is_noticed(thing: Any) -> bool:
    """Whether the worker knows such an object of the state when it meets it in a result (`pickling.refers`)."""
    kind = type(thing)
    return kind in (list, dict, set, deque, defaultdict, OrderedDict, Counter) or by_python(kind)


def _is_its_source(
    facts: FunctionFacts, source: ModuleFacts, function: FunctionType, module: ModuleType
) -> bool:
    """Whether the facts speak of that function, and not of another that was put in its place."""
    code = original_code(function)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if names != (*facts.positional, *facts.keyword_only) or set(code.co_freevars) - {"__class__"} != set(
        facts.free
    ):
        return False
    if len(function.__defaults__ or ()) > len(facts.positional) or set(function.__kwdefaults__ or ()) - set(
        names
    ):
        return False
    file = getattr(module, "__file__", None)
    if file is not None and os.path.basename(file) != os.path.basename(code.co_filename):
        name = os.path.basename(file).removesuffix(".py")
        if code.co_filename != f"<frozen {name}>":
            return False
    if any(operation[0] == "bad" for operation in facts.operations):
        return True  # it ends the analysis, whatever else is in there
    mentioned = _mentioned(facts, source)
    return used_names(code) <= mentioned


def _mentioned(facts: FunctionFacts, source: ModuleFacts) -> set[str]:
    """The same, as the facts say it."""
    found: set[str] = set()
    for operation in facts.operations:
        code = operation[0]
        if code in ("name", "setattr", "delattr"):
            found.add(operation[3])
        elif code == "attr":
            found.add(operation[4])
        elif code == "import":
            module = operation[3]
            found |= {module, operation[4] or "", *module.split(".")}
        elif code == "function":
            found |= _mentioned(source[operation[3]], source)
    return found
