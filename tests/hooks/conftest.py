from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bundlebee.hooks.finder import Claim
from bundlebee.hooks.install import Handle, install
from bundlebee.words import BundleRef

Installed = Callable[..., Handle]


def ref(name: str) -> BundleRef:
    return BundleRef(name, "0", "0" * 64, (name,))


@pytest.fixture
def bundles(tmp_path: Path) -> Path:
    """A directory of bundles."""
    directory = tmp_path / "bundles"
    directory.mkdir()
    return directory


@pytest.fixture
def hooked(bundles: Path, tmp_path: Path) -> Iterator[Installed]:
    """Installs the hook for names in `bundles`; takes it and their modules out at the end."""
    handles: list[Handle] = []
    before = set(sys.modules)
    path = list(sys.path)

    def hook(*names: str, weave: bool = True, **options: Any) -> Handle:
        claims = {name: Claim(bundles, ref(name), weave) for name in names}
        handle = install(claims, cache_dir=tmp_path / "cache", **options)
        handles.append(handle)
        return handle

    yield hook
    for handle in handles:
        handle.uninstall()
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if not name.startswith(("bundlebee", "libcst", "importlib")):
            del sys.modules[name]
