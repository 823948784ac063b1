"""How deep a shipped call may recurse: as deep as at the caller, beyond the worker's own frames."""

from __future__ import annotations

from bundlebee.frames import getframe

SLACK = 60  #: frames that the worker's own code needs to send what the function returned


def depth() -> int:
    """Frames on this thread's stack, from the one that asks up."""
    frame, count = getframe(), 0
    while frame.f_back is not None:
        frame = frame.f_back
        count += 1
    return count
