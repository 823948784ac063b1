"""What builtins and the standard library do: `catalogue.toml`, ready for look-up.

The data file says all that there is to say; this module only reads it, when the first analysis runs.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from bundlebee.bundles.contents import by_python, travelling
from bundlebee.places import user_directory

#: Modules of the interpreter that stand behind one of the standard library.
_BEHIND = {
    "_bisect": "bisect",
    "_collections": "collections",
    "_functools": "functools",
    "_hashlib": "hashlib",
    "_blake2": "hashlib",
    "_heapq": "heapq",
    "_io": "io",
    "_json": "json",
    "_operator": "operator",
    "_random": "random",
    "_statistics": "statistics",
    "_struct": "struct",
    "_warnings": "warnings",
    "nt": "os",
    "posix": "os",
}
Kind: TypeAlias = type
_WORDS = frozenset(
    (
        "number",
        "atom",
        "fresh",
        "copy",
        "nest",
        "hold",
        "element",
        "same",
        "rest",
        "own",
        "keys",
        "values",
        "item",
        "table",
    )
)


class Function(msgspec.Struct, frozen=True):
    """One catalogued function or method."""

    name: str  #: dotted, as in the data file
    returns: frozenset[str] = frozenset()  #: words of the data file
    writes: tuple[int, ...] = ()  #: positions of the arguments that it writes
    writes_self: bool = False
    calls: tuple[int | str, ...] = ()  #: positions and names of the arguments that it calls
    depth: int = 2  #: special methods are called of: 0 nothing, 1 the arguments, 2 also of what they contain
    unsafe: str | None = None  #: why it is unsafe


class Type(msgspec.Struct):
    """One catalogued type."""

    name: str
    create: Function
    immutable: bool
    seeded: bool  #: without an argument it takes the system's randomness
    methods: dict[str, Function] = {}


class Catalogue:
    """Look-up by the real object's module and qualified name."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._functions: dict[str, Function] = {}
        self._whole: dict[str, frozenset[str]] = {}
        self._writes: dict[str, tuple[int, ...]] = {
            name: tuple(where) for name, where in data["writes"].items()
        }
        self._calls: dict[str, tuple[int | str, ...]] = {
            name: tuple(where) for name, where in data["calls"].items()
        }
        moves = data["moves"]
        self._depths = dict.fromkeys(moves["functions"], 0) | dict.fromkeys(moves["shallow"], 1)
        self._moving = dict.fromkeys(moves["methods"], 0) | dict.fromkeys(moves["iterating"], 1)
        for words, modules in data["returns"].items():
            returns = _words(words)
            for module, names in modules.items():
                for name in names:
                    if name == "*":
                        self._whole[module] = returns
                    else:
                        self._functions[f"{module}.{name}"] = self._function(f"{module}.{name}", returns)
        for reason, names in data["unsafe"].items():
            for name in names:
                self._functions[name] = Function(name, unsafe=reason)
        for name in self._writes:
            if name.startswith("bisect."):
                self._functions[name] = self._function(name, frozenset({"atom"}))
        self._unsafe_types: dict[str, str] = {
            name: reason for reason, names in data["unsafe-types"].items() for name in names
        }
        self.types: dict[str, Type] = {}
        for name, entry in data["types"].items():
            self.types[name] = self._type(name, entry, data["types"])
        self._bundles: frozenset[str] = frozenset()
        self._omitted: tuple[int, frozenset[str]] | None = None
        self._by_method: dict[str, tuple[Function, ...]] = {}
        for kind in self.types.values():
            if kind.name != "builtins.object":
                for method, function in kind.methods.items():
                    self._by_method[method] = (*self._by_method.get(method, ()), function)

    def _function(
        self, name: str, returns: frozenset[str], *, writes_self: bool = False, depth: int = 2
    ) -> Function:
        return Function(
            name,
            returns=returns,
            writes=self._writes.get(name, ()),
            writes_self=writes_self,
            calls=self._calls.get(name, ()),
            depth=min(depth, self._depths.get(name, 2)),
        )

    def _type(self, name: str, entry: dict[str, Any], types: dict[str, Any]) -> Type:
        kind = Type(
            name,
            self._function(name, _words(entry["create"])),
            entry.get("immutable", False),
            entry.get("seeded", False),
        )
        for group in [types[entry["base"]], entry] if "base" in entry else [entry]:
            for words, methods in group.items():
                if words in ("create", "immutable", "seeded", "base"):
                    continue
                returns, writes = _METHOD_GROUPS.get(words) or (_words(words), False)
                for method in methods:
                    depth = self._moving.get(method, 2)
                    kind.methods[method] = self._function(
                        f"{name}.{method}", returns, writes_self=writes, depth=depth
                    )
        return kind

    def leave(self, modules: frozenset[str]) -> None:
        """Say nothing any more of what these top-level modules define in Python: they are bundles, and analysed themselves."""
        self._bundles |= modules

    def function(self, module: str | None, qualname: str) -> Function | None:
        """The function of that name, or None if the catalogue does not know it."""
        if self._bundles and (module or "").partition(".")[0] in self._bundles:
            return None
        module = _BEHIND.get(module or "", module or "")
        name = qualname.removeprefix("openssl_")
        found = self._functions.get(f"{module}.{name}")
        if found is None and module in self._whole and "." not in name and not name.startswith("_"):
            found = self._function(f"{module}.{name}", self._whole[module])
        return found

    def type(self, kind: Kind) -> Type | None:
        """The entry of exactly that type."""
        if self._bundles and kind.__module__.partition(".")[0] in self._bundles and by_python(kind):
            return None
        module = (
            _BEHIND.get(kind.__module__, kind.__module__) if kind.__module__ != "_hashlib" else "_hashlib"
        )
        found = self.types.get(f"{module}.{kind.__qualname__}")
        if found is None or getattr(sys.modules.get(module), kind.__qualname__, None) is kind:
            return found
        return found if kind.__module__ in ("_hashlib", "builtins") and not by_python(kind) else None

    def unsafe(self, kind: Kind) -> str | None:
        """Why objects of that type are not for a shipped call, where people have a word for it."""
        for base in kind.__mro__:
            if (name := f"{base.__module__}.{base.__qualname__}") in self._unsafe_types:
                return self._unsafe_types[name]
        return None

    def omits(self, name: str) -> bool:
        """Whether builtin data, as it may come as an argument, has a method of that name that is not in here."""
        kinds = travelling()
        if self._omitted is None or self._omitted[0] != len(kinds):
            self._omitted = (
                len(kinds),
                frozenset(omitted for kind in kinds for omitted in self._missing(kind)),
            )
        return name in self._omitted[1]

    def _missing(self, kind: Kind) -> Iterator[str]:
        """Methods of a type that neither its own entry nor that of a base knows."""
        known = {name for base in kind.__mro__ if (entry := self.type(base)) for name in entry.methods}
        for base in kind.__mro__:
            for name, raw in vars(base).items():
                if name not in known and not name.startswith("__") and isinstance(raw, _METHODS):
                    yield name

    def methods(self, name: str) -> tuple[Function, ...]:
        """The methods of that name, of all types."""
        return self._by_method.get(name, ())


_METHODS = (
    types.FunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.BuiltinFunctionType,
    classmethod,
    staticmethod,
)

_METHOD_GROUPS = {
    "writes": (frozenset({"atom"}), True),
    "takes": (frozenset({"own", "rest"}), True),
    "takes-item": (frozenset({"item"}), True),
    "draws": (frozenset({"element", "copy"}), True),
}


def _words(text: str) -> frozenset[str]:
    words = frozenset(text.split())
    if not words <= _WORDS:
        raise ValueError(f"unknown words in the catalogue: {sorted(words - _WORDS)}")
    return words


@cache
def catalogue() -> Catalogue:
    """The catalogue that is shipped with bundlebee."""
    file = Path(__file__).with_name("catalogue.toml")
    return Catalogue(read(file, Path(user_directory("cache"))))


class _Parsed(msgspec.Struct, frozen=True):
    """The data file, parsed, as it is kept for the next process."""

    stamp: str
    data: dict[str, Any]


def read(file: Path, cache: Path) -> dict[str, Any]:
    """A data file, parsed once on each machine: that takes 10 ms of CPU time, between a program's first loop and its first
    message. It is no error if the directory cannot be used."""
    status = file.stat()
    stamp = f"{file} {status.st_size} {status.st_mtime_ns}"
    kept = cache / f"{file.stem}.msgpack"
    try:
        parsed = msgspec.msgpack.decode(kept.read_bytes(), type=_Parsed)
        if parsed.stamp == stamp:
            return parsed.data
    except (OSError, msgspec.MsgspecError):
        pass
    import tomllib

    data = tomllib.loads(file.read_text("utf-8"))
    temporary = cache / f"{file.stem}.{os.getpid()}.tmp"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.msgpack.encode(_Parsed(stamp, data)))
        os.replace(temporary, kept)
    except OSError:
        pass
    return data
