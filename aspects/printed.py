"""What a shipped call printed, written to where it would have gone here: to the streams that the program has at that moment.

Text comes in pieces of another size, and after the call. An ordinary stream shows no trace of that. One that the program made
itself may count calls of ``write``, put something before each, or raise; and one of another encoding may refuse a character, which
the function would have noticed. Such calls run here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any

from bundlebee.bundles import own

Output = Iterable[tuple[str, str]]
"""(``stdout`` or ``stderr``, text), in order."""

_ORDINARY = (io.TextIOWrapper.write, io.StringIO.write)


def replay(output: Output) -> None:
    """Write it, in order."""
    for stream, text in output:
        target = _target(stream)
        if target is not None:
            target.write(text)


def cannot_take(output: Output) -> str | None:
    """Why the program's streams would not take that as they would take it from the call itself; None if they would."""
    for stream, text in output:
        target = _target(stream)
        if target is None:
            continue  # as `print` does
        if _own_write(target) not in _ORDINARY or "write" in (own.attributes(target) or ()):
            return f"it prints, and sys.{stream} is a stream of the program's own"
        if target.closed:
            return f"it prints, and sys.{stream} is closed"
        if " at 0x" in text:
            return "it prints the address of an object"
        if type(target.encoding) is str and not text.isascii() and not _encodes(text, target):
            return f"it prints what sys.{stream} cannot encode"
    return None


def _target(stream: str) -> Any:
    return sys.stderr if stream == "stderr" else sys.stdout


def _own_write(target: Any) -> Any:
    kind = type(getattr(target, "plain", target))  # workers that are threads divide it
    return next((base.__dict__["write"] for base in kind.__mro__ if "write" in base.__dict__), None)


def _encodes(text: str, target: Any) -> bool:
    try:
        text.encode(target.encoding, target.errors)
    except (UnicodeError, LookupError):
        return False
    return True
