"""Whatever one thing in the directory is, the others run."""

from __future__ import annotations

import io
import os
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bundlebee.bundles.archive import unpack
from bundlebee.bundles.manager import Manager
from bundlebee.bundles.repository import Repository
from bundlebee.bundles.states import State
from bundlebee.errors import BrokenBundle


def names(place: Path, store: Path, *, copy: bool = True) -> list[str]:
    (place / "good.py").write_text("x = 1\n")
    repository = Repository(place, store, copy=copy)
    repository.scan()
    return [bundle.ref.name for bundle in repository.bundles()]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take only names in Unicode")
@pytest.mark.parametrize("copy", [True, False])
def test_a_file_name_that_is_not_utf8(place: Path, store: Path, copy: bool) -> None:
    (place / "odd").mkdir()
    (place / "odd" / "__init__.py").touch()
    Path(os.fsdecode(os.fsencode(place / "odd") + b"/caf\xe9.txt")).touch()
    assert names(place, store, copy=copy) == ["good"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take only names in Unicode")
def test_an_archive_whose_own_name_is_not_utf8(
    place: Path, store: Path, make_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.rename(make_wheel(place, "odd", "1.0"), os.fsdecode(os.fsencode(place) + b"/caf\xe9.whl"))
    monkeypatch.setattr("bundlebee.bundles.install._FRESH", -1.0)  # so that it is to be remembered
    assert sorted(names(place, store)) == ["good", "odd"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_are_not_read(place: Path, store: Path) -> None:
    os.mkfifo(place / "pipe.py")
    os.mkfifo(place / "pipe.whl")
    assert names(place, store) == ["good"]


def test_an_error_that_nobody_thought_of(
    place: Path, store: Path, make_wheel: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(place, "odd", "1.0")

    def fail(*_: object) -> None:
        raise LookupError("surprise")

    monkeypatch.setattr("bundlebee.bundles.install.unpack", fail)
    repository = Repository(place, store)
    repository.scan()
    assert ["LookupError: surprise" in str(problem) for problem in repository.problems()] == [True]
    assert names(place, store) == ["good"]


@pytest.mark.parametrize("condition", ['os_name ~= "posix"', 'python_version ~= "3"'])
def test_a_requirement_with_a_condition_that_makes_no_sense(
    place: Path, store: Path, make_wheel: Callable[..., Path], condition: str
) -> None:
    make_wheel(place, "odd", "1.0", requires=(f"nowhere; {condition}",))
    active: list[str] = []
    manager = Manager(
        Repository(place, store),
        lambda bundle: active.append(bundle.ref.name) if bundle.state is State.ACTIVE else None,
        lambda bundle: None,
        polling=True,
    )
    manager.start()
    manager.stop()
    assert active == ["odd"]


def test_a_store_that_is_swept_before_the_start(place: Path, store: Path) -> None:
    (place / "module.py").write_text("x = 1\n")
    repository = Repository(place, store, copy=True)
    repository.scan()
    shutil.rmtree(store)
    manager = Manager(repository, lambda bundle: None, lambda bundle: None, polling=True)
    manager.start()
    manager.stop()
    assert "cannot be read" in str(manager.problems()[0])


def test_what_macos_adds_to_a_zip_is_no_part_of_the_code(
    tmp_path: Path, store: Path, make_wheel: Callable[..., Path]
) -> None:
    files = {"odd/__init__.py": "", "odd/data.txt": "x"}
    litter = {"__MACOSX/odd/.___init__.py": "\0", "odd/._data.txt": "\0"}
    digests, imports = set(), set()
    for number, held in enumerate((files, files | litter)):
        place = tmp_path / str(number)
        place.mkdir()
        make_wheel(place, "odd", "1.0", held)
        repository = Repository(place, store)
        repository.scan()
        (bundle,) = repository.bundles()
        digests.add(bundle.ref.digest)
        imports.add(bundle.ref.imports)
    assert len(digests) == 1
    assert imports == {("odd",)}


@pytest.mark.parametrize("method", [0, 8, 12, 14])
@pytest.mark.parametrize("seed", range(3))
def test_damaged_archives_are_broken_and_nothing_else(method: int, seed: int) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("module.py", "x = 1\n" * 50)
        archive.writestr("package/__init__.py", "y = 2\n" * 30)
    dice = random.Random(seed)
    for _ in range(500):
        damaged = bytearray(out.getvalue())
        for _ in range(dice.choice((1, 1, 2, 4))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            unpack(bytes(damaged), "it")
        except BrokenBundle:
            pass
