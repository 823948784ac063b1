"""Our loggers. In a program that uses `bundlebee` as a library they are loggers like any other; under `exec` they stand apart.

A program configures logging as if it were alone: ``dictConfig`` disables every logger that it does not name,
``logging.disable`` silences all, tests count loggers and replace the factory of records. None of that is meant for us, so
there our loggers hang on a manager of their own, where the program does not meet them.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from bundlebee.clock import clock

ROOT = "bundlebee"

_LogRecord = logging.LogRecord
_apart: logging.Manager | None = None


def get_logger(name: str) -> logging.Logger:
    """One of ours, by its whole name: ``bundlebee.calls``."""
    return (_apart or logging.root.manager).getLogger(name)


def set_apart() -> None:
    """From now on the program's logging and ours have nothing to do with each other. Loggers that exist move, too."""
    global _apart
    if _apart is not None:
        return
    manager = logging.Manager(logging.RootLogger(logging.WARNING))
    manager.setLoggerClass(_Apart)
    known = logging.root.manager.loggerDict
    for name in [name for name in known if name == ROOT or name.startswith(f"{ROOT}.")]:
        ours = known.pop(name)
        if isinstance(ours, logging.Logger):
            ours.__class__ = _Apart
            ours.parent = manager.root
            ours.manager = manager
            manager.loggerDict[name] = ours
    for ours in list(manager.loggerDict.values()):
        manager._fixupParents(ours)  # type: ignore[attr-defined]  # as `getLogger` does for each new one
    manager.getLogger(ROOT)
    _apart = manager


class _Apart(logging.Logger):
    """Makes its records itself: the usual way asks the program's clock, and the program's factory if there is one."""

    def makeRecord(
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        extra: Any = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        now = clock.time()
        record = _LogRecord.__new__(_LogRecord)
        vars(record).update(
            name=name,
            msg=msg,
            args=args,
            levelname=logging.getLevelName(level),
            levelno=level,
            pathname=fn,
            filename=os.path.basename(fn),
            module=os.path.splitext(os.path.basename(fn))[0],
            exc_info=exc_info,
            exc_text=None,
            stack_info=sinfo,
            lineno=lno,
            funcName=func,
            created=now,
            msecs=now % 1 * 1000,
            relativeCreated=0.0,
            thread=threading.get_ident(),
            threadName=None,
            processName=None,
            process=os.getpid(),
            taskName=None,
            **(extra or {}),
        )
        return record
