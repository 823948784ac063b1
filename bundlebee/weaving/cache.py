"""Woven modules on disk, so that only the first import of a source pays for the weaver.

An entry is named after the module and its path, and holds the digest of the source it was made from: an
edited file replaces its entry, and the directory does not grow. An entry that is damaged, stale, or made by
another weaver is a miss; a directory that cannot be read or written is no error. Nothing here imports ast or
libcst.

    entry = CRC-32 of the rest (4 bytes, big-endian), then marshal of
            (stamp, digest, code, sites, facts)

The entry is code that will run, as in ``__pycache__``: the directory is made for its owner only.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from importlib.util import MAGIC_NUMBER, source_hash
from pathlib import Path
from types import CodeType
from typing import Any

from bundlebee.places import user_directory
from bundlebee.weaving.outcomes import ScatterSite, SkippedSite, WovenModule

_CHECK = 4  # bytes of the leading checksum: it finds damage, which could crash marshal

_FIELDS: dict[str, tuple[type, str]] = {
    "site": (ScatterSite, "index kind callee qualname line column attributes fresh"),
    "skipped": (SkippedSite, "kind callee qualname line column reason"),
}


def default_directory() -> Path:
    """Where woven modules are kept unless a place is given: in the user's cache directory."""
    return Path(user_directory("cache")) / "woven"


class WovenCache:
    """A directory of woven modules.

    Args:
        directory: made when the first entry is written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def load(self, source: bytes, *, module: str, path: str, scatter: bool) -> WovenModule | None:
        """The woven form of a source if it is here, else None. It has no `text` and no `points`."""
        try:
            data = self._file(module, path, scatter).read_bytes()
        except OSError:
            return None
        if _checksum(data[_CHECK:]) != data[:_CHECK]:
            return None
        try:
            stamp, digest, code, sites, facts = marshal.loads(data[_CHECK:])
            if stamp != weaver_stamp() or digest != digest_of(source) or not isinstance(code, CodeType):
                return None
            return WovenModule(
                module,
                path,
                None,
                code,
                (),
                tuple(_unpacked(site) for site in sites),
                facts,
                digest,
            )
        except (ValueError, TypeError, EOFError, KeyError):
            return None

    def store(self, woven: WovenModule, *, scatter: bool) -> bool:
        """Write an entry; False where that is not possible."""
        content = (
            weaver_stamp(),
            woven.digest,
            woven.code,
            tuple(_packed(site) for site in woven.sites),
            woven.facts,
        )
        data = marshal.dumps(content)
        file = self._file(woven.module, woven.path, scatter)
        temporary = file.with_name(f"{file.name}.{os.getpid()}.{id(content):x}")
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                temporary.write_bytes(_checksum(data) + data)
                os.replace(temporary, file)
            except OSError:
                temporary.unlink(missing_ok=True)
                return False
        except OSError:
            return False
        return True

    def _file(self, module: str, path: str, scatter: bool) -> Path:
        identity = repr((module, path, scatter, sys.flags.optimize))
        name = source_hash(identity.encode("utf-8", "surrogatepass")).hex()
        return self.directory / f"{name}.{sys.implementation.cache_tag}"


_stamp: bytes | None = None


def weaver_stamp() -> bytes:
    """What tells one weaver from another: the interpreter's bytecode version, and our own source files."""
    global _stamp
    if _stamp is None:
        here = Path(__file__).parent
        stamps = [MAGIC_NUMBER.hex()]
        # facts come from the room of bundles; which of its files have a say in them is its own affair
        for file in (*sorted(here.glob("*.py")), *sorted((here.parent / "bundles").glob("*.py"))):
            try:
                status = file.stat()
            except OSError:  # a frozen or zipped installation: the version has to do
                continue
            stamps.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
        _stamp = source_hash("\n".join(stamps).encode())
    return _stamp


def digest_of(source: bytes) -> str:
    """The digest by which a module's source is known here: Python's own for ``.pyc`` files (PEP 552), hex."""
    return source_hash(source).hex()


def _checksum(data: bytes) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECK)


def _packed(outcome: object) -> tuple[Any, ...]:
    for tag, (kind, fields) in _FIELDS.items():
        if isinstance(outcome, kind):
            return (tag, *(getattr(outcome, field) for field in fields.split()))
    raise TypeError(f"{type(outcome).__name__} is no outcome")


def _unpacked(packed: tuple[Any, ...]) -> Any:
    tag, *values = packed
    return _FIELDS[tag][0](*values)
