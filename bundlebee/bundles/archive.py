"""Zip archives: how bundles arrive as files, and how they travel between nodes.

`unpack` trusts nothing: names that would leave the directory, links, encrypted and doubled entries are
refused, and the bounds hold for what really comes out, whatever the archive claims.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundlebee.errors import BrokenBundle

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

MAX_FILES = 20_000
"""Files in one bundle. The largest pure wheels have a few thousand."""

MAX_BYTES = 256 << 20
"""Bytes in one bundle, unpacked: code and its data, not data sets. It is verified in memory."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """A zip archive of these files; equal files give equal bytes."""
    from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

    out = io.BytesIO()
    with ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = ZipInfo(name)  # dated 1980, the earliest that zip knows
            entry.external_attr = 0o644 << 16
            entry.create_system = 3
            archive.writestr(entry, files[name], ZIP_DEFLATED, 6)
    return out.getvalue()


def unpack(archive: Path | bytes, label: str, *, max_bytes: int = MAX_BYTES) -> dict[str, bytes]:
    """The files of a zip archive, by path.

    Args:
        archive: a file, or its bytes.
        label: what to call it in errors.
        max_bytes: of everything, unpacked.

    Raises:
        BrokenBundle: it is damaged, dangerous or too large.
    """
    import zlib
    from zipfile import BadZipFile, ZipFile

    source: Any = archive if isinstance(archive, Path) else io.BytesIO(archive)
    try:
        with ZipFile(source) as opened:
            return _read(opened, label, max_bytes)
    except (
        BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        ValueError,
        RuntimeError,
        OSError,
    ) as error:
        raise BrokenBundle(
            f"{label} cannot be read", why=str(error) or type(error).__name__, hint="copy or build it again"
        ) from error


def _read(archive: ZipFile, label: str, max_bytes: int) -> dict[str, bytes]:
    entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
    if len(entries) > MAX_FILES:
        raise BrokenBundle(f"{label} is too large", why=f"{len(entries)} files, and {MAX_FILES} are allowed")
    files: dict[str, bytes] = {}
    left = max_bytes
    for entry in entries:
        problem = _danger(entry)
        if problem is None and entry.filename in files:
            problem = "is in it twice"
        if problem is not None:
            raise BrokenBundle(f"{label} is refused", why=f"{entry.filename!r} {problem}")
        with archive.open(entry) as stream:
            data = stream.read(left + 1)
        left -= len(data)
        if left < 0:
            raise BrokenBundle(f"{label} is too large", why=f"more than {max_bytes} bytes, unpacked")
        files[entry.filename] = data
    return files


def _danger(entry: ZipInfo) -> str | None:
    name = entry.filename
    if not name or name.startswith("/") or "\\" in name or ":" in name or "\0" in name:
        return "is no relative path"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "leads out of its directory"
    kind = entry.external_attr >> 16 & 0o170000
    if kind not in (0, 0o100000):
        return "is no ordinary file"
    if entry.flag_bits & 0x1:
        return "is encrypted"
    if entry.compress_type not in (0, 8):  # stored, deflated: what wheels use, and what every Python can read
        return "is compressed in a way that is not deflate"
    return None
