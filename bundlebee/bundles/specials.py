"""Special methods and operators, in the analysis: the code that runs without being called by name."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from functools import lru_cache
from types import FunctionType
from typing import Any

import msgspec

from bundlebee.bundles.abstract import (
    ATOM,
    NUMBER,
    Bound,
    BuiltinMethod,
    Given,
    Live,
    Made,
    Namespace,
    Super,
    Text,
    Value,
)
from bundlebee.bundles.attributes import Attributes
from bundlebee.bundles.descriptors import C_METHODS, LRU
from bundlebee.bundles.heap import Harm, Values

_OPERATORS = (
    "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor "
    "radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rlshift rrshift rand ror rxor"
)
_PROTOCOL = (
    "eq ne lt le gt ge hash bool len iter next reversed contains getitem missing str repr format bytes int float complex index "
    "round trunc floor ceil abs neg pos invert length_hint fspath sizeof buffer release_buffer"
)
IMPLICIT = frozenset(f"__{name}__" for name in f"{_PROTOCOL} {_OPERATORS}".split())
"""Special methods that builtins call of what they are given. Those that write by their nature are called by operations only."""
BUFFER = frozenset({"__buffer__", "__release_buffer__"})
"""Since Python 3.12; what works with bytes takes them from whoever has these."""
TEXTS = BUFFER | frozenset(
    {"__str__", "__repr__", "__format__", "__bytes__", "__getitem__", "__index__", "__int__", "__float__"}
)
KEYS = frozenset({"__hash__", "__eq__"})
INDEXING = KEYS | {"__index__"}
MAPPING = frozenset({"keys", "items", "get", "__getitem__"})
"""What a mapping calls of one that it takes in."""
SILENT = IMPLICIT - {"__str__", "__repr__", "__format__"}
"""What builtins call that make no text of what they are given."""
ORDER = frozenset(
    {"__lt__", "__gt__", "__le__", "__ge__", "__eq__", "__iter__", "__next__", "__getitem__", "__len__"}
)
INTEGERS = BUFFER | frozenset(
    {"__int__", "__index__", "__trunc__", "__float__", "__complex__", "__bytes__", "__len__", "__getitem__"}
)
_ITERATORS = frozenset({"__iter__", "__reversed__"})
_LENGTHS = frozenset({"__len__", "__length_hint__"})
_IN_PLACE: dict[str, tuple[type, ...]] = {
    "add": (list, bytearray, deque, Counter),
    "mul": (list, bytearray, deque),
    "or": (set, dict, defaultdict, OrderedDict, Counter),
    "and": (set, Counter),
    "sub": (set, Counter),
    "xor": (set,),
}
_DATA_BASES = (list, dict, set, tuple, frozenset, deque, str, bytes, bytearray, int, float, complex)


@lru_cache(64)
def _parted(names: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Without those that give iterators, and these. Made once, for a set of names hashes itself once."""
    return names - _ITERATORS, names & _ITERATORS


class Args(msgspec.Struct):
    """The arguments of one call."""

    positional: list[Values] = []
    rest: Values = msgspec.field(
        default_factory=set
    )  #: what ``*args`` may bring, at any position behind these
    named: dict[str, Values] = {}
    double: Values = msgspec.field(default_factory=set)  #: what ``**kwargs`` may bring

    def all(self) -> Values:
        """Every value among them."""
        found = set(self.rest) | self.double
        for values in (*self.positional, *self.named.values()):
            found |= values
        return found

    def at(self, place: int | str) -> Values:
        """What may be passed at a position or by a name."""
        if isinstance(place, str):
            return self.named.get(place, set()) | self.double
        return self.positional[place] if place < len(self.positional) else self.rest

    def behind(self, count: int) -> Values:
        """What may be passed behind the first positions, or by name."""
        return Args(self.positional[count:], self.rest, self.named, self.double).all()

    def shifted(self, receiver: Value) -> Args:
        """With the object of a method in front."""
        return Args([{receiver}, *self.positional], self.rest, self.named, self.double)

    def without_first(self) -> Args:
        """Without the object of a method."""
        return Args(self.positional[1:], self.rest, self.named, self.double)


class Specials(Attributes):
    """Writes, special methods, operators."""

    fragile = False  #: whether the arguments hold a set whose copy iterates in another order
    _entered: dict[tuple[Any, Value], tuple[Values, Values]]
    """By special method and receiver: all that it had as other arguments, and what it returns. Most are asked for a thousand times."""
    _methods_of: dict[tuple[Value, frozenset[str]], tuple[int, list[tuple[type, str, Any]]]]
    """By value and names: the classes that it may be of are so many, and what `_methods` found."""
    _pools: dict[Any, tuple[Values, Values, int]]
    """By special method without facts: all that it had as arguments, what it returned, and when."""
    _due: dict[Any, str]
    """Those that are still to be looked at, with labels."""
    _looked: set[Any]
    """While that goes on, those that were."""

    def no_order(self, values: Values) -> None:
        """Something is done that depends on the order of these, if they are sets.

        Raises:
            Harm: that order would be another one on the other side.
        """
        if self.fragile:
            for value in values:
                if isinstance(value, Given) and value.kind in (None, set, frozenset):
                    raise Harm(f"may iterate over a set in {value.name!r}, whose copy has another order")

    def call(self, value: Value, args: Args) -> Values:
        """Call a value; returns what may come back. (Given by `bundlebee.bundles.calling.Calls`.)"""
        raise NotImplementedError

    # -- writing -----------------------------------------------------------------------------------------

    def write(self, values: Values, what: str = "writes") -> None:
        """The call writes these objects. Raises Harm unless it made them itself, or they came with it."""
        for value in values:
            if isinstance(value, Given):
                self._write_given(value, what)
            if isinstance(value, Live):
                raise Harm(f"{what} {value.name}")
            if isinstance(value, Namespace):
                self.write({value.owner}, what)
            if isinstance(value, Super):
                self.write(value.receivers, what)
            elif isinstance(value, Bound | BuiltinMethod):
                raise Harm(f"{what} a method")

    def _write_given(self, value: Given, what: str) -> None:
        """An argument is written: the caller's own is changed in the same way when the call has come back."""
        if value.cached:
            raise Harm(f"{what} {value.name}")
        if value.kind is not None and issubclass(value.kind, set | frozenset):
            # how the caller's would iterate afterwards depends on all that ever happened to it
            raise Harm(f"{what} its argument {value.name!r}, a set")
        if not self.written:
            self.written = f"{what} its argument {value.name!r}"
            self.version += 1
            self.held += 1

    # -- special methods ---------------------------------------------------------------------------------

    def special_calls(self, values: Values, names: frozenset[str], others: Values) -> Values:
        """Call those special methods of the instances among the values, with any of the others."""
        results: Values = set()
        for value in list(values):
            for kind, name, raw in self._methods(value, names):
                if isinstance(raw, C_METHODS):  # as in ``__ne__ = object.__ne__``
                    self.spent += 1
                    results |= self._call_borrowed(raw, value, others)
                    continue
                if not isinstance(raw, FunctionType | LRU):
                    raise Harm(f"uses {kind.__qualname__}.{name}, a {type(raw).__qualname__}")
                known = self._entered.get((raw, value))
                if known is not None and others <= known[0]:
                    results |= known[1]
                    continue
                pooled = self._pools.get(raw)
                if (
                    pooled is not None
                    and (pooled[2] == self.version or raw in self._due or raw in self._looked)
                    and value in pooled[0]
                    and others <= pooled[0]
                ):
                    results |= pooled[1]
                    continue
                self.spent += 1
                method = self.live(raw, f"{kind.__qualname__}.{name}")
                found = self.call(method, Args([{value}], rest=others))
                if self.is_entered(raw):
                    self._entered[raw, value] = others | known[0] if known else set(others), found
                results |= found
        return results

    def _methods(self, value: Value, names: frozenset[str]) -> list[tuple[type, str, Any]]:
        """Those special methods of all classes that a value may be of, with class and name."""
        size = len(value.classes) if isinstance(value, Given) else 1
        known = self._methods_of.get((value, names))
        if known is not None and known[0] == size:
            return known[1]
        # in the order of their names: of several reasons the same one each time
        kinds = sorted(self.classes_of(value), key=lambda kind: (kind.__module__, kind.__qualname__))
        self.spent += len(kinds)
        found = [(kind, name, raw) for kind in kinds for name, raw in self.specials(kind, names)]
        self._methods_of[value, names] = size, found
        return found

    def is_entered(self, function: Any) -> bool:
        """Whether to call it is to hand its arguments to a frame, and to get what that returns: then to call it once more with
        arguments that it had changes nothing, and what it had returned grows with its frame."""
        raise NotImplementedError

    def _call_borrowed(self, raw: Any, value: Value, others: Values) -> Values:
        """A special method that a class has taken from a builtin. It may come back to itself through what it looks at."""
        key = ("borrowed", raw, value)
        pool, results, when = self._once.setdefault(key, (set(), {ATOM}, -1))
        if not others <= pool or when != self.version:
            pool |= others
            self._once[key] = (pool, results, self.version)
            method = self.builtin_method(raw.__name__, value, raw.__objclass__)
            try:
                found = self.call(method, Args(rest=set(pool)))
            except Harm:
                self._once[key] = (pool, results, -1)  # whoever asks next shall hear of it, too
                raise
            self.add(results, found)
        return results  # type: ignore[no-any-return]

    def look_at(self, values: Values, depth: int, names: frozenset[str] = IMPLICIT) -> Values:
        """The special methods that a builtin may call: of the values, and with depth 2 of what they contain."""
        if depth == 0:
            return set()
        reach = self.inside(values) if depth == 2 else values
        if names is TEXTS and self.fragile:
            self.no_order(reach)
        if not (self.any_instances(reach) if depth == 2 else any(map(self.classes_of, reach))):
            return set()
        others = self.inside(reach) | {
            ATOM,
            NUMBER,
        }  # builtins pass numbers, texts and None of their own, too
        at_once, iterators = _parted(names)
        found = self.special_calls(reach, at_once, others)
        if iterators:
            for iterator in self.special_calls(reach, iterators, others):
                found |= self.next_of(iterator)
        return found

    def next_of(self, value: Value) -> Values:
        """One of what iterating over a value gives."""
        self.no_order({value})
        found = set(self.keys(value))
        self.special_calls({value}, _LENGTHS, set())  # a list that is made of it asks how long it will be
        for kind in self.classes_of(value):
            if self.special(kind, "__iter__") is None:
                if self.special(kind, "__getitem__") is not None:
                    found |= self.special_calls({value}, frozenset({"__getitem__"}), {NUMBER})
                continue
            for iterator in self.special_calls({value}, frozenset({"__iter__"}), set()):
                found |= self.keys(iterator)
                found |= self.special_calls({iterator}, frozenset({"__next__"}), set())
        return found

    # -- operators ---------------------------------------------------------------------------------------

    def operate(self, name: str, left: Values, right: Values) -> Values:
        """A binary operator; name as in ``__name__``."""
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
        self.special_calls(both, BUFFER, {NUMBER})
        if name == "mod":
            self.look_at(right, 2, TEXTS)
        others = both - scalars
        self.no_order(others)
        kinds = {value.kind if isinstance(value, Made | Given) else None for value in others}
        kind = next(iter(kinds)) if len(kinds) == 1 else None
        if kind is not None and self.classes_of(next(iter(others))):
            if not issubclass(kind, _DATA_BASES):
                return found  # no builtin has an operator for it
            kind = None
        made = self.made((self.site, "op", kind), kind)
        self.pour({made}, others)
        found.add(made)
        if kind is None or kind not in _DATA_BASES:
            found.add(ATOM)
        return found

    def _taken_in(self, name: str, left: Values, right: Values) -> Values:
        """What a container that takes in what iterating over the right side gives gets to see."""
        if all(isinstance(value, Made | Given | Live) and self.classes_of(value) for value in left):
            return right  # they have their own operators
        found = set(right)
        for value in right:
            if self.classes_of(value):
                found |= self.next_of(value)
                if name == "or":
                    found |= self.special_calls({value}, MAPPING, {ATOM, NUMBER})
        return found

    def operate_in_place(self, name: str, left: Values, right: Values) -> Values:
        """``left op= right``: what left is afterwards."""
        found = self.special_calls(left, frozenset({f"__i{name}__"}), right)
        found |= self.special_calls(
            right, frozenset({f"__r{name}__"}), left
        )  # also of a list's other operand
        kinds = _IN_PLACE.get(name)
        others = set(left)
        if kinds is not None:
            # No container takes a number in, except by being multiplied.
            harmless = right <= {NUMBER} and name != "mul"
            if name in ("add", "or") and not harmless:
                right = self._taken_in(name, left, right)
            for value in left:
                if isinstance(value, Made):
                    if value.kind is None or issubclass(value.kind, kinds):
                        self.no_order(right)
                        self.pour({value}, right, pairs=name == "or")
                        found.add(value)
                        if value.kind is not None:
                            others.discard(value)
                elif harmless:
                    continue
                elif isinstance(value, Given) and value.may_be(kinds):
                    self.write({value}, "may write (by an operator in place)")
                    self.no_order(right)
                    self.pour({value}, right, pairs=name == "or")
                    found.add(value)
                    if value.kind is not None:
                        others.discard(value)
                elif isinstance(value, Live) and isinstance(value.object, kinds):
                    self.write({value})
        return found | self.operate(name, others, right)
