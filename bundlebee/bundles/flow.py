"""The effect analysis of one call: everything that may run, and where values may go, to a fixed point.

Each function that may be reached has one `Frame`, whatever it is called with and from where: its registers collect all values
that they may ever hold. Operations are looked at again and again until no set grows any more. The first harm that is found ends it:
sets only grow, so it would be found in the end anyhow.
"""

from __future__ import annotations

import builtins
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from bundlebee.bundles.abstract import ATOM, NUMBER, Given, Inner, Live, Made, Text, Value
from bundlebee.bundles.calling import _TEXTS, Args, Calls, Values
from bundlebee.bundles.facts import COROUTINE, GENERATOR, FunctionFacts, ModuleFacts
from bundlebee.bundles.objects import HEAP_TYPE, MISSING, Harm

BUDGET = 400_000
"""Operations that one analysis looks at; about a second."""

_IN_PLACE: dict[str, tuple[type, ...]] = {
    "add": (list, bytearray, deque, Counter),
    "mul": (list, bytearray, deque),
    "or": (set, dict, defaultdict, OrderedDict, Counter),
    "and": (set, Counter),
    "sub": (set, Counter),
    "xor": (set,),
}
_DISPLAYS: dict[str, type | None] = {"list": list, "tuple": tuple, "set": set, "dict": dict, "slice": slice, "iterator": None}
_MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}
_KEYS = frozenset({"__hash__", "__eq__"})
_CONTAINS = frozenset({"__contains__", "__iter__", "__next__", "__getitem__", "__eq__", "__hash__"})
_ITEM = frozenset({"__getitem__", "__missing__", "__hash__", "__eq__", "__class_getitem__", "__index__"})


class Frame:
    """One function of the closure."""

    __slots__ = ("caller", "cells", "facts", "function", "label", "line", "module", "outer", "path", "registers", "returned", "source")

    def __init__(
        self, facts: FunctionFacts, source: ModuleFacts, module: str, path: str, function: FunctionType | None, outer: Frame | None
    ) -> None:
        self.facts = facts
        self.source = source
        self.module = module
        self.path = path
        self.function = function
        self.outer = outer  #: the frame of the function around it
        self.label = facts.qualname.replace(".<locals>.", ".")
        self.registers: list[Values] = [set() for _ in range(facts.size)]
        self.registers[0].add(ATOM)
        self.cells: dict[str, Values] = {}
        self.returned: Values = set()
        self.caller: Frame | None = None  #: who was the first to call it
        self.line = facts.line  #: … and from which line


class Flow(Calls):
    """One analysis. Make it, `run` it once, and read `prints`, `reads` and `observed`."""

    def __init__(
        self,
        facts_of: Callable[[str], ModuleFacts | None],
        function: FunctionType,
        classes: set[type],
        callables: tuple[Any, ...] | None,
        frozen: frozenset[str],
    ) -> None:
        super().__init__(Given("?", classes, callables))
        self._facts_of = facts_of
        self._function = function
        self._classes = classes
        self._callables = callables
        self._frozen = frozen
        self._frames: dict[Any, Frame] = {}
        self._order: list[Frame] = []
        self._raised: Values = set()
        self._budget = BUDGET
        self.frame: Frame | None = None
        self.line = 0
        self.root: Frame | None = None

    # -- running -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """To the fixed point.

        Raises:
            Harm: what it does; `story` tells how it gets there.
        """
        root = self._frame_of(self._function, self._function.__qualname__)
        if root is None:
            raise Harm("nothing is known about its source")
        self.root = root
        if root.facts.kind == GENERATOR:
            raise Harm("is a generator")
        self.frame, self.line = root, root.facts.line
        self.read(root.module, root.facts.qualname.partition(".")[0])
        facts = root.facts
        names = [*facts.positional, *facts.keyword_only]
        for name in names:
            given: Value = ATOM if name in self._frozen else Given(name, self._classes, self._callables)
            self.add(root.registers[facts.variables[name]], {given})
        for extra, kind in ((facts.star, tuple), (facts.double_star, dict)):
            if extra is not None:
                made = self.made((root, extra), kind)
                given = ATOM if extra in self._frozen else Given(extra, self._classes, self._callables)
                self.store({made}, {given, ATOM})
                self.add(root.registers[facts.variables[extra]], {made})
        before = -1
        while before != self.version:
            before = self.version
            for frame in self._order:  # grows while we go
                self._run_frame(frame)
        self.frame, self.line = root, root.facts.line
        self._check_result(root.returned, "returns")
        self._check_result(self._raised, "raises")

    def story(self, harm: Harm) -> str:
        """``a → b: opens a local file (builtins.open) (b.py:12)``"""
        frame, line = self.frame, self.line
        if frame is None:
            return harm.what
        chain = [frame.label]
        place = f"{frame.path}:{line}"
        while frame.caller is not None and len(chain) < 12:
            frame = frame.caller
            chain.append(frame.label)
        chain.reverse()
        told = " → ".join(chain[1:] if len(chain) > 1 else [])
        return f"{told + ': ' if told else ''}{harm.what} ({place})"

    def _run_frame(self, frame: Frame) -> None:
        self.frame = frame
        for number, operation in enumerate(frame.facts.operations):
            self._budget -= 1
            if self._budget < 0:
                raise Harm("reaches too much code to analyse")
            self.line = operation[1]
            self.site = (frame, number)
            _OPERATIONS[operation[0]](self, frame, operation)

    # -- functions ---------------------------------------------------------------------------------------

    def has_facts(self, kind: type) -> bool:
        return self._facts_of(kind.__module__) is not None

    def _frame_of(self, function: FunctionType, label: str) -> Frame | None:
        """The frame of a function that exists already; None if its module has no facts, or they do not know it."""
        frame = self._frames.get(function)
        if frame is not None:
            return frame
        code = function.__code__
        module = function.__globals__.get("__name__")
        source = self._facts_of(module) if isinstance(module, str) else None
        if source is None or not isinstance(module, str):
            return None
        found = source.find(code.co_qualname, code.co_firstlineno)
        if not found:
            return None
        if len(found) > 1:
            raise Harm(f"calls {label}, one of several functions on one line")
        facts = source[found[0]]
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if names != (*facts.positional, *facts.keyword_only) or set(code.co_freevars) - {"__class__"} != set(facts.free):
            raise Harm(f"calls {label}, whose code is not that of its source")
        real = sys.modules.get(module)
        if real is None or real.__dict__ is not function.__globals__:
            raise Harm(f"calls {label}, whose module {module!r} was replaced")
        frame = Frame(facts, source, module, code.co_filename, function, None)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                contents = cell.cell_contents
            except ValueError:
                contents = MISSING
            self.observe("cell", cell, name, contents)
            frame.cells[name] = set() if contents is MISSING else {self.live(contents, f"{label}'s variable {name!r}")}
        if function is not self._function:
            self._defaults(frame, function, label)
        elif function.__defaults__ or function.__kwdefaults__:
            self._defaults(frame, function, label)
        self._frames[function] = frame
        self._enlist(frame)
        return frame

    def _defaults(self, frame: Frame, function: FunctionType, label: str) -> None:
        facts = frame.facts
        defaults = function.__defaults__ or ()
        for name, value in zip(facts.positional[len(facts.positional) - len(defaults) :], defaults, strict=True):
            shown = f"the default of {name!r}"
            self.add(frame.registers[facts.variables[name]], {self.live(value, shown)})
        for name, value in (function.__kwdefaults__ or {}).items():
            if name in facts.variables:
                self.add(frame.registers[facts.variables[name]], {self.live(value, f"the default of {name!r}")})

    def _enlist(self, frame: Frame) -> None:
        frame.caller, frame.line = self.frame, self.line
        self._order.append(frame)
        self.version += 1

    def enter(self, function: FunctionType, args: Args, label: str) -> Values | None:
        frame = self._frame_of(function, label)
        return None if frame is None else self._bind(frame, args)

    def enter_inner(self, inner: Inner, args: Args) -> Values:
        return self._bind(inner.frame, args)

    def _bind(self, frame: Frame, args: Args) -> Values:
        facts = frame.facts
        if facts.kind == COROUTINE:
            raise Harm(f"calls {frame.label}, a coroutine")
        count = len(facts.positional)
        star = self.made((frame, "*"), tuple) if facts.star is not None else None
        double_star = self.made((frame, "**"), dict) if facts.double_star is not None else None
        for number, values in enumerate(args.positional):
            if number < count:
                self.add(frame.registers[number + 1], values)
            elif star is not None:
                self.store({star}, values)
        if args.rest:
            for number in range(len(args.positional), count):
                self.add(frame.registers[number + 1], args.rest)
            if star is not None:
                self.store({star}, args.rest)
        known = {*facts.positional, *facts.keyword_only}
        for name, values in args.named.items():
            if name in known:
                self.add(frame.registers[facts.variables[name]], values)
            elif double_star is not None:
                self.store({double_star}, values)
        if args.double:
            for name in known:
                self.add(frame.registers[facts.variables[name]], args.double)
            if double_star is not None:
                self.store({double_star}, args.double)
        if star is not None and facts.star is not None:
            self.add(frame.registers[facts.variables[facts.star]], {star})
        if double_star is not None and facts.double_star is not None:
            self.store({double_star}, {ATOM})
            self.add(frame.registers[facts.variables[facts.double_star]], {double_star})
        if facts.kind == GENERATOR:
            made = self.made((frame, "generator"), GENERATOR_TYPE)
            self.store({made}, frame.returned)
            return {made}
        return frame.returned

    # -- the result --------------------------------------------------------------------------------------

    def _check_result(self, values: Values, how: str) -> None:
        """Objects that exist here already must not come back as copies."""
        for value in self._everything(values):
            if isinstance(value, Given) and value.cached:
                raise Harm(f"{how} {value.name}")
            if isinstance(value, Inner):
                raise Harm(f"{how} a function that it makes")
            if isinstance(value, Made) and value.kind is GENERATOR_TYPE and how == "returns":
                raise Harm(f"{how} a generator")
            if isinstance(value, Live) and not self._by_name(value):
                raise Harm(f"{how} {value.name} itself")

    def _everything(self, values: Values) -> Values:
        found = set(values)
        stack = list(found)
        while stack:
            value = stack.pop()
            parts: Values = set()
            if isinstance(value, Made):
                parts = set(value.contents)
                for held in value.attributes.values():
                    parts |= held
            elif isinstance(value, Live) and type(value.object) in (tuple, frozenset):
                parts = self.members(value)
            for part in parts - found:
                found.add(part)
                stack.append(part)
        return found

    def _by_name(self, value: Live) -> bool:
        """Whether a copy of it is it: by name, or because it cannot be written."""
        from enum import Enum

        thing = value.object
        if isinstance(thing, type | FunctionType | Enum) or type(thing) in (tuple, frozenset, type(len)):
            return True
        if type(thing) is object:
            return False
        entry = self.catalogue.type(type(thing))
        return entry is not None and entry.immutable

    # -- operations --------------------------------------------------------------------------------------

    def _variable(self, frame: Frame, name: str) -> Values:
        """The cell of a variable of an enclosing function."""
        outer = frame.outer
        if outer is None:
            return frame.cells.setdefault(name, set())
        register = outer.facts.variables.get(name)
        if register is not None:
            return outer.registers[register]
        return self._variable(outer, name)

    def o_name(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, name = op
        holder = self._globals(frame)
        found = self.global_value(frame.module, holder, name)
        label = f"module global {name!r}"
        if found is MISSING:
            found = self.global_value("builtins", builtins.__dict__, name)
            label = name
        elif isinstance(found, type | FunctionType | ModuleType) or callable(found):
            label = name
        if found is not MISSING:
            self.add(frame.registers[target], {self.live(found, label)})

    def _globals(self, frame: Frame) -> dict[str, Any]:
        while frame.function is None:
            assert frame.outer is not None
            frame = frame.outer
        return frame.function.__globals__

    def o_free(self, frame: Frame, op: tuple[Any, ...]) -> None:
        self.add(frame.registers[op[2]], self._variable(frame, op[3]))

    def o_setfree(self, frame: Frame, op: tuple[Any, ...]) -> None:
        outer: Frame | None = frame
        while outer is not None and (outer is frame or op[2] not in outer.facts.variables):
            if outer.outer is None:
                raise Harm(f"writes {op[2]!r}, a variable of the function around it")
            outer = outer.outer
        self.add(self._variable(frame, op[2]), frame.registers[op[3]])

    def o_number(self, frame: Frame, op: tuple[Any, ...]) -> None:
        self.add(frame.registers[op[2]], {NUMBER})

    def o_const(self, frame: Frame, op: tuple[Any, ...]) -> None:
        key = ("text", op[3])
        if key not in self._bound:
            self._bound[key] = Text(op[3])
        self.add(frame.registers[op[2]], {self._bound[key]})

    def o_copy(self, frame: Frame, op: tuple[Any, ...]) -> None:
        self.add(frame.registers[op[2]], frame.registers[op[3]])

    def o_attr(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, holder, name = op
        for value in list(frame.registers[holder]):
            self.add(frame.registers[target], self.attribute_now(value, name))

    def o_item(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, holder, index = op
        holders, indices = frame.registers[holder], frame.registers[index]
        found: Values = set()
        for value in holders:
            if isinstance(value, Live):
                found |= self._live_item(value)
            else:
                found |= self.elements(value)
            if isinstance(value, Made) and value.kind is defaultdict:
                found |= value.contents
        if any(isinstance(value, Made) and value.kind is slice for value in indices):
            copy = self.made((self.site, "slice"), None)
            self.store({copy}, found)
            found = {*found, copy}
        reach = self.inside(holders | indices)
        if any(self.classes_of(value) for value in reach):
            found |= self.special_calls(holders, _ITEM, indices)
            self.special_calls(reach - holders, _KEYS, reach)
        self.add(frame.registers[target], found)

    def _live_item(self, value: Live) -> Values:
        thing = value.object
        if isinstance(thing, defaultdict) and thing.default_factory is not None:
            raise Harm(f"may fill {value.name}, a defaultdict")
        if isinstance(thing, type) and not hasattr(type(thing), "__getitem__"):
            raise Harm(f"makes a generic alias of {value.name}")
        return self.members(value)

    def o_slice(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, holder = op
        found: Values = set()
        for value in frame.registers[holder]:
            if value is ATOM or isinstance(value, Text):
                found.add(ATOM)
                continue
            kind = value.kind if isinstance(value, Made) else type(value.object) if isinstance(value, Live) else None
            if kind is not None and kind.__flags__ & HEAP_TYPE:
                kind = None
            copy = self.made((self.site, kind), kind)
            self.store({copy}, self.elements(value))
            found.add(copy)
            if isinstance(value, Given):
                found.add(ATOM)
        found |= self.special_calls(frame.registers[holder], frozenset({"__getitem__"}), {self.made((self.site, "slice"), slice)})
        self.add(frame.registers[target], found)

    def o_iter(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, holder = op
        for value in list(frame.registers[holder]):
            self.add(frame.registers[target], self.next_of(value))

    def o_call(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, function, arguments, named = op
        args = Args()
        for argument in arguments:
            if argument < 0:
                for value in list(frame.registers[-1 - argument]):
                    args.rest |= self.next_of(value)
            elif args.rest or any(part < 0 for part in arguments[: arguments.index(argument)]):
                args.rest |= frame.registers[argument]
            else:
                args.positional.append(frame.registers[argument])
        for name, register in named:
            if name is None:
                for value in list(frame.registers[register]):
                    args.double |= self.elements(value) | self.special_calls({value}, frozenset({"__getitem__", "keys"}), set())
                args.double.add(ATOM)
            else:
                args.named[name] = frame.registers[register]
        for value in list(frame.registers[function]):
            self.add(frame.registers[target], self.call(value, args))

    def o_op(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, name, left, right = op
        self.add(frame.registers[target], self._operator(name, frame.registers[left], frame.registers[right]))

    def _operator(self, name: str, left: Values, right: Values) -> Values:
        both = left | right
        if not left or not right:
            return set()
        if both <= {NUMBER}:
            return {NUMBER}
        scalars = {value for value in both if value is ATOM or value is NUMBER or isinstance(value, Text)}
        if len(scalars) == len(both):
            return {ATOM}
        found = self.special_calls(left, frozenset({f"__{name}__"}), right)
        found |= self.special_calls(right, frozenset({f"__r{name}__"}), left)
        if name == "mod":
            self.look_at(Args(rest=right), 2, _TEXTS)
        others = both - scalars
        kinds = {value.kind if isinstance(value, Made) else None for value in others}
        kind = next(iter(kinds)) if len(kinds) == 1 else None
        if kind is not None and kind.__flags__ & HEAP_TYPE:
            if not any(base in kind.__mro__ for base in (list, dict, set, tuple, frozenset, str, int, float)):
                return found
            kind = None
        made = self.made((self.site, "op", kind), kind)
        for value in others:
            self.store({made}, self.elements(value))
        found.add(made)
        if kind is None:
            found.add(ATOM)
        return found

    def o_iop(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, name, left, right = op
        lefts, rights = frame.registers[left], frame.registers[right]
        results: Values = set()
        found = self.special_calls(lefts, frozenset({f"__i{name}__"}), rights)
        kinds = _IN_PLACE.get(name)
        plain = set(lefts)
        if kinds is not None:
            harmless = rights <= {NUMBER} and name != "mul"
            for value in lefts:
                if isinstance(value, Given) and not harmless:
                    self.write({value}, "may write (by an operator in place)")
                elif isinstance(value, Live) and isinstance(value.object, kinds) and not harmless:
                    self.write({value})
                elif isinstance(value, Made) and (value.kind is None or issubclass(value.kind, kinds)):
                    for part in rights:
                        self.store({value}, self.elements(part))
                    results.add(value)
                    if value.kind is not None:
                        plain.discard(value)
        self.add(frame.registers[target], results | found | self._operator(name, plain, rights))

    def o_unary(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, name, operand = op
        values = frame.registers[operand]
        found = self.special_calls(values, frozenset({f"__{name}__"}), set())
        if values:
            made_counter = any(isinstance(value, Given) or (isinstance(value, Made) and value.kind is Counter) for value in values)
            found |= {NUMBER} if values <= {NUMBER} else {ATOM}
            if made_counter:  # +counter makes a new one
                copy = self.made((self.site, "unary"), None)
                for value in values:
                    self.store({copy}, self.elements(value))
                found.add(copy)
        self.add(frame.registers[target], found)

    def o_compare(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, name, left, right = op
        lefts, rights = frame.registers[left], frame.registers[right]
        both = lefts | rights
        reach = self.inside(both)
        found: Values = {NUMBER}
        if any(self.classes_of(value) for value in reach):
            names = frozenset({f"__{name}__", f"__{_MIRRORED[name]}__", "__eq__", "__hash__"})
            found |= self.special_calls(both, names, both)
            self.special_calls(reach - both, names, reach)
        self.add(frame.registers[target], found)

    def o_in(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, item, container = op
        reach = self.inside(frame.registers[item] | frame.registers[container])
        if any(self.classes_of(value) for value in reach):
            self.special_calls(frame.registers[container], _CONTAINS, reach)
            self.special_calls(reach, _KEYS, reach)
            for value in list(frame.registers[container]):
                self.next_of(value)

    def o_is(self, frame: Frame, op: tuple[Any, ...]) -> None:
        left, right = frame.registers[op[2]], frame.registers[op[3]]
        for one, other in ((left, right), (right, left)):
            if one and all(self._named(value) for value in one):
                return
            if one and all(self._fresh(value) for value in one):
                return
            del other
        if left and right:
            raise Harm("compares identities, which copies do not keep")

    def _named(self, value: Value) -> bool:
        """Whether it is the same object wherever its name is looked up."""
        from enum import Enum

        if isinstance(value, Inner):
            return True
        if not isinstance(value, Live):
            return False
        # Objects that exist already are no arguments: `fingerprint.State.objects` says so at the call.
        thing = value.object
        if isinstance(thing, type | FunctionType | Enum | ModuleType) or type(thing) is object:
            return True
        entry = self.catalogue.type(type(thing))
        return type(thing) not in (tuple, frozenset) and not (entry is not None and entry.immutable)

    def _fresh(self, value: Value) -> bool:
        """Whether it is an object with an identity of its own that the call made."""
        return isinstance(value, Made) and value.kind is not None and value.kind not in (tuple, frozenset)

    def o_truth(self, frame: Frame, op: tuple[Any, ...]) -> None:
        self.special_calls(frame.registers[op[2]], frozenset({"__bool__", "__len__"}), set())

    def o_text(self, frame: Frame, op: tuple[Any, ...]) -> None:
        self.look_at(Args([frame.registers[op[2]]]), 2, _TEXTS)

    def o_new(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, kind, parts = op
        made = self.made((self.site, kind), GENERATOR_TYPE if kind == "iterator" else _DISPLAYS[kind])
        for register in parts:
            self.store({made}, frame.registers[register])
        if kind in ("set", "dict"):
            self.special_calls(self.inside(made.contents), _KEYS, made.contents)
        self.add(frame.registers[target], {made})

    def o_setattr(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, holder, name, value = op
        self.set_attribute(set(frame.registers[holder]), name, frame.registers[value])

    def o_delattr(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, holder, name = op
        for value in list(frame.registers[holder]):
            if any(self.special(kind, "__delattr__") is not None for kind in self.classes_of(value)):
                raise Harm("deletes an attribute by a __delattr__ of its own")
        self.set_attribute(set(frame.registers[holder]), name, set())

    def o_setitem(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, holder, index, value = op
        self._set_item(frame.registers[holder], frame.registers[index], frame.registers[value])

    def o_delitem(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, holder, index = op
        self._set_item(frame.registers[holder], frame.registers[index], None)

    def _set_item(self, holders: Values, indices: Values, values: Values | None) -> None:
        name = "__delitem__" if values is None else "__setitem__"
        for holder in list(holders):
            own = False
            for kind in self.classes_of(holder):
                raw = self.special(kind, name)
                if raw is not None:
                    own = True
                    more = [] if values is None else [values]
                    self.call(self.live(raw, f"{kind.__qualname__}.{name}"), Args([{holder}, indices, *more]))
            if own and not isinstance(holder, Given):
                continue
            self.write({holder})
            stored = indices | (values or set())
            if any(isinstance(index, Made) and index.kind is slice for index in indices):
                for value in values or ():
                    stored = stored | self.next_of(value)
            self.store({holder}, stored)
        reach = self.inside(indices)
        if any(self.classes_of(value) for value in reach):
            self.special_calls(reach, _KEYS, self.inside(holders | indices))

    def o_return(self, frame: Frame, op: tuple[Any, ...]) -> None:
        self.add(frame.returned, frame.registers[op[2]])

    o_yield = o_return

    def o_raise(self, frame: Frame, op: tuple[Any, ...]) -> None:
        for value in list(frame.registers[op[2]]):
            if isinstance(value, Live) and isinstance(value.object, type):
                self.add(self._raised, self.call(value, Args()))
            else:
                self.add(self._raised, {value})

    def o_caught(self, frame: Frame, op: tuple[Any, ...]) -> None:
        error = self.made((self.site, "caught"), Exception)
        self.store({error}, {self.anything, ATOM})
        self.add(frame.registers[op[2]], {error, *self._raised})

    def o_function(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, number, defaults = op
        key = (frame, "function", number)
        inner_frame = self._frames.get(key)
        if inner_frame is None:
            facts = frame.source[number]
            inner_frame = Frame(facts, frame.source, frame.module, frame.path, None, frame)
            self._frames[key] = inner_frame
            self._enlist(inner_frame)
        for name, register in defaults:
            self.add(inner_frame.registers[inner_frame.facts.variables[name]], frame.registers[register])
        value_key = ("inner", inner_frame)
        if value_key not in self._bound:
            self._bound[value_key] = Inner(inner_frame)
        self.add(frame.registers[target], {self._bound[value_key]})

    def o_import(self, frame: Frame, op: tuple[Any, ...]) -> None:
        _, _, target, name, attribute, level = op
        if level:
            package = self._globals(frame).get("__package__") or ""
            parts = package.split(".")
            parts = parts[: len(parts) - level + 1]
            name = ".".join([*parts, name] if name else parts)
        module = sys.modules.get(name)
        self.observe("import", sys.modules, name, MISSING if module is None else module)
        if module is None:
            raise Harm(f"imports {name!r}, which is not loaded yet")
        if attribute is None:
            self.add(frame.registers[target], {self.live(module, name)})
            return
        if attribute == "*":
            raise Harm("imports *")
        if attribute not in module.__dict__:
            inside = sys.modules.get(f"{name}.{attribute}")
            if inside is None:
                raise Harm(f"imports {attribute!r} from {name!r}, which is not there yet")
            self.add(frame.registers[target], {self.live(inside, f"{name}.{attribute}")})
            return
        found, _ = self.attribute(self.live(module, name), attribute)
        self.add(frame.registers[target], found)

    def o_super(self, frame: Frame, op: tuple[Any, ...]) -> None:
        if frame.function is None:
            raise Harm("uses super() in a nested function")
        kinds = frame.cells.get("__class__", set())
        for kind in kinds:
            if isinstance(kind, Live) and isinstance(kind.object, type) and frame.facts.positional:
                self.add(frame.registers[op[2]], {self.super_of(kind.object, frame.registers[1])})

    def o_bad(self, _frame: Frame, op: tuple[Any, ...]) -> None:
        raise Harm(op[2])


def _generator_type() -> type:
    return type(_ for _ in ())


GENERATOR_TYPE = _generator_type()

_OPERATIONS: dict[str, Callable[[Flow, Frame, tuple[Any, ...]], None]] = {
    name[2:]: method for name, method in vars(Flow).items() if name.startswith("o_")
}
