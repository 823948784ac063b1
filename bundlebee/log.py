"""The log: one line a thing that happened, for people as text or for programs as JSON."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TextIO

from bundlebee.errors import ConfigurationError
from bundlebee.loggers import ROOT, get_logger, set_apart

PROGRESS = "bundlebee.progress"
"""Logger of what keeps people waiting. At a terminal it is shown without ``-v``, too; it is not in a program's output else."""


class TextLines(logging.Formatter):
    """``14:03:07 node  text``: time, the room that speaks, the message; ``prefix`` in front of it all."""

    def __init__(self, prefix: str = "") -> None:
        super().__init__()
        self._prefix = prefix

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        room = record.name.removeprefix(ROOT + ".").split(".")[0]
        level = "" if record.levelno < logging.WARNING else record.levelname.lower() + ": "
        text = f"{self._prefix}{moment} {room:<9} {level}{record.getMessage()}"
        return text if record.exc_info is None else f"{text}\n{self.formatException(record.exc_info)}"


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time, level, room, text`` and what the record carries in ``fields``."""

    def format(self, record: logging.LogRecord) -> str:
        import json
        from datetime import UTC, datetime

        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "room": record.name.removeprefix(ROOT + "."),
            "text": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info is not None:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def setup(
    *, verbosity: int, form: str = "text", path: Path | None = None, prefix: str = "", apart: bool = False
) -> None:
    """Send the log of this process to standard error, or to ``path``.

    Args:
        verbosity: -1 errors only, 0 warnings, 1 what happens, 2 everything.
        form: ``text`` or ``json``.
        path: a file to append to.
        apart: whether this process runs a program, which must not meet our loggers.
        prefix: put in front of each text line, so that a guest's lines are told from its program's.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    handler: logging.Handler
    if path is None:
        # not sys.stderr as it is at some later time: a program may redirect its own
        handler = logging.StreamHandler(_stderr())
    else:
        try:
            handler = logging.FileHandler(path, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"cannot write the log file {path}", why=error.strerror, hint="choose another --log-file"
            ) from None
    handler.setFormatter(JsonLines() if form == "json" else TextLines(prefix))
    if apart:
        set_apart()
    root = get_logger(ROOT)
    root.handlers[:] = [handler]
    root.propagate = False
    levels = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
    root.setLevel(levels.get(verbosity, logging.DEBUG))
    if verbosity == 0 and path is None and form == "text" and _stderr().isatty():
        get_logger(PROGRESS).setLevel(logging.INFO)


def _stderr() -> TextIO:
    return sys.__stderr__ if sys.__stderr__ is not None else sys.stderr
