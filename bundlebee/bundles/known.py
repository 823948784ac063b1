"""Builtins and the standard library, in the analysis: what the catalogue says of a function, done to the values."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from types import FunctionType, MemberDescriptorType

from bundlebee.bundles.abstract import (
    ATOM,
    NUMBER,
    Bound,
    BuiltinMethod,
    Given,
    Live,
    Made,
    Super,
    Text,
    Value,
)
from bundlebee.bundles.attributes import LRU, Attributes
from bundlebee.bundles.catalogue import Function
from bundlebee.bundles.heap import HEAP_TYPE, Harm, Values

_OPERATORS = (
    "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor "
    "radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rlshift rrshift rand ror rxor"
)
_PROTOCOL = (
    "eq ne lt le gt ge hash bool len iter next reversed contains getitem missing str repr format bytes int float complex index "
    "round trunc floor ceil abs neg pos invert length_hint fspath sizeof"
)
IMPLICIT = frozenset(f"__{name}__" for name in f"{_PROTOCOL} {_OPERATORS}".split())
"""Special methods that builtins call of what they are given. Those that write by their nature are called by operations only."""
TEXTS = frozenset({"__str__", "__repr__", "__format__", "__getitem__", "__index__", "__int__", "__float__"})
KEYS = frozenset({"__hash__", "__eq__"})
_COPYING = frozenset(
    {"__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"}
)
_ONLY = {
    "builtins.len": frozenset({"__len__"}),
    "builtins.hash": frozenset({"__hash__"}),
    "builtins.next": frozenset({"__next__"}),
}
_IN_PLACE: dict[str, tuple[type, ...]] = {
    "add": (list, bytearray, deque, Counter),
    "mul": (list, bytearray, deque),
    "or": (set, dict, defaultdict, OrderedDict, Counter),
    "and": (set, Counter),
    "sub": (set, Counter),
    "xor": (set,),
}
_DATA_BASES = (list, dict, set, tuple, frozenset, deque, str, bytes, bytearray, int, float, complex)


@dataclass(slots=True)
class Args:
    """The arguments of one call."""

    positional: list[Values] = field(default_factory=list)
    rest: Values = field(default_factory=set)  #: what ``*args`` may bring, at any position
    named: dict[str, Values] = field(default_factory=dict)
    double: Values = field(default_factory=set)  #: what ``**kwargs`` may bring

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
        return self.rest | self.positional[place] if place < len(self.positional) else self.rest

    def behind(self, count: int) -> Values:
        """What may be passed behind the first positions, or by name."""
        return Args(self.positional[count:], self.rest, self.named, self.double).all()

    def shifted(self, receiver: Value) -> Args:
        """With the object of a method in front."""
        return Args([{receiver}, *self.positional], self.rest, self.named, self.double)

    def without_first(self) -> Args:
        """Without the object of a method."""
        return Args(self.positional[1:], self.rest, self.named, self.double)


class Known(Attributes):
    """Does what the catalogue says."""

    def call(self, value: Value, args: Args) -> Values:
        """Call a value; returns what may come back. (Given by `bundlebee.bundles.calling.Calls`.)"""
        raise NotImplementedError

    # -- writing -----------------------------------------------------------------------------------------

    def write(self, values: Values, what: str = "writes") -> None:
        """The call writes these objects. Raises Harm unless it made them itself."""
        for value in values:
            if isinstance(value, Given):
                raise Harm(f"{what} {value.name}" if value.cached else f"{what} its argument {value.name!r}")
            if isinstance(value, Live):
                raise Harm(f"{what} {value.name}")
            if isinstance(value, Super):
                self.write(value.receivers, what)
            elif isinstance(value, Bound | BuiltinMethod):
                raise Harm(f"{what} a method")

    # -- special methods ---------------------------------------------------------------------------------

    def special_calls(self, values: Values, names: frozenset[str], others: Values) -> Values:
        """Call those special methods of the instances among the values, with any of the others."""
        results: Values = set()
        for value in list(values):
            for kind in self.classes_of(value):
                for name in names:
                    raw = self.special(kind, name)
                    if raw is None:
                        continue
                    if not isinstance(raw, FunctionType | LRU):
                        raise Harm(f"uses {kind.__qualname__}.{name}, a {type(raw).__qualname__}")
                    results |= self.call(
                        self.live(raw, f"{kind.__qualname__}.{name}"), Args([{value}], rest=others)
                    )
        return results

    def look_at(self, values: Values, depth: int, names: frozenset[str] = IMPLICIT) -> Values:
        """The special methods that a builtin may call: of the values, and with depth 2 of what they contain."""
        if depth == 0:
            return set()
        reach = self.inside(values) if depth == 2 else values
        if not any(self.classes_of(value) for value in reach):
            return set()
        return self.special_calls(reach, names, self.inside(reach))

    def next_of(self, value: Value) -> Values:
        """One of what iterating over a value gives."""
        found = set(self.keys(value))
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
        if name == "mod":
            self.look_at(right, 2, TEXTS)
        others = both - scalars
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

    def operate_in_place(self, name: str, left: Values, right: Values) -> Values:
        """``left op= right``: what left is afterwards."""
        found = self.special_calls(left, frozenset({f"__i{name}__"}), right)
        kinds = _IN_PLACE.get(name)
        others = set(left)
        if kinds is not None:
            # No container takes a number in, except by being multiplied.
            harmless = right <= {NUMBER} and name != "mul"
            for value in left:
                if isinstance(value, Made):
                    if value.kind is None or issubclass(value.kind, kinds):
                        self.pour({value}, right, pairs=name == "or")
                        found.add(value)
                        if value.kind is not None:
                            others.discard(value)
                elif harmless:
                    continue
                elif isinstance(value, Given) and (value.kind is None or issubclass(value.kind, kinds)):
                    self.write({value}, "may write (by an operator in place)")
                elif isinstance(value, Live) and isinstance(value.object, kinds):
                    self.write({value})
        return found | self.operate(name, others, right)

    # -- the catalogue -----------------------------------------------------------------------------------

    def call_any(self, functions: Values, pool: Values) -> Values:
        """Call whatever may be called among some values, with any of the others."""
        results: Values = set()
        for function in list(functions):
            if function is not ATOM and function is not NUMBER:
                results |= self.call(function, Args(rest=pool))
        return results

    def apply(self, function: Function, args: Args, own: Value | None = None) -> Values:
        """Do what the catalogue says of a function; ``own``: the object, of a method."""
        if function.unsafe is not None:
            raise Harm(f"{function.unsafe} ({function.name})")
        called: Values = set()
        for where in function.calls:
            called |= args.at(where)
        operands = args.all() - called
        written = set().union(*(args.at(place) for place in function.writes)) if function.writes else set()
        if own is not None and function.writes_self:
            written.add(own)
        self.write(written)
        touched = operands if own is None else operands | {own}
        results: Values = set()
        if called:
            pool = self.inside(touched)
            for _ in range(2):  # what it returns may be passed to it again, as reduce does
                results |= self.call_any(called, pool | results)
        if function.name in _ONLY:
            results |= self.special_calls(operands, _ONLY[function.name], set())
        else:
            found = self.look_at(touched, function.depth)
            results |= found
        if function.name.startswith("copy.") and self.look_at(touched, 2, _COPYING):
            raise Harm("copies an object in its own way")
        if function.name in ("builtins.str.format", "builtins.str.format_map"):
            self._attributes_by_text(operands)
        elements: Values = set()
        for value in operands:
            elements |= self.next_of(value) if function.depth else self.keys(value)
        if written:
            self._fill(function, written, operands - written, elements, args)
        return self._give(function.returns, args, operands, elements, results, own)

    def _fill(
        self, function: Function, written: Values, operands: Values, elements: Values, args: Args
    ) -> None:
        """What a written object may hold afterwards."""
        name = function.name.rpartition(".")[2]
        if function.name.startswith(("builtins.dict.", "collections.")) and all(
            isinstance(value, Made) and value.kind is not None and issubclass(value.kind, dict)
            for value in written
        ):
            if name == "setdefault":
                self.store(written, args.behind(1) | {ATOM}, args.at(0))
            elif name in ("update", "subtract"):
                self.pour(written, args.at(0), pairs=True)
                self.store(written, args.behind(1), {ATOM})
                self.store(written, {NUMBER} if "Counter" in function.name else set())
            return
        deeper: Values = set()
        for value in operands | elements:
            deeper |= self.elements(value)
        # An unknown container may be a mapping.
        everything = operands | elements | deeper
        self.store(
            written, everything, everything if any(getattr(v, "kind", None) is None for v in written) else ()
        )

    def _give(
        self,
        words: frozenset[str],
        args: Args,
        operands: Values,
        elements: Values,
        results: Values,
        own: Value | None,
    ) -> Values:
        """What comes back, by the words of the catalogue."""
        found: Values = set()
        mine = set() if own is None else {own}
        if "number" in words:
            found.add(NUMBER)
        if "atom" in words:
            found |= {ATOM, *results}
        if "own" in words and own is not None:
            found |= {ATOM, *self.items(own), *results}
        if "element" in words:
            found |= elements | results
            if own is not None:
                found |= self.keys(own)
        if "same" in words:
            found |= operands | results
        if "rest" in words:
            found |= args.behind(1) & operands | results
        if "fresh" in words:
            made = self.made((self.site, "fresh"), None)
            self.store({made}, {ATOM, NUMBER, made}, {ATOM})
            found.add(made)
        if "copy" in words:
            made = self.made((self.site, "copy"), None)
            self.pour({made}, operands | mine)
            self.store({made}, elements | results)
            found.add(made)
        if "hold" in words:
            made = self.made((self.site, "hold"), None)
            self.store({made}, operands | results | {NUMBER})
            found.add(made)
        for word, part in (("keys", self.keys), ("values", self.items)):
            if word in words and own is not None:
                made = self.made((self.site, word), None)
                self.store({made}, part(own))
                found.add(made)
        if "item" in words and own is not None:
            made = self.made((self.site, "item"), tuple)
            self.store({made}, self.elements(own))
            found.add(made)
        if "table" in words:
            made = self.made((self.site, "table"), dict)
            self.store({made}, args.behind(1) | {ATOM}, elements)
            found.add(made)
        if "nest" in words:
            found.add(self._nest(elements | results | (self.elements(own) if own is not None else set())))
        return found

    def _nest(self, held: Values) -> Value:
        """Containers in a container, as zip, groupby and items give."""
        group = self.made((self.site, "group"), None)
        self.store({group}, held)
        inner = self.made((self.site, "inner"), tuple)
        self.store({inner}, held | {group, NUMBER})
        outer = self.made((self.site, "outer"), None)
        self.store({outer}, {inner})
        return outer

    def _attributes_by_text(self, values: Values) -> None:
        """``"{0.name}".format(x)`` looks at attributes: all getters may run."""
        for value in self.inside(values):
            for kind in self.classes_of(value):
                for owner in kind.__mro__:
                    if owner.__flags__ & HEAP_TYPE and any(
                        (hasattr(type(raw), "__get__") and not isinstance(raw, FunctionType))
                        or name == "__getattr__"
                        for name, raw in owner.__dict__.items()
                        if name not in ("__dict__", "__weakref__")
                        and not isinstance(raw, staticmethod | classmethod | MemberDescriptorType)
                    ):
                        raise Harm(f"formats a {kind.__qualname__}, whose attributes may be computed")
