"""Calls, in the analysis: what runs, with what, and what comes back."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
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
    Value,
)
from bundlebee.bundles.compiled import Compiled, Mapping, compiled, parameters
from bundlebee.bundles.descriptors import C_METHODS, LRU
from bundlebee.bundles.entering import Entering
from bundlebee.bundles.facts import ModuleFacts
from bundlebee.bundles.generated import is_written
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.observed import own_attribute
from bundlebee.bundles.settable import settable
from bundlebee.bundles.specials import IMPLICIT, INDEXING, Args

_OPERATOR_NAMES = {"or_": "or", "and_": "and", "concat": "add"}
_OPERATORS = frozenset(
    (
        "add",
        "sub",
        "mul",
        "matmul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "lshift",
        "rshift",
        "or",
        "and",
        "xor",
    )
)


class Calls(Entering):
    """Calls of anything."""

    def __init__(self, given: Given, facts_of: Callable[[str], ModuleFacts | None]) -> None:
        super().__init__(given, facts_of)
        self._pools = {}
        self._due = {}
        self._looked = set()
        self._methods_of = {}
        self._entered = {}

    def call(self, value: Value, args: Args) -> Values:
        if isinstance(value, Live):
            return self._call_live(value, args)
        if isinstance(value, Bound):
            return self.call(value.function, args.shifted(value.receiver))
        if isinstance(value, BuiltinMethod):
            return self.call_method(value, args)
        if isinstance(value, Inner):
            return self.enter_inner(value, args)
        if isinstance(value, Given):
            return self._call_given(value, args)
        if isinstance(value, Made):
            return self._call_made(value, args)
        return set()  # data is not called

    def _call_given(self, value: Given, args: Args) -> Values:
        if value.kind is not None:
            return set()
        if value.callables is None:
            raise Harm(
                f"calls {value.name if value.cached else f'its argument {value.name!r}'}, whatever that may be"
            )
        found = self.special_calls({value}, frozenset({"__call__"}), args.all())
        for thing in value.callables:
            found |= self.call(self.live(thing, getattr(thing, "__qualname__", "?")), args)
        return found

    def _call_made(self, value: Made, args: Args) -> Values:
        if value.kind is functools.partial:
            functions = {
                part
                for part in value.contents
                if not isinstance(part, Made) or part.kind is functools.partial
            }
            return self.call_any(functions, args.all() | value.contents)
        results = self._call_instance(value, args)
        if value.kind is None:  # what itemgetter makes looks into its arguments
            results |= self._look_into(args)
            self.special_calls(self.inside({value}) - {value}, INDEXING, {ATOM})
        return results

    def _call_instance(self, value: Value, args: Args) -> Values:
        results: Values = set()
        for kind in self.classes_of(value):
            raw = self.special(kind, "__call__")
            if isinstance(raw, FunctionType):
                label = f"{kind.__qualname__}.__call__"
                known = (
                    self.enter(raw, args.shifted(value), label, value) if isinstance(value, Live) else None
                )
                if known is None:
                    known = self.call(self.live(raw, label), args.shifted(value))
                results |= known
            elif raw is not None:
                raise Harm(f"uses {kind.__qualname__}.__call__")
        return results

    def _look_into(self, args: Args) -> Values:
        """What an itemgetter does."""
        found = self.look_at(args.all(), 2)
        for part in args.all():
            found |= self.items(part)
        made = self.made((self.site, "items"), tuple)
        self.store({made}, found)
        return found | {made}

    def _call_live(self, value: Live, args: Args) -> Values:
        thing = value.object
        if self.numpy is not None:
            if (entry := self.numpy.function(thing)) is not None:
                return self.apply_numpy(entry, args)
            if type(getattr(thing, "__self__", None)) in self.numpy.generators:
                raise Harm(f"uses the global random generator of NumPy ({value.name})")
        if isinstance(thing, FunctionType):
            if (made_of := compiled(thing)) is not None:
                return self._call_compiled(thing, made_of, args, value.name)
            found = self.enter(thing, args, value.name)
            return self._call_foreign(thing, args, value.name) if found is None else found
        if isinstance(thing, type):
            return self.construct(thing, args)
        if isinstance(thing, LRU):
            self.check_cache(thing, args, value.name)
            # What comes back belongs to all its callers.
            return self.shared(thing, self.call(self.live(thing.__wrapped__, value.name), args), value.name)
        if isinstance(thing, BuiltinFunctionType):
            return self._call_builtin(value, thing, args)
        if isinstance(thing, MethodType):
            if type(thing.__self__).__module__ == "random":
                raise Harm(f"uses the global random generator (random.{thing.__name__})")
            receiver = self.live(thing.__self__, value.name)
            return self.call(self.live(thing.__func__, value.name), args.shifted(receiver))
        if isinstance(thing, C_METHODS):
            return self.call_method(BuiltinMethod(thing.__name__, None, thing.__objclass__), args)
        if isinstance(thing, functools.partial):
            bound = [{self.live(item, f"{value.name}.args[…]")} for item in thing.args]
            named = {name: {self.live(item, f"{value.name}.{name}")} for name, item in thing.keywords.items()}
            everything = Args(bound + args.positional, args.rest, named | args.named, args.double)
            return self.call(self.live(thing.func, f"{value.name}.func"), everything)
        kind = type(thing)
        if (kind.__module__, kind.__qualname__) == ("operator", "itemgetter"):
            return self._look_into(args)
        if self.lookup(kind, "__call__") is None:
            return set()  # a TypeError
        if not self.classes_of(value) or self.special(kind, "__call__") is None:
            raise Harm(f"calls {value.name}, a {kind.__module__}.{kind.__qualname__}")
        return self._call_instance(value, args)

    def _call_compiled(self, function: FunctionType, made_of: Compiled, args: Args, label: str) -> Values:
        """A function that passes arguments through others before it calls the one below."""
        self.observe("attribute", function, "__wrapped__", function.__dict__["__wrapped__"])
        for layer in reversed(made_of.layers):  # in the order of the code that it would compile
            for name in ("_func", "_args", "_finally"):
                self.observe("own", layer.maker, name, own_attribute(layer.maker, name))
            for argument in layer.arguments:
                args = self._mapped(layer, argument, made_of.below, args)
        return self.call(self.live(made_of.below, label), args)

    def _mapped(self, layer: Mapping, argument: Any, below: Any, args: Args) -> Args:
        function = self.live(layer.function, getattr(layer.function, "__qualname__", "?"))
        known = parameters(below)
        if known is None or not isinstance(argument, int | str):
            place, name = None, None
        elif isinstance(argument, int):
            place, name = argument, known[0][argument] if 0 <= argument < len(known[0]) else None
        else:
            name, place = argument, known[0].index(argument) if argument in known[0] else None
        if name is None:  # any of them may be meant
            results = self._through(layer, function, args.all() | {ATOM})
            return Args(
                [values | results for values in args.positional],
                args.rest | results,
                {key: values | results for key, values in args.named.items()},
                args.double | results,
            )
        positional, named = list(args.positional), dict(args.named)
        if place is not None and place < len(positional):
            positional[place] = self._through(layer, function, positional[place])
        else:
            values = named.get(name, set()) | args.rest | args.double
            assert known is not None
            if name in known[1]:
                values = values | {self.live(known[1][name], f"the default of {name!r}")}
            named[name] = self._through(layer, function, values)
        return Args(positional, args.rest, named, args.double)

    def _through(self, layer: Mapping, function: Value, values: Values) -> Values:
        found = self.call(function, Args([values]))
        if layer.closes:
            found = set().union(*(self.next_of(value) for value in list(found)))
            self.call_any(found - {ATOM, NUMBER}, set())
        return found

    # -- what has no facts ---------------------------------------------------------------------------------

    def _call_foreign(self, function: FunctionType, args: Args, label: str) -> Values:
        """A Python function without facts: written by a dataclass, or known to the catalogue."""
        found = self.call_generated(function, args) if function.__name__ not in IMPLICIT else None
        if found is not None:
            return found
        module = str(function.__globals__.get("__name__"))
        qualname = function.__code__.co_qualname  # not __qualname__: functools.wraps copies that
        if not (
            is_written(function)
            or self._is_builtin(module, qualname)
            or self.catalogue.function(module, qualname) is not None
        ):
            found = self.enter_library(function, args, label)
            if found is not None:
                return found
        if module.partition(".")[0] in sys.stdlib_module_names:
            self.reads |= settable(function)
        if function.__name__ not in IMPLICIT:
            return self._call_known(module, qualname, args, label)
        return self._call_implicit(function, args, label)

    def _call_implicit(self, function: FunctionType, args: Args, label: str) -> Values:
        """It may come back to itself through what it looks at: it is looked at once for all its arguments, after whoever called it."""
        pool, results, when = self._pools.setdefault(function, (set(), {ATOM}, -1))
        arguments = args.all()
        if not arguments <= pool:
            pool |= arguments
            self._pools[function] = pool, results, -1
        elif when == self.version or function in self._looked:
            return results
        self._due[function] = label
        if not self._looked:
            self._look_at_due()
        return results

    def _look_at_due(self) -> None:
        """One after the other, and again with new arguments; what else comes to light about one waits for the next round."""
        try:
            while self._due:
                function, label = self._due.popitem()
                self._looked.add(function)
                pool, results, _ = self._pools[function]
                self._pools[function] = pool, results, self.version
                everything = Args([set(pool), set(pool)], rest=set(pool))
                try:
                    found = self.call_generated(function, everything)
                    if found is None:
                        module = str(function.__globals__.get("__name__"))
                        found = self._call_known(module, function.__code__.co_qualname, everything, label)
                except Harm:
                    self._pools[function] = pool, results, -1  # whoever asks next shall hear of it, too
                    raise
                self.add(results, found)
        finally:
            self._due.clear()
            self._looked.clear()

    def _is_builtin(self, module: str, qualname: str) -> bool:
        """Whether `_call_known` has an answer of its own for it."""
        return (module == "functools" and qualname == "cmp_to_key") or module == "operator"

    def _call_builtin(self, value: Live, thing: BuiltinFunctionType, args: Args) -> Values:
        holder, name = thing.__self__, thing.__qualname__
        if isinstance(holder, type):
            found = self.catalogue.function(holder.__module__, name)
            if found is not None:
                return self.apply(found, args)
            return self.call_method(
                BuiltinMethod(thing.__name__, self.live(holder, holder.__qualname__), holder), args
            )
        if holder is not None and type(holder).__module__ in ("random", "_random"):
            raise Harm(f"uses the global random generator (random.{thing.__name__})")
        if holder is not None and type(holder).__name__ != "module":
            return self.call_method(
                BuiltinMethod(thing.__name__, self.live(holder, value.name), type(holder)), args
            )
        return self._call_known(thing.__module__, name, args, value.name)

    def _call_known(self, module: str | None, qualname: str, args: Args, label: str) -> Values:
        """The catalogue must know it."""
        if module == "builtins":
            special = getattr(self, f"b_{qualname}", None)
            if special is not None:
                result: Values = special(args)
                return result
        if module in ("operator", "_operator"):
            name = _OPERATOR_NAMES.get(qualname, qualname)
            if name in _OPERATORS:
                return self.operate(name, args.at(0), args.at(1))
            if name[0] == "i" and _OPERATOR_NAMES.get(name[1:], name[1:]) in _OPERATORS:
                return self.operate_in_place(_OPERATOR_NAMES.get(name[1:], name[1:]), args.at(0), args.at(1))
            if qualname in ("setitem", "delitem"):
                self.set_item(args.at(0), args.at(1), args.at(2) if qualname == "setitem" else None)
                return {ATOM}
        if module in ("functools", "_functools") and qualname == "cmp_to_key":
            made = self.made(
                (self.site, "key"), functools.partial
            )  # called with the elements, it calls with them
            self.store({made}, args.all())
            return {made}
        function = self.catalogue.function(module, qualname)
        if function is None:
            raise Harm(f"calls {f'{module}.{qualname}' if module else label}, of which nothing is known")
        return self.apply(function, args)
