"""Errors that the program's own signal handlers raise, such as the `TimeoutError` of an alarm.

They come up wherever the main thread is, also in the middle of our code. Where that catches errors of its own, it must let
these pass: the program waits for them.
"""

from __future__ import annotations

import functools
from types import CodeType, FunctionType
from typing import Any


def let_pass(error: BaseException) -> None:
    """Raise the error again if a signal handler of the program has raised it."""
    import signal  # only needed where something went wrong

    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    entry = error.__traceback__
    while entry is not None and handlers:
        if entry.tb_frame.f_code in handlers:
            raise error
        entry = entry.tb_next


def _code(handler: Any) -> CodeType | None:
    """The code that a handler's author wrote; None for one that is not written in Python."""
    import inspect

    from bundlebee.weaving.joinpoint import original_code

    while isinstance(handler, functools.partial):
        handler = handler.func
    handler = getattr(handler, "__func__", handler)
    if not isinstance(handler, FunctionType):
        handler = inspect.getattr_static(type(handler), "__call__", None)
    return original_code(handler) if isinstance(handler, FunctionType) else None
