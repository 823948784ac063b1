"""What a listing finds is what Python's own finder finds; the difference is the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlebee.hooks.listing import Listing

SUFFIXES = ("", ".py", ".pyc", ".so", ".py.py", *EXTENSION_SUFFIXES)
LONG_AGO = 1_600_000_000


def reference(directory: Path) -> FileFinder:
    return FileFinder(
        str(directory),
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (SourceFileLoader, [".py"]),
        (SourcelessFileLoader, [".pyc"]),
    )


def seen(spec: ModuleSpec | None) -> tuple[object, ...] | None:
    if spec is None:
        return None
    places = spec.submodule_search_locations
    shown = None if places is None else list(places)
    return spec.name, type(spec.loader), spec.origin, spec.cached, spec.has_location, shown


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir()
    yield home


files = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from(SUFFIXES)),
    st.sampled_from(["file", "directory", "package", "link", "broken link"]),
    max_size=5,
)


@given(made=files, old=st.booleans())
@settings(deadline=None, max_examples=150)
def test_it_finds_what_python_finds(
    tmp_path_factory: pytest.TempPathFactory, made: dict[tuple[str, str], str], old: bool
) -> None:
    directory = tmp_path_factory.mktemp("listed")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file.py"
    elsewhere.write_text("")
    for (name, suffix), kind in made.items():
        path = directory / f"{name}{suffix}"
        if kind == "file":
            path.write_text("")
        elif kind.endswith("link"):
            try:
                path.symlink_to(elsewhere if kind == "link" else directory / "nowhere")
            except OSError:
                continue  # not every user of Windows may
        else:
            path.mkdir()
            if kind == "package":
                (path / "__init__.py").write_text("")
    if old:
        os.utime(directory, (LONG_AGO, LONG_AGO))
    listing = Listing(str(directory), SourceFileLoader)
    for name in ("a", "b", "c", "package.a", "a.py"):
        assert seen(listing.find_spec(name)) == seen(reference(directory).find_spec(name))


def test_a_file_that_comes_or_goes_is_noticed(directory: Path) -> None:
    os.utime(directory, (LONG_AGO, LONG_AGO))
    listing = Listing(str(directory), SourceFileLoader)
    assert listing.find_spec("late") is None
    (directory / "late.py").write_text("")
    assert listing.find_spec("late") is not None
    os.utime(directory, (LONG_AGO + 1, LONG_AGO + 1))
    assert listing.find_spec("late") is not None
    (directory / "late.py").unlink()
    assert listing.find_spec("late") is None


def test_one_that_goes_in_the_same_moment_is_noticed_in_a_young_directory(directory: Path) -> None:
    (directory / "brief.py").write_text("")
    status = directory.stat()
    listing = Listing(str(directory), SourceFileLoader)
    assert listing.find_spec("brief") is not None
    (directory / "brief.py").unlink()
    os.utime(directory, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert listing.find_spec("brief") is None


def test_caches_can_be_invalidated(directory: Path) -> None:
    os.utime(directory, (LONG_AGO, LONG_AGO))
    listing = Listing(str(directory), SourceFileLoader)
    assert listing.find_spec("late") is None
    (directory / "late.py").write_text("")
    os.utime(directory, (LONG_AGO, LONG_AGO))
    listing.invalidate_caches()
    assert listing.find_spec("late") is not None


def test_a_directory_that_is_not_there_has_nothing(directory: Path) -> None:
    assert Listing(str(directory / "none"), SourceFileLoader).find_spec("a") is None


def test_paths_are_those_that_python_gives(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "a.py").write_text("")
    (directory / "sub").mkdir()
    (directory / "sub" / "b.py").write_text("")
    for place in (directory, directory / "sub"):
        os.utime(place, (LONG_AGO, LONG_AGO))
    monkeypatch.chdir(directory)
    for entry, name in ((".", "a"), ("sub", "b"), (f"sub{os.sep}", "b")):
        found = Listing(entry, SourceFileLoader).find_spec(name)
        assert seen(found) == seen(FileFinder(entry, (SourceFileLoader, [".py"])).find_spec(name))
