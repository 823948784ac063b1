"""An exception that was raised in a worker, raised again at the caller as itself.

Pickle keeps an exception's type, arguments, attributes and notes; it drops the traceback, the cause and the
context. Those travel beside it. At the caller the traceback is rebuilt from frames that never ran: each
shows the original file, line, columns, function and, where the caller does not have that file, the source
line as it was there. These frames know the node (`node_of`).

Many an exception has an ``__init__`` of its own, which pickle calls with the wrong arguments. Such a one is built
without it, from its arguments and attributes, which is all that there is to it.

What does not survive the way (the exception holds a lock, say) is not raised in a changed shape: the worker refuses,
and the call runs at the caller, which is safe because a shipped call is. A task does not run again: in the place of
its exception, or of what that was caused by, comes an `Unshippable` that says what it was and where.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

import msgspec

from bundlebee.errors import ProtocolError, Unshippable, encodable, told
from bundlebee.frames import NODE

MOST_ENTRIES = 100  #: traceback entries that travel; of a task's exception the innermost ones
MOST_LINKS = 16  #: causes and contexts that travel; of a task's exception the nearest ones


# `raise` asks no ``__setattr__`` of the program's either; that of a frozen dataclass refuses everything
_set = BaseException.__setattr__


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
    alike: bool = False  # its context is its cause, as after ``raise … from`` in the handler


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Remote)


Dumps = Callable[[BaseException], bytes]


def _by_name(error: BaseException) -> bytes:
    from bundlebee.calls.pickling import dumps_whole

    return dumps_whole(error)


def pack(
    error: BaseException,
    ours: Callable[[CodeType], bool],
    dumps: Dumps = _by_name,
    *,
    stand_ins: bool = False,
) -> bytes:
    """An exception with its traceback as bytes.

    Args:
        ours: tells the code of bundlebee itself, whose entries are left out at the top of the traceback.
        dumps: pickles an exception.
        stand_ins: an `Unshippable` stands in for what cannot be pickled and built again.

    Raises:
        Unshippable: it, its cause or its context cannot be pickled and built again.
    """
    return _encode(_Packing(ours, dumps, stand_ins).remote(error, 0))


def unpack(data: bytes | memoryview, node: str, *, note: bool = False) -> BaseException:
    """The exception again, with its traceback; raise it as it is.

    Args:
        note: say in a note where it was raised. A program that is to notice no difference gets none.

    Raises:
        ProtocolError: these are not the bytes of one.
        Unshippable: it cannot be built here.
    """
    try:
        remote = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError("a remote exception cannot be read", why=str(error)) from None
    rebuilt = _rebuild(remote, node)
    if note:
        add_note(rebuilt, words(node))
    return rebuilt


def add_note(error: BaseException, note: str) -> None:
    """As the exception's own method, for one that takes no attributes, too."""
    notes = getattr(error, "__notes__", None)
    if notes is None:
        _set(error, "__notes__", [note])
    elif isinstance(notes, list):
        notes.append(note)


def words(node: str) -> str:
    """What is said of an exception that comes from a node."""
    return f"raised on node {node!r}"


def node_of(error: BaseException) -> str | None:
    """The node that an exception was raised on; None for one that was raised here."""
    traceback = error.__traceback__
    while traceback is not None:
        node = traceback.tb_frame.f_globals.get(NODE)
        if node is not None:
            return str(node)
        traceback = traceback.tb_next
    return None


# -- there ------------------------------------------------------------------------------------------------


class _Packing:
    """Packs one exception, and all that it is linked to."""

    def __init__(self, ours: Callable[[CodeType], bool], dumps: Dumps, stand_ins: bool) -> None:
        self._ours = ours
        self._dumps = dumps
        self._stand_ins = stand_ins
        self._seen: set[int] = set()

    def remote(self, error: BaseException, depth: int) -> Remote:
        self._seen.add(id(error))
        try:
            data = self._pickle(error)
        except Unshippable as problem:
            if not self._stand_ins:
                raise
            data = _by_name(problem)
        entries = _entries(error.__traceback__, self._ours)
        if len(entries) > MOST_ENTRIES and not self._stand_ins:
            raise Unshippable(f"the traceback of a {type(error).__qualname__} is too long to travel")
        remote = Remote(data, entries[-MOST_ENTRIES:], error.__suppress_context__)
        remote.cause = self._link(error.__cause__, depth)
        remote.alike = error.__context__ is not None and error.__context__ is error.__cause__
        if not remote.alike:
            remote.context = self._link(error.__context__, depth)
        if isinstance(error, BaseExceptionGroup):
            remote.members = [self.remote(member, depth + 1) for member in error.exceptions]
        return remote

    def _link(self, other: BaseException | None, depth: int) -> Remote | None:
        if other is None:
            return None
        if id(other) in self._seen or depth >= MOST_LINKS:
            if not self._stand_ins:
                raise Unshippable(f"what a {type(other).__qualname__} is linked to cannot travel")
            return None
        return self.remote(other, depth + 1)

    def _pickle(self, error: BaseException) -> bytes:
        """The exception alone, in a way that was tried to come back.

        Raises:
            Unshippable: there is none.
        """
        try:
            data = self._dumps(error)
            if self._comes_back(data, error):
                return data
            problem: Exception = TypeError("it comes back as another one")
        except Exception as raised:
            problem = raised
        if _is_plain(type(error)):
            try:
                data = self._dumps(_Parts(error))  # type: ignore[arg-type]
                if self._comes_back(data, error):
                    return data
            except Exception as raised:
                problem = raised
        what = f"the exception {type(error).__qualname__} cannot travel"
        if self._stand_ins:
            what += f", which was {_described(error)}"
        raise Unshippable(what, why=told(problem)) from None

    def _comes_back(self, data: bytes, error: BaseException) -> bool:
        copy = pickle.loads(data)
        # a task does not run again: better without than another exception
        return _same(copy, error) and (self._stand_ins or _same_fields(copy, error))


class _Parts:
    """Is pickled as an exception whose ``__init__`` is not called."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return _from_parts, (type(self._error), self._error.args, self._error.__dict__)


def _from_parts(
    kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    error = kind.__new__(kind, *args)
    _set(error, "args", args)
    error.__dict__.update(attributes)
    return error


def _is_plain(kind: type[BaseException]) -> bool:
    """Whether arguments and attributes are all that instances have: `OSError` and others keep more, out of sight."""
    built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    own = [base for base in kind.__mro__ if issubclass(base, built_in) and base is not built_in]
    return built_in.__basicsize__ == BaseException.__basicsize__ and not any(
        vars(base).get("__slots__") or "__new__" in vars(base) for base in own
    )


_SIMPLE = (str, bytes, int, float, type(None))


def _same(copy: Any, error: BaseException) -> bool:
    """Whether an exception has come back as it was, as far as its type and simple arguments tell."""
    return (
        type(copy) is type(error)
        and len(copy.args) == len(error.args)
        and all(
            repr(one) == repr(other)
            for one, other in zip(copy.args, error.args, strict=True)
            if type(other) in _SIMPLE
        )
    )


_FIELDS: dict[type[BaseException], tuple[str, ...]] = {
    NameError: ("name",),
    AttributeError: ("name", "obj"),
    ImportError: ("name", "path"),
}
"""What the interpreter notes beside the arguments, and tracebacks guess from what was meant. Which of it pickle keeps depends on
the version of Python."""


def _same_fields(copy: BaseException, error: BaseException) -> bool:
    for kind, names in _FIELDS.items():
        if isinstance(error, kind):
            for name in names:
                held = getattr(error, name, None)
                if held is not None and (name == "obj" or getattr(copy, name, None) != held):
                    return False
    return True


def _described(error: BaseException) -> str:
    try:
        return f"{error!r:.200}"
    except Exception:
        return "of a kind that cannot be shown"


_GATE = os.path.join(os.path.dirname(__file__), "gate.py")
"""Its code makes calls in the middle of the program's (`bundlebee.calls.gate`)."""


def _entries(traceback: TracebackType | None, ours: Callable[[CodeType], bool]) -> list[Entry]:
    import linecache

    entries: list[Entry] = []
    while traceback is not None:
        frame = traceback.tb_frame
        code = frame.f_code
        if (entries or not ours(code)) and code.co_filename != _GATE:
            line = traceback.tb_lineno or code.co_firstlineno
            text = linecache.getline(code.co_filename, line, frame.f_globals).rstrip("\r\n")
            entries.append(
                Entry(
                    str(frame.f_globals.get("__name__", "")),
                    encodable(code.co_filename),
                    code.co_name,
                    code.co_qualname,
                    _positions(code, traceback.tb_lasti, line),
                    text[:1000],
                )
            )
        traceback = traceback.tb_next
    return entries


def _positions(code: CodeType, instruction: int, line: int) -> tuple[int, int, int, int]:
    for number, (first, last, left, right) in enumerate(code.co_positions()):
        if number == instruction // 2:
            if first == line and last is not None and left is not None and right is not None:
                return first, last, left, right
            break
    return line, line, -1, -1


# -- here -------------------------------------------------------------------------------------------------


def _rebuild(remote: Remote, node: str) -> BaseException:
    try:
        error = pickle.loads(remote.exception)
    except Exception as problem:
        raise Unshippable("an exception came back that cannot be built here", why=told(problem)) from None
    if not isinstance(error, BaseException):
        raise ProtocolError("a remote exception is none")
    _restore(error, remote, node)
    return error


def _restore(error: BaseException, remote: Remote, node: str) -> None:
    """Give an exception what its pickle leaves out, and its members theirs."""
    _set(error, "__traceback__", _traceback(remote.entries, node))
    _set(error, "__cause__", _rebuild(remote.cause, node) if remote.cause is not None else None)
    if remote.alike:
        _set(error, "__context__", error.__cause__)
    elif remote.context is not None:
        _set(error, "__context__", _rebuild(remote.context, node))
    _set(error, "__suppress_context__", remote.suppress)
    if isinstance(error, BaseExceptionGroup):
        for member, there in zip(error.exceptions, remote.members, strict=False):
            _restore(member, there, node)


def _traceback(entries: list[Entry], node: str) -> TracebackType | None:
    traceback: TracebackType | None = None
    for entry in reversed(entries):
        file = _file_here(entry)
        frame, instruction = _frame(entry, file, node)
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


def _frame(entry: Entry, file: str, node: str) -> tuple[FrameType, int]:
    """A frame of a function of that name, and which of its instructions has those positions.

    It is one of a generator that never begins: such a frame has no caller. One that ran would keep all of its callers' frames
    for as long as the exception lives, and ours among them.
    """
    import ast

    line, end, left, right = entry.positions
    columns = (left, right) if left >= 0 else (0, 0)
    if end < line or (end == line and columns[1] < columns[0]):
        end, columns = line, (0, 0)
    tree = ast.parse("def function():\n yield function")
    for part in ast.walk(tree):
        if hasattr(part, "lineno"):
            part.lineno, part.end_lineno, part.col_offset, part.end_col_offset = line, end, *columns  # type: ignore[attr-defined]
    code = next(const for const in compile(tree, file, "exec").co_consts if isinstance(const, CodeType))
    code = code.replace(co_name=entry.name, co_qualname=entry.qualname)
    names: dict[str, Any] = {"__name__": entry.module, "__file__": file, NODE: node}
    wanted = (line, end, *columns)
    number = next((at for at, positions in enumerate(code.co_positions()) if positions == wanted), 0)
    frame: FrameType = FunctionType(code, names)().gi_frame
    return frame, 2 * number
