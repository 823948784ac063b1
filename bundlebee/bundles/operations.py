"""The operations of a function, in the analysis: one method for each code of `bundlebee.bundles.facts`."""

from __future__ import annotations

import builtins
import sys
from collections import Counter
from collections.abc import Callable
from types import CoroutineType, FunctionType, GeneratorType, MemberDescriptorType, ModuleType
from typing import Any, TypeAlias

from bundlebee.bundles.absent import ABSENT, absent
from bundlebee.bundles.abstract import ATOM, NONE, NUMBER, Given, Inner, Live, Made, Value
from bundlebee.bundles.frame import Frame
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.identity import is_fresh, is_named, keeps_identity
from bundlebee.bundles.narrowing import Narrowing
from bundlebee.bundles.observed import MISSING
from bundlebee.bundles.specials import BUFFER, INDEXING, KEYS, MAPPING, TEXTS, Args

Operation: TypeAlias = tuple[Any, ...]

_DISPLAYS: dict[str, type] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "dict": dict,
    "slice": slice,
    "iterator": GeneratorType,
}
_MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}
_IMPORT = builtins.__import__
_CONTAINS = frozenset({"__contains__", "__iter__", "__next__", "__getitem__", "__eq__", "__hash__"})


class Operations(Narrowing):
    """What each operation does to the registers of its frame."""

    def raised(self) -> Values:
        """What the functions of the analysis raise."""
        raise NotImplementedError

    def call_at(self, _frame: Frame, _op: Operation, value: Value, args: Args) -> Values:
        """Call what an operation of the source calls. (`bundlebee.bundles.gaps.Gaps` may leave it open.)"""
        return self.call(value, args)

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

    def o_name(self, frame: Frame, op: Operation) -> None:
        _, _, target, name = op
        holder = self._globals(frame)
        found = self.global_value(frame.module, holder, name)
        label = f"module global {name!r}"
        if found is MISSING:
            found = self.global_value("builtins", builtins.__dict__, name)
            label = name
        elif isinstance(found, type | FunctionType | ModuleType) or callable(found):
            label = name
        if name == "NotImplemented" and found is not NotImplemented:
            raise Harm("uses another NotImplemented")
        if found is not MISSING:
            self.add(frame.registers[target], {self.live(found, label)})

    def _globals(self, frame: Frame) -> dict[str, Any]:
        while frame.function is None:
            assert frame.outer is not None
            frame = frame.outer
        return frame.function.__globals__

    def o_free(self, frame: Frame, op: Operation) -> None:
        self.add(frame.registers[op[2]], self._variable(frame, op[3]))

    def o_setfree(self, frame: Frame, op: Operation) -> None:
        outer: Frame | None = frame
        while outer is not None and (outer is frame or op[2] not in outer.facts.variables):
            if outer.outer is None:
                raise Harm(f"writes {op[2]!r}, a variable of the function around it")
            outer = outer.outer
        self.add(self._variable(frame, op[2]), frame.registers[op[3]])

    def o_number(self, frame: Frame, op: Operation) -> None:
        self.add(frame.registers[op[2]], {NUMBER})

    def o_const(self, frame: Frame, op: Operation) -> None:
        self.add(frame.registers[op[2]], {self.text(op[3])})

    def o_copy(self, frame: Frame, op: Operation) -> None:
        self.add(frame.registers[op[2]], frame.registers[op[3]])

    def o_none(self, frame: Frame, op: Operation) -> None:
        _, _, target, source = op
        if any(map(self.may_be_none, frame.registers[source])):
            self.add(frame.registers[target], {NONE})

    def o_some(self, frame: Frame, op: Operation) -> None:
        _, _, target, source = op
        self.add(frame.registers[target], frame.registers[source] - {NONE})

    def o_nothing(self, frame: Frame, op: Operation) -> None:
        self.add(frame.registers[op[2]], {NONE})

    def o_kind(self, frame: Frame, op: Operation) -> None:
        _, _, target, source, function, classes, sense = op
        values = frame.registers[source]
        if self.is_the_builtin(frame.registers[function], "isinstance"):
            answers = self.are_instances(values, [frame.registers[part] for part in classes])
            values = {value for value, answer in answers.items() if answer is None or answer is sense}
        self.add(frame.registers[target], values)

    def o_same(self, frame: Frame, op: Operation) -> None:
        _, _, target, source, other = op
        values, others = frame.registers[source], frame.registers[other]
        # of which classes something may be, is not known that well
        if others and all(
            isinstance(value, Live) and is_named(value) and not isinstance(value.object, type)
            for value in others
        ):
            values = {value for value in values if self.may_be_one_of(value, others)}
        self.add(frame.registers[target], values)

    def o_attr(self, frame: Frame, op: Operation) -> None:
        _, _, target, holder, name = op
        for value in list(frame.registers[holder]):
            self.add(frame.registers[target], self.get_attribute(value, name))

    def o_item(self, frame: Frame, op: Operation) -> None:
        _, _, target, holder, index = op
        self.add(frame.registers[target], self.get_item(frame.registers[holder], frame.registers[index]))

    def o_slice(self, frame: Frame, op: Operation) -> None:
        _, _, target, holder = op
        self.add(frame.registers[target], self.get_slice(frame.registers[holder]))

    def o_iter(self, frame: Frame, op: Operation) -> None:
        _, _, target, holder = op
        for value in list(frame.registers[holder]):
            self.add(frame.registers[target], self.next_of(value))

    def o_await(self, frame: Frame, op: Operation) -> None:
        """Only coroutines of functions that are known are awaited: these suspend only where one of them does."""
        _, _, target, operand = op
        for value in list(frame.registers[operand]):
            if isinstance(value, Made) and value.kind is CoroutineType:
                self.add(frame.registers[target], value.contents)
            elif isinstance(value, Live):
                raise Harm(f"awaits {value.name}")
            elif isinstance(value, Made) and value.kind is GeneratorType:
                raise Harm("awaits a generator")
            for kind in self.classes_of(value):
                if hasattr(kind, "__await__"):
                    raise Harm(f"awaits a {kind.__qualname__}")

    def o_mapping(self, frame: Frame, op: Operation) -> None:
        """``{**mapping}`` asks for its keys."""
        self.special_calls(frame.registers[op[2]], MAPPING, {ATOM})

    def o_call(self, frame: Frame, op: Operation) -> None:
        _, _, target, function, arguments, named = op
        args = Args()
        variants: list[list[Values]] = [[]]  # what follows, as ``*args`` of the caller was given it
        for number, argument in enumerate(arguments):
            places = None
            if argument < 0 and number == len(arguments) - 1 and not args.rest:
                places = _places(frame.registers[-1 - argument])
            if places is not None:
                variants = places
            elif argument < 0:
                for value in list(frame.registers[-1 - argument]):
                    args.rest |= self.next_of(value)
            elif args.rest or any(part < 0 for part in arguments[:number]):
                args.rest |= frame.registers[argument]
            else:
                args.positional.append(frame.registers[argument])
        for name, register in named:
            if name is None:
                passed = _passed_by_name(frame.registers[register])
                if passed is not None:
                    for each, values in passed.items():
                        args.named[each] = args.named.get(each, set()) | values
                    continue
                for value in list(frame.registers[register]):
                    args.double |= self.items(value) | self.special_calls(
                        {value}, frozenset({"__getitem__", "keys"}), {ATOM}
                    )
                args.double.add(ATOM)
            else:
                args.named[name] = frame.registers[register]
        for more in variants:
            given = Args([*args.positional, *more], args.rest, args.named, args.double) if more else args
            for value in list(frame.registers[function]):
                self.add(frame.registers[target], self.call_at(frame, op, value, given))

    def o_op(self, frame: Frame, op: Operation) -> None:
        _, _, target, name, left, right = op
        self.add(frame.registers[target], self.operate(name, frame.registers[left], frame.registers[right]))

    def o_iop(self, frame: Frame, op: Operation) -> None:
        _, _, target, name, left, right = op
        self.add(
            frame.registers[target],
            self.operate_in_place(name, frame.registers[left], frame.registers[right]),
        )

    def o_unary(self, frame: Frame, op: Operation) -> None:
        _, _, target, name, operand = op
        values = frame.registers[operand]
        found = self.special_calls(values, frozenset({f"__{name}__"}), set())
        if any(map(self.may_be_array, values)):
            found.add(self.array(values))
        if values:
            made_counter = any(
                getattr(value, "kind", Counter) is Counter
                for value in values
                if isinstance(value, Given | Made)
            )
            found |= {NUMBER} if values <= {NUMBER} else {ATOM}
            if made_counter:  # +counter makes a new one
                copy = self.made((self.site, "unary"), None)
                self.pour({copy}, values)
                found.add(copy)
        self.add(frame.registers[target], found)

    def o_compare(self, frame: Frame, op: Operation) -> None:
        _, _, target, name, left, right = op
        lefts, rights = frame.registers[left], frame.registers[right]
        both = lefts | rights
        reach = self.inside(both)
        found: Values = {NUMBER}
        if any(map(self.may_be_array, both)):
            self.check_operands(both)
            found.add(self.array(both))
        if any(self.classes_of(value) for value in reach):
            names = BUFFER | {f"__{name}__", f"__{_MIRRORED[name]}__", "__eq__", "__hash__"}
            found |= self.special_calls(both, names, both)
            self.special_calls(reach - both, names, reach)
        self.add(frame.registers[target], found)

    def o_in(self, frame: Frame, op: Operation) -> None:
        _, _, item, container = op
        holders = frame.registers[container]
        reach = self.inside(frame.registers[item].union(*map(self.looked_up, holders))) | holders
        if any(self.classes_of(value) for value in reach):
            self.special_calls(frame.registers[container], _CONTAINS, reach)
            self.special_calls(reach, KEYS | BUFFER, reach)
            for value in list(frame.registers[container]):
                if self.classes_of(value):
                    self.next_of(value)

    def o_is(self, frame: Frame, op: Operation) -> None:
        left, right = frame.registers[op[2]], frame.registers[op[3]]
        for one in (left, right):
            if one and all(is_named(value) or is_fresh(value) or keeps_identity(value) for value in one):
                return
        if left and right:
            if not all(
                (isinstance(value, Given) and not value.cached) or is_fresh(value) for value in left | right
            ):
                raise Harm("compares identities, which copies do not keep")
            self.compares = True

    def o_truth(self, frame: Frame, op: Operation) -> None:
        self.special_calls(frame.registers[op[2]], frozenset({"__bool__", "__len__"}), set())

    def o_text(self, frame: Frame, op: Operation) -> None:
        self.look_at(frame.registers[op[2]], 2, TEXTS)

    def o_new(self, frame: Frame, op: Operation) -> None:
        _, _, target, kind, parts = op
        made = self.made((self.site, kind), _DISPLAYS[kind])
        for number, register in enumerate(parts):
            if kind == "dict" and number % 2 == 0:
                self.store({made}, (), frame.registers[register])
            else:
                self.store({made}, frame.registers[register])
        if kind == "slice":
            self.special_calls(set(made.contents), INDEXING, set())
        if kind in ("set", "dict"):
            keys = made.keys if kind == "dict" else made.contents
            self.special_calls(self.inside(keys), KEYS, keys)
        self.add(frame.registers[target], {made})

    def o_setattr(self, frame: Frame, op: Operation) -> None:
        _, _, holder, name, value = op
        self.set_attribute(set(frame.registers[holder]), name, frame.registers[value])

    def o_delattr(self, frame: Frame, op: Operation) -> None:
        _, _, holder, name = op
        for value in list(frame.registers[holder]):
            if any(self.special(kind, "__delattr__") is not None for kind in self.classes_of(value)):
                raise Harm("deletes an attribute by a __delattr__ of its own")
            for kind in self.classes_of(value):
                raw = (self.lookup(kind, name) or (kind, None))[1]
                if hasattr(type(raw), "__delete__") and type(raw) is not MemberDescriptorType:
                    raise Harm(f"deletes {kind.__qualname__}.{name}, which is computed")
        self.set_attribute(set(frame.registers[holder]), name, set())

    def o_setitem(self, frame: Frame, op: Operation) -> None:
        _, _, holder, index, value = op
        self.set_item(frame.registers[holder], frame.registers[index], frame.registers[value])

    def o_delitem(self, frame: Frame, op: Operation) -> None:
        _, _, holder, index = op
        self.set_item(frame.registers[holder], frame.registers[index], None)

    def o_return(self, frame: Frame, op: Operation) -> None:
        self.add(frame.returned, frame.registers[op[2]])

    o_yield = o_return

    def o_raise(self, frame: Frame, op: Operation) -> None:
        for value in list(frame.registers[op[2]]):
            if isinstance(value, Live) and isinstance(value.object, type):
                self.add(self.raised(), self.call(value, Args()))
            else:
                self.add(self.raised(), {value})

    def o_caught(self, frame: Frame, op: Operation) -> None:
        error = self.made((self.site, "caught"), Exception)
        self.store({error}, {self.anything, ATOM})
        self.add(frame.registers[op[2]], {error, *self.raised()})

    def o_failure(self, frame: Frame, op: Operation) -> None:
        self.add(frame.registers[op[2]], {self.anything, ATOM, NONE, *self.raised()})

    def o_function(self, frame: Frame, op: Operation) -> None:
        _, _, target, number, defaults = op
        inner_frame = self.inner_frame(frame, number)
        for name, register in defaults:
            self.add(inner_frame.registers[inner_frame.facts.variables[name]], frame.registers[register])
        key = ("inner", inner_frame)
        if key not in self._once:
            self._once[key] = Inner(inner_frame)
        self.add(frame.registers[target], {self._once[key]})

    def o_import(self, frame: Frame, op: Operation) -> None:
        _, _, target, name, attribute, level = op
        if level:
            package = self._globals(frame).get("__package__") or ""
            parts = package.split(".")
            parts = parts[: len(parts) - level + 1]
            name = ".".join([*parts, name] if name else parts)
        importer = builtins.__import__
        self.observe("key", builtins.__dict__, "__import__", importer)
        if importer is not _IMPORT:
            raise Harm("imports by an __import__ of the program's own")
        module = sys.modules.get(name)
        self.observe("key", sys.modules, name, MISSING if module is None else module)
        if module is None:
            top = name.partition(".")[0]
            nowhere = absent(top)
            self.observe("absent", None, top, nowhere)
            if not nowhere:
                raise Harm(f"imports {name!r}, which is not loaded yet")
            self.reads.add((top, ABSENT))
            return  # it raises ImportError
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
        self.add(frame.registers[target], self.get_attribute(self.live(module, name), attribute))

    def o_super(self, frame: Frame, op: Operation) -> None:
        if frame.function is None:
            raise Harm("uses super() in a nested function")
        kinds = frame.cells.get("__class__", set())
        for kind in kinds:
            if isinstance(kind, Live) and isinstance(kind.object, type) and frame.facts.positional:
                self.add(frame.registers[op[2]], {self.super_of(kind.object, frame.registers[1])})

    def o_bad(self, _frame: Frame, op: Operation) -> None:
        raise Harm(op[2])


def _places(values: Values) -> list[list[Values]] | None:
    """What ``*values`` brings, for each number of arguments, if that is what the caller's ``*args`` was given."""
    if len(values) != 1:
        return None
    (value,) = values
    if not isinstance(value, Made) or not value.positions:
        return None
    return list(value.positions.values())


def _passed_by_name(values: Values) -> dict[str, Values] | None:
    """The same for ``**values``."""
    if len(values) != 1:
        return None
    (value,) = values
    if not isinstance(value, Made) or value.kind is not dict:
        return None
    if value.named is None and not value.contents:
        return {} if not value.keys - {ATOM} else None
    return value.named


OPERATIONS: dict[str, Callable[[Any, Frame, Operation], None]] = {
    name[2:]: method for name, method in vars(Operations).items() if name.startswith("o_")
}
"""By their code."""
