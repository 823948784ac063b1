"""Frames: `sys._getframe`, as it was when we started (a program may take it away), how many are the program's, and those of
other nodes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType, FrameType

getframe = sys._getframe

NODE = "__bundlebee_node__"
"""The global of frames that stand for ones of another node: its name."""


def program_depth() -> int:
    """For the advice: frames on this thread's stack without its own. The function finds so many in use when it runs here."""
    # The same stack as the last time? To walk through it makes an object of each frame.
    path = getframe(2).f_code
    total, count = _depths.get(path, (0, 0))
    if total:
        try:
            if getframe(total).f_back is None:
                return count
        except ValueError:
            pass
    frame: FrameType | None = getframe(1)
    ours = 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("bundlebee."):
        frame = frame.f_back
        ours += 1
    count = 0
    while frame is not None:
        frame = frame.f_back
        count += 1
    _depths[path] = ours + count, count
    return count


_depths: dict[CodeType, tuple[int, int]] = {}
"""By the code in the advice that asks: frames on the stack above `program_depth`, and how many of them are the program's."""
