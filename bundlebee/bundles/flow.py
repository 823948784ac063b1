"""The effect analysis of one call: everything that may run, and where values may go, to a fixed point.

Each function that may be reached has one `Frame`, whatever it is called with and from where: its registers collect
all values that they may ever hold. Operations are looked at again and again until no set grows any more. The first
harm that is found ends it: sets only grow, so it would be found in the end anyhow.

The classes build on each other, each with one concern: `heap.Heap` (objects, and what was looked at) → `containers.Containers`
(what they hold) → `descriptors.Descriptors` → `attributes.Attributes` → `specials.Specials` (special methods, operators) →
`arrays.Arrays` (NumPy) → `known.Known` (the catalogue) → `hashes.Hashes` (those that are addresses) → `generated.Generated` (methods
that nobody wrote) → `access.Access` (getters and setters) → `classes.Classes` (instances) → `items.Items` →
`builtin_calls.Builtins` → `cached.Cached` → `builtin_methods.BuiltinMethods` → `entering.Entering` (functions that have facts) →
`calling.Calls` → `narrowing.Narrowing` → `operations.Operations` → `results.Results` → `gaps.Gaps` (calls that are left to the
guard) → `Flow`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from bundlebee.bundles.abstract import ATOM, NUMBER, Given, Live, Value
from bundlebee.bundles.facts import ASYNC_GENERATOR, COROUTINE, GENERATOR, ModuleFacts
from bundlebee.bundles.frame import Frame
from bundlebee.bundles.gaps import Gaps
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.operations import OPERATIONS
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
        super().__init__(Given("?", classes, callables), facts_of)
        if gaps:
            self.leave_gaps(Given("?", classes, ()))
        self._function = function
        self._classes = classes
        self._callables = callables
        self._shapes = shapes
        self.fragile = fragile
        if fills:
            self.written = "may fill a defaultdict among its arguments"
            self.fills = True
            self.put_items |= {self.made(("filled", kind), kind) for kind in fills} | {ATOM, NUMBER}
        self._raised: Values = set()
        self._budget = GENERAL_BUDGET if callables is None else BUDGET
        self._line = 0
        self._settled = False  #: whether nothing changes any more as long as branches wait for values
        self._waiting = False  #: whether one of them does

    # -- running -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """To the fixed point.

        Raises:
            Harm: what it does; `story` tells how it gets there.
        """
        root = self._root = self.frame_of(self._function, self._function.__qualname__)
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
        self.take_defaults(root, left_out if self._shapes else None)
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
        self.check_result(root.returned, "returns")
        if root.returned and all(
            isinstance(value, Live) and id(value.object) in self.shown for value in root.returned
        ):
            raise Harm(
                next(iter(self.shown.values()))[1]
            )  # no call of it would give anything that may travel
        self.check_result(self._raised, "raises")
        put = self.put_keys.union(self.put_items, *self.put_attributes.values())
        self.check_result(put, "leaves in an argument")
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

    def raised(self) -> Values:
        return self._raised
