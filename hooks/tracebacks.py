"""Takes our frames out of a program's tracebacks, so that they read as under plain Python."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import CodeType, TracebackType

import bundlebee
from bundlebee.errors import BundlebeeError
from bundlebee.weaving.joinpoint import is_dispatcher

_RUNPY = ("<frozen runpy>", getattr(sys.modules.get("runpy"), "__file__", None))

_boundaries: set[CodeType] = set()


def boundary(code: CodeType) -> None:
    """Declare a function below whose frame the program begins: it and all above it are ours."""
    _boundaries.add(code)


def is_boundary(code: CodeType) -> bool:
    """Whether the program begins below frames of this code."""
    return code in _boundaries


def strip_frames(error: BaseException) -> BaseException:
    """Remove our frames from an exception, and from all it was caused by, happened during, or groups.

    What goes: everything above the start of the program, dispatchers, and the frames of this package. Errors
    of our own keep theirs. Returns the same exception.
    """
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        kept = _stripped(current.__traceback__, isinstance(current, BundlebeeError))
        BaseException.with_traceback(current, kept)
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            todo += current.exceptions
    return error


def clean_uncaught() -> None:
    """Strip the exception that ends the program, whatever ``sys.excepthook`` the program has set."""
    shown = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        strip_frames(error)
        _name_node(error)
        shown(kind, error, error.__traceback__)

    sys.excepthook = show


def _name_node(error: BaseException) -> None:
    """Say where it was raised. Only now, when the program cannot notice any more."""
    remote_errors = sys.modules.get("bundlebee.calls.remote_errors")
    node = None if remote_errors is None else remote_errors.node_of(error)
    if remote_errors is not None and node is not None:
        remote_errors.add_note(error, remote_errors.words(node))


def _stripped(traceback: TracebackType | None, keep_ours: bool) -> TracebackType | None:
    entries = list(_entries(traceback))
    start = max((i + 1 for i, entry in enumerate(entries) if entry.tb_frame.f_code in _boundaries), default=0)
    if start:
        while start < len(entries) and entries[start].tb_frame.f_code.co_filename in _RUNPY:
            start += 1
    kept = [entry for entry in entries[start:] if keep_ours or not _is_ours(entry.tb_frame.f_code)]
    if len(kept) == len(entries):
        return traceback
    result = None
    for entry in reversed(kept):
        result = TracebackType(result, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return result


def _entries(traceback: TracebackType | None) -> Iterable[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _directory(file: str) -> str:
    return os.path.dirname(os.path.abspath(file)) + os.sep


_ROOT = _directory(bundlebee.__file__)
_HOOKS = _directory(__file__)
# beside us, wherever that is: in a checkout, the rooms `hooks` and `aspects` lie next to the package
_OURS = (_ROOT, _HOOKS, os.path.join(os.path.dirname(_HOOKS.rstrip(os.sep)), "aspects") + os.sep)
_PROGRAMS = os.path.join(_ROOT, "samples") + os.sep  # ours to ship, but ordinary programs


def _is_ours(code: CodeType) -> bool:
    if code.co_filename.startswith(_OURS) and not code.co_filename.startswith(_PROGRAMS):
        return True
    return is_dispatcher(code)
