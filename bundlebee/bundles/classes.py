"""Classes, in the analysis: what making an instance runs, and what it is then."""

from __future__ import annotations

import functools
from datetime import tzinfo
from enum import EnumMeta
from types import FunctionType
from typing import Any

from bundlebee.bundles.abstract import ATOM, Given, Live, Made
from bundlebee.bundles.access import Access
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.generated import is_generated
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.specials import Args


class Classes(Access):
    """Calls of classes."""

    def has_facts(self, kind: type) -> bool:
        """Whether the class comes from a module that was analysed. (Given by `bundlebee.bundles.entering.Entering`.)"""
        raise NotImplementedError

    def can_construct(self, kind: type) -> bool:
        """Whether what making an instance runs can be analysed. (Given by `bundlebee.bundles.entering.Entering`.)"""
        raise NotImplementedError

    def construct(self, kind: type, args: Args) -> Values:
        """Call a class."""
        if kind.__module__ == "builtins":
            special = getattr(self, f"b_{kind.__qualname__}", None)
            if special is not None:
                result: Values = special(args)
                return result
        function = self.catalogue.function(kind.__module__, kind.__qualname__)
        if function is not None and not (by_python(kind) and self.has_facts(kind)):
            made = self.apply(function, args)
            if kind is functools.partial:
                for value in made:
                    if isinstance(value, Made):
                        value.kind = kind
                        self.store({value}, args.all())
            return made
        if self.catalogue.type(kind) is not None:
            return self._construct_known(kind, args)
        if isinstance(kind, EnumMeta):
            return self._member(kind, args)
        if not by_python(kind):
            if not issubclass(kind, BaseException):
                raise Harm(f"makes a {kind.__module__}.{kind.__qualname__}, of which nothing is known")
            error = self.made((self.site, kind), kind)
            self.store({error}, args.all())
            return {error}
        return self._construct_bundle(kind, args)

    def _construct_known(self, kind: type, args: Args) -> Values:
        entry = self.catalogue.type(kind)
        assert entry is not None
        if entry.seeded and not args.positional and not args.rest:
            raise Harm(f"reads the system's randomness ({entry.name} without a seed)")
        if entry.create.returns == {"atom"}:
            return self.apply(entry.create, args)
        results = self.apply(entry.create, args)  # for what it calls and looks at
        made = self.made((self.site, kind), kind)
        called: Values = set()
        for where in entry.create.calls:
            called |= args.at(where)
        if issubclass(kind, dict):
            self.pour({made}, args.all() - called, pairs=True)
            self.store(
                {made},
                set().union(*args.named.values()) | args.double,
                {ATOM} if args.named or args.double else (),
            )
            self.store({made}, self.call_any(called, set()))
        else:
            for value in results:
                self.store({made}, self.elements(value) - {value})
        if entry.immutable:  # an exact tuple or frozenset comes back as it is
            return {made, *(value for value in args.all() if isinstance(value, Given))}
        return {made}

    def _member(self, kind: EnumMeta, args: Args) -> Values:
        """``Colour(1)``"""
        self.read_class(kind)
        self.look_at(args.all(), 2)
        found = self.lookup(kind, "_missing_")
        if found is not None and found[0].__module__ != "enum":
            raise Harm(f"may call {kind.__qualname__}._missing_")
        return {self.live(kind.__members__[name], kind.__qualname__) for name in kind.__members__}

    def _construct_bundle(self, kind: type, args: Args) -> Values:
        name = kind.__qualname__
        reason = self.catalogue.unsafe(kind)
        if reason is not None:
            raise Harm(f"{reason} ({kind.__module__}.{name})")
        if not self.can_construct(kind):
            raise Harm(f"makes a {kind.__module__}.{name}, of which nothing is known")
        if type(kind).__module__ not in ("builtins", "abc"):
            raise Harm(f"makes a {name}, whose metaclass is {type(kind).__qualname__}")
        self.read_class(kind)
        if self.special(kind, "__del__") is not None:
            raise Harm(f"makes a {name}, which has a __del__")
        instances = self._new(kind, args)
        found = self.lookup(kind, "__init__")
        if found is not None and by_python(found[0]):
            for instance in list(instances):
                if (
                    isinstance(instance, Made)
                    and instance.kind is not None
                    and issubclass(instance.kind, found[0])
                ):
                    self._initialise(kind, *found, instance, args)
        return instances

    def _new(self, kind: type, args: Args) -> Values:
        found = self.lookup(kind, "__new__")
        if found is None or not by_python(found[0]) or found[0].__module__ == "typing":
            made = self.made((self.site, kind), kind)
            self._fill_base(made, kind, args)
            return {made}
        owner, raw = found
        raw = raw.__func__ if isinstance(raw, staticmethod) else raw
        if issubclass(kind, tuple) and "_make" in owner.__dict__ and "_fields" in owner.__dict__:
            made = self.made((self.site, kind), kind)
            self.store({made}, args.all())
            for default in getattr(raw, "__defaults__", None) or ():
                self.store({made}, {self.live(default, f"the default of a field of {kind.__qualname__}")})
            return {made}
        if not isinstance(raw, FunctionType):
            raise Harm(f"uses {kind.__qualname__}.__new__")
        return self.call(
            self.live(raw, f"{kind.__qualname__}.__new__"), args.shifted(self.live(kind, kind.__qualname__))
        )

    def _fill_base(self, made: Made, kind: type, args: Args) -> None:
        """A subclass of a builtin takes the arguments in as its base does."""
        base = next(base for base in kind.__mro__ if not by_python(base))
        if base is object:
            return
        if base is tzinfo:
            return
        if self.catalogue.type(base) is None and not issubclass(base, BaseException):
            raise Harm(f"makes a {kind.__qualname__}, a kind of {base.__qualname__}")
        self.store({made}, args.all())
        self.pour({made}, args.all(), pairs=True)
        if args.named and issubclass(kind, dict):
            self.store({made}, (), {ATOM})

    def _initialise(self, kind: type, owner: type, raw: Any, instance: Made, args: Args) -> None:
        if not isinstance(raw, FunctionType):
            raise Harm(f"uses {kind.__qualname__}.__init__")
        fields = owner.__dict__.get("__dataclass_fields__")
        if fields is not None and is_generated(raw):
            self._fill_fields(kind, fields, instance, args)
        else:
            self.call(self.live(raw, f"{kind.__qualname__}.__init__"), args.shifted(instance))

    def _fill_fields(self, kind: type, fields: dict[str, Any], instance: Made, args: Args) -> None:
        """The ``__init__`` that a dataclass writes by itself."""
        import dataclasses

        everything: Values = set()
        names = [name for name, item in fields.items() if item.init and not item.kw_only]
        for name, item in fields.items():
            label = f"{kind.__qualname__}.{name}"
            values: Values = set(args.named.get(name, ())) | args.double | args.rest
            if name in names and names.index(name) < len(args.positional):
                values |= args.positional[names.index(name)]
            if item.default is not dataclasses.MISSING:
                values.add(self.live(item.default, f"the default of {label}"))
            if item.default_factory is not dataclasses.MISSING:
                site, self.site = self.site, (self.site, name)
                values |= self.call(self.live(item.default_factory, label), Args())
                self.site = site
            everything |= values
            self.set_attribute({instance}, name, values)
        after = self.lookup(kind, "__post_init__")
        if after is not None and isinstance(after[1], FunctionType):
            self.call(
                self.live(after[1], f"{kind.__qualname__}.__post_init__"), Args([{instance}], rest=everything)
            )

    def allocate(self, receiver: Values, args: Args, owner: type | None) -> Values:
        """``object.__new__(cls)``"""
        found: Values = set()
        for value in self._classes_among(receiver):
            kind = value.object
            if not by_python(kind):
                found |= self.construct(kind, args)
                continue
            if not self.can_construct(kind) or self.catalogue.unsafe(kind) is not None:
                raise Harm(f"makes a {kind.__module__}.{kind.__qualname__}, of which nothing is known")
            made = self.made((self.site, "new", kind), kind)
            if owner is not object:
                self._fill_base(made, kind, args)
            found.add(made)
        return found

    def _classes_among(self, values: Values) -> list[Live]:
        """Classes that are called; the values must be nothing else.

        Raises:
            Harm: nobody can tell.
        """
        found: list[Live] = []
        for value in values:
            if isinstance(value, Live) and isinstance(value.object, type):
                found.append(value)
            elif isinstance(value, Given) and value.callables is not None and not value.cached:
                lives = [
                    self.live(kind, kind.__qualname__) for kind in value.callables if isinstance(kind, type)
                ]
                found += [live for live in lives if isinstance(live, Live)]
            else:
                raise Harm("makes an object of a class that is computed")
        return found
