"""The canonical encoding of a value: bytes that are the same wherever it is the same, and others as soon as it is not.

Sets have no order, instances are their attributes, functions and classes a name and a content. A woven function must look like
the plain one, so its bytecode is not compared but what it is made of: name, line, parameters, names and texts used, defaults and
closure. (That the *source* is the same is the bundle digest's affair.) Shared and recursive structure is encoded by the order of
first meeting.
"""

from __future__ import annotations

import functools
import re
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from datetime import tzinfo
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from bundlebee.bundles import own
from bundlebee.bundles.compiled import compiled
from bundlebee.bundles.contents import ATOMS, by_python, is_array, is_number_of_numpy
from bundlebee.bundles.members import C_METHODS, NOTED, SLOTS, full_name, is_method_of, registered
from bundlebee.bundles.numpy_catalogue import name_in_numpy
from bundlebee.bundles.originals import names_and_texts, original_code
from bundlebee.bundles.steady import Sights
from bundlebee.hashing import blake2b

LIMIT = 200_000
"""Values that one fingerprint looks at; about 0.2 s."""

LARGEST_ARRAY = 1 << 20
"""Bytes of an array that is part of the state: its digest is computed for each call, and takes 0.6 ms."""

_REPR_VALUES = frozenset(
    {
        ("fractions", "Fraction"),
        ("decimal", "Decimal"),
        ("datetime", "date"),
        ("datetime", "timedelta"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timezone"),
        ("uuid", "UUID"),
        ("operator", "itemgetter"),
        ("operator", "attrgetter"),
        ("operator", "methodcaller"),
        ("typing", "TypeVar"),
        ("typing", "ParamSpec"),
    }
)
#: Instances of these modules' classes are never taken apart.
_FOREIGN = frozenset(
    {
        "threading",
        "socket",
        "io",
        "_io",
        "subprocess",
        "weakref",
        "contextvars",
        "random",
        "_thread",
        "asyncio",
    }
)
_LRU = type(functools.lru_cache(lambda: None))


class Opaque(Exception):
    """A value that has no canonical encoding."""


class Encoder:
    """The bytes of one value after the other; each object that is met leaves a sight."""

    def __init__(self, sights: Sights) -> None:
        self._sights = sights
        self._parts: list[bytes] = []
        self._met: dict[int, int] = {}
        self._keep: list[Any] = []  # so that ids stay unique
        self._left = LIMIT
        self._tolerant = False  # whether what has no encoding leaves a gap, instead of being an obstacle
        self._gaps = 0
        self._gappy: set[int] = set()  # ids of values with a gap inside
        self.mutable: set[int] = set()

    def digest(self) -> bytes:
        return blake2b(b"".join(self._parts), digest_size=16).digest()

    def blur(self) -> None:
        self._sights.blur()

    def watch_bytes(self, value: bytearray) -> None:
        self._sights.equal(bytes, value)

    def write(self, *texts: str) -> None:
        for text in texts:
            data = text.encode("utf-8", "surrogatepass")
            self._parts.append(b"%d:%b" % (len(data), data))

    def value(self, value: Any) -> None:
        """Encode anything. Raises Opaque."""
        kind = type(value)
        if kind in ATOMS:
            self.write(kind.__name__, _text(value))
            return
        self._spend(1)
        known = self._met.get(id(value))
        if known is not None:
            if not self._tolerant and id(value) in self._gappy:
                raise Opaque(f"it holds a {kind.__module__}.{kind.__qualname__}")
            self.write("again", str(known))
            return
        self._met[id(value)] = len(self._met)
        self._keep.append(value)
        gaps = self._gaps
        try:
            self._encode(value, kind)
        except Opaque:
            self._gappy.add(id(value))
            if not self._tolerant or self._left < 0:
                raise
            self._gaps += 1
            self.mutable.add(id(value))
            self._sights.blur()
            self.write("opaque", f"{kind.__module__}.{kind.__qualname__}")
        if self._gaps != gaps:
            self._gappy.add(id(value))

    def _encode(self, value: Any, kind: type) -> None:
        encode = _ENCODERS.get(kind)
        if encode is not None:
            encode(self, value)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, ModuleType):
            self._sights.attributes(value, "__name__")
            self.write("module", value.__name__)
        else:
            self._other(value, kind)

    def _spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise Opaque(f"it holds more than {LIMIT:,} values")

    # -- containers --------------------------------------------------------------------------------------

    def _sequence(self, value: Iterable[Any]) -> None:
        items = list(value)
        self.write(type(value).__name__, str(len(items)))
        if set(map(type, items)) <= ATOMS:
            self._spend(len(items) // 10)  # these are cheap
            self.write(*[f"{type(item).__name__} {_text(item)}" for item in items])
            return
        for item in items:
            self.value(item)

    def _list(self, value: Any) -> None:
        self.mutable.add(id(value))
        self._sights.items(value)
        self._sequence(value)
        if type(value) is deque:
            self.write(str(value.maxlen))

    def _mapping(self, value: Any) -> None:
        self.mutable.add(id(value))
        self._sights.mapping(value)
        self.write(type(value).__name__)
        if type(value) is defaultdict:
            self._sights.attributes(value, "default_factory")
            self.value(value.default_factory)
        self._sequence(value.keys())
        self._sequence(value.values())

    def _proxy(self, value: types.MappingProxyType[Any, Any]) -> None:
        self._sights.blur()
        self._mapping(dict(value))

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        """Without order: each element by itself, the digests sorted."""
        self.mutable.add(id(value))
        self._sights.items(value)
        self.write(type(value).__name__, str(len(value)))
        digests = []
        for item in value:
            part = Encoder(self._sights)
            self._keep.append(part)
            part._left, part._tolerant = self._left, self._tolerant
            part.value(item)
            self._gaps += part._gaps
            self._left = part._left
            self._spend(1)
            self.mutable |= part.mutable
            digests.append(part.digest().hex())
        self.write(*sorted(digests))
        # The order in which it iterates is state, too; it can be told for texts and numbers only.
        self.write(*[_text(item) for item in value if type(item) in ATOMS and item is not None])

    # -- code --------------------------------------------------------------------------------------------

    def _function(self, value: FunctionType) -> None:
        code = original_code(value)
        self._sights.function(value)
        if (made_of := compiled(value)) is not None:  # whether it has been compiled yet means nothing
            self.write("compiled when called", value.__qualname__)
            for layer in made_of.layers:
                self.value(layer.maker)
            self.value(made_of.below)
            return
        self.write("function", str(value.__globals__.get("__name__")), code.co_qualname)
        self.write(str(code.co_firstlineno), str(code.co_argcount), str(code.co_posonlyargcount))
        count = code.co_argcount + code.co_kwonlyargcount
        self.write(*code.co_varnames[:count], str(code.co_flags & 0b1010101100))
        self.write(*sorted(names_and_texts(code)))
        self.value(value.__defaults__)
        self.value(value.__kwdefaults__)
        for cell in value.__closure__ or ():
            try:
                contents = cell.cell_contents
            except ValueError:
                self.write("empty cell")
            else:
                self.value(contents)
        for name, attribute in sorted(value.__dict__.items()):
            self.write(name)
            self.attempt(attribute)

    def attempt(self, value: Any) -> None:
        """Encode a value that is not known to be read: what has no encoding, in it or all of it, counts by its type."""
        before, self._tolerant = self._tolerant, True
        gaps = self._gaps
        try:
            self.value(value)
        finally:
            self._tolerant = before
            self._gaps = gaps  # whoever holds it may have one there wherever it is met

    def _builtin(self, value: BuiltinFunctionType) -> None:
        self._sights.attributes(value, "__module__")
        self.write("builtin", str(value.__module__), value.__qualname__)
        holder = value.__self__
        if holder is not None and not isinstance(holder, ModuleType):
            if type(holder).__module__ in ("random", "_random"):
                self.write("global generator")
            else:
                self.value(holder)

    def _method(self, value: MethodType) -> None:
        self.write("method")
        self.value(value.__func__)
        holder = value.__self__
        if type(holder).__module__ == "random":
            self.write("global generator")
        else:
            self.value(holder)

    def _cached(self, value: Any) -> None:
        self._sights.blur()
        self.write("cached", repr(value.cache_parameters()))
        self.value(value.__wrapped__)

    def _partial(self, value: functools.partial[Any]) -> None:
        self._sights.attributes(value, "func", "args", "keywords")
        self.write("partial")
        self.value(value.func)
        self.value(value.args)
        self.value(value.keywords)

    def _property(self, value: property) -> None:
        self._sights.attributes(value, "fget", "fset", "fdel")
        self.write("property")
        for part in (value.fget, value.fset, value.fdel):
            self.value(part)

    def _wrapping(self, value: Any) -> None:
        self._sights.attributes(value, "__func__")
        self.write(type(value).__name__)
        self.value(value.__func__)

    def _cached_property(self, value: functools.cached_property[Any]) -> None:
        self._sights.attributes(value, "func")
        self.write("cached property")
        self.value(value.func)

    def _named(self, value: Any) -> None:
        self.write(type(value).__name__, getattr(value, "__qualname__", value.__name__))

    def _pattern(self, value: re.Pattern[Any]) -> None:
        self.write("pattern", str(value.flags))
        self.value(value.pattern)

    def _class(self, value: type) -> None:
        self.write("class", str(value.__module__), value.__qualname__)
        module = str(value.__module__)
        standard = module.partition(".")[0] in sys.stdlib_module_names and module != "__main__"
        if module == "builtins" and not by_python(value):
            return
        if standard or not by_python(value):
            self._sights.equal(full_name, value)
            if own.by_name(value.__module__, value.__qualname__) is not value:
                self.write("hidden")
            if not by_python(value):
                return
        self._sights.kind(value)
        for base in value.__mro__[1:]:
            self.value(base)
        self.value(type(value))
        for name, member in sorted(value.__dict__.items()):
            # the library's own methods are the same everywhere; one that a program has put in their place is not
            if name not in NOTED and not (standard and is_method_of(value, name, member)):
                self.write(name)
                self.attempt(member)
        registry = registered(value)
        if "_abc_impl" in value.__dict__:
            self._sights.equal(registered, value)
        if registry:
            self.write("registered", *registry)

    def _numpy(self, value: Any, kind: type) -> bool:
        """Arrays, numbers and functions of NumPy's."""
        if is_array(kind):
            self.mutable.add(id(value))
            if value.dtype.hasobject or value.nbytes > LARGEST_ARRAY:
                raise Opaque("it is an array of objects" if value.dtype.hasobject else "it is a large array")
            self._sights.equal(_of_array, value)
            self.write("ndarray", *_of_array(value))
        elif is_number_of_numpy(kind):
            self.write("number", kind.__name__, repr(value.dtype), value.tobytes().hex())
        elif (name := name_in_numpy(value)) is not None:
            self.write("numpy", name)
        else:
            return False
        return True

    # -- instances ---------------------------------------------------------------------------------------

    def _other(self, value: Any, kind: type) -> None:
        key = (kind.__module__, kind.__qualname__)
        if isinstance(value, Enum):
            self._sights.attributes(value, "_name_", "_value_", "__class__")
            self.write(
                "member", *key, str(value._name_), repr(value._value_) if type(value._value_) in ATOMS else ""
            )
            self.value(kind)
            return
        if key in _REPR_VALUES or kind.__module__ in ("typing", "types"):
            self._sights.equal(repr, value)
            self.write(*key, repr(value))
            return
        if key == ("logging", "Logger"):
            self._sights.attributes(value, "name")
            self.write("logger", value.name)
            return
        if self._numpy(value, kind):
            return
        if key == ("array", "array"):
            self.mutable.add(id(value))
            self._sights.blur()
            self.write("array", value.typecode, repr(value.tolist()))
            return
        if not by_python(kind) or kind.__module__.partition(".")[0] in _FOREIGN:
            raise Opaque(f"it holds a {key[0]}.{key[1]}")
        self._instance(value, kind)

    def _instance(self, value: Any, kind: type) -> None:
        base = next(base for base in kind.__mro__ if not by_python(base))
        self.mutable.add(id(value))
        self.write("instance")
        self.value(kind)
        if base in (list, tuple, set, frozenset):
            self._sights.items_of(base, value)
            self._sequence(base.__iter__(value))
        elif base is dict:
            self._sights.mapping(value)
            self._sequence(dict.keys(value))
            self._sequence(dict.values(value))
        elif base in (int, float, complex, str, bytes):
            self.write(base.__repr__(value))
        elif base is not object and base is not tzinfo and not issubclass(base, BaseException):
            raise Opaque(f"it holds a {kind.__module__}.{kind.__qualname__}, a kind of {base.__name__}")
        attributes = own.attributes(value) or {}
        self._sights.instance(value, attributes, own.slot_names(kind))
        self.write(str(len(attributes)))
        for name, item in attributes.items():
            self.write(name)
            self.value(item)
        for slot, item in own.slots(value):
            self.write(slot)
            self.value(item)


def _object(encoder: Encoder, value: object) -> None:
    encoder.mutable.add(id(value))
    encoder.write("object")


def _bytearray(encoder: Encoder, value: bytearray) -> None:
    encoder.mutable.add(id(value))
    encoder.watch_bytes(value)
    encoder.write("bytearray", repr(value))


def _slice(encoder: Encoder, value: slice) -> None:
    encoder.blur()
    encoder.write("slice", repr(value))


_ENCODERS: dict[type, Callable[[Encoder, Any], None]] = {
    list: Encoder._list,
    tuple: Encoder._sequence,
    deque: Encoder._list,
    dict: Encoder._mapping,
    defaultdict: Encoder._mapping,
    OrderedDict: Encoder._mapping,
    Counter: Encoder._mapping,
    types.MappingProxyType: Encoder._proxy,
    set: Encoder._set,
    frozenset: Encoder._set,
    object: _object,
    bytearray: _bytearray,
    slice: _slice,
    FunctionType: Encoder._function,
    BuiltinFunctionType: Encoder._builtin,
    MethodType: Encoder._method,
    _LRU: Encoder._cached,
    functools.partial: Encoder._partial,
    functools.cached_property: Encoder._cached_property,
    property: Encoder._property,
    staticmethod: Encoder._wrapping,
    classmethod: Encoder._wrapping,
    re.Pattern: Encoder._pattern,
    **dict.fromkeys((*SLOTS, *C_METHODS), Encoder._named),
}


def _text(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # an int with more digits than may be printed
        return hex(value)


def _of_array(value: Any) -> list[str]:
    """All that an array is."""
    return [
        repr(value.dtype),
        repr(value.shape),
        repr(value.strides),
        str(value.flags.writeable),
        blake2b(value.tobytes("A"), digest_size=16).hexdigest(),
    ]
