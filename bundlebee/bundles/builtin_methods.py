"""Methods of builtin and catalogued types, in the analysis, special ones too where they are called by name."""

from __future__ import annotations

from datetime import tzinfo

from bundlebee.bundles.abstract import ATOM, NUMBER, BuiltinMethod, Given, Live, Made, Text, Value
from bundlebee.bundles.cached import Cached
from bundlebee.bundles.catalogue import Function
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.specials import IMPLICIT, SILENT, TEXTS, Args

_WRITING = frozenset({"__setitem__", "__delitem__", "__setattr__", "__delattr__", "__init__", "__setstate__"})
_IN_PLACE = frozenset({"__iadd__", "__imul__", "__ior__", "__iand__", "__isub__", "__ixor__"})
_NEVER = frozenset(
    {
        "__getattribute__",
        "__reduce__",
        "__reduce_ex__",
        "__getstate__",
        "__subclasses__",
        "__sizeof__",  # a copy has no room to spare
        "__init_subclass__",
        "__dir__",
        "__del__",
    }
)
_ASYNCHRONOUS = frozenset({"__aenter__", "__aexit__", "__aiter__", "__anext__", "__await__"})
"""Builtin data has none of these; objects of the standard library that have are not looked into."""


class BuiltinMethods(Cached):
    """Calls of methods that the catalogue knows."""

    def call_method(self, method: BuiltinMethod, args: Args) -> Values:
        """A method of a builtin or catalogued type."""
        name = method.name
        receiver = {method.receiver} if method.receiver is not None else set(args.at(0))
        if method.receiver is None:
            args = args.without_first()
        result = self.numpy_method(name, receiver, args, method.owner)
        if result is not None:
            return result
        if name.startswith("__") and name.endswith("__"):
            return self._call_special(name, receiver, args, method.owner)
        if method.owner is not None:
            function = self.catalogue.function(method.owner.__module__, f"{method.owner.__qualname__}.{name}")
            if function is not None:
                return self.apply(function, args)
        results: Values = set()
        for value in receiver:
            entries = self._entries(value, name, method.owner)
            if entries is None:
                whose = "builtin data" if method.owner is None else f"a {method.owner.__qualname__}"
                raise Harm(f"calls {name}() of {whose}, of which nothing is known")
            for entry in entries:
                results |= self.apply(entry, args, value)
        return results

    def _entries(self, value: Value, name: str, owner: type | None) -> tuple[Function, ...] | None:
        """The catalogue's methods of that name that the value may have; None if that cannot be told."""
        kind = owner
        if isinstance(value, Made) and value.kind is not None:
            kind = next((base for base in value.kind.__mro__ if self.catalogue.type(base) is not None), owner)
        if kind is None:
            return None if self.catalogue.omits(name) else self.catalogue.methods(name)
        entry = self.catalogue.type(kind)
        if entry is None:
            return () if issubclass(kind, BaseException) and isinstance(value, Made) else None
        method = entry.methods.get(name)
        if method is not None:
            return (method,)
        # An object that is known to be of that type has no such method, unless the catalogue leaves it out.
        return None if hasattr(kind, name) else ()

    def _call_special(self, name: str, receiver: Values, args: Args, owner: type | None) -> Values:
        """``dict.__setitem__(d, k, v)``, ``super().__init__(…)``, ``[].__len__()``."""
        entry = self.catalogue.type(owner) if owner is not None else None
        if entry is not None and name in entry.methods and entry.name != "builtins.object":
            return set().union(*(self.apply(entry.methods[name], args, value) for value in receiver))
        known = owner is None or entry is not None or issubclass(owner, BaseException)
        if not known and not (owner is tzinfo and name == "__new__"):
            assert owner is not None
            raise Harm(f"calls {name}() of a {owner.__qualname__}, of which nothing is known")
        if name in _ASYNCHRONOUS and any(isinstance(value, Made | Live) for value in receiver):
            raise Harm(f"calls {name}() of something that may wait")
        everything = args.all()
        if name == "__new__":
            return self.allocate(receiver, args, owner)
        if name == "__hash__":
            self.hash_of(receiver, unseen=self.in_hash())
        if name in _WRITING:
            return self._call_writing(name, receiver, args, owner)
        if name in _IN_PLACE:
            return self.operate_in_place(name.strip("_")[1:], receiver, everything)
        if name in _NEVER or name not in IMPLICIT:
            if owner is None and name not in _NEVER:
                return set()
            raise Harm(f"calls {name}()")
        if name == "__next__":
            self.write(receiver)
        if self.fills:
            self.hold(self.put_keys, everything)
        found: Values = {ATOM, NUMBER}
        for value in receiver:
            found |= self.elements(value)
        self.look_at(everything, 2, IMPLICIT if name in TEXTS else SILENT)
        made = self.made((self.site, name), None)
        self.pour({made}, receiver | everything)
        return found | {made}

    def _call_writing(self, name: str, receiver: Values, args: Args, owner: type | None) -> Values:
        everything = args.all()
        if name == "__init__" and (owner is object or not everything):
            return {ATOM}
        self.write({value for value in receiver if value not in (ATOM, NUMBER)})
        if name in ("__setattr__", "__delattr__"):
            for target in receiver:
                for key in args.at(0):
                    if not isinstance(key, Text):
                        raise Harm("writes an attribute by a name that is computed")
                    if isinstance(target, Made | Given) and name == "__setattr__":
                        self.put_attribute(target, key.text, args.behind(1))
            return {ATOM}
        self.store(receiver, everything, everything)
        self.pour(receiver, everything, pairs=True)
        return {ATOM}
