"""A digest of the state that a call reads and nobody passes: module globals, with all that hangs on them.

The caller computes it from its modules, the worker from its own; if they differ, the call stays at the caller. So
a patched function, a filled table, a changed setting is noticed, whoever changed it and whenever.

The encoding is canonical: sets without order, instances by their attributes, functions and classes by name and
content. A woven function must look like the plain one, so its bytecode is not compared but what it is made of:
name, line, parameters, names and texts used, defaults and closure. (That the *source* is the same is the bundle
digest's affair.) Shared and recursive structure is encoded by the order of first meeting.
"""

from __future__ import annotations

import functools
import re
import sys
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import msgspec

from bundlebee.bundles import own
from bundlebee.bundles.absent import ABSENT, absent
from bundlebee.bundles.compiled import compiled
from bundlebee.bundles.contents import ATOMS, by_python, is_array, is_number_of_numpy
from bundlebee.bundles.numpy_catalogue import SETTINGS, THREADS, name_in_numpy, settings
from bundlebee.bundles.originals import names_and_texts, original_code
from bundlebee.bundles.steady import Sights
from bundlebee.errors import BundlebeeError
from bundlebee.hashing import blake2b

LIMIT = 200_000
"""Values that one fingerprint looks at; about 0.2 s."""

_BY_REPR = frozenset(
    {"int", "float", "complex", "bool", "str", "bytes", "NoneType", "range", "ellipsis", "slice"}
)
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
_NOT_OF_A_CLASS = frozenset(
    {
        "__module__", "__qualname__", "__name__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__",
        "__annotate_func__", "__annotations_cache__", "__abstractmethods__", "_abc_impl", "__orig_bases__", "__parameters__",
        "__firstlineno__", "__static_attributes__", "__type_params__", "__conditional_annotations__", "__classdictcell__",
        "__slotnames__",  # pickle's memory
        "_value2member_map_",  # an enumeration's memory: flags that were combined
    }
)  # fmt: skip
_LRU = type(functools.lru_cache(lambda: None))
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)
_C_METHODS = (
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.MethodWrapperType,
)


LARGEST_ARRAY = 1 << 20
"""Bytes of an array that is part of the state: its digest is computed for each call, and takes 0.6 ms."""


class Unfingerprintable(BundlebeeError):
    """State that the call reads cannot be compared between machines. The call stays here.

    Attributes:
        name: the global, as ``module.name``.
    """

    def __init__(self, name: str, why: str | None = None, hint: str | None = None) -> None:
        super().__init__(f"{name} cannot be compared with the worker's", why=why, hint=hint)
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.name, self.why, self.hint)


class State(msgspec.Struct, frozen=True):
    """The state behind a call, at one moment."""

    digest: bytes  #: 16 bytes; equal there and here, or the call may not be shipped
    #: ids of the mutable objects in it; an argument among them must not travel as a copy
    objects: frozenset[int]


class Remembered:
    """The fingerprint of some globals, made anew only where something has changed."""

    __slots__ = ("_last", "reads")

    def __init__(self, reads: Sequence[tuple[str, str]]) -> None:
        self.reads = reads
        self._last: tuple[Sights, State] | None = None  # one object, since any thread may ask

    def state(self) -> State:
        """As the function `state`, of ``sys.modules``; the same object as long as nothing has changed."""
        last = self._last
        if last is not None and last[0].still():
            return last[1]
        self._last = None  # nobody's objects are held while others are looked at
        sights = Sights()
        found = state(self.reads, modules=sys.modules, sights=sights)
        self._last = (sights, found) if sights.steady else None
        return found


class _Opaque(Exception):
    """A value that has no canonical encoding."""


def fingerprint(reads: Sequence[tuple[str, str]], *, modules: Mapping[str, ModuleType]) -> bytes:
    """The digest of those globals.

    Args:
        reads: ``(module, global name)``, sorted, as in `Summary.reads`.
        modules: ``sys.modules``. A module or a name that is missing is part of the state.

    Raises:
        Unfingerprintable: one of them holds something that cannot be compared, or is too large.
    """
    return state(reads, modules=modules).digest


def state(
    reads: Sequence[tuple[str, str]], *, modules: Mapping[str, ModuleType], sights: Sights | None = None
) -> State:
    """As `fingerprint`, with the identities of the mutable objects that were met.

    Args:
        sights: takes down what was seen, to tell later whether it is still so.
    """
    sights = sights or Sights()
    encoder = _Encoder(sights)
    for module_name, name in reads:
        module = modules.get(module_name)
        encoder.write("read", module_name, name)
        if name == ABSENT:
            sights.equal(absent, module_name)
            encoder.write(str(absent(module_name)))
            continue
        sights.key(modules, module_name, *(() if module is None else (module,)))  # type: ignore[arg-type]
        if module is None:
            encoder.write("no module")
            continue
        holder = module.__dict__
        if module_name == "numpy" and name in (SETTINGS, THREADS):
            texts = settings(name)
            if texts is None:
                raise Unfingerprintable("numpy.set_printoptions", why="a formatter is a function")
            sights.equal(settings, name)
            encoder.write(*texts)
            continue
        sights.key(holder, name, *((holder[name],) if name in holder else ()))
        if name not in holder:
            encoder.write("missing")
            continue
        try:
            if module_name.partition(".")[0] in sys.stdlib_module_names and module_name != "__main__":
                encoder.attempt(holder[name])  # its scanners and locks are of no program's making
            else:
                encoder.value(holder[name])
        except _Opaque as opaque:
            raise Unfingerprintable(f"{module_name}.{name}", why=str(opaque)) from None
        except RecursionError:
            raise Unfingerprintable(f"{module_name}.{name}", why="it is nested too deeply") from None
    return State(encoder.digest(), frozenset(encoder.mutable))


class _Encoder:
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
        """Encode anything. Raises _Opaque."""
        kind = type(value)
        if kind in ATOMS:
            self.write(kind.__name__, _text(value))
            return
        self._spend(1)
        known = self._met.get(id(value))
        if known is not None:
            if not self._tolerant and id(value) in self._gappy:
                raise _Opaque(f"it holds a {kind.__module__}.{kind.__qualname__}")
            self.write("again", str(known))
            return
        self._met[id(value)] = len(self._met)
        self._keep.append(value)
        gaps = self._gaps
        try:
            self._encode(value, kind)
        except _Opaque:
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
            raise _Opaque(f"it holds more than {LIMIT:,} values")

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
            part = _Encoder(self._sights)
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
            self._sights.equal(_full_name, value)
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
            if name not in _NOT_OF_A_CLASS and not (standard and _is_method_of(value, name, member)):
                self.write(name)
                self.attempt(member)
        registry = _registered(value)
        if "_abc_impl" in value.__dict__:
            self._sights.equal(_registered, value)
        if registry:
            self.write("registered", *registry)

    def _numpy(self, value: Any, kind: type) -> bool:
        """Arrays, numbers and functions of NumPy's."""
        if is_array(kind):
            self.mutable.add(id(value))
            if value.dtype.hasobject or value.nbytes > LARGEST_ARRAY:
                raise _Opaque("it is an array of objects" if value.dtype.hasobject else "it is a large array")
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
            raise _Opaque(f"it holds a {key[0]}.{key[1]}")
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
            raise _Opaque(f"it holds a {kind.__module__}.{kind.__qualname__}, a kind of {base.__name__}")
        attributes = own.attributes(value) or {}
        self._sights.instance(value, attributes, own.slot_names(kind))
        self.write(str(len(attributes)))
        for name, item in attributes.items():
            self.write(name)
            self.value(item)
        for slot, item in own.slots(value):
            self.write(slot)
            self.value(item)


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


def _object(encoder: _Encoder, value: object) -> None:
    encoder.mutable.add(id(value))
    encoder.write("object")


def _bytearray(encoder: _Encoder, value: bytearray) -> None:
    encoder.mutable.add(id(value))
    encoder.watch_bytes(value)
    encoder.write("bytearray", repr(value))


def _slice(encoder: _Encoder, value: slice) -> None:
    encoder.blur()
    encoder.write("slice", repr(value))


_ENCODERS: dict[type, Callable[[_Encoder, Any], None]] = {
    list: _Encoder._list,
    tuple: _Encoder._sequence,
    deque: _Encoder._list,
    dict: _Encoder._mapping,
    defaultdict: _Encoder._mapping,
    OrderedDict: _Encoder._mapping,
    Counter: _Encoder._mapping,
    types.MappingProxyType: _Encoder._proxy,
    set: _Encoder._set,
    frozenset: _Encoder._set,
    object: _object,
    bytearray: _bytearray,
    slice: _slice,
    FunctionType: _Encoder._function,
    BuiltinFunctionType: _Encoder._builtin,
    MethodType: _Encoder._method,
    _LRU: _Encoder._cached,
    functools.partial: _Encoder._partial,
    functools.cached_property: _Encoder._cached_property,
    property: _Encoder._property,
    staticmethod: _Encoder._wrapping,
    classmethod: _Encoder._wrapping,
    re.Pattern: _Encoder._pattern,
    **dict.fromkeys((*_SLOTS, *_C_METHODS), _Encoder._named),
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


def _full_name(value: type) -> tuple[str, str, bool]:
    return (
        value.__module__,
        value.__qualname__,
        own.by_name(value.__module__, value.__qualname__) is value,
    )


def _is_method_of(kind: type, name: str, member: Any) -> bool:
    """Whether a member of a class is a method that was written in it, unchanged."""
    function = member.__func__ if type(member) in (staticmethod, classmethod) else member
    if type(function) is property:
        parts = [part for part in (function.fget, function.fset, function.fdel) if part is not None]
        return all(_is_method_of(kind, name, part) for part in parts)
    if type(function) is not FunctionType or function.__dict__:
        return type(function) in _C_METHODS or type(function) in _SLOTS
    code = original_code(function)
    module = sys.modules.get(kind.__module__)
    return (
        code.co_qualname == f"{kind.__qualname__}.{name}"
        and module is not None
        and function.__globals__ is module.__dict__
        and function.__closure__ is None
    )


def _registered(value: type) -> list[str]:
    """Names of the classes that were registered with an abstract base class."""
    if "_abc_impl" not in value.__dict__:
        return []
    try:
        import _abc  # type: ignore[import-not-found]
    except ImportError:
        return []
    registered = [ref() for ref in _abc._get_dump(value)[0]]
    return sorted(f"{kind.__module__}.{kind.__qualname__}" for kind in registered if kind is not None)
