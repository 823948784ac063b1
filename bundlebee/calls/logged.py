"""Log records and warnings of a task, on their way to the caller's own logging and warnings.

A program has set its levels, handlers and filters in its own process, and a worker has none of them. So the levels and
the filters of warnings travel with a task (`current`, `Telling.apply`), for they decide what is said at all, and whether
a warning is an error; and what is said travels back, in order with what is printed (`Telling`), and goes the way
that it would have gone here (`tell`).

Handlers that the worker has are not asked: a module that sets one up as it is imported did so at the caller, too.
Only those that a task itself adds while it runs get its records there.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from bundlebee.frames import getframe

if TYPE_CHECKING:
    from bundlebee.calls.output import Printing

LOG, WARNING = "log", "warning"
"""Streams, beside ``stdout`` and ``stderr``; what is written to them are pickles."""

RAW = {"stdout": "stdout-bytes", "stderr": "stderr-bytes"}
"""What is written below `sys.stdout` and `sys.stderr`: each character is a byte."""

MORE = "more"
"""The first pieces of a long pickle. Its number is in the streams' names: ``more/7``, and ``log/7`` of the last piece."""

DECISION = "decision"
"""The stream of decisions of tasks that a task has submitted, as JSON; they are for the caller's own records."""

send_home: Callable[[str], bool] | None = None
"""In a worker for tasks: sends such a decision with what the task at work says; False if none is at work."""

_MARK: Any = "bundlebee"
_known: tuple[tuple[Any, ...], bytes] | None = None

Dumps = Callable[[Any], bytes]


# -- at the caller ----------------------------------------------------------------------------------------


def current(dumps: Dumps) -> bytes:
    """Levels of loggers and filters of warnings, as they are now. Costs a microsecond while they do not change."""
    global _known
    filters = tuple(warnings.filters)
    cache: Any = getattr(logging.root, "_cache", None)
    # every change of a level empties the caches of all loggers
    if _known is not None and cache is not None and _MARK in cache and _known[0] == filters:
        return _known[1]
    levels = [("", logging.root.level)]
    levels += [
        (name, logger.level)
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level
    ]
    kept = []
    for one in filters:
        try:
            dumps(one)
        except Exception:
            continue  # its class cannot travel, so no task can warn of it either
        kept.append(one)
    data = dumps((levels, logging.root.manager.disable, kept))
    if cache is not None:
        cache[_MARK] = True
    _known = filters, data
    return data


def tell(stream: str, text: str) -> None:
    """Say here what a task has said there."""
    import pickle

    data = text.encode("latin-1")
    if stream == LOG:
        record = logging.makeLogRecord(pickle.loads(data))
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
        return
    message, category, file, line, module = pickle.loads(data)
    found = sys.modules.get(module)
    registry = {} if found is None else found.__dict__.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, file, line, module, registry)


# -- in the worker ----------------------------------------------------------------------------------------


class Telling:
    """Takes what is logged and warned of in this process while a task runs.

    Args:
        dumps: pickles for the way home.
    """

    def __init__(self, printing: Printing, dumps: Dumps) -> None:
        self._printing = printing
        self._dumps = dumps
        self._applied = b""
        self._levelled: list[logging.Logger] = []
        self._added: WeakSet[logging.Handler] = WeakSet()  # by tasks, while they ran
        self._call_handlers = logging.Logger.callHandlers
        self._add_handler = logging.Logger.addHandler
        self._show_warning = warnings.showwarning
        telling = self

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            telling._record(logger, record)

        def add_handler(logger: logging.Logger, handler: logging.Handler) -> None:
            if telling._printing.index is not None and not _importing():
                telling._added.add(handler)
            telling._add_handler(logger, handler)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign, assignment]
        logging.Logger.addHandler = add_handler  # type: ignore[method-assign, assignment]
        warnings.showwarning = self._warning
        global send_home
        send_home = self._decision

    def apply(self, settings: bytes) -> None:
        """Make levels and filters those of the caller."""
        if settings == self._applied:
            return
        import pickle

        levels, disabled, filters = pickle.loads(settings)
        for logger in self._levelled:
            logger.setLevel(logging.NOTSET)
        self._levelled = []
        for name, level in levels:
            logger = logging.getLogger(name) if name else logging.root
            logger.setLevel(level)
            if name:
                self._levelled.append(logger)
        logging.disable(disabled)
        warnings.resetwarnings()
        warnings.filters.extend(filters)  # type: ignore[attr-defined]
        self._applied = settings

    def _decision(self, text: str) -> bool:
        if self._printing.index is None:
            return False
        self._printing.add(DECISION, text)
        return True

    def _record(self, logger: logging.Logger, record: logging.LogRecord) -> None:
        if self._printing.index is None:
            self._call_handlers(logger, record)
            return
        printed = False
        at: logging.Logger | None = logger
        while at is not None:
            for handler in at.handlers:
                if handler in self._added and record.levelno >= handler.level:
                    handler.handle(record)
                    printed |= getattr(handler, "stream", None) in (sys.stdout, sys.stderr)
            at = at.parent if at.propagate else None
        if not printed:  # else it is on its way already, as text
            self._printing.add(LOG, self._packed(record).decode("latin-1"))

    def _packed(self, record: logging.LogRecord) -> bytes:
        values = dict(record.__dict__)
        if record.exc_info and record.exc_info[0] is not None:
            values["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
        values["exc_info"] = None
        try:
            return self._dumps(values)
        except Exception:
            values["msg"], values["args"] = record.getMessage(), None
        plain = {}
        for name, value in values.items():
            try:
                self._dumps(value)
            except Exception:
                value = f"{value!r:.1000}"
            plain[name] = value
        return self._dumps(plain)

    def _warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        if self._printing.index is None or file is not None:
            self._show_warning(message, category, filename, lineno, file, line)
            return
        packed = message, category, filename, lineno, _module(filename, lineno)
        try:
            data = self._dumps(packed)
        except Exception:
            data = self._dumps((str(message), UserWarning, *packed[2:]))
        self._printing.add(WARNING, data.decode("latin-1"))


def _module(file: str, line: int) -> str:
    """The module that a warning is about: the one of the frame that stands there."""
    frame: FrameType | None = getframe(2)
    while frame is not None:
        if frame.f_lineno == line and frame.f_code.co_filename == file:
            return str(frame.f_globals.get("__name__", "__main__"))
        frame = frame.f_back
    return file.removesuffix(".py")


def _importing() -> bool:
    frame: FrameType | None = getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
