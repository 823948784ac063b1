from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of bundles."""
    made = tmp_path / "bundles"
    made.mkdir()
    return made


@pytest.fixture
def make_wheel() -> Callable[..., Path]:
    return wheel


def wheel(
    directory: Path,
    name: str,
    version: str,
    files: Mapping[str, str] | None = None,
    requires: tuple[str, ...] = (),
    headers: str = "",
) -> Path:
    """A small wheel; without ``files`` it is one module that returns the version."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{headers}"
    metadata += "".join(f"Requires-Dist: {text}\n" for text in requires)
    path = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, text in (
            files or {f"{name}/__init__.py": f"def version():\n    return {version!r}\n"}
        ).items():
            archive.writestr(file, text)
        archive.writestr(f"{info}/METADATA", metadata + "\nWhat it is.\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def age() -> Callable[[Path], None]:
    """Make everything below look as if it had been written an hour ago, as far as that can be done."""

    def make_old(path: Path) -> None:
        then = time.time() - 3600
        for each in (path, *path.rglob("*")):
            os.utime(each, (then, then))

    return make_old
