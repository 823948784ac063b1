"""Containers, in the analysis: what is in them, and what they take in.

What an argument takes in is looked for in all arguments: any two of them may be one object, or hold each other.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from enum import Enum, EnumMeta
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from bundlebee.bundles.abstract import ATOM, NONE, NUMBER, Given, Inner, Live, Made, Namespace, Text, Value
from bundlebee.bundles.contents import ATOMS, NUMBERS
from bundlebee.bundles.heap import ANY_NAME, MAPPINGS, Harm, Heap, Values, may_name
from bundlebee.bundles.observed import SEQUENCES, base_iter

MEMBERS = 5_000
"""Different objects in one existing structure that the analysis tells apart."""

TEXTS = 32
"""Texts of one container that it tells apart."""


class Containers(Heap):
    """What each value holds."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._inside: dict[frozenset[Value], Values] = {}  #: what `inside` found, while `held` was …
        self._inside_when = 0
        self._with_instances: dict[int, tuple[Values, bool]] = {}  #: the same: by the identity of such a set
        #: how the first write to an argument reads, if there is one; and what such writes put into arguments. Any two of
        #: them may be one object, or hold each other, so what one takes in is looked for in all.
        self.written = ""
        self.put_keys: Values = set()
        self.put_items: Values = set()
        self.put_attributes: dict[str, Values] = {}

    # -- what is in them ---------------------------------------------------------------------------------

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

    # -- what they take in -------------------------------------------------------------------------------

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


def _is_mapping(kind: type | None) -> bool:
    return kind is not None and issubclass(kind, dict)
