"""Woven modules on disk, so that only the first import of a source pays for the weaver.

An entry is named after the module and its path, and holds the digest of the source it was made from: an
edited file replaces its entry, and the directory does not grow. An entry that is damaged, stale, or made by
another weaver is a miss; a directory that cannot be read or written is no error. Nothing here imports ast or
libcst.

    entry = head, facts
    head  = CRC-32 of the rest of the head (4 bytes, big-endian), length of what follows (4 bytes), marshal of
            (stamp, digest, status, code, sites, unwoven)
    facts = CRC-32 (4 bytes), then what `bundlebee.bundles.facts` encoded; read only when somebody asks

Whether a source is still the one of its entry is asked of the file system, as for ``.pyc`` files: the source is read
and hashed only where its `Status` is not the one on record. That is stricter than Python's own rule (seconds of the
last change, and size), which would miss a file that was put in another's place with its times kept.

The entry is code that will run, as in ``__pycache__``: the directory is made for its owner only.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from collections.abc import Callable
from importlib.util import MAGIC_NUMBER, source_hash
from io import FileIO
from pathlib import Path
from types import CodeType
from typing import Any

from bundlebee.clock import clock
from bundlebee.places import user_directory
from bundlebee.weaving.outcomes import ScatterSite, SkippedSite, WovenModule

_CHECK = 4  # bytes of a checksum: it finds damage, which could crash marshal
_LENGTH = 4  # bytes of the head's length
_AT_ONCE = 1 << 16  # bytes that are read first, into memory that is there: the head of nearly every module

SETTLED = 2.0
"""Seconds. A file that changed later than that ago may change again and keep its times: file systems tell them in steps
of up to so many seconds (FAT). Its `Status` proves nothing yet."""

Status = tuple[int, int, int, int]
"""Of a file: size, times of the last change of content and of anything about it (ns), number. Whoever writes to a file, or
puts another in its place, changes one of them; the third cannot be set by programs."""

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
        self._prefix = os.path.join(directory, "")
        #: one for each thread that reads at the same time; new memory for each module costs more than the reading
        self._buffers: list[bytearray] = []

    def load(
        self,
        source: Callable[[], bytes],
        *,
        module: str,
        path: str,
        scatter: bool,
        status: Status | None = None,
    ) -> WovenModule | None:
        """The woven form of a source if it is here, else None. It has no `text`, no `points` and no `facts`.

        Args:
            source: reads it; called only where the status does not tell that it is the same.
            module: its dotted name.
            path: where it lies.
            scatter: whether scatter sites are woven, too.
            status: of the file, taken before; None if it is not to be trusted.
        """
        file = self._file(module, path, scatter)
        try:
            stamp, digest, seen, code, sites, unwoven = self._head(file)
            if stamp != weaver_stamp() or not isinstance(code, CodeType):
                return None
            if status is None or seen != status:
                if digest != digest_of(source()):
                    return None
                if status is not None:  # the same content in a file that looks another
                    content = stamp, digest, status, code, sites, unwoven
                    self._write(file, content, self._tail(file, digest))
            return WovenModule(
                module,
                path,
                None,
                code,
                (),
                tuple([_unpacked(site) for site in sites]),
                None,
                digest,
                unwoven,
            )
        except (OSError, ValueError, TypeError, EOFError, KeyError):
            return None

    def _head(self, file: str) -> tuple[Any, ...]:
        """What stands in the head of an entry. Raises OSError, ValueError, TypeError or EOFError where it cannot be read."""
        try:
            buffer = self._buffers.pop()
        except IndexError:
            buffer = bytearray(_AT_ONCE)
        try:
            data: bytes | bytearray = buffer
            with FileIO(file) as entry:
                size = entry.readinto(buffer)
                end = _CHECK + _LENGTH + int.from_bytes(buffer[_CHECK : _CHECK + _LENGTH])
                if end > _AT_ONCE:
                    data = bytes(buffer) + (entry.readall() or b"")
                    size = len(data)
            head = memoryview(data)[_CHECK:end]
            if end > size or _checksum(head) != data[:_CHECK]:
                raise ValueError("damaged")
            content: tuple[Any, ...] = marshal.loads(head[_LENGTH:])
            return content
        finally:
            self._buffers.append(buffer)

    def facts(self, digest: str, *, module: str, path: str, scatter: bool) -> bytes:
        """The facts of the source with that digest; empty where they are gone, as after an edit."""
        return self._tail(self._file(module, path, scatter), digest)

    def store(self, woven: WovenModule, *, scatter: bool, status: Status | None = None) -> bool:
        """Write an entry; False where that is not possible. ``status`` is the file's, from before it was read."""
        content = (
            weaver_stamp(),
            woven.digest,
            status,
            woven.code,
            tuple(_packed(site) for site in woven.sites),
            woven.unwoven,
        )
        return self._write(self._file(woven.module, woven.path, scatter), content, woven.facts or b"")

    @staticmethod
    def _tail(file: str, digest: str) -> bytes:
        try:
            with FileIO(file) as entry:
                data = entry.readall() or b""
            end = _CHECK + _LENGTH + int.from_bytes(data[_CHECK : _CHECK + _LENGTH])
            if _checksum(memoryview(data)[_CHECK:end]) != data[:_CHECK]:
                return b""
            facts = data[end + _CHECK :]
            if marshal.loads(data[_CHECK + _LENGTH : end])[1] != digest:
                return b""
        except (OSError, ValueError, TypeError, EOFError, IndexError):
            return b""
        return facts if _checksum(facts) == data[end : end + _CHECK] else b""

    @staticmethod
    def _write(file: str, content: tuple[Any, ...], facts: bytes) -> bool:
        packed = marshal.dumps(content)
        head = len(packed).to_bytes(_LENGTH) + packed
        temporary = Path(f"{file}.{os.getpid()}.{id(content):x}")
        try:
            temporary.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                temporary.write_bytes(b"".join((_checksum(head), head, _checksum(facts), facts)))
                os.replace(temporary, file)
            except OSError:
                temporary.unlink(missing_ok=True)
                return False
        except OSError:
            return False
        return True

    def _file(self, module: str, path: str, scatter: bool) -> str:
        identity = f"{module}\0{path}\0{scatter:d}{sys.flags.optimize}"
        name = source_hash(identity.encode("utf-8", "surrogatepass")).hex()
        return f"{self._prefix}{name}.{sys.implementation.cache_tag}"


def status_of(path: str) -> Status | None:
    """The status of a source file; None where there is none, or it may still change unseen."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if max(found.st_mtime, found.st_ctime) > clock.time() - SETTLED:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


_stamp: bytes | None = None


def weaver_stamp() -> bytes:
    """What tells one weaver from another: the interpreter's bytecode version, and our own source files."""
    global _stamp
    if _stamp is None:
        here = os.path.dirname(os.path.abspath(__file__))
        stamps = []
        # facts come from the room of bundles; which of its files have a say in them is its own affair
        for room in (here, os.path.join(os.path.dirname(here), "bundles")):
            try:
                with os.scandir(room) as files:
                    for file in files:
                        if file.name.endswith((".py", ".toml")):
                            status = file.stat()
                            stamps.append(f"{file.name} {status.st_size} {status.st_mtime_ns}")
            except OSError:  # a frozen or zipped installation: the version has to do
                continue
        _stamp = source_hash("\n".join([MAGIC_NUMBER.hex(), *sorted(stamps)]).encode())
    return _stamp


def digest_of(source: bytes) -> str:
    """The digest by which a module's source is known here: Python's own for ``.pyc`` files (PEP 552), hex."""
    return source_hash(source).hex()


def _checksum(data: bytes | memoryview) -> bytes:
    return zlib.crc32(data).to_bytes(_CHECK)


def _packed(outcome: object) -> tuple[Any, ...]:
    for tag, (kind, fields) in _FIELDS.items():
        if isinstance(outcome, kind):
            return (tag, *(getattr(outcome, field) for field in fields.split()))
    raise TypeError(f"{type(outcome).__name__} is no outcome")


def _unpacked(packed: tuple[Any, ...]) -> Any:
    tag, *values = packed
    return _FIELDS[tag][0](*values)
