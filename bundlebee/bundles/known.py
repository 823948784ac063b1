"""Builtins and the standard library, in the analysis: what the catalogue says of a function, done to the values."""

from __future__ import annotations

from datetime import tzinfo
from types import FunctionType, MemberDescriptorType

from bundlebee.bundles.abstract import ATOM, NUMBER, Given, Made, Value
from bundlebee.bundles.arrays import Arrays
from bundlebee.bundles.catalogue import Function
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.specials import IMPLICIT, KEYS, MAPPING, SILENT, Args

#: What `copy` may call of an instance: of any, of one that is a dict, a list
_COPYING = (
    *("__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"),
    *("__new__", "__getnewargs__", "__getnewargs_ex__", "__setattr__", "__getattr__", "__getattribute__"),
)
_REDUCING = ("__reduce__", "__reduce_ex__")
_COPYING_DICT = ("items", "__setitem__")
_COPYING_LIST = ("__iter__", "append", "extend")
#: What functions written in Python call of an object that they write
_BY_WRITERS = frozenset({"__setitem__", "__delitem__", "insert", "append", "pop"})
#: Functions whose results do not depend on the order of a set
_ORDERLESS = frozenset(
    (
        "builtins.len",
        "builtins.isinstance",
        "builtins.set.isdisjoint",
        "builtins.set.issubset",
        "builtins.set.issuperset",
        "builtins.frozenset.isdisjoint",
        "builtins.frozenset.issubset",
        "builtins.frozenset.issuperset",
        "builtins.callable",
        "builtins.dict.get",
        "builtins.list.append",
        "builtins.set.add",
        "builtins.dict.setdefault",
        "builtins.hash",
    )
)
#: modules whose functions make no text of what they are given, and those of them that do: some for the message of an error
_SILENT = ("builtins.", "itertools.", "operator.", "heapq.", "bisect.", "collections.", "math.")
_TELLING = frozenset(
    (
        "format",
        "format_map",
        "index",
        "repr",
        "ascii",
        "str",
        "print",
        "join",
        "remove",
        "__repr__",
        "__str__",
        "__format__",
    )
)
_EMPTYING = frozenset(("extend", "extendleft", "update"))
#: Modules whose functions call special methods only. One written in Python calls other methods of what it is given, too: as
#: `html.escape` calls ``replace`` of a text, which a class that extends `str` may have in its own way.
_BY_PROTOCOL = (
    *(
        "builtins.",
        "itertools.",
        "operator.",
        "math.",
        "cmath.",
        "heapq.",
        "bisect.",
        "functools.",
        "struct.",
        "zlib.",
    ),
    *(
        "binascii.",
        "unicodedata.",
        "collections.",
        "enum.",
        "typing.",
        "random.",
        "copy.",
        "numpy.",
        "array.",
        "datetime.",
    ),
)
#: names of methods that library code calls of texts, numbers and containers
_METHODS = frozenset(
    name
    for kind in (str, bytes, bytearray, int, float, complex, list, tuple, dict, set, frozenset)
    for name in dir(kind)
    if not name.startswith("_")
) | {"as_integer_ratio", "numerator", "denominator"}
#: what looks one key up in a mapping, and touches nothing but keys
_LOOKING_UP = frozenset(
    f"{kind}.{name}"
    for kind in ("builtins.dict", "collections.OrderedDict", "collections.defaultdict", "collections.Counter")
    for name in ("get", "pop", "setdefault", "__getitem__", "__contains__")
)
_ONLY = {
    "builtins.len": frozenset({"__len__"}),
    "builtins.hash": frozenset({"__hash__"}),
    "builtins.next": frozenset({"__next__"}),
    **dict.fromkeys(
        (
            "builtins.list.insert",
            "builtins.bytearray.insert",
            "collections.deque.insert",
            "collections.deque.rotate",
            "itertools.repeat",
        ),
        frozenset({"__index__"}),
    ),
}
_TRUTH = frozenset({"__bool__", "__len__"})


def _makes_no_text(function: Function) -> bool:
    return function.name.startswith(_SILENT) and function.name.rpartition(".")[2] not in _TELLING


class Known(Arrays):
    """Does what the catalogue says."""

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
        if function.name.startswith("datetime."):
            self._check_zones(touched)
        results: Values = set()
        if called:
            pool = self.inside(touched) | {ATOM, NUMBER}
            if "fresh" in function.returns:
                pool = pool | self._fresh_data()
            for _ in range(2):  # what it returns may be passed to it again, as reduce does
                results |= self.call_any(called, pool | results)
        if function.name in _LOOKING_UP and own is not None:
            keys = self.inside(self.looked_up(own) | args.at(0))
            self.special_calls(keys, KEYS, keys)
        elif function.name in _ONLY:
            asked = self.inside(operands) if function.name == "builtins.hash" else operands
            results |= self.special_calls(asked, _ONLY[function.name], set())
        else:
            results |= self.look_at(touched, function.depth, SILENT if _makes_no_text(function) else IMPLICIT)
        if function.name == "builtins.filter":
            self.special_calls(self.inside(operands), _TRUTH, set())
        if function.name == "builtins.reversed":
            results |= self.special_calls(operands, frozenset({"__reversed__"}), set())
        if function.writes:
            results |= self.special_calls(written, _BY_WRITERS, self.inside(touched) | {ATOM, NUMBER})
        if function.name.startswith(("builtins.dict", "collections.")):
            results |= self.special_calls(operands, MAPPING, self.inside(operands) | {ATOM, NUMBER})
        if function.name.startswith("copy."):
            self._check_copies(function, touched)
        elif not function.name.startswith(_BY_PROTOCOL):
            self._call_methods(touched)
        if function.name in ("builtins.str.format", "builtins.str.format_map"):
            self._attributes_by_text(operands)
        elements: Values = set()
        for value in operands:
            elements |= (
                self.next_of(value)
                if function.depth and function.name not in _ORDERLESS
                else self.keys(value)
            )
        self.spent += (len(elements) + len(operands)) >> 3
        if self.fragile and function.name not in _ORDERLESS:
            self.no_order(self.inside(touched))
        if written:
            self._fill(function, written, operands - written, elements, args)
        return self._give(function.returns, args, operands, elements, results, own)

    def _call_methods(self, values: Values) -> None:
        """A function of the library that is written in Python may call such methods of whatever it was given."""
        reach = self.inside(values)
        if not self.any_instances(reach):
            return
        others = reach | {ATOM, NUMBER}
        for value in list(reach):
            for kind in self.classes_of(value):
                names = _METHODS & self.own_names(kind)
                if names:
                    self.special_calls({value}, names, others)

    def _check_copies(self, function: Function, values: Values) -> None:
        """An instance may have a way of its own to be copied. A deep copy copies whatever its attributes hold, too."""
        for value in self.inside(values):
            for kind in self.classes_of(value):
                if function.name == "copy.deepcopy":
                    raise Harm(f"copies all that a {kind.__qualname__} holds")
                # other builtins than these are copied by calling their class
                plain = all(getattr(kind, name) is getattr(object, name) for name in _REDUCING)
                names = (
                    _COPYING + _COPYING_DICT * issubclass(kind, dict) + _COPYING_LIST * issubclass(kind, list)
                )
                if not plain or any(self.special(kind, name) is not None for name in names):
                    raise Harm(f"copies a {kind.__qualname__} in its own way")

    def _check_zones(self, values: Values) -> None:
        """A date with a time zone of the program's own runs that one's methods wherever it is used, and gives it out."""
        for value in self.inside(values):
            for kind in self.classes_of(value):
                if issubclass(kind, tzinfo):
                    raise Harm(f"makes a date in a {kind.__qualname__}")

    def _fill(
        self, function: Function, written: Values, operands: Values, elements: Values, args: Args
    ) -> None:
        """What a written object may hold afterwards."""
        name = function.name.rpartition(".")[2]
        if function.name.startswith(("builtins.dict.", "collections.")) and all(
            isinstance(value, Made | Given) and value.kind is not None and issubclass(value.kind, dict)
            for value in written
        ):
            if name == "setdefault":
                self.store(written, args.behind(1) | {ATOM}, args.at(0))
            elif name in ("update", "subtract"):
                self.pour(written, args.at(0), pairs=True)
                self.store(written, args.behind(1), {ATOM})
                self.store(written, {NUMBER} if "Counter" in function.name else set())
            return
        parts = operands | elements
        self.spent += len(parts) >> 3
        deeper: Values = set().union(*map(self.elements, parts))
        if name in _EMPTYING:  # what these are given goes in element by element
            operands = set()
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
            found |= self._fresh_data()
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

    def _fresh_data(self) -> Values:
        """A new container of data, or of such containers."""
        made = self.made((self.site, "fresh"), None)
        self.store({made}, {ATOM, NUMBER, made}, {ATOM})
        return {made}

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
                    if by_python(owner) and any(
                        (hasattr(type(raw), "__get__") and not isinstance(raw, FunctionType))
                        or name == "__getattr__"
                        for name, raw in owner.__dict__.items()
                        if name not in ("__dict__", "__weakref__")
                        and not isinstance(raw, staticmethod | classmethod | MemberDescriptorType)
                    ):
                        raise Harm(f"formats a {kind.__qualname__}, whose attributes may be computed")
