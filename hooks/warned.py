"""Lets `warnings.warn` count the program's frames only.

A call that is advised has frames of ours on its stack. A ``stacklevel`` that reaches across them would name our
files, in the message and in the registry of what was said already. So `warnings.warn` is replaced by a function that
finds the frame which is meant, and asks for that one.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Any

from bundlebee.frames import getframe
from bundlebee.hooks.tracebacks import is_boundary
from bundlebee.weaving.joinpoint import is_dispatcher

_NOBODY = 1 << 30  # a level beyond every stack


def count_theirs() -> None:
    """From now on ``stacklevel`` counts as if we were not there."""
    plain: Any = warnings.warn

    @functools.wraps(plain)
    def warn(*arguments: Any, **named: Any) -> None:
        try:
            asked = arguments[2] if len(arguments) > 2 else named.get("stacklevel", 1)
            if type(asked) is int:
                level, prefixes = 2, named.get("skip_file_prefixes", ())
                if asked > 1 or prefixes:
                    caller = getframe(1)
                    if prefixes and _is_skipped(caller, prefixes):
                        # then it skips nothing, and counts each frame
                        asked, prefixes = max(2, asked), named.pop("skip_file_prefixes")[:0]
                    level = _level(caller, asked, prefixes)
                if len(arguments) > 2:
                    arguments = (*arguments[:2], level, *arguments[3:])
                else:
                    named["stacklevel"] = level
            plain(*arguments, **named)
        except Exception as error:
            # without our frame, as `warn` has none; a bare ``raise`` does not add it again
            assert error.__traceback__ is not None
            BaseException.with_traceback(error, error.__traceback__.tb_next)
            raise

    warnings.warn = warn


def _level(caller: FrameType, stacklevel: int, prefixes: Sequence[str]) -> int:
    """The level, counted from the function above, of the frame that ``stacklevel`` means to the caller."""
    if prefixes:
        stacklevel = max(2, stacklevel)
    frame: FrameType | None = caller
    level = 2
    for _ in range(stacklevel - 1):
        assert frame is not None
        frame = frame.f_back
        while frame is not None and not is_boundary(frame.f_code):
            if not _is_skipped(frame, prefixes):  # our loader's frames pass for the import system's
                if not _is_ours(frame):
                    break
                level += 1
            frame = frame.f_back
        if frame is None or is_boundary(frame.f_code):
            return _NOBODY
        level += 1
    return level


def _is_skipped(frame: FrameType, prefixes: Sequence[str]) -> bool:
    """What `warnings.warn` leaves out itself: the import system, and files that its caller names."""
    file = frame.f_code.co_filename
    return ("importlib" in file and "_bootstrap" in file) or file.startswith(tuple(prefixes))


def _is_ours(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__", "")
    return (type(name) is str and name.startswith("bundlebee.")) or is_dispatcher(frame.f_code)
