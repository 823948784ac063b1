from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundlebee import Executor


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home without a grid: executors use this machine's own cores."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("BUNDLEBEE_", "XDG_")):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("BUNDLEBEE_INTERFACE", "127.0.0.1")
        yield home


@pytest.fixture(scope="module")
def executor(alone: Path) -> Iterator[Executor]:
    with Executor(2) as executor:
        yield executor
