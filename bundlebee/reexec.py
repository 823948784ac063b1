"""Starts this very command again, with another environment."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

IS_WINDOWS = sys.platform == "win32"  #: where no process can be replaced


def reexec(env: Mapping[str, str], argv: Sequence[str] | None = None) -> NoReturn:
    """Start this very command again, with another environment, in place of this process.

    What is decided before Python starts (the hash seed) can only be changed so. Where a process cannot be
    replaced (Windows), a child runs, and this process waits for it and ends with its exit code.

    Args:
        env: the whole environment of the new process.
        argv: the interpreter's arguments, without the interpreter; as it was started, if None.
    """
    command = [sys.executable, *(sys.orig_argv[1:] if argv is None else argv)]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if not IS_WINDOWS:
        os.execve(command[0], command, dict(env))
    import subprocess

    child = subprocess.Popen(command, env=dict(env))
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:
            continue  # the child got it too, and decides
    os._exit(code & 0xFFFFFFFF)
