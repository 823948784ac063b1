"""An exception that was raised in a worker, raised again at the caller as itself.

Pickle keeps an exception's type, arguments, attributes and notes; it drops the traceback, the cause and the
context. Those travel beside it. At the caller the traceback is rebuilt from frames that never ran: each
shows the original file, line, columns, function and, where the caller does not have that file, the source
line as it was there. A note names the node.

What does not survive the way (the exception cannot be pickled, or not be built again) is not raised in a
changed shape: the worker refuses, and the call runs at the caller, which is safe because a shipped call is.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any

import msgspec

from bundlebee.errors import ProtocolError, Unshippable

MOST_ENTRIES = 100  #: traceback entries that travel, the innermost ones
MOST_LINKS = 16  #: causes and contexts followed


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One line of a traceback."""

    module: str  #: ``__name__`` of the frame's globals
    file: str
    name: str  #: ``co_name``
    qualname: str
    #: line, end line, column, end column, as `code.co_positions` gives them
    positions: tuple[int, int, int, int]
    text: str  #: the source line


class Remote(msgspec.Struct, array_like=True):
    """An exception on its way."""

    exception: bytes
    entries: list[Entry]
    suppress: bool
    cause: Remote | None = None
    context: Remote | None = None
    members: list[Remote] = []  # of an exception group


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Remote)


Dumps = Callable[[BaseException], bytes]


def _by_name(error: BaseException) -> bytes:
    from bundlebee.calls.pickling import dumps_whole

    return dumps_whole(error)


def pack(error: BaseException, ours: Callable[[CodeType], bool], dumps: Dumps = _by_name) -> bytes:
    """An exception with its traceback as bytes.

    Args:
        ours: tells the code of bundlebee itself, whose entries are left out at the top of the traceback.
        dumps: pickles an exception.

    Raises:
        Unshippable: it, its cause or its context cannot be pickled and built again.
    """
    return _encode(_remote(error, ours, dumps, 0, set()))


def unpack(data: bytes | memoryview, node: str) -> BaseException:
    """The exception again, with its traceback; raise it as it is.

    Raises:
        ProtocolError: these are not the bytes of one.
        Unshippable: it cannot be built here.
    """
    try:
        remote = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError("a remote exception cannot be read", why=str(error)) from None
    rebuilt = _rebuild(remote)
    rebuilt.add_note(f"raised on node {node!r}")
    return rebuilt


# -- there ------------------------------------------------------------------------------------------------


def _remote(
    error: BaseException, ours: Callable[[CodeType], bool], dumps: Dumps, depth: int, seen: set[int]
) -> Remote:
    seen.add(id(error))
    try:
        data = dumps(error)
        if type(pickle.loads(data)) is not type(error):
            raise TypeError("it comes back as another type")
    except Exception as problem:
        raise Unshippable(
            f"the exception {type(error).__qualname__} cannot travel",
            why=f"{type(problem).__name__}: {problem}",
        ) from None

    def link(other: BaseException | None) -> Remote | None:
        if other is None or id(other) in seen or depth >= MOST_LINKS:
            return None
        return _remote(other, ours, dumps, depth + 1, seen)

    remote = Remote(data, _entries(error.__traceback__, ours), error.__suppress_context__)
    remote.cause = link(error.__cause__)
    remote.context = link(error.__context__)
    if isinstance(error, BaseExceptionGroup):
        remote.members = [_remote(member, ours, dumps, depth + 1, seen) for member in error.exceptions]
    return remote


def _entries(traceback: TracebackType | None, ours: Callable[[CodeType], bool]) -> list[Entry]:
    import linecache

    entries: list[Entry] = []
    while traceback is not None:
        frame = traceback.tb_frame
        code = frame.f_code
        if entries or not ours(code):
            line = traceback.tb_lineno or code.co_firstlineno
            text = linecache.getline(code.co_filename, line, frame.f_globals).rstrip("\r\n")
            entries.append(
                Entry(
                    str(frame.f_globals.get("__name__", "")),
                    code.co_filename,
                    code.co_name,
                    code.co_qualname,
                    _positions(code, traceback.tb_lasti, line),
                    text[:1000],
                )
            )
        traceback = traceback.tb_next
    return entries[-MOST_ENTRIES:]


def _positions(code: CodeType, instruction: int, line: int) -> tuple[int, int, int, int]:
    for number, (first, last, left, right) in enumerate(code.co_positions()):
        if number == instruction // 2:
            if first == line and last is not None and left is not None and right is not None:
                return first, last, left, right
            break
    return line, line, -1, -1


# -- here -------------------------------------------------------------------------------------------------


def _rebuild(remote: Remote) -> BaseException:
    try:
        error = pickle.loads(remote.exception)
    except Exception as problem:
        raise Unshippable(
            "an exception came back that cannot be built here", why=f"{type(problem).__name__}: {problem}"
        ) from None
    if not isinstance(error, BaseException):
        raise ProtocolError("a remote exception is none")
    error.__traceback__ = _traceback(remote.entries)
    error.__cause__ = _rebuild(remote.cause) if remote.cause is not None else None
    if remote.context is not None:
        error.__context__ = _rebuild(remote.context)
    error.__suppress_context__ = remote.suppress
    if isinstance(error, BaseExceptionGroup):
        for member, there in zip(error.exceptions, remote.members, strict=False):
            rebuilt = _rebuild(there)
            member.__traceback__ = rebuilt.__traceback__
            member.__cause__ = rebuilt.__cause__
            member.__context__ = rebuilt.__context__
            member.__suppress_context__ = rebuilt.__suppress_context__
    return error


def _traceback(entries: list[Entry]) -> TracebackType | None:
    traceback: TracebackType | None = None
    for entry in reversed(entries):
        file = _file_here(entry)
        frame, instruction = _frame(entry, file)
        traceback = TracebackType(traceback, frame, instruction, entry.positions[0])
    return traceback


def _file_here(entry: Entry) -> str:
    """The caller's own copy of the file, if it has the module; otherwise the name there, with its line."""
    module = sys.modules.get(entry.module)
    file = getattr(module, "__file__", None)
    if isinstance(file, str) and file.endswith(entry.file.replace("\\", "/").rsplit("/", 1)[-1]):
        return file
    _remember_line(entry)
    return entry.file


def _remember_line(entry: Entry) -> None:
    import linecache
    import os

    line = entry.positions[0]
    if not entry.text or os.path.exists(entry.file) or line > 100_000:
        return
    known = linecache.cache.get(entry.file)
    lines = list(known[2]) if known is not None and len(known) == 4 and known[1] is None else []
    lines.extend("\n" for _ in range(line - len(lines)))
    lines[line - 1] = entry.text + "\n"
    # no modification time: linecache keeps it although there is no such file
    linecache.cache[entry.file] = (sum(map(len, lines)), None, lines, entry.file)


def _frame(entry: Entry, file: str) -> tuple[FrameType, int]:
    """A frame of a function of that name that stands at those positions."""
    import ast

    line, end, left, right = entry.positions
    columns = (left, right) if left >= 0 else (0, 0)
    if end < line or (end == line and columns[1] < columns[0]):
        end, columns = line, (0, 0)
    call = ast.Call(func=ast.Name(id="here", ctx=ast.Load()), args=[], keywords=[])
    for node in (call, call.func):
        node.lineno, node.end_lineno, node.col_offset, node.end_col_offset = line, end, *columns
    code = compile(ast.Expression(body=call), file, "eval")
    # not co_firstlineno: the line table is relative to it
    code = code.replace(co_name=entry.name, co_qualname=entry.qualname)
    found: list[tuple[FrameType, int]] = []

    def here() -> None:
        frame = sys._getframe(1)
        found.append((frame, frame.f_lasti))

    names: dict[str, Any] = {"__name__": entry.module, "__file__": file, "here": here}
    eval(code, names)
    return found[0]
