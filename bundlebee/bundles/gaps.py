"""Calls of which the analysis cannot tell what they run, left to the guard.

Such a call is a *gap*. The analysis goes on behind it, on the promise that the guard of the worker looks at the call before it
happens, with the real function and its real arguments (`bundlebee.calls.gate`), and stops it unless all of this holds:

- what is called does no harm with these arguments; it may change them, and print
- what comes back, and what it leaves in them, is data, objects that were passed, or new instances of classes that are among
  the function's own arguments; no functions and classes but those that were passed
- an exception that it raises is one of the interpreter's

There is a gap only where a worker will know more: the name of an attribute, and with it what is called. And where an exception is
made by something of which nothing is known: that is stopped when it comes to it, but it comes seldom.

So nothing comes out of a gap that exists already in a module, and everything that was ever passed to one may hold everything else
that was. All of that is one *pool* here. Two builtins are known better: what ``getattr`` gives by a name that is computed is part of
the object, or else a function, which may then be called (in a gap); ``setattr`` puts something under any name.
"""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, ModuleType, SimpleNamespace
from typing import Any, TypeAlias
from zlib import crc32

from bundlebee.bundles.abstract import ATOM, NUMBER, Bound, BuiltinMethod, Given, Live, Made, Text, Value
from bundlebee.bundles.facts import COROUTINE, FunctionFacts
from bundlebee.bundles.frame import Frame
from bundlebee.bundles.heap import ANY_NAME, Harm, Values
from bundlebee.bundles.operations import Operation
from bundlebee.bundles.reasons import kind_of
from bundlebee.bundles.results import Results
from bundlebee.bundles.specials import Args

Gap: TypeAlias = tuple[str, str, int, int, bool, int]
"""Where there is one: module, qualified name and first line of the function, the number of the operation; whether what comes back
may be a function that only its class holds; and the `imprint` of the function."""


def imprint(facts: FunctionFacts) -> int:
    """Of all its operations, but for their lines: they are numbered alike wherever this is the same."""
    return crc32(repr([(operation[0], *operation[2:]) for operation in facts.operations]).encode())


UNKNOWN = "unknown call"
FILLABLE = frozenset({UNKNOWN, "attribute by a computed name"})
"""Kinds of harm (`bundlebee.bundles.reasons`) that may turn out to be none when the call is about to happen."""

_READING = (getattr, hasattr)


class Gaps(Results):
    """Leaves calls open, where that is allowed."""

    gaps: dict[Gap, None] | None = None  #: those that were left so far; None: none may be
    first: Harm | None = None  #: what would have been said of the first of them
    story_of_first = ""

    def leave_gaps(self, rest: Given) -> None:
        """From now on. ``rest``: what comes out of gaps and was not passed to one."""
        self.gaps = {}
        self._rest: Value = rest
        self._pool: Values = {rest, ATOM, NUMBER}
        self._methods_found: dict[Any, Live] = {}
        self._found: set[int] = set()
        self._receivers: Values = set()  # whose methods these may be

    def story(self, harm: Harm) -> str:
        """How the call gets there. (Given by `bundlebee.bundles.flow.Flow`.)"""
        raise NotImplementedError

    def call_at(self, frame: Frame, op: Operation, value: Value, args: Args) -> Values:
        if self.gaps is None:
            return self.call(value, args)
        found = isinstance(value, Live) and id(value.object) in self._found
        if found:
            harm = Harm("calls what getattr gives, of which nothing is known")
        else:
            try:
                return self.call(value, args)
            except Harm as done:
                harm = done
        kind = kind_of(harm.what)
        if kind not in FILLABLE or not self.has_source(frame) or frame.facts.kind == COROUTINE:
            raise harm
        if kind == UNKNOWN and not found and not _is_raised(frame, op[2]):
            raise harm  # a worker would know no more about it
        return self._leave(frame, op, value, args, harm)

    def _leave(self, frame: Frame, op: Operation, value: Value, args: Args, harm: Harm) -> Values:
        passed = args.all()
        callee = value.object if isinstance(value, Live) else None
        if isinstance(value, Bound | BuiltinMethod):
            if value.receiver is not None:
                passed.add(value.receiver)
            if isinstance(value, Bound) and not isinstance(value.function, Live):
                raise harm
        elif id(callee) in self._found:
            passed |= self._receivers
        elif not (isinstance(callee, type | FunctionType | BuiltinFunctionType) and self._may_pass(value)):
            raise harm
        passed = self._reachable(passed)
        if not all(map(self._may_pass, passed)):
            raise harm
        takes = callee is getattr and _is_called(frame, op[2])
        facts = frame.facts
        self._note((frame.module, facts.qualname, facts.line, self.site[1], takes, imprint(facts)), harm)
        if any(callee is one for one in _READING):
            if not takes:
                return {ATOM, NUMBER} | passed if callee is getattr else {NUMBER}
            self.add(self._receivers, passed)
            return {ATOM, NUMBER, self._method_found(frame, op)} | passed
        if callee is setattr:
            self._wrote()
            for holder in args.at(0):
                self.put_attribute(holder, ANY_NAME, args.behind(1) | {ATOM})
            return {ATOM}
        self._mix(passed)
        return self._pool

    def _note(self, gap: Gap, harm: Harm) -> None:
        assert self.gaps is not None
        if self.first is None:
            self.first, self.story_of_first = harm, self.story(harm)
        self.gaps[gap] = None

    def _method_found(self, frame: Frame, op: Operation) -> Value:
        """A function that ``getattr`` has found. Whatever is done with it but to call it is harm: the catalogue does not know it."""
        key = (frame, op[2])
        if key not in self._methods_found:
            found = SimpleNamespace()
            self._found.add(id(found))
            self._methods_found[key] = Live(found, "what getattr gives")
        return self._methods_found[key]

    def _wrote(self) -> None:
        if not self.written:
            self.written = "may write what it passes to an unknown call"
            self.version += 1

    def _mix(self, passed: Values) -> None:
        """What was passed may hold anything else that was, and be what comes back."""
        self._wrote()
        pool = self._pool
        self.add(pool, passed)
        self.add(self.put_items, pool)
        self.add(self.put_keys, pool)
        self.add(self.put_attributes.setdefault(ANY_NAME, set()), pool)
        self.add(self.raised(), pool)
        for part in list(pool):
            if isinstance(part, Made):
                self.store({part}, pool, pool)
                self.put_attribute(part, ANY_NAME, pool)

    def _reachable(self, values: Values) -> Values:
        """The values, and all that a function that gets them may get at."""
        found = self.inside(values)
        stack = list(found)
        while stack:
            value = stack.pop()
            parts: Values = set()
            if isinstance(value, Made):
                parts = self.inside(set().union(*value.attributes.values()))
            elif isinstance(value, Given):
                parts = self.inside(set().union(self.put_keys, self.put_items, *self.put_attributes.values()))
            for part in parts - found:
                found.add(part)
                stack.append(part)
        return found

    def _may_pass(self, value: Value) -> bool:
        """Whether it is no object that exists already, or one that nobody can write."""
        if isinstance(value, Given):
            return not value.cached
        if isinstance(value, Live):
            if isinstance(value.object, BuiltinFunctionType):
                return isinstance(value.object.__self__, ModuleType)
            return self.travels_by_name(value.object)
        return value is ATOM or value is NUMBER or isinstance(value, Text | Made)


def _is_called(frame: Frame, register: int) -> bool:
    """Whether the function calls what it has there, by itself or under the name of a variable."""
    registers = {register}
    operations = frame.facts.operations
    before = 0
    while len(registers) != before:
        before = len(registers)
        registers.update(op[2] for op in operations if op[0] == "copy" and op[3] in registers)
    return any(op[0] == "call" and op[3] in registers for op in operations)


def _is_raised(frame: Frame, register: int) -> bool:
    """Whether what the function has there is an exception that it raises at once."""
    return any(op[0] == "raise" and op[2] == register for op in frame.facts.operations)
