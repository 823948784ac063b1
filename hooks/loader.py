"""The loader of a bundle's modules: like Python's own, but what it executes is woven.

Only `exec_module` differs. `get_code` still gives (and caches in ``__pycache__``) the plain code, because
whoever asks for it, such as runpy, executes it in a namespace that has no advice.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

from bundlebee.interrupts import held
from bundlebee.weaving.loom import Loom

F = TypeVar("F", bound=Callable[..., Any])


def _unseen(function: F) -> F:
    """Make import leave a function's frames out of tracebacks, as it does with its own.

    Python removes frames of its import machinery from the traceback of a failing import, and knows them by
    file and name. A module that fails under our loader then shows the same traceback as ever.
    """
    assert isinstance(function, FunctionType)
    function.__code__ = function.__code__.replace(
        co_filename="<frozen importlib._bootstrap>", co_name="_call_with_frames_removed"
    )
    return function


class WeavingLoader(SourceFileLoader):
    """Loads one source file of a bundle, woven; plain where it cannot be woven."""

    def __init__(self, fullname: str, path: str, loom: Loom) -> None:
        super().__init__(fullname, path)
        self._loom = loom

    @_unseen
    def exec_module(self, module: ModuleType) -> None:
        self._loom.begin_import()
        try:
            code = self._prepare(module)
            if code is None:
                super().exec_module(module)
            else:
                exec(code, module.__dict__)
        finally:
            self._loom.end_import()

    def _prepare(self, module: ModuleType) -> CodeType | None:
        with held():
            woven = self._loom.weave_file(
                lambda: self.get_data(self.path), module=module.__name__, path=self.path
            )
            if woven is None:
                return None
            self._loom.thread(woven, module.__dict__)
            return woven.code
