"""The objects of one analysis: made once each, with what they hold, and a record of all that was looked at.

`Heap.reads` names the state that the call depends on; `Heap.observed` is what the analysis found there, so that a
later change is noticed (`bundlebee.bundles.observed`).
"""

from __future__ import annotations

import functools
import sys
import types
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from enum import Enum, EnumMeta
from types import BuiltinFunctionType, FunctionType, GenericAlias, ModuleType
from typing import Any

from bundlebee.bundles.abstract import (
    ATOM,
    NONE,
    NUMBER,
    Bound,
    BuiltinMethod,
    Given,
    Inner,
    Live,
    Made,
    Namespace,
    Text,
    Value,
)
from bundlebee.bundles.catalogue import catalogue
from bundlebee.bundles.contents import ATOMS, NUMBERS, by_python
from bundlebee.bundles.observed import MISSING, SEQUENCES, base_iter
from bundlebee.bundles.stdlib import replaced

Values = set[Value]

ANY_NAME = "*"
"""The attribute that stands for all of them, where a name is computed."""
MEMBERS = 5_000
"""Different objects in one existing structure that the analysis tells apart."""

TEXTS = 32
"""Texts of one container that it tells apart."""

MAPPINGS: tuple[type, ...] = (dict, defaultdict, OrderedDict, Counter)


class Harm(Exception):
    """The call may do, or depend on, something that only means the same here."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Heap:
    """All values of one analysis.

    Args:
        given: an argument of which nothing is known; also what an exception of the interpreter may hold.
    """

    def __init__(self, given: Given) -> None:
        self.catalogue = catalogue()
        self.reads: set[tuple[str, str]] = set()
        self.observed: list[tuple[str, Any, Any, Any]] = []  #: (kind, holder, key, what was there)
        self.version = 0  #: grows with every set that grows
        self.held = 0  #: … and this one with every set of what an object holds
        self._inside: dict[frozenset[Value], Values] = {}  #: what `inside` found, while `held` was …
        self._inside_when = 0
        self._with_instances: dict[int, tuple[Values, bool]] = {}  #: the same: by the identity of such a set
        self.anything = given
        #: how the first write to an argument reads, if there is one; and what such writes put into arguments. Any two of
        #: them may be one object, or hold each other, so what one takes in is looked for in all.
        self.written = ""
        self.put_keys: Values = set()
        self.put_items: Values = set()
        self.put_attributes: dict[str, Values] = {}
        self.compares = (
            False  #: whether identities are compared of arguments, or of what they hold, whatever that is
        )
        self.fills = False  #: whether looking up in an argument may put something into it
        self.spent = 0  #: steps that were taken since somebody last looked: how much one operation costs depends on its operands
        self.site: Any = None  #: the operation that is being looked at: names what it makes
        self._live: dict[int, Live] = {}
        self._made: dict[Any, Made] = {}
        self._once: dict[Any, Any] = {}
        self._seen: set[Any] = set()
        self._custom: dict[type, bool] = {}
        self._specials: dict[tuple[type, str], Any] = {}
        self._all_specials: dict[tuple[type, frozenset[str]], list[tuple[str, Any]]] = {}

    # -- making values -----------------------------------------------------------------------------------

    def add(self, target: Values, values: Iterable[Value]) -> None:
        """Let a set grow."""
        before = len(target)
        target.update(values)
        if len(target) != before:
            self.version += 1

    def hold(self, target: Values, values: Iterable[Value]) -> None:
        """Let the set of what some object holds grow."""
        before = len(target)
        target.update(values)
        if len(target) != before:
            self.version += 1
            self.held += 1

    def live(self, thing: Any, name: str) -> Value:
        """The value of an object that exists already; ``name`` is how the code got at it."""
        kind = type(thing)
        if kind in NUMBERS:
            return NUMBER
        if thing is None:
            return NONE
        if kind is str and may_name(thing):
            return self.text(thing)
        if kind in ATOMS:
            return ATOM
        value = self._live.get(id(thing))
        if value is None:
            value = self._live[id(thing)] = Live(thing, name)
        return value

    def made(self, key: Any, kind: type | None) -> Made:
        """The object that is made at one place in the code."""
        value = self._made.get(key)
        if value is None:
            value = self._made[key] = Made(kind)
            self.version += 1
        return value

    def bound(self, function: Value, receiver: Value) -> Value:
        """A function bound to its object."""
        key = (function, receiver)
        value: Value | None = self._once.get(key)
        if value is None:
            value = self._once[key] = Bound(function, receiver)
        return value

    def builtin_method(self, name: str, receiver: Value | None, owner: type | None) -> Value:
        """A method that the catalogue knows."""
        key = (name, receiver, owner)
        value: Value | None = self._once.get(key)
        if value is None:
            value = self._once[key] = BuiltinMethod(name, receiver, owner)
        return value

    def text(self, text: str) -> Value:
        """A text that matters."""
        key = ("text", text)
        value: Value | None = self._once.get(key)
        if value is None:
            value = self._once[key] = Text(text)
        return value

    # -- what is looked at -------------------------------------------------------------------------------

    def observe(self, kind: str, holder: Any, key: Any, found: Any) -> None:
        """Write down what was there."""
        mark = (kind, id(holder), key)
        if mark not in self._seen:
            self._seen.add(mark)
            self.observed.append((kind, holder, key, found))

    def read_class(self, kind: type) -> None:
        """The class itself, as its module holds it, is part of the state."""
        if by_python(kind):
            self.reads.add((kind.__module__, kind.__qualname__.partition(".")[0]))

    def global_value(self, module: str, holder: dict[str, Any], name: str) -> Any:
        """A module's global, or MISSING.

        Raises:
            Harm: ``sys.modules`` holds another module of that name.
        """
        real = sys.modules.get(module)
        if real is None or real.__dict__ is not holder:
            raise Harm(f"reads a global of module {module!r}, which was replaced")
        found = holder.get(name, MISSING)
        self.reads.add((module, name))
        self.observe("key", holder, name, found)
        return found

    # -- classes -----------------------------------------------------------------------------------------

    def classes_of(self, value: Value) -> tuple[type, ...]:
        """Classes that are no builtin data, of which the value may be an instance."""
        if isinstance(value, Made):
            return (value.kind,) if value.kind is not None and self._is_custom(value.kind) else ()
        if isinstance(value, Given):
            return () if value.kind is not None else tuple(value.classes)
        if isinstance(value, Live):
            kind = type(value.object)
            if not isinstance(value.object, type) and self._is_custom(kind):
                return (kind,)
        return ()

    def _is_custom(self, kind: type) -> bool:
        """Whether its special methods are a matter of its own code."""
        known = self._custom.get(kind)
        if known is None:
            plain = not by_python(kind) or kind in MAPPINGS or kind is functools.partial
            known = self._custom[kind] = not plain and self.catalogue.type(kind) is None
        return known

    def lookup(self, kind: type, name: str, after: type | None = None) -> tuple[type, Any] | None:
        """The class in the order of resolution (behind ``after``) that defines a name, and what it holds there."""
        mro = kind.__mro__
        if after is not None:
            mro = mro[mro.index(after) + 1 :]
        for owner in mro:
            raw = owner.__dict__.get(name, MISSING)
            if by_python(owner):
                self.read_class(owner)
                self.observe("class", owner, name, raw)
            if raw is not MISSING:
                if replaced(owner, raw):
                    raise Harm(f"uses {owner.__qualname__}.{name}, which was replaced")
                return owner, raw
        return None

    def special(self, kind: type, name: str) -> Any:
        """A special method that a class itself, or a base that is no builtin, defines; None if there is none."""
        key = (kind, name)
        if key not in self._specials:
            owner = next((owner for owner in kind.__mro__ if name in owner.__dict__), None)
            raw = None
            if owner is not None and by_python(owner) and self._is_custom(owner):
                raw = owner.__dict__[name]
                if replaced(owner, raw):
                    raise Harm(f"uses {owner.__qualname__}.{name}, which was replaced")
                self.read_class(kind)
                self.observe("class", owner, name, raw)
            self._specials[key] = raw
        return self._specials[key]

    def own_names(self, kind: type) -> set[str]:
        """Names that a class itself, or a base that is no builtin, defines."""
        return {
            name
            for owner in kind.__mro__
            if by_python(owner) and self._is_custom(owner)
            for name in owner.__dict__
        }

    def specials(self, kind: type, names: frozenset[str]) -> list[tuple[str, Any]]:
        """Those of these special methods that `special` finds, by name."""
        found = self._all_specials.get((kind, names))
        if found is None:
            # looked for only where there is one, and in order: the same reason each time
            here = sorted({name for owner in kind.__mro__ for name in names.intersection(owner.__dict__)})
            raws = ((name, self.special(kind, name)) for name in here)
            found = [(name, raw) for name, raw in raws if raw is not None and not _is_generic(raw)]
            self._all_specials[kind, names] = found
        return found

    # -- elements ----------------------------------------------------------------------------------------

    def elements(self, value: Value) -> Values:
        """Everything that a container holds, keys too; special methods left aside."""
        if isinstance(value, Made):
            return value.keys | value.contents if value.keys else value.contents
        if isinstance(value, Given):
            if value.inside is not None:
                found: Values = {value.inside}
            else:
                found = {value} if value.kind is None else value.keys | value.contents
            return found | self.put_keys | self.put_items if self.written else found
        if isinstance(value, Live):
            keys, contents = self.members(value)
            return keys | contents
        if isinstance(value, Namespace):
            return self.items(value) | {ATOM}
        return {ATOM} if value is not NONE and (value is ATOM or isinstance(value, Text)) else set()

    def keys(self, value: Value) -> Values:
        """What iterating over it gives."""
        if isinstance(value, Made):
            return value.keys if _is_mapping(value.kind) else self.elements(value)
        if isinstance(value, Given) and value.kind is not None:
            if _is_mapping(value.kind):
                return value.keys | self.put_keys
            return value.contents | self.put_items
        if isinstance(value, Live):
            keys, contents = self.members(value)
            return keys if isinstance(value.object, MAPPINGS) else contents
        if isinstance(value, Namespace):
            return {ATOM}
        return self.elements(value)

    def looked_up(self, value: Value) -> Values:
        """What may be compared with a key, or an element, that is looked for in it."""
        mapping = isinstance(value, Made | Given) and _is_mapping(value.kind)
        if mapping or (isinstance(value, Live) and isinstance(value.object, MAPPINGS)):
            return self.keys(value)
        return {value}

    def items(self, value: Value) -> Values:
        """What looking up in it gives."""
        if isinstance(value, Made):
            return value.contents
        if isinstance(value, Given) and value.kind is not None:
            return value.contents | self.put_items
        if isinstance(value, Live):
            return self.members(value)[1]
        if isinstance(value, Namespace):
            owner = value.owner
            if isinstance(owner, Made):
                return set().union(*owner.attributes.values())
            inside: Values = {owner if owner.inside is None else owner.inside}
            return inside.union(*self.put_attributes.values())
        return self.elements(value)

    def members(self, value: Live) -> tuple[Values, Values]:
        """Keys and elements of a container that exists already.

        Raises:
            Harm: it is something that cannot be looked into, such as an iterator.
        """
        thing = value.object
        kind = type(thing)
        if isinstance(thing, EnumMeta):
            return set(), {self.live(thing.__members__[name], value.name) for name in thing.__members__}
        if isinstance(thing, type) or kind in (FunctionType, BuiltinFunctionType, ModuleType, object):
            return set(), set()
        reason = self.catalogue.unsafe(kind)
        if reason is not None:
            raise Harm(f"{reason} ({value.name})")
        if isinstance(thing, dict):
            return self._kinds(value, list(dict.keys(thing))), self._kinds(
                value, list(dict.values(thing)), "values"
            )
        if isinstance(thing, types.MappingProxyType):
            return self._kinds(value, list(thing.keys())), self._kinds(value, list(thing.values()), "values")
        if isinstance(thing, SEQUENCES):
            return set(), self._kinds(value, list(base_iter(thing)))
        entry = self.catalogue.type(kind)
        if entry is not None and (entry.immutable or kind is bytearray or entry.name == "array.array"):
            return set(), {ATOM}
        if isinstance(thing, Enum) or (self._is_custom(kind) and not isinstance(thing, BaseException)):
            return set(), set()  # an instance: its special methods say
        raise Harm(f"uses {value.name}, a {kind.__module__}.{kind.__qualname__}")

    def _kinds(self, holder: Live, items: list[Any], part: str = "keys") -> Values:
        kinds = set(map(type, items))
        found: Values = set()
        if kinds & NUMBERS:
            found.add(NUMBER)
        if type(None) in kinds:
            found.add(NONE)
        if (kinds & ATOMS) - NUMBERS - {type(None), str}:
            found.add(ATOM)
        if str in kinds:
            found |= self._texts(holder, items, part)
        others: dict[int, Any] = {}
        if not kinds <= ATOMS:
            others = {id(item): item for item in items if type(item) not in ATOMS}
            if len(others) > MEMBERS:
                raise Harm(f"uses {holder.name}, which holds too many objects to look at")
            found.update(self.live(item, f"{holder.name}[…]") for item in others.values())
        self.observe("members", holder.object, part, (frozenset(kinds & ATOMS), others))
        return found

    def _texts(self, holder: Live, items: list[Any], part: str) -> Values:
        """The texts in a container, each by itself if they may be the names of attributes."""
        texts = {item for item in items if type(item) is str}
        if len(texts) > TEXTS or not all(map(may_name, texts)):
            return {ATOM}
        if type(holder.object) is not tuple:
            self.observe("texts", holder.object, part, texts)
        return set(map(self.text, texts))

    def inside(self, values: Iterable[Value]) -> Values:
        """The values, and all that containers among them hold. The set is not to be changed."""
        found = set(values)
        if self._inside_when != self.held:
            self._inside_when = self.held
            self._inside.clear()
            self._with_instances.clear()
        roots = frozenset(found)
        if (known := self._inside.get(roots)) is not None:
            return known
        stack = list(found)
        while stack:
            value = stack.pop()
            if isinstance(value, Made | Live | Given | Namespace):
                for part in self.elements(value):
                    if part not in found:
                        found.add(part)
                        stack.append(part)
                        if len(found) > MEMBERS:
                            raise Harm("uses a structure that is too large to look at")
        self.spent += len(found) >> 2
        self._inside[roots] = found
        return found

    def any_instances(self, values: Values) -> bool:
        """Whether there are instances of other than builtin classes among what `inside` found."""
        known = self._with_instances.get(id(values))
        if known is not None and known[0] is values and self._inside_when == self.held:
            return known[1]
        found = any(map(self.classes_of, values))
        self._with_instances[id(values)] = values, found
        return found

    # -- what containers take in ----------------------------------------------------------------------------

    def store(self, targets: Iterable[Value], values: Iterable[Value], keys: Iterable[Value] = ()) -> None:
        """Objects that the call made, or arguments, take other values in."""
        for target in targets:
            if isinstance(target, Made):
                self.hold(target.contents, values)
                if keys:
                    self.hold(target.keys, keys)
                if target.named is not None:  # it is no longer just what was passed by name
                    target.named = None
                    self.version += 1
            elif isinstance(target, Namespace):
                self.put_attribute(target.owner, ANY_NAME, set(values))
            elif isinstance(target, Given):
                self.hold(self.put_items, values)
                if keys:
                    self.hold(self.put_keys, keys)

    def put_attribute(self, target: Value, name: str, values: Values) -> None:
        """An object that the call made, or an argument, takes values in under a name."""
        if isinstance(target, Made | Inner):
            self.hold(target.attributes.setdefault(name, set()), values)
        elif isinstance(target, Given):
            self.hold(self.put_attributes.setdefault(name, set()), values)

    def pour(self, targets: Iterable[Value], sources: Iterable[Value], *, pairs: bool = False) -> None:
        """Objects that the call made take in what others hold: keys as keys, values as values.

        With ``pairs`` a source may also be a sequence of pairs, as for ``dict`` and ``update``.
        """
        for source in list(sources):
            if _is_mapping(getattr(source, "kind", None)) or (
                isinstance(source, Live) and isinstance(source.object, MAPPINGS)
            ):
                self.store(targets, self.items(source), self.keys(source))
                continue
            held = self.elements(source)
            self.store(targets, held, held if isinstance(source, Made) and source.kind is None else ())
            if pairs and held:
                self.spent += len(held) >> 4
                deeper = set().union(*map(self.elements, held))
                self.store(targets, deeper, deeper | held)


def may_name(text: str) -> bool:
    """Whether a text may be the name of an attribute, and is short enough to be remembered."""
    return len(text) <= 64 and text.isidentifier()


def _is_mapping(kind: type | None) -> bool:
    return kind is not None and issubclass(kind, dict)


def _is_generic(raw: object) -> bool:
    """Whether it is the ``__class_getitem__`` of most generic classes: ``C[int]`` makes an alias, and that is all."""
    return isinstance(raw, classmethod) and raw.__func__ is GenericAlias
