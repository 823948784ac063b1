"""Child processes that begin from nothing, and import bundles all the same.

`multiprocessing` (unless it forks) and loky start a fresh interpreter, and hand it the ``sys.path`` of their parent. Bundles are
not on that path, so the child would not find what its parent has imported. It gets their places in addition, and loads them plain.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from bundlebee.hooks.finder import BundleFinder

_PREPARE = "get_preparation_data"

_STARTERS = ("multiprocessing.spawn", "joblib.externals.loky.backend.spawn", "loky.backend.spawn")
"""Modules whose function of that name says what a new interpreter begins with; one entry is ``sys_path``."""


def show_bundles(finder: BundleFinder) -> None:
    """From now on children that begin from nothing find the bundles that are claimed when they are started."""
    for name in _STARTERS:
        module = sys.modules.get(name)
        if module is None:
            finder.once_imported[name] = functools.partial(_stand_in, finder.places)
        else:
            _stand_in(finder.places, module)


def _stand_in(places: Callable[[Iterable[str]], list[str]], module: ModuleType) -> None:
    original = getattr(module, _PREPARE, None)
    if original is None:
        return

    @functools.wraps(original)
    def get_preparation_data(*args: Any, **kwargs: Any) -> Any:
        data = original(*args, **kwargs)
        path = data.get("sys_path") if isinstance(data, dict) else None
        if isinstance(path, list):
            # before the others, as the finder of bundles is before them
            data["sys_path"] = [*places(path), *path]
        return data

    setattr(module, _PREPARE, get_preparation_data)
