"""The standard library's own modules, read like a bundle's: for functions of which the catalogue says nothing.

Their facts are made when an analysis first meets such a function, and kept on disk for the next process: to read a module takes
some 100 µs a line. The source must be the very file that the interpreter runs; where there is none (frozen, zipped, compiled), nothing
is known.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FunctionType

import msgspec

from bundlebee.bundles.facts import ModuleFacts, decode, encode, facts_of_source
from bundlebee.places import user_directory

LARGEST = 200_000
"""Bytes of a module that is read, about 5,000 lines: half a second, once."""

_LEFT_OUT = frozenset(
    {"bundlebee", "test", "idlelib", "tkinter", "turtle", "pydoc", "lib2to3", "antigravity", "this"}
)
_BY_ANOTHER_NAME = {"collections.abc": "_collections_abc"}
_KNOWN: dict[str, tuple[object, ModuleFacts | None]] = {}


def is_standard(module: str) -> bool:
    """Whether a module of that name belongs to the standard library."""
    return module.partition(".")[0] in sys.stdlib_module_names


def real_name(module: str) -> str:
    """Where ``sys.modules`` holds a module; one of them gives itself another name."""
    return _BY_ANOTHER_NAME.get(module, module)


def facts_of_library(name: str) -> ModuleFacts | None:
    """The facts of a loaded module of the standard library; None if it is none, or has no source that can be read."""
    if not is_standard(name) or name.partition(".")[0] in _LEFT_OUT:
        return None
    module = sys.modules.get(name)
    known = _KNOWN.get(name)
    if known is None or known[0] is not module:
        known = _KNOWN[name] = (
            module,
            None if module is None else _read(name, getattr(module, "__file__", None)),
        )
    return known[1]


class _Kept(msgspec.Struct, frozen=True):
    """Facts as they are kept for the next process."""

    stamp: str
    facts: bytes


def _read(name: str, path: str | None) -> ModuleFacts | None:
    if path is None or not path.endswith(".py"):
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    if status.st_size > LARGEST:
        return None
    from bundlebee.bundles.facts import VERSION

    stamp = f"{VERSION} {sys.hexversion:x} {path} {status.st_size} {status.st_mtime_ns}"
    kept = Path(user_directory("cache")) / "library" / f"{name}-{sys.hexversion:x}.msgpack"
    try:
        found = msgspec.msgpack.decode(kept.read_bytes(), type=_Kept)
        if found.stamp == stamp:
            return decode(found.facts)
    except (OSError, ValueError, msgspec.MsgspecError):
        pass
    try:
        facts = facts_of_source(Path(path).read_bytes(), name)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    temporary = kept.with_suffix(f".{os.getpid()}.tmp")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(msgspec.msgpack.encode(_Kept(stamp, encode(facts))))
        os.replace(temporary, kept)
    except OSError:
        pass
    return facts


def replaced(owner: type, raw: object) -> bool:
    """Whether a class of the standard library holds a function that somebody else put there: no fingerprint shows that."""
    return (
        isinstance(raw, FunctionType)
        and is_standard(owner.__module__)
        and owner.__module__ != "__main__"
        and not is_standard(str(raw.__globals__.get("__name__")))
    )
