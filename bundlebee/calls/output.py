"""Standard output and error of a worker: what a shipped call prints is collected and travels with its answer.

What is printed outside a call, such as by a module that is being imported, is dropped: the caller imported
that module, too, and has printed it.
"""

from __future__ import annotations

import io
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from bundlebee.calls.guard import Guard, guard_here
from bundlebee.calls.guard import guard as own_guard
from bundlebee.calls.logged import MORE, RAW
from bundlebee.calls.wire import Printed

#: Characters; then a message goes ahead of the answer, so that a worker's memory stays bounded.
FULL = 64 << 10

PIECE = 32 << 10
"""Characters; longer texts are sent in pieces, for all that goes with an answer has to fit into its header
(`wire.LARGEST_HEADER`)."""

TEXTS = ("stdout", "stderr")


class Printing:
    """Collects what the item at work prints, of both streams, in order."""

    def __init__(self) -> None:
        # a call has no other thread; what a module's own says is not the call's. A task may have many.
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self.all_threads = False
        self.index: int | None = None  #: the item at work; None: nobody listens
        self.parts: list[Printed] = []
        self.size = 0
        self._numbers = itertools.count()  # of what was sent in pieces
        #: sends what there is, called in the thread that prints
        self.flush: Callable[[], None] = lambda: None

    def enter(self) -> None:
        """The calling thread is the one whose output counts."""
        self._thread = threading.get_ident()

    def add(self, stream: str, text: str) -> None:
        """Text from a stream, or a pickle as text (see `logged`)."""
        index = self.index
        if index is None or not text or not (self.all_threads or threading.get_ident() == self._thread):
            return
        if len(text) > PIECE:
            self._add_pieces(stream, text)
            return
        most = 4096 if _is_text(stream) else 0  # a pickle stands alone
        with self._lock:
            parts = self.parts
            last = parts[-1] if parts else None
            if last is not None and last[0] == index and last[1] == stream and len(last[2]) < most:
                parts[-1] = (index, stream, last[2] + text)
            else:
                parts.append((index, stream, text))
            self.size += len(text)
            full = self.size > FULL
        if full:
            self.flush()

    def _add_pieces(self, stream: str, text: str) -> None:
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        if _is_text(stream):
            for piece in pieces:
                self.add(stream, piece)
            return
        # what another thread says may come between them
        number = next(self._numbers)
        for piece in pieces[:-1]:
            self.add(f"{MORE}/{number}", piece)
        self.add(f"{stream}/{number}", pieces[-1])

    def take(self) -> list[Printed]:
        """What there is, and forget it."""
        with self._lock:
            parts, self.parts, self.size = self.parts, [], 0
        return parts


def _is_text(stream: str) -> bool:
    return stream in TEXTS or stream in RAW.values()


class Stream(io.TextIOBase):
    """Stands for `sys.stdout` or `sys.stderr`. A call that reaches for the bytes below is stopped; a task gets `Below`."""

    def __init__(self, name: str, printing: Printing, guard: Guard = own_guard) -> None:
        self._stream = name
        self._printing = printing
        self._guard = guard
        self.name = f"<{name}>"
        self.mode = "w"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "strict" if self._stream == "stdout" else "backslashreplace"

    @property
    def buffer(self) -> Any:
        self._guard.stop(f"reaches for the bytes below sys.{self._stream}")
        return Below(self._stream, self._printing)

    def reconfigure(self, **_options: Any) -> None:
        """How text becomes bytes, and when they are written, is decided at the caller."""
        self._guard.stop(f"reconfigures sys.{self._stream}")

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not text.isascii():  # half a surrogate pair: an error, or shown, as for a stream that encodes
            try:
                text = text.encode(self.encoding, self.errors).decode(self.encoding)
            except UnicodeEncodeError:
                self._guard.stop(f"prints what only the caller's sys.{self._stream} may encode")
                raise
        self._printing.add(self._stream, text)
        return len(text)

    def fileno(self) -> int:
        self._guard.stop(f"asks for the descriptor of sys.{self._stream}")
        raise io.UnsupportedOperation("fileno")

    def isatty(self) -> bool:
        self._guard.stop(f"asks whether sys.{self._stream} is a terminal")
        return False

    def close(self) -> None:
        self._guard.stop(f"closes sys.{self._stream}")


class Below(io.BufferedIOBase):
    """Stands for `sys.stdout.buffer`."""

    def __init__(self, stream: str, printing: Printing) -> None:
        self._stream = RAW[stream]
        self._printing = printing

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = bytes(data).decode("latin-1")
        self._printing.add(self._stream, text)
        return len(text)


class Input(io.TextIOBase):
    """Stands for `sys.stdin`, which only the caller has."""

    def __init__(self, guard: Guard = own_guard) -> None:
        self._guard = guard

    def readable(self) -> bool:
        self._guard.stop("reads sys.stdin")
        return False

    def read(self, size: int | None = -1) -> str:
        self._guard.stop("reads sys.stdin")
        return ""

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]
        self._guard.stop("reads sys.stdin")
        return ""

    def fileno(self) -> int:
        self._guard.stop("asks for the descriptor of sys.stdin")
        raise io.UnsupportedOperation("fileno")


class Divided:
    """Stands for one of the program's own streams while shipped calls run in threads beside it: what such a call writes is
    its own, and everything else goes where it went.

    Args:
        plain: the program's.
        name: its name in `sys`.
    """

    calls: ClassVar[dict[int, dict[str, Any]]] = {}
    """The streams of workers, by thread and name."""

    def __init__(self, plain: Any, name: str) -> None:
        self.plain = plain
        self._name = name

    def _now(self) -> Any:
        if guard_here() is not None:
            streams = self.calls.get(threading.get_ident())
            if streams is not None:
                return streams[self._name]
        return self.plain

    def write(self, text: str) -> Any:
        return self._now().write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._now(), name)

    def __iter__(self) -> Any:
        return iter(self._now())


_NAMES = "stdin", "stdout", "stderr"


def divide() -> None:
    """Put `Divided` in the place of the program's streams, where it is not."""
    for name in _NAMES:
        stream = getattr(sys, name)
        if stream is not None and type(stream) is not Divided:
            setattr(sys, name, Divided(stream, name))


def unite() -> None:
    """Give the program its own streams back, where it has not set others since."""
    for name in _NAMES:
        stream = getattr(sys, name)
        if type(stream) is Divided:
            setattr(sys, name, stream.plain)
