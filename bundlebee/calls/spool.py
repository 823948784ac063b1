"""What a shipped call printed, until it is known whether that counts: a call that is refused runs here, and prints again.

A million lines must not fill the caller's memory, so beyond `KEPT` they go to a temporary file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import msgspec

KEPT = 1 << 20  #: characters in memory; a call that prints more has other worries than a file

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode


class Spool:
    """Parts (``stdout`` or ``stderr``, text), in order. Iterate over it as often as wanted; it ends with its last reference."""

    def __init__(self) -> None:
        self._parts: list[tuple[str, str]] = []
        self._size = 0
        self._file: IO[bytes] | None = None
        self._lengths: list[int] = []  # of the blocks in the file

    def add(self, stream: str, text: str) -> None:
        """One more part."""
        self._parts.append((stream, text))
        self._size += len(text)
        if self._size > KEPT:
            self._put_away()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        if self._file is not None:
            self._file.seek(0)
            for length in self._lengths:
                yield from _decode(self._file.read(length))
        yield from self._parts

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (Spool, list)) else NotImplemented

    def __bool__(self) -> bool:
        return bool(self._parts or self._lengths)

    def _put_away(self) -> None:
        import tempfile

        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # it ends with us
        else:
            self._file.seek(0, 2)
        block = _encode(self._parts)
        self._file.write(block)
        self._lengths.append(len(block))
        self._parts, self._size = [], 0
