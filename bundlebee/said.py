"""What a task says, written to where it would have gone in the program: its streams, its logging, its warnings."""

from __future__ import annotations

import sys
from typing import Any

from bundlebee.calls import logged
from bundlebee.errors import told
from bundlebee.loggers import get_logger

log = get_logger("bundlebee.executor")


def say(stream: str, text: str) -> None:
    """What a task says, where it would have gone here."""
    try:
        if stream in (logged.LOG, logged.WARNING):
            logged.tell(stream, text)
            return
        file = sys.stdout if stream in ("stdout", logged.RAW["stdout"]) else sys.stderr
        if file is None:
            return
        if stream in logged.RAW.values():
            _write_bytes(file, text.encode("latin-1"))
            return
        try:
            file.write(text)
        except UnicodeEncodeError:  # it must not take along what else the task has said
            file.write(_shown(file, text.encode("utf-8")))
    except BaseException as error:  # of a stream or a handler of the program
        log.debug("what a task said is lost: %s", told(error))


def _write_bytes(file: Any, data: bytes) -> None:
    below = getattr(file, "buffer", None)
    if below is None:
        file.write(_shown(file, data))
        return
    file.flush()  # what was said before it comes before it
    below.write(data)
    below.flush()


def _shown(file: Any, data: bytes) -> str:
    """Bytes as text that the file takes."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    return data.decode("utf-8", "backslashreplace").encode(encoding, "backslashreplace").decode(encoding)
