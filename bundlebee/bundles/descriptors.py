"""Descriptors, in the analysis: what an attribute that lies in a class is for an instance, and for the class itself.

A function becomes a method, a property runs its getter; whatever else has a ``__get__`` has a say in what it is.
"""

from __future__ import annotations

import functools
import types
from collections import namedtuple
from enum import Enum
from types import BuiltinFunctionType, FunctionType
from typing import Any

import msgspec

from bundlebee.bundles.abstract import ATOM, Live, Value
from bundlebee.bundles.containers import Containers
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.heap import Harm, Values

LRU = type(functools.lru_cache(lambda: None))
C_METHODS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
_TUPLE_GETTER: type = type(namedtuple("_Example", "field").__dict__["field"])


class Found(msgspec.Struct):
    """What an attribute may be."""

    values: Values = msgspec.field(default_factory=set)
    getters: list[tuple[Any, ...]] = []  #: (function, object, sets of further arguments …): properties
    hidden: bool = False  #: whether the instance's own attribute of that name does not count
    kept: bool = False  #: whether the object keeps what the getter returns (a cached property)

    def __bool__(self) -> bool:
        return bool(self.values or self.getters)


class Descriptors(Containers):
    """Attributes that classes give."""

    def from_class(self, kind: type, name: str, receiver: Value, after: type | None = None) -> Found:
        """An attribute that a class gives its instances."""
        found = self.lookup(kind, name, after)
        if found is None:
            return Found()
        owner, raw = found
        label = f"{owner.__qualname__}.{name}"
        if isinstance(raw, FunctionType | LRU):
            return Found({self.bound(self.live(raw, label), receiver)})
        if isinstance(raw, property):
            getters = [] if raw.fget is None else [(self.live(raw.fget, label), receiver)]
            return Found(getters=getters, hidden=True)
        if isinstance(raw, functools.cached_property):
            return Found(getters=[(self.live(raw.func, label), receiver)], kept=True)
        if isinstance(raw, staticmethod):
            return Found({self.live(raw.__func__, label)})
        if isinstance(raw, classmethod):
            return Found({self.bound(self.live(raw.__func__, label), self.live(kind, kind.__qualname__))})
        if isinstance(raw, types.MemberDescriptorType):
            return Found()
        if isinstance(raw, (*C_METHODS, BuiltinFunctionType)):
            return Found({self.builtin_method(name, receiver, owner)})
        if isinstance(raw, _TUPLE_GETTER):
            return Found(set(self.elements(receiver)) or {receiver}, hidden=True)
        if isinstance(raw, types.GetSetDescriptorType):
            if self.catalogue.type(owner) is None and not issubclass(owner, BaseException):
                raise Harm(f"looks at {label}")
            return Found({ATOM, *self.elements(receiver)}, hidden=True)
        if issubclass(kind, Enum) and type(raw).__module__ in ("enum", "types") and not isinstance(raw, Enum):
            return Found(self._enum_attribute(kind, name, receiver), hidden=True)
        if hasattr(type(raw), "__get__") or hasattr(type(raw), "__set__"):
            return self._described(raw, label, {receiver}, {self.live(kind, kind.__qualname__)})
        return Found({self.live(raw, label)})

    def on_class(self, thing: type, owner: type, raw: Any, name: str) -> Found:
        """What ``thing.name`` is when ``owner`` holds it."""
        label = f"{thing.__qualname__}.{name}"
        if isinstance(raw, staticmethod):
            return Found({self.live(raw.__func__, label)})
        if isinstance(raw, classmethod):
            return Found({self.bound(self.live(raw.__func__, label), self.live(thing, thing.__qualname__))})
        if isinstance(raw, types.ClassMethodDescriptorType):
            return Found({self.builtin_method(name, self.live(thing, thing.__qualname__), owner)})
        if isinstance(raw, (*C_METHODS, BuiltinFunctionType)):
            return Found({self.builtin_method(name, None, owner)})
        if hasattr(type(raw), "__get__") and not isinstance(
            raw, property | functools.cached_property | types.MemberDescriptorType | FunctionType | LRU
        ):
            return self._described(raw, label, {ATOM}, {self.live(thing, thing.__qualname__)})
        if (
            not by_python(owner)
            and self.catalogue.type(owner) is None
            and not issubclass(owner, BaseException)
        ):
            raise Harm(f"looks at {label}")
        return Found({self.live(raw, label)})

    def descriptor(self, raw: Any, name: str) -> Value | None:
        """The ``__get__`` or ``__set__`` of a descriptor that is written in Python."""
        function = self.special(type(raw), name)
        if not isinstance(function, FunctionType):
            return None
        return self.live(function, f"{type(raw).__qualname__}.{name}")

    def _described(self, raw: Any, label: str, instance: Values, kind: Values) -> Found:
        """What a class's attribute is that has a say in what it is."""
        value = self.live(raw, label)
        hidden = hasattr(type(raw), "__set__") or hasattr(type(raw), "__delete__")
        if not hasattr(type(raw), "__get__"):
            return Found({value})  # the instance's own, and else the descriptor itself
        getter = self.descriptor(raw, "__get__")
        if getter is None:
            raise Harm(f"uses {label}, a {type(raw).__qualname__}")
        return Found(getters=[(getter, value, instance, kind)], hidden=hidden)

    def _enum_attribute(self, kind: type[Enum], name: str, receiver: Value) -> Values:
        members = [receiver.object] if isinstance(receiver, Live) else list(kind.__members__.values())
        own = {"value": "_value_", "name": "_name_"}.get(name)
        if own is None:
            raise Harm(f"uses {kind.__qualname__}.{name}")
        return {self.live(getattr(member, own), f"{kind.__qualname__}.{name}") for member in members}
