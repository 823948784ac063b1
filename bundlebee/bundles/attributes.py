"""Attributes, in the analysis: what ``value.name`` may be, and which getters run to find out."""

from __future__ import annotations

import functools
import re
import types
from enum import Enum, EnumMeta
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

from bundlebee.bundles.abstract import (
    ATOM,
    NONE,
    Bound,
    BuiltinMethod,
    Given,
    Inner,
    Live,
    Made,
    Namespace,
    Super,
    Value,
)
from bundlebee.bundles.descriptors import LRU, Descriptors, Found
from bundlebee.bundles.heap import ANY_NAME, Harm, Values
from bundlebee.bundles.observed import MISSING, own_attribute

_ABOUT = frozenset({"__name__", "__qualname__", "__doc__", "__module__", "__text_signature__"})
#: Attributes that lead out of the model: to frames, code, and the insides of classes
_FORBIDDEN = frozenset(
    {
        "__dict__", "__globals__", "__code__", "__closure__", "__builtins__", "__traceback__", "__subclasses__", "__weakref__",
        "tb_frame", "tb_next", "gi_frame", "gi_code", "cr_frame", "f_back", "f_globals", "f_locals", "f_builtins", "f_code",
        "__reduce__", "__reduce_ex__", "__getstate__", "__loader__", "__spec__", "__defaults__", "__kwdefaults__", "mro",
        "__mro__", "__bases__", "__base__", "__context__", "__cause__", "obj",
    }
)  # fmt: skip
_DATA: tuple[type, ...] = (
    int,
    float,
    str,
    list,
    dict,
    tuple,
    set,
    bool,
    bytes,
    frozenset,
    complex,
    re.Pattern,
)


_OF_METHODS = frozenset(dir(MethodType))
_OF_BUILTINS = frozenset(
    (*dir(BuiltinFunctionType), *dir(types.MethodDescriptorType), *dir(types.MethodWrapperType))
)


@functools.cache
def special_names() -> frozenset[str]:
    """Names with two underscores that builtin data, functions and classes have."""
    kinds: tuple[type, ...] = (*_DATA, type, FunctionType, ModuleType, BaseException, types.GeneratorType)
    return frozenset(name for kind in kinds for name in dir(kind) if name.startswith("__"))


class Attributes(Descriptors):
    """Look-up of attributes, by the real classes and objects."""

    def attribute(self, value: Value, name: str) -> Found:
        """What ``value.name`` may be.

        Raises:
            Harm: nobody can tell, or it leads out of what can be analysed.
        """
        if name == "__dict__" and isinstance(value, Made | Given) and self.classes_of(value):
            return Found({self.namespace(value)})
        if name in _FORBIDDEN and not (isinstance(value, Made) and name in value.attributes):
            raise Harm(f"looks at {name}")
        if name == "__class__":
            return Found(self.class_of(value))
        if isinstance(value, Live):
            return self._live_attribute(value, name)
        if isinstance(value, Made):
            return self._made_attribute(value, name)
        if isinstance(value, Given):
            return self._given_attribute(value, name)
        if isinstance(value, Super):
            return self._super_attribute(value, name)
        if isinstance(value, Inner):
            return Found(set(value.attributes.get(name, {ATOM})))
        if isinstance(value, Namespace):
            return Found({self.builtin_method(name, value, dict)})
        if isinstance(value, Bound | BuiltinMethod):
            if name in _ABOUT:
                return Found({ATOM})
            if name == "__self__":
                return Found({value.receiver or ATOM})
            if (
                isinstance(value, Bound)
                and isinstance(value.function, Live | Inner)
                and name not in _OF_METHODS
            ):
                return self.attribute(value.function, name)  # a method has what its function has
            if isinstance(value, BuiltinMethod) and name not in _OF_BUILTINS:
                return Found()  # it has no such attribute
            raise Harm(f"looks at the attribute {name!r} of a method")
        if value is NONE and not name.startswith("__"):
            return Found()
        if self._is_method(name):
            return Found({self.builtin_method(name, ATOM, None)})
        return Found({ATOM})

    def _is_method(self, name: str) -> bool:
        """Whether builtin data has methods of that name."""
        if name.startswith("__") and name.endswith("__"):
            return name in special_names()
        return bool(self.catalogue.methods(name)) or self.catalogue.omits(name)

    def class_of(self, value: Value) -> Values:
        """What ``type(value)`` may be."""
        kinds: tuple[type, ...] = self.classes_of(value)
        if isinstance(value, Made) and value.kind is not None:
            kinds = (value.kind,)
        elif isinstance(value, Live):
            kinds = (type(value.object),)
        elif isinstance(value, Given) and value.kind is not None:
            kinds = (value.kind,)
        elif not kinds or (isinstance(value, Given) and value.inside is None):
            kinds += _DATA
        return {self.live(kind, kind.__qualname__) for kind in kinds}

    def _made_attribute(self, value: Made, name: str) -> Found:
        if value.kind is types.CoroutineType:
            raise Harm("drives a coroutine by hand")
        if not self.classes_of(value):
            if name in value.attributes:
                return Found(set(value.attributes[name]))
            if self._is_method(name):
                return Found({self.builtin_method(name, value, value.kind)})
            return Found({ATOM, *self.elements(value)})
        assert value.kind is not None
        self._check_reading(value.kind)
        found = self.from_class(value.kind, name, value)
        if not found.hidden:
            found.values |= value.attributes.get(name, set()) | value.attributes.get(ANY_NAME, set())
            if not found:
                found.getters = self._fallback(value.kind, value)
        return found

    def _fallback(self, kind: type, receiver: Value) -> list[tuple[Value, Value]]:
        """``__getattr__``, where a class has one."""
        self._check_reading(kind)
        raw = self.special(kind, "__getattr__")
        return [] if raw is None else [(self.live(raw, f"{kind.__qualname__}.__getattr__"), receiver)]

    def _check_reading(self, kind: type) -> None:
        if self.special(kind, "__getattribute__") is not None:
            raise Harm(f"uses {kind.__qualname__}.__getattribute__")

    def _given_attribute(self, value: Given, name: str) -> Found:
        if value.inside is not None:
            return self._attribute_of_instance(value, value.inside, name)
        found = Found()
        is_method = self._is_method(name)
        if is_method:
            found.values.add(self.builtin_method(name, value, value.kind))
        for kind in self.classes_of(value):
            more = self.from_class(kind, name, value)
            found.values |= more.values
            found.getters += [*more.getters, *self._fallback(kind, value)]
            found.kept |= more.kept
            is_method = is_method or bool(more)
        for thing in value.callables or ():  # a class has attributes that all share
            more = self.attribute(self.live(thing, thing.__qualname__), name)
            found.values |= more.values
            found.getters += more.getters
        if not is_method:
            found.values.add(ATOM)
            if value.kind is not None:
                found.values |= self.elements(value)
            elif value.classes or value.callables is None:
                found.values.add(value)
        elif self.classes_of(value):
            # an instance may hide what its class has under that name
            found.values |= {ATOM, self._data_of(value)}
        found.values |= self.put_under(name)
        return found

    def put_under(self, name: str) -> Values:
        """What the call may have put into any argument under that name."""
        return self.put_attributes.get(name, set()) | self.put_attributes.get(ANY_NAME, set())

    def namespace(self, owner: Made | Given) -> Value:
        """``owner.__dict__``"""
        key = ("namespace", owner)
        if key not in self._once:
            self._once[key] = Namespace(owner)
        return self._once[key]  # type: ignore[no-any-return]

    def _attribute_of_instance(self, value: Given, inside: Given, name: str) -> Found:
        """Of an argument whose very class is known."""
        (kind,) = value.classes
        found = self.from_class(kind, name, value)
        if found.hidden:
            return found
        if not found:
            found.getters = self._fallback(kind, value)
            found.values.add(inside)
        elif name in value.hides:
            found.values.add(inside)
        found.values |= self.put_under(name)
        return found

    def _data_of(self, value: Given) -> Value:
        """An argument as far as it is no function. Who asks what any arguments do asks about those without functions:
        `bundlebee.bundles.effects.Summary.covers`."""
        if value.callables is not None:
            return value
        key = ("data of", value)
        if key not in self._once:
            self._once[key] = Given(value.name, value.classes, ())
        return self._once[key]  # type: ignore[no-any-return]

    def _super_attribute(self, value: Super, name: str) -> Found:
        found = Found()
        for receiver in list(value.receivers):
            if isinstance(receiver, Live) and isinstance(receiver.object, type):
                if value.after in receiver.object.__mro__:
                    where = self.lookup(receiver.object, name, value.after)
                    if where is not None:
                        found.values |= self.on_class(receiver.object, *where, name).values
                continue
            for kind in self.classes_of(receiver):
                if value.after in kind.__mro__:
                    more = self.from_class(kind, name, receiver, value.after)
                    found.values |= more.values
                    found.getters += more.getters
                    found.kept |= more.kept
        return found

    def _live_attribute(self, value: Live, name: str) -> Found:
        thing = value.object
        label = f"{value.name}.{name}"
        if isinstance(thing, ModuleType):
            return self._module_attribute(thing, value.name, name)
        if isinstance(thing, type):
            return self._class_attribute(thing, name, label)
        kind = type(thing)
        reason = self.catalogue.unsafe(kind)
        if reason is not None:
            raise Harm(f"{reason} ({label})")
        if isinstance(thing, FunctionType | LRU):
            if name in _ABOUT:
                return Found({ATOM})
            found = getattr(thing, "__dict__", {}).get(name, MISSING)
            if name == "__wrapped__" or (found is MISSING and hasattr(type(thing), name)):
                raise Harm(f"looks at {label}")
            self.observe("attribute", thing, name, found)
            return Found() if found is MISSING else Found({self.live(found, label)})
        if isinstance(thing, Enum) or self.classes_of(value):
            return self._instance_attribute(value, kind, name, label)
        if kind is types.SimpleNamespace:
            own = own_attribute(thing, name)
            self.observe("own", thing, name, own)
            return Found() if own is MISSING and not name.startswith("__") else Found({self.live(own, label)})
        if kind in (functools.partial, MethodType, BuiltinFunctionType):
            if name in _ABOUT:
                return Found({ATOM})
            if kind is BuiltinFunctionType and name not in _OF_BUILTINS:
                return Found()
            raise Harm(f"looks at {label}")
        if self.catalogue.type(kind) is None:
            raise Harm(f"uses {label}, of a {kind.__module__}.{kind.__qualname__}")
        if self._is_method(name):
            return Found({self.builtin_method(name, value, kind)})
        return Found({ATOM, *self.elements(value)})

    def _module_attribute(self, module: ModuleType, label: str, name: str) -> Found:
        if type(module) is not ModuleType:
            raise Harm(f"uses {label}, a module with attributes of its own")
        found = self.global_value(module.__name__, module.__dict__, name)
        if found is not MISSING:
            return Found({self.live(found, f"{label}.{name}")})
        if "__getattr__" in module.__dict__:
            raise Harm(f"uses {label}.{name}, which {label}.__getattr__ provides")
        return Found()

    def _instance_attribute(self, value: Live, kind: type, name: str, label: str) -> Found:
        self._check_reading(kind)
        found = self.from_class(kind, name, value)
        if found.hidden:
            return found
        own = own_attribute(value.object, name)
        self.observe("own", value.object, name, own)
        if own is not MISSING:
            return Found({self.live(own, label)})
        if not found:
            found.getters = self._fallback(kind, value)
        return found

    def _class_attribute(self, thing: type, name: str, label: str) -> Found:
        if name in _ABOUT:
            return Found({ATOM})
        if isinstance(thing, EnumMeta):
            self.read_class(thing)
            if name in thing.__members__:
                return Found({self.live(thing.__members__[name], label)})
            if name == "__members__":
                return Found({self.live(thing.__members__, label)})
        meta = type(thing)
        if meta is not type and name in meta.__dict__ and meta.__module__ not in ("abc", "enum"):
            raise Harm(f"uses {label}, of its metaclass")
        found = self.lookup(thing, name)
        return Found() if found is None else self.on_class(thing, *found, name)
