"""A function that the leaseholder of a worker has named: found, ready to run, and compared in what it reads."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from bundlebee.errors import BundlebeeError

if TYPE_CHECKING:
    from bundlebee.bundles.fingerprint import Remembered
    from bundlebee.calls.call import Call


class StateDiffers(Exception):
    """The function reads what is not the same at the caller."""


class Definition:
    """A function that the leaseholder has named, ready to run."""

    __slots__ = ("call", "function", "objects", "state")

    def __init__(self, call: Call, function: Callable[..., Any]) -> None:
        self.call = call
        self.function = function
        self.state: Remembered | None = None  # what it reads
        self.objects: frozenset[int] = frozenset()  # ids of the mutable objects in the state that it reads

    def compare(self) -> None:
        """Before each chunk: what the function reads must be the same here and there.

        Raises:
            StateDiffers: it is not.
        """
        call = self.call
        if not call.state:
            return
        remembered = self.state
        if remembered is None:
            from bundlebee.bundles.fingerprint import Remembered

            remembered = self.state = Remembered(call.reads)
        try:
            here = remembered.state()
            if here.digest != call.state and _import_missing(call):
                here = remembered.state()
        except BundlebeeError as error:
            raise StateDiffers(str(error)) from None
        if here.digest != call.state:
            raise StateDiffers(f"{call.function.name} reads state that is not the same at the caller")
        self.objects = here.objects


def _import_missing(call: Call) -> bool:
    """Import what the caller has imported since; whether there was anything."""
    from bundlebee.bundles.absent import ABSENT

    missing = [module for module, name in call.reads if name != ABSENT and module not in sys.modules]
    for module in missing:
        try:
            importlib.import_module(module)
        except Exception:
            return False
    return bool(missing)


def driven(
    function: Callable[..., Coroutine[Any, Any, Any]], stop: Callable[[str], None]
) -> Callable[..., Any]:
    """A coroutine function as one that runs to its end when it is called. There is no event loop here: what really
    waits for one is stopped, and runs at the caller."""

    def run(*args: Any, **kwargs: Any) -> Any:
        coroutine = function(*args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
        try:
            stop("waits for an event loop")
        finally:
            coroutine.close()

    return run
