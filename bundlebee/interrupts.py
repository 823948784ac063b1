"""The program's own signal handlers, Ctrl-C among them, while our code runs in its main thread.

Python runs handlers between two instructions of the main thread, wherever that is; one that raises (the
`TimeoutError` of an alarm, `KeyboardInterrupt`) would come up in the middle of an import, a log line or a half-read
message of ours. So the handlers that the program sets are wrapped (`wrap_handlers`): while our code is at work
(`hold` … `release`) they are only noted, and run when it is done; at the places where we wait for somebody
(`waiting`) they run at once, as they would in a call that runs here.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from threading import get_ident
from types import CodeType, FrameType, FunctionType
from typing import Any

_MAIN = threading.main_thread().ident


class _State:
    """Of the main thread; no other reads or writes it."""

    __slots__ = ("held", "noted", "open")

    def __init__(self) -> None:
        self.held = 0  #: sections of our code that the main thread is in
        self.open = False  #: it waits in one of them
        self.noted: deque[tuple[Callable[..., Any], int, FrameType | None]] = deque()


_state = _State()


def hold() -> None:
    """Our code begins. Call `release` in any case; does nothing in other threads than the main one."""
    if get_ident() == _MAIN:
        _state.held += 1


def release() -> None:
    """Our code is done: handlers that are due run now, and may raise."""
    if get_ident() == _MAIN:
        _state.held -= 1
        if _state.noted and not _state.held:
            _run_noted()


class held:  # used like a function
    """`hold` and `release` as a context."""

    __slots__ = ()

    def __enter__(self) -> None:
        hold()

    def __exit__(self, *_error: object) -> None:
        release()


class waiting:
    """A context in which we wait for somebody else: handlers run at once and may raise."""

    __slots__ = ("_opened",)

    def __enter__(self) -> None:
        self._opened = bool(_state.held) and not _state.open and get_ident() == _MAIN
        if self._opened:
            _state.open = True
            if _state.noted:
                try:
                    _run_noted()
                except BaseException:
                    _state.open = False
                    raise

    def __exit__(self, *_error: object) -> None:
        if self._opened:
            _state.open = False


def _run_noted() -> None:
    while _state.noted:
        handler, number, frame = _state.noted.popleft()
        handler(number, frame)


class _Handler:
    """Stands in for a handler of the program."""

    __slots__ = ("handler",)

    def __init__(self, handler: Callable[..., Any]) -> None:
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        if _state.held and not _state.open and get_ident() == _MAIN:
            _state.noted.append((self.handler, number, frame))
            return None
        try:
            return self.handler(number, frame)
        except BaseException as error:
            # without this frame; a bare ``raise`` does not add it again
            if error.__traceback__ is not None:
                BaseException.with_traceback(error, error.__traceback__.tb_next)
            raise


def wrap_handlers() -> Callable[[], None]:
    """From now on, stand in for the handlers that are set with `signal.signal`; call it in the main thread.

    The program sees its own: `signal.signal` and `signal.getsignal` speak of what it has set.

    Returns:
        what undoes it.
    """
    import signal

    set_handler, get_handler = signal.signal, signal.getsignal

    @functools.wraps(set_handler)
    def signal_(signalnum: Any, handler: Any) -> Any:
        ours = _Handler(handler) if callable(handler) and not isinstance(handler, int) else handler
        return _own(set_handler(signalnum, ours))

    @functools.wraps(get_handler)
    def getsignal(signalnum: Any) -> Any:
        return _own(get_handler(signalnum))

    def undo() -> None:
        signal.signal, signal.getsignal = set_handler, get_handler
        for number in signal.valid_signals():
            handler = get_handler(number)
            if isinstance(handler, _Handler):
                set_handler(number, handler.handler)

    signal.signal, signal.getsignal = signal_, getsignal
    interrupt = get_handler(signal.SIGINT)
    if callable(interrupt) and not isinstance(interrupt, int):
        signal_(signal.SIGINT, interrupt)
    return undo


def _own(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _Handler) else handler


def let_pass(error: BaseException) -> None:
    """Raise the error again if a signal handler of the program has raised it.

    For places that catch errors of ours where handlers may run, too.
    """
    import signal  # only needed where something went wrong

    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    entry = error.__traceback__
    while entry is not None and handlers:
        if entry.tb_frame.f_code in handlers:
            raise error
        entry = entry.tb_next


def _code(handler: Any) -> CodeType | None:
    """The code that a handler's author wrote; None for one that is not written in Python."""
    from bundlebee.weaving.joinpoint import original_code

    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    if not isinstance(handler, FunctionType):
        # not by a look at the class: a member of an enumeration, such as SIG_DFL, would give what makes such members
        found = (base.__dict__["__call__"] for base in type(handler).__mro__ if "__call__" in base.__dict__)
        handler = next(found, None)
    return original_code(handler) if isinstance(handler, FunctionType) else None
