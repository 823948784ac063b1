"""Classes, in the analysis: what making an instance runs, and what writing an attribute does."""

from __future__ import annotations

import contextlib
import functools
from datetime import tzinfo
from enum import EnumMeta
from types import FunctionType
from typing import Any

from bundlebee.bundles.abstract import ATOM, Given, Inner, Live, Made, Namespace, Super, Text, Value
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.known import Known
from bundlebee.bundles.specials import KEYS, Args

_OF_ITS_OWN = frozenset(
    {"__class__", "__dict__", "__traceback__", "__cause__", "__context__", "__suppress_context__"}
)

GENERATED = frozenset({"__eq__", "__repr__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__"})
"""Methods that a dataclass may write by itself, and that only read."""


class Classes(Known):
    """Calls of classes, stores into attributes."""

    def has_facts(self, kind: type) -> bool:
        """Whether the class comes from a module that was analysed. (Given by `bundlebee.bundles.flow.Flow`.)"""
        raise NotImplementedError

    def can_construct(self, kind: type) -> bool:
        """Whether what making an instance runs can be analysed. (Given by `bundlebee.bundles.flow.Flow`.)"""
        raise NotImplementedError

    # -- instances ---------------------------------------------------------------------------------------

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

    # -- methods that nobody wrote --------------------------------------------------------------------------

    def call_generated(self, function: FunctionType, args: Args) -> Values | None:
        """A method that dataclass or namedtuple wrote by themselves; None if it is none of them."""
        name = function.__name__
        qualname = function.__code__.co_qualname
        module = str(function.__globals__.get("__name__"))
        if name in GENERATED and (
            is_generated(function) or qualname.startswith(("_recursive_repr.", "recursive_repr."))
        ):
            parts: Values = set()
            for value in args.all():
                if isinstance(value, Made):
                    for held in value.attributes.values():
                        parts |= held
                elif isinstance(value, Live) and not isinstance(value.object, type):
                    for field_name in getattr(type(value.object), "__dataclass_fields__", ()):
                        parts |= self.attribute(value, field_name).values
                elif isinstance(value, Given):
                    parts.add(value)
            self.look_at(parts, 2, _OF_GENERATED.get(name, GENERATED))
            return {ATOM}
        if module == "collections" and qualname.startswith("namedtuple.<locals>."):
            return self._call_named_tuple(name, args)
        if module == "contextlib":
            return self._call_context(function, qualname, args)
        return None

    def _call_context(self, function: FunctionType, qualname: str, args: Args) -> Values | None:
        """What `contextlib.contextmanager` makes of a generator: entered, it gives what that yields."""
        if qualname == "contextmanager.<locals>.helper":
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
            generator = cells["func"].cell_contents
            self.observe("cell", cells["func"], "func", generator)
            made = self.made((self.site, "context", function), contextlib._GeneratorContextManager)
            for value in self.call(self.live(generator, function.__qualname__), args):
                self.store({made}, self.next_of(value))
            return {made}
        if qualname == "_GeneratorContextManager.__enter__":
            return set().union(*(self.elements(value) for value in args.at(0)))
        if qualname == "_GeneratorContextManager.__exit__":
            return {ATOM}
        return None

    def _call_named_tuple(self, name: str, args: Args) -> Values | None:
        receiver = args.at(0)
        if name == "_asdict":
            made = self.made((self.site, name), dict)
            for value in receiver:
                self.store({made}, self.elements(value), {ATOM})
            return {made}
        if name in ("_make", "_replace"):
            results: Values = set()
            for value in receiver:
                of_class = isinstance(value, Live) and isinstance(value.object, type)
                for kind in (
                    (value.object,) if isinstance(value, Live) and of_class else self.classes_of(value)
                ):
                    copy = self.made((self.site, name, kind), kind)
                    self.store({copy}, args.behind(1))
                    for part in args.all():
                        if not isinstance(part, Live) or not isinstance(part.object, type):
                            self.store({copy}, self.elements(part) | self.next_of(part))
                    results.add(copy)
            return results
        if name in ("__repr__", "__getnewargs__"):
            parts: Values = set()
            for value in receiver:
                parts |= self.elements(value) - {value}
            self.look_at(parts, 2)
            return {ATOM}
        return None

    # -- attributes --------------------------------------------------------------------------------------

    def get_attribute(self, value: Value, name: str) -> Values:
        """``value.name``, its getters run."""
        found = self.attribute(value, name)
        values = found.values
        for function, receiver, *more in found.getters:
            extra: list[Values] = [set(part) for part in more]
            if isinstance(function, Live) and function.name.endswith("__getattr__"):
                extra = [{self.text(name)}]
            results = self.call(function, Args([{receiver}, *extra]))
            if found.kept:
                if isinstance(receiver, Made):
                    self.put_attribute(receiver, name, results)
                elif isinstance(receiver, Given):
                    self._put(receiver, name, results)
                else:
                    # the object here would not have it, and a later look would see a change that python does not
                    raise Harm(f"computes {name}, which the object keeps")
            values = values | results
        return values

    def shared(self, key: Any, results: Values, name: str) -> Values:
        """Results that somebody keeps: they may be read, not written, and no copy will do for them."""
        inside = self.inside(results)
        if all(_unwritable(part) for part in inside):
            return results
        mark = ("cached", key)
        kept = self._once.get(mark)
        if kept is None:
            kept = self._once[mark] = Given(f"what the cache of {name} holds", set(), None, cached=True)
        for part in inside:
            new = set(self.classes_of(part)) - kept.classes
            if new:
                kept.classes |= new
                self.version += 1
                self.held += 1
        return {kept, ATOM}

    def set_attribute(self, targets: Values, name: str, values: Values) -> None:
        """``target.name = value``"""
        special = name.startswith("__") and name.endswith("__")
        for target in targets:
            # of an instance only these mean something to Python
            if special and (
                name in _OF_ITS_OWN
                or not isinstance(target, Made | Given)
                or not self._only_instances(target)
            ):
                if name == "__cause__" and isinstance(target, Made | Given):
                    self.write({target}, "writes __cause__ of")
                    self.put_attribute(target, name, values)
                    continue
                raise Harm(f"writes {name}")
            put = not self.classes_of(target) or (isinstance(target, Given) and target.inside is None)
            for kind in self.classes_of(target):
                setter = self.special(kind, "__setattr__")
                if setter is not None and not is_generated(setter):
                    self.call(
                        self.live(setter, f"{kind.__qualname__}.__setattr__"),
                        Args([{target}, {self.text(name)}, values]),
                    )
                    continue
                found = self.lookup(kind, name)
                raw = None if found is None else found[1]
                if isinstance(raw, property):
                    if raw.fset is not None:
                        self.call(
                            self.live(raw.fset, f"{kind.__qualname__}.{name}"), Args([{target}, values])
                        )
                elif hasattr(type(raw), "__set__") and type(raw).__module__ != "builtins":
                    label = f"{kind.__qualname__}.{name}"
                    setter = self.descriptor(raw, "__set__")
                    if setter is None:
                        raise Harm(f"uses {label}, which has a setter")
                    self.call(setter, Args([{self.live(raw, label)}, {target}, values]))
                else:
                    put = True
            if put:
                self._put(target, name, values)

    def _only_instances(self, target: Made | Given) -> bool:
        """Whether it is no function or class, and no builtin data that might hold some."""
        if isinstance(target, Made):
            return True
        return target.inside is not None or not target.callables

    def _put(self, target: Value, name: str, values: Values) -> None:
        if isinstance(target, Live) and isinstance(target.object, type):
            raise Harm(f"writes class attribute {target.object.__qualname__}.{name}")
        if isinstance(target, Given) and target.inside is None and target.kind is None and target.callables:
            raise Harm(f"may write attribute {name!r} of a function or class among its arguments")
        self.write({target}, f"writes attribute {name!r} of")
        self.put_attribute(target, name, values)

    def super_of(self, kind: type, receivers: Values) -> Value:
        """The value of ``super()``."""
        key = ("super", kind, self.site)
        value: Super | None = self._once.get(key)
        if value is None:
            value = self._once[key] = Super(kind, set())
        self.add(value.receivers, receivers)
        return value


_OF_GENERATED = {
    "__eq__": KEYS,
    "__hash__": KEYS,
    "__repr__": frozenset({"__repr__", "__str__"}),
    **{
        name: frozenset({"__lt__", "__gt__", "__le__", "__ge__", "__eq__"})
        for name in ("__lt__", "__le__", "__gt__", "__ge__")
    },
}


def is_generated(function: Any) -> bool:
    """Whether a dataclass wrote that method."""
    code = getattr(function, "__code__", None)
    return (
        code is not None
        and code.co_filename == "<string>"
        and code.co_qualname.startswith("__create_fn__.<locals>.")
    )


def is_written(function: FunctionType) -> bool:
    """Whether `Classes.call_generated` knows it: no source says what it does."""
    qualname = function.__code__.co_qualname
    if is_generated(function) or qualname.startswith(("_recursive_repr.", "recursive_repr.")):
        return True
    module = function.__globals__.get("__name__")
    return (module == "collections" and qualname.startswith("namedtuple.<locals>.")) or (
        module == "contextlib"
        and qualname.startswith(("contextmanager.<locals>.", "_GeneratorContextManager."))
    )


def _unwritable(value: Value) -> bool:
    if (
        value is ATOM
        or isinstance(value, Text)
        or not isinstance(value, Made | Given | Live | Inner | Namespace)
    ):
        return True
    if not isinstance(value, Made) or value.kind is None:
        return False
    # a named tuple has no attributes of its own
    return value.kind is frozenset or (issubclass(value.kind, tuple) and not value.kind.__dictoffset__)
