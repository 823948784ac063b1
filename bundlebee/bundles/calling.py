"""Calls, in the analysis: what runs, with what, and what comes back."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from enum import EnumMeta
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from bundlebee.bundles.abstract import (
    ATOM,
    NUMBER,
    Bound,
    BuiltinMethod,
    Given,
    Inner,
    Live,
    Made,
    Super,
    Text,
    Value,
)
from bundlebee.bundles.catalogue import Function
from bundlebee.bundles.objects import C_METHODS, HEAP_TYPE, LRU, Harm, Heap

Values = set[Value]

#: Special methods that builtins call of what they are given. Those that write by their nature are called by operations only.
IMPLICIT = frozenset(
    f"__{name}__"
    for name in (
        "eq ne lt le gt ge hash bool len iter next reversed contains getitem missing str repr format bytes int float complex index "
        "round trunc floor ceil abs neg pos invert length_hint fspath copy deepcopy reduce reduce_ex getstate setstate instancecheck "
        "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor "
        "radd rsub rmul rmatmul rtruediv rfloordiv rmod rdivmod rpow rlshift rrshift rand ror rxor "
        "instancecheck subclasscheck sizeof"
    ).split()
)
_SHALLOW: dict[str, frozenset[str]] = {
    "builtins.len": frozenset({"__len__"}),
    "builtins.hash": frozenset({"__hash__"}),
    "builtins.next": frozenset({"__next__"}),
}
_ITERATE = frozenset({"__iter__", "__next__", "__getitem__", "__len__", "__length_hint__", "__reversed__"})
_TEXTS = frozenset({"__str__", "__repr__", "__format__", "__getitem__", "__index__", "__int__", "__float__"})
_WRITING = frozenset({"__setitem__", "__delitem__", "__setattr__", "__delattr__", "__init__", "__setstate__"})
_NEVER = frozenset(
    {"__getattribute__", "__reduce__", "__reduce_ex__", "__getstate__", "__subclasses__", "__init_subclass__", "__dir__", "__del__"}
)
_OTHERS = frozenset({"__new__", "__iadd__", "__imul__", "__ior__", "__iand__", "__isub__", "__ixor__"})
_GENERATED = frozenset({"__eq__", "__repr__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__"})


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
        if place < len(self.positional):
            return self.positional[place]
        return self.rest

    def shifted(self, receiver: Value) -> Args:
        """With the object of a method in front."""
        return Args([{receiver}, *self.positional], self.rest, self.named, self.double)

    def without_first(self) -> Args:
        if self.positional:
            return Args(self.positional[1:], self.rest, self.named, self.double)
        return self


class Calls(Heap):
    """Calls of functions, classes and builtins. `Flow` adds the functions that have facts."""

    prints = False
    site: Any = None  #: the operation that is being looked at: names what it makes

    def enter(self, function: FunctionType, args: Args, label: str) -> Values | None:
        """Call a function that has facts; None if it has none."""
        raise NotImplementedError

    def enter_inner(self, inner: Inner, args: Args) -> Values:
        """Call a nested function."""
        raise NotImplementedError

    # -- writing -----------------------------------------------------------------------------------------

    def write(self, values: Values, what: str = "writes") -> None:
        """The call writes these objects: only what it made itself may be written."""
        for value in values:
            if isinstance(value, Given):
                if value.cached:
                    raise Harm(f"{what} {value.name}")
                raise Harm(f"{what} its argument {value.name!r}")
            if isinstance(value, Live):
                raise Harm(f"{what} {value.name}")
            if isinstance(value, Super):
                self.write(value.receivers, what)
            elif isinstance(value, Bound | BuiltinMethod):
                raise Harm(f"{what} a method")

    def store(self, targets: Values, values: Values) -> None:
        """Objects that the call made take other values in."""
        for target in targets:
            if isinstance(target, Made):
                self.add(target.contents, values)

    # -- special methods ---------------------------------------------------------------------------------

    def special_calls(self, values: Values, names: frozenset[str], others: Values) -> Values:
        """Call those special methods of the instances among the values."""
        results: Values = set()
        for value in list(values):
            for kind in self.classes_of(value):
                for name in names:
                    raw = self.special(kind, name)
                    if raw is None:
                        continue
                    function = self.live(raw, f"{kind.__qualname__}.{name}")
                    if isinstance(raw, FunctionType | LRU):
                        results |= self.call(function, Args([{value}], rest=others))
                    else:
                        raise Harm(f"uses {kind.__qualname__}.{name}, a {type(raw).__qualname__}")
        return results

    def look_at(self, args: Args, depth: int, names: frozenset[str] = IMPLICIT) -> Values:
        """The special methods that a builtin may call of its arguments."""
        if depth == 0:
            return set()
        values = args.all()
        reach = self.inside(values) if depth == 2 else values
        if not any(self.classes_of(value) for value in reach):
            return set()
        return self.special_calls(reach, names, self.inside(reach))

    def next_of(self, value: Value) -> Values:
        """One of what iterating over a value gives."""
        found = set(self.elements(value))
        for kind in self.classes_of(value):
            iterate = self.special(kind, "__iter__")
            if iterate is None:
                if self.special(kind, "__getitem__") is not None:
                    found |= self.special_calls({value}, frozenset({"__getitem__"}), {NUMBER})
                continue
            for iterator in self.special_calls({value}, frozenset({"__iter__"}), set()):
                found |= self.elements(iterator)
                if list(self.classes_of(iterator)):
                    found |= self.special_calls({iterator}, frozenset({"__next__"}), set())
        return found

    # -- calls -------------------------------------------------------------------------------------------

    def call(self, value: Value, args: Args) -> Values:
        """Call a value; returns what may come back."""
        if isinstance(value, Live):
            return self._call_live(value, args)
        if isinstance(value, Bound):
            return self.call(value.function, args.shifted(value.receiver))
        if isinstance(value, BuiltinMethod):
            return self._call_method(value, args)
        if isinstance(value, Inner):
            return self.enter_inner(value, args)
        if isinstance(value, Given):
            if value.callables is None:
                what = value.name if value.cached else f"its argument {value.name!r}"
                raise Harm(f"calls {what}, whatever that may be")
            found: Values = set()
            for thing in value.callables:
                found |= self.call(self.live(thing, getattr(thing, "__qualname__", "?")), args)
            return found | self.special_calls({value}, frozenset({"__call__"}), args.all())
        if isinstance(value, Made):
            return self._call_made(value, args)
        return set()

    def _call_made(self, value: Made, args: Args) -> Values:
        if value.kind is functools.partial:
            return self._call_all(value.contents, args, value.contents)
        results: Values = set()
        for kind in self.classes_of(value):
            raw = self.special(kind, "__call__")
            if isinstance(raw, FunctionType):
                results |= self.call(self.live(raw, f"{kind.__qualname__}.__call__"), args.shifted(value))
            elif raw is not None:
                raise Harm(f"uses {kind.__qualname__}.__call__")
        # What itemgetter and cmp_to_key make: they look into their arguments.
        if value.kind is None and args.all():
            results |= self.look_at(args, 2)
            for part in args.all():
                results |= self.elements(part)
        return results

    def _call_all(self, functions: Values, args: Args, more: Values) -> Values:
        """Call what may be called among some values, with any of the arguments."""
        results: Values = set()
        pool = args.all() | more
        for function in list(functions):
            if not isinstance(function, Made) or function.kind is functools.partial:
                if function is not ATOM and function is not NUMBER:
                    results |= self.call(function, Args(rest=pool, named=args.named))
        return results

    def _call_live(self, value: Live, args: Args) -> Values:
        thing = value.object
        if isinstance(thing, FunctionType):
            found = self.enter(thing, args, value.name)
            if found is not None:
                return found
            key = (thing, frozenset(args.all()))
            if key in self._active:
                return {ATOM}
            self._active.add(key)
            try:
                generated = self._call_generated(thing, args)
            finally:
                self._active.discard(key)
            if generated is not None:
                return generated
            code = thing.__code__
            return self.call_known(str(thing.__globals__.get("__name__")), code.co_qualname, args, value.name)
        if isinstance(thing, type):
            return self.construct(thing, args, value.name)
        if isinstance(thing, LRU):
            return self._call_cached(value, thing, args)
        if isinstance(thing, BuiltinFunctionType):
            return self._call_builtin(value, thing, args)
        if isinstance(thing, MethodType):
            holder = type(thing.__self__)
            if holder.__module__ == "random":
                raise Harm("uses the global random generator")
            receiver = self.live(thing.__self__, value.name)
            return self.call(self.live(thing.__func__, value.name), args.shifted(receiver))
        if isinstance(thing, C_METHODS):
            return self._call_method(BuiltinMethod(thing.__name__, None, thing.__objclass__), args)
        if isinstance(thing, functools.partial):
            bound = [{self.live(item, f"{value.name}.args[…]")} for item in thing.args]
            named = {name: {self.live(item, f"{value.name}.{name}")} for name, item in thing.keywords.items()}
            everything = Args(bound + args.positional, args.rest, named | args.named, args.double)
            return self.call(self.live(thing.func, f"{value.name}.func"), everything)
        kind = type(thing)
        if kind.__module__ == "operator" and kind.__qualname__ == "itemgetter":
            found = self.look_at(args, 2)
            for part in args.all():
                found |= self.elements(part)
            made = self.made((self.site, "items"), tuple)
            self.store({made}, found)
            return found | {made}
        raw = self.special(kind, "__call__") if kind.__flags__ & HEAP_TYPE else None
        if isinstance(raw, FunctionType):
            return self.call(self.live(raw, f"{kind.__qualname__}.__call__"), args.shifted(value))
        raise Harm(f"calls {value.name}, a {kind.__module__}.{kind.__qualname__}")

    def _call_cached(self, value: Live, thing: Any, args: Args) -> Values:
        """A function with a cache: what comes back belongs to all its callers."""
        return self.shared(thing, self.call(self.live(thing.__wrapped__, value.name), args), value.name)

    def shared(self, key: Any, results: Values, name: str) -> Values:
        """Results that somebody keeps: they may be read, not written, and no copy will do for them."""
        inside = self.inside(results)
        if all(self._unwritable(part) for part in inside):
            return results
        mark = ("cached", key)
        if mark not in self._bound:
            self._bound[mark] = Given(f"what the cache of {name} holds", set(), None, cached=True)
        kept = self._bound[mark]
        assert isinstance(kept, Given)
        for part in inside:
            kinds = set(self.classes_of(part)) - kept.classes
            if kinds:
                kept.classes |= kinds
                self.version += 1
        return {kept, ATOM, NUMBER}

    def _unwritable(self, value: Value) -> bool:
        if value is ATOM or value is NUMBER or isinstance(value, Text):
            return True
        return isinstance(value, Made) and value.kind in (tuple, frozenset)

    def _call_generated(self, function: FunctionType, args: Args) -> Values | None:
        """Methods that dataclasses and namedtuple write by themselves."""
        code = function.__code__
        name = function.__name__
        receiver = args.at(0)
        if code.co_qualname.startswith(("__create_fn__.<locals>.", "_recursive_repr.", "recursive_repr.")) or (
            code.co_filename == "<string>" and name in _GENERATED
        ):
            if name not in _GENERATED:
                return None
            parts: Values = set()
            for value in args.all():
                parts.add(value)
                if isinstance(value, Made):
                    for held in value.attributes.values():
                        parts |= held
                elif isinstance(value, Live) and not isinstance(value.object, type):
                    for field_name in getattr(type(value.object), "__dataclass_fields__", ()):
                        parts |= self.attribute(value, field_name)[0]
            own = {part for part in parts if part not in args.all()}
            self.look_at(Args(rest=own), 2)
            return {ATOM, NUMBER}
        if code.co_filename.startswith("<string>") or str(function.__globals__.get("__name__")).startswith("namedtuple_"):
            return None
        if str(function.__globals__.get("__name__")) == "collections" and code.co_qualname.startswith("namedtuple.<locals>."):
            if name == "_asdict":
                made = self.made((self.site, name), dict)
                for value in receiver:
                    self.store({made}, self.elements(value))
                self.store({made}, {ATOM})
                return {made}
            if name in ("_make", "_replace"):
                results: Values = set()
                for value in receiver:
                    kinds = [value.object] if isinstance(value, Live) and isinstance(value.object, type) else self.classes_of(value)
                    for kind in kinds:
                        copy = self.made((self.site, name, kind), kind)
                        for part in args.all():
                            self.store({copy}, {part, *self.elements(part)} if part is not value else self.elements(part))
                        results.add(copy)
                return results
            if name in ("__repr__", "__getnewargs__"):
                self.look_at(args, 2, _TEXTS)
                return {ATOM}
        return None

    # -- the catalogue -----------------------------------------------------------------------------------

    def _call_builtin(self, value: Live, thing: BuiltinFunctionType, args: Args) -> Values:
        holder = thing.__self__
        module = thing.__module__
        if isinstance(holder, type):
            found = self.catalogue.function(module or holder.__module__, thing.__qualname__)
            if found is not None:
                return self.apply(found, args, value.name)
            return self._call_method(BuiltinMethod(thing.__name__, self.live(holder, holder.__qualname__), holder), args)
        if holder is not None and type(holder).__module__ in ("random", "_random"):
            raise Harm("uses the global random generator")
        if holder is not None and type(holder).__name__ != "module":
            return self._call_method(BuiltinMethod(thing.__name__, self.live(holder, value.name), type(holder)), args)
        name = thing.__qualname__
        if module == "builtins":
            special = getattr(self, f"b_{name}", None)
            if special is not None:
                result: Values = special(args)
                return result
        return self.call_known(module, name, args, value.name)

    def call_known(self, module: str | None, qualname: str, args: Args, label: str) -> Values:
        """Call what has no facts: the catalogue must know it."""
        function = self.catalogue.function(module, qualname)
        if function is None:
            shown = f"{module}.{qualname}" if module else label
            raise Harm(f"calls {shown}, of which nothing is known")
        return self.apply(function, args, label)

    def apply(self, function: Function, args: Args, label: str, own: Values | None = None) -> Values:
        """Do what the catalogue says of a function; ``own``: the object, of a method."""
        if function.unsafe is not None:
            raise Harm(f"{function.unsafe} ({function.name})")
        written: Values = set(own or ()) if function.writes_self else set()
        for place in function.writes:
            written |= args.at(place)
        if written:
            self.write(written)
        everything = args.all()
        called: Values = set()
        for where in function.calls:
            called |= args.at(where)
        operands = everything - called
        pool = self.inside(operands | (own or set()))
        results = self._call_all(called, Args(rest=pool), set()) if called else set()
        if function.name in _SHALLOW:
            results |= self.special_calls(everything, _SHALLOW[function.name], set())
        elif function.depth:
            results |= self.look_at(Args(rest=operands | (own or set())), function.depth)
        if function.name.endswith((".format", ".format_map")):
            self._properties(everything)
        nested = set()
        for value in operands:
            nested |= self.next_of(value) if function.depth else self.elements(value)
        if written:
            deeper = set()
            for value in nested:
                deeper |= self.elements(value)
            self.store(written, operands | nested | deeper | results)
        return self.give(function.returns, operands, nested, results, own or set())

    def give(self, words: frozenset[str], operands: Values, nested: Values, results: Values, own: Values) -> Values:
        """What comes back, by the words of the catalogue."""
        found: Values = set()
        held = set(nested)
        for value in own:
            held |= self.elements(value)
        if "number" in words:
            found.add(NUMBER)
            return found
        if "atom" in words:
            found.add(ATOM)
            found |= {part for part in results if part is not NUMBER}
        if "own" in words:
            for value in own:
                found |= self.elements(value)
            found.add(ATOM)
        if "element" in words:
            found |= held | results
        if "same" in words:
            found |= operands | results
        if "fresh" in words:
            made = self.made((self.site, "fresh"), None)
            self.store({made}, {ATOM, NUMBER, made})
            found.add(made)
        if "copy" in words:
            deeper = set()
            for value in held:
                if isinstance(value, Made | Given):
                    deeper |= self.elements(value)
            made = self.made((self.site, "copy"), None)
            self.store({made}, held | results | (deeper if "element" not in words else set()))
            found.add(made)
        if "nest" in words:
            outer = self.made((self.site, "nest"), None)
            inner = self.made((self.site, "inner"), tuple)
            group = self.made((self.site, "group"), None)
            self.store({group}, held)
            self.store({inner}, held | results | {group, NUMBER})
            self.store({outer}, {inner})
            found.add(outer)
        if "hold" in words:
            made = self.made((self.site, "hold"), None)
            self.store({made}, operands | results)
            found.add(made)
        return found

    def _properties(self, values: Values) -> None:
        """``"{0.name}".format(x)`` looks at attributes: all getters may run."""
        for value in self.inside(values):
            for kind in self.classes_of(value):
                for owner in kind.__mro__:
                    for name, raw in owner.__dict__.items():
                        if isinstance(raw, property) or name == "__getattr__":
                            raise Harm(f"formats a {kind.__qualname__}, whose attributes are computed")

    def _call_method(self, method: BuiltinMethod, args: Args) -> Values:
        """A method of a builtin or catalogued type."""
        name = method.name
        receiver = {method.receiver} if method.receiver is not None else set(args.at(0))
        if method.receiver is None:
            args = args.without_first()
        if name.startswith("__") and name.endswith("__"):
            return self._call_special(name, receiver, args, method.owner)
        results: Values = set()
        for value in receiver:
            entries = self._entries(value, name, method.owner)
            if entries is None:
                raise Harm(f"calls {name}() of a {getattr(method.owner, '__qualname__', '?')}, of which nothing is known")
            for entry in entries:
                results |= self.apply(entry, args, name, {value})
        return results

    def _entries(self, value: Value, name: str, owner: type | None) -> tuple[Function, ...] | None:
        """The catalogue's methods of that name that the value may have."""
        kind = owner
        if isinstance(value, Made) and value.kind is not None and not value.kind.__flags__ & HEAP_TYPE:
            kind = value.kind
        if kind is not None:
            entry = self.catalogue.type(kind)
            if entry is None and isinstance(value, Made):
                entry = next((found for base in kind.__mro__ if (found := self.catalogue.type(base)) is not None), None)
            if entry is None:
                return None
            method = entry.methods.get(name)
            if method is None and entry.name != "builtins.object":
                return () if owner is None else None
            return (method,) if method is not None else None
        return self.catalogue.methods(name)

    def _call_special(self, name: str, receiver: Values, args: Args, owner: type | None) -> Values:
        """``dict.__setitem__(d, k, v)``, ``super().__init__(…)``, ``[].__len__()``."""
        everything = args.all()
        entry = self.catalogue.type(owner) if owner is not None else None
        if entry is not None and name in entry.methods and entry.name != "builtins.object":
            results: Values = set()
            for value in receiver:
                results |= self.apply(entry.methods[name], args, name, {value})
            return results
        known = owner is None or entry is not None or issubclass(owner, BaseException)
        if not known or name not in IMPLICIT | _WRITING | _NEVER | _OTHERS:
            if owner is None:
                return set()
            raise Harm(f"calls {name}() of a {owner.__qualname__}, of which nothing is known")
        if name == "__new__":
            return self._allocate(receiver, args, owner)
        if name in _NEVER:
            raise Harm(f"calls {name}")
        if name in _WRITING or (name.startswith("__i") and name not in ("__iter__", "__index__", "__int__", "__invert__")):
            if name != "__init__" or owner is not object:
                self.write({value for value in receiver if value not in (ATOM, NUMBER)})
            nested: Values = set()
            for value in everything:
                nested |= self.elements(value)
                for part in self.elements(value):
                    nested |= self.elements(part)
            if name in ("__setattr__", "__delattr__"):
                self._store_attribute(receiver, args)
            self.store(receiver, everything | nested)
            return {ATOM, *receiver} if name.startswith("__i") and name != "__init__" else {ATOM}
        if name == "__next__":
            self.write(receiver)
        found: Values = {ATOM, NUMBER}
        for value in receiver:
            found |= self.elements(value)
        if owner is None or owner is object or not isinstance(owner, type):
            found |= self.look_at(Args(rest=everything | receiver), 1, frozenset({name}))
        self.look_at(Args(rest=everything), 2)
        made = self.made((self.site, name), None)
        self.store({made}, found | everything)
        return found | {made}

    def _store_attribute(self, receiver: Values, args: Args) -> None:
        names = args.at(0)
        for target in receiver:
            if isinstance(target, Made):
                for held in args.positional[1:]:
                    for name in names:
                        key = name.text if isinstance(name, Text) else None
                        if key is None:
                            raise Harm("writes an attribute by a name that is computed")
                        self.add(target.attributes.setdefault(key, set()), held)

    def _allocate(self, receiver: Values, args: Args, owner: type | None) -> Values:
        """``object.__new__(cls)``"""
        found: Values = set()
        for value in receiver if not args.positional else receiver | args.positional[0]:
            if isinstance(value, Live) and isinstance(value.object, type):
                kind = value.object
                if self.catalogue.type(kind) is not None and not kind.__flags__ & HEAP_TYPE:
                    found |= self.construct(kind, args.without_first(), kind.__qualname__)
                    continue
                made = self.made((self.site, "new", kind), kind)
                if owner is not object:
                    for part in args.all() - {value}:
                        self.store({made}, {part, *self.elements(part)})
                found.add(made)
            elif not isinstance(value, Live):
                raise Harm("makes an object of a class that is computed")
        return found

    # -- classes -----------------------------------------------------------------------------------------

    def construct(self, kind: type, args: Args, label: str) -> Values:
        """Call a class."""
        module = kind.__module__
        if module == "builtins":
            special = getattr(self, f"b_{kind.__qualname__}", None)
            if special is not None:
                result: Values = special(args)
                return result
        function = self.catalogue.function(module, kind.__qualname__)
        if function is not None and not (kind.__flags__ & HEAP_TYPE and self.has_facts(kind)):
            made = self.apply(function, args, label)
            if function.name == "functools.partial":
                for value in made:
                    if isinstance(value, Made):
                        value.kind = functools.partial
                        self.store({value}, args.all())
            return made
        entry = self.catalogue.type(kind)
        if entry is not None:
            return self._construct_known(kind, args, label)
        if isinstance(kind, EnumMeta):
            self.read_class(kind)
            self.look_at(args, 2)
            if self.special(kind, "_missing_") is not None and not kind.__module__ == "enum":
                raw = self.special(kind, "_missing_")
                if getattr(raw, "__func__", None) is not None and raw.__func__.__module__ != "enum":
                    raise Harm(f"calls {kind.__qualname__}._missing_")
            return {self.live(member, kind.__qualname__) for member in kind.__members__.values()}
        if isinstance(kind, type) and issubclass(kind, BaseException) and not kind.__flags__ & HEAP_TYPE:
            made_error = self.made((self.site, kind), kind)
            self.store({made_error}, args.all())
            return {made_error}
        if not kind.__flags__ & HEAP_TYPE:
            raise Harm(f"makes a {module}.{kind.__qualname__}, of which nothing is known")
        return self._construct_bundle(kind, args)

    def has_facts(self, kind: type) -> bool:
        """Whether the class comes from a module that was analysed."""
        raise NotImplementedError

    def _construct_known(self, kind: type, args: Args, label: str) -> Values:
        entry = self.catalogue.type(kind)
        assert entry is not None
        if entry.seeded and not args.positional and not args.named and not args.rest:
            raise Harm(f"reads the system's randomness ({entry.name} without a seed)")
        found = self.apply(entry.create, args, label)
        if kind is list or kind is tuple:
            pass
        typed: Values = set()
        for value in found:
            if isinstance(value, Made) and entry.create.returns <= {"copy", "fresh", "hold"} and value.kind is None:
                value.kind = kind
            typed.add(value)
        if kind is frozenset or kind is tuple:
            # An exact tuple or frozenset comes back as it is.
            typed |= {value for value in args.all() if isinstance(value, Given)}
        return typed

    def _construct_bundle(self, kind: type, args: Args) -> Values:
        name = kind.__qualname__
        if not self.has_facts(kind) and not issubclass(kind, BaseException):
            raise Harm(f"makes a {kind.__module__}.{name}, of which nothing is known")
        if type(kind).__module__ not in ("builtins", "abc"):
            raise Harm(f"makes a {name}, whose metaclass is {type(kind).__qualname__}")
        self.read_class(kind)
        if self.special(kind, "__del__") is not None:
            raise Harm(f"makes a {name}, which has a __del__")
        instances: Values = set()
        new = self.lookup(kind, "__new__")
        if new is not None and new[0].__flags__ & HEAP_TYPE and not _is_generic(new[0]):
            raw = new[1].__func__ if isinstance(new[1], staticmethod) else new[1]
            if issubclass(kind, tuple) and "_make" in new[0].__dict__ and "_fields" in new[0].__dict__:
                made = self.made((self.site, kind), kind)
                self.store({made}, args.all())
                instances.add(made)
            elif isinstance(raw, FunctionType):
                instances |= self.call(self.live(raw, f"{name}.__new__"), args.shifted(self.live(kind, name)))
            else:
                raise Harm(f"uses {name}.__new__")
        else:
            made = self.made((self.site, kind), kind)
            instances.add(made)
            base = next(base for base in kind.__mro__ if not base.__flags__ & HEAP_TYPE)
            if base is not object:
                for value in args.all():
                    self.store({made}, {value})
                    for part in self.elements(value):
                        self.store({made}, {part, *self.elements(part)})
        found = self.lookup(kind, "__init__")
        if found is not None and found[0].__flags__ & HEAP_TYPE:
            self._initialise(kind, found[0], found[1], instances, args)
        return instances

    def _initialise(self, kind: type, owner: type, raw: Any, instances: Values, args: Args) -> None:
        for instance in list(instances):
            if not isinstance(instance, Made) or instance.kind is None or not issubclass(instance.kind, owner):
                continue
            fields = owner.__dict__.get("__dataclass_fields__")
            if fields is not None and isinstance(raw, FunctionType) and raw.__code__.co_qualname.startswith("__create_fn__."):
                self._fill_fields(kind, fields, instance, args)
            elif fields is not None and isinstance(raw, FunctionType) and raw.__code__.co_filename == "<string>":
                self._fill_fields(kind, fields, instance, args)
            elif isinstance(raw, FunctionType):
                self.call(self.live(raw, f"{kind.__qualname__}.__init__"), args.shifted(instance))
            else:
                raise Harm(f"uses {kind.__qualname__}.__init__")

    def _fill_fields(self, kind: type, fields: dict[str, Any], instance: Made, args: Args) -> None:
        """The ``__init__`` that a dataclass writes by itself."""
        import dataclasses

        everything: Values = set()
        names = [name for name, item in fields.items() if item.init and not item.kw_only]
        for name, item in fields.items():
            values: Values = set(args.named.get(name, ())) | args.double | args.rest
            if name in names and names.index(name) < len(args.positional):
                values |= args.positional[names.index(name)]
            if item.default is not dataclasses.MISSING:
                values.add(self.live(item.default, f"{kind.__qualname__}.{name}"))
            if item.default_factory is not dataclasses.MISSING:
                factory = self.live(item.default_factory, f"{kind.__qualname__}.{name}")
                site = self.site
                self.site = (site, name)
                values |= self.call(factory, Args())
                self.site = site
            everything |= values
            self.add(instance.attributes.setdefault(name, set()), values)
            if self.special(kind, name) is not None and hasattr(type(self.special(kind, name)), "__set__"):
                if not type(self.special(kind, name)).__module__ == "builtins":
                    raise Harm(f"uses {kind.__qualname__}.{name}, which has a setter")
        after = self.lookup(kind, "__post_init__")
        if after is not None and isinstance(after[1], FunctionType):
            self.call(self.live(after[1], f"{kind.__qualname__}.__post_init__"), Args([{instance}], rest=everything))

    # -- builtins that need more than a line of the catalogue -----------------------------------------------

    def b_print(self, args: Args) -> Values:
        if "file" in args.named or args.double:
            raise Harm("prints to something of its own choice")
        self.prints = True
        self.look_at(args, 2, _TEXTS)
        return {ATOM}

    def b_str(self, args: Args) -> Values:
        self.look_at(args, 2, _TEXTS)
        return {ATOM}

    b_repr = b_ascii = b_format = b_str

    def b_int(self, args: Args) -> Values:
        self.look_at(args, 1)
        return {NUMBER}

    b_float = b_complex = b_int

    def b_bool(self, args: Args) -> Values:
        self.look_at(args, 1, frozenset({"__bool__", "__len__"}))
        return {NUMBER}

    def b_range(self, args: Args) -> Values:
        self.look_at(args, 1, frozenset({"__index__"}))
        made = self.made((self.site, "range"), range)
        self.store({made}, {NUMBER})
        return {made}

    def b_list(self, args: Args) -> Values:
        found = self.made((self.site, "list"), list)
        for value in args.all():
            self.store({found}, self.next_of(value))
        return {found}

    def b_iter(self, args: Args) -> Values:
        if len(args.positional) > 1 or args.rest:
            return self.apply(self._builtin("iter"), args, "iter")
        made = self.made((self.site, "iter"), None)
        results: Values = {made}
        for value in args.all():
            # An iterator gives itself.
            if isinstance(value, Made) and (value.kind is None or value.kind.__flags__ & HEAP_TYPE):
                results.add(value)
            results |= self.special_calls({value}, frozenset({"__iter__"}), set())
            self.store({made}, self.next_of(value))
        return results

    def b_next(self, args: Args) -> Values:
        found: Values = set()
        for value in args.at(0):
            if list(self.classes_of(value)):
                found |= self.special_calls({value}, frozenset({"__next__"}), set())
                if isinstance(value, Live):
                    continue
            self.write({value})
            found |= self.elements(value)
        for values in args.positional[1:]:
            found |= values
        return found

    def _builtin(self, name: str) -> Function:
        function = self.catalogue.function("builtins", name)
        assert function is not None
        return function

    def b_type(self, args: Args) -> Values:
        if len(args.positional) != 1 or args.rest or args.named:
            raise Harm("makes a class at run time")
        found: Values = set()
        for value in args.positional[0]:
            found |= self.class_of(value)
        return found

    def b_isinstance(self, args: Args) -> Values:
        for value in self.inside(args.at(1)):
            if isinstance(value, Live) and isinstance(value.object, type):
                meta = type(value.object)
                if meta.__module__ not in ("builtins", "abc", "enum", "typing") and any(
                    name in owner.__dict__
                    for owner in meta.__mro__
                    if owner is not type
                    for name in ("__instancecheck__", "__subclasscheck__")
                ):
                    raise Harm(f"asks the metaclass of {value.name}")
                hook = self.lookup(value.object, "__subclasshook__")
                if hook is not None and hook[0].__flags__ & HEAP_TYPE and self.has_facts(hook[0]):
                    raise Harm(f"asks {value.name}.__subclasshook__")
        for value in args.at(0):
            self.attribute_now(value, "__class__")
        return {NUMBER}

    b_issubclass = b_isinstance

    def attribute_now(self, value: Value, name: str) -> Values:
        """An attribute, its getters run."""
        found, getters = self.attribute(value, name)
        for function, receiver in getters:
            extra = [{ATOM}] if isinstance(function, Live) and function.name.endswith("__getattr__") else []
            results = self.call(function, Args([{receiver}, *extra]))
            if self.keeps(function):
                if isinstance(receiver, Made):
                    self.add(receiver.attributes.setdefault(name, set()), results)
                else:
                    results = self.shared((function, receiver), results, name)
            found = found | results
        return found

    def b_getattr(self, args: Args) -> Values:
        found: Values = set()
        for values in args.positional[2:]:
            found |= values
        if args.rest or len(args.positional) < 2:
            raise Harm("looks at an attribute whose name is computed")
        for name in args.positional[1]:
            if not isinstance(name, Text):
                raise Harm("looks at an attribute whose name is computed")
            for value in args.positional[0]:
                found |= self.attribute_now(value, name.text)
        return found

    def b_hasattr(self, args: Args) -> Values:
        self.b_getattr(args)
        return {NUMBER}

    def b_setattr(self, args: Args) -> Values:
        for values in args.positional[1:2]:
            for name in values:
                if not isinstance(name, Text):
                    raise Harm("writes an attribute whose name is computed")
                self.set_attribute(args.positional[0], name.text, args.at(2))
                return {ATOM}
        raise Harm("writes an attribute whose name is computed")

    def b_delattr(self, args: Args) -> Values:
        self.write(args.at(0))
        raise Harm("deletes an attribute whose name is computed")

    def b_super(self, args: Args) -> Values:
        found: Values = set()
        if len(args.positional) != 2:
            raise Harm("uses super() in an unusual way")
        for kind in args.positional[0]:
            if not (isinstance(kind, Live) and isinstance(kind.object, type)):
                raise Harm("uses super() in an unusual way")
            found.add(self.super_of(kind.object, args.positional[1]))
        return found

    def super_of(self, kind: type, receivers: Values) -> Value:
        key = ("super", kind, self.site)
        if key not in self._bound:
            self._bound[key] = Super(kind, set())
        value = self._bound[key]
        assert isinstance(value, Super)
        self.add(value.receivers, receivers)
        return value

    def set_attribute(self, targets: Values, name: str, values: Values) -> None:
        """``target.name = value``"""
        if name.startswith("__") and name.endswith("__"):
            raise Harm(f"writes {name}")
        for target in targets:
            for kind in self.classes_of(target):
                setter = self.special(kind, "__setattr__")
                if setter is not None and not _is_frozen_setter(setter):
                    self.call(self.live(setter, f"{kind.__qualname__}.__setattr__"), Args([{target}, {Text(name)}, values]))
                    continue
                found = self.lookup(kind, name)
                raw = found[1] if found is not None else None
                if isinstance(raw, property):
                    if raw.fset is not None:
                        self.call(self.live(raw.fset, f"{kind.__qualname__}.{name}"), Args([{target}, values]))
                    continue
                if hasattr(type(raw), "__set__") and type(raw).__module__ != "builtins":
                    raise Harm(f"uses {kind.__qualname__}.{name}, which has a setter")
                self._put(target, name, values)
            if not list(self.classes_of(target)) or isinstance(target, Given):
                self._put(target, name, values)

    def _put(self, target: Value, name: str, values: Values) -> None:
        if isinstance(target, Live) and isinstance(target.object, type):
            raise Harm(f"writes class attribute {target.name}.{name}")
        if isinstance(target, Live):
            raise Harm(f"writes {target.name}.{name}")
        if isinstance(target, Given):
            if target.cached:
                raise Harm(f"writes {target.name}")
            raise Harm(f"writes {target.name}.{name}, an attribute of its argument")
        self.write({target})
        if isinstance(target, Made | Inner):
            self.add(target.attributes.setdefault(name, set()), values)


def _is_frozen_setter(setter: Any) -> bool:
    """The ``__setattr__`` of a frozen dataclass, which only ever refuses."""
    code = getattr(setter, "__code__", None)
    return code is not None and (code.co_qualname.startswith("__create_fn__.") or code.co_filename == "<string>")


def _is_generic(owner: type) -> bool:
    return owner.__module__ == "typing" and owner.__qualname__ in ("Generic", "Protocol")
