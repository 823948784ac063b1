from __future__ import annotations

import os
from pathlib import Path

import pytest

from bundlebee.bundles.sources import look, recorded_names
from bundlebee.errors import BrokenBundle, BundleConflict


def write(root: Path, *paths: str) -> None:
    for path in paths:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("")


def names(root: Path) -> list[str]:
    return [source.path.name for source in look(root).sources]


def test_what_can_be_a_bundle(tmp_path: Path) -> None:
    write(tmp_path, "pkg/__init__.py", "mod.py", "a-1-py3-none-any.whl", "b.zip", "space/deep/m.py")
    assert names(tmp_path) == ["a-1-py3-none-any.whl", "b.zip", "mod.py", "pkg", "space"]
    assert not look(tmp_path).problems


def test_what_cannot(tmp_path: Path) -> None:
    write(
        tmp_path,
        ".hidden.py",
        "__pycache__/x.py",
        "__init__.py",
        "data/x.csv",
        "README.md",
        "a.whl.part",
        "x.pyc",
    )
    write(tmp_path, "empty-project/data/deeper/still/x.py", ".git/hook.py", "pkg-1.dist-info/METADATA")
    listing = look(tmp_path)
    assert listing.sources == []
    assert listing.problems == {}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("my-tool.py", "no Python name"),
        ("class.py", "no Python name"),
        ("my-project/pkg/__init__.py", "no Python name"),
        ("thing-1.0.tar.gz", "built first"),
    ],
)
def test_what_somebody_may_have_meant_is_named(tmp_path: Path, path: str, why: str) -> None:
    write(tmp_path, path)
    (problem,) = look(tmp_path).problems.values()
    assert isinstance(problem, BrokenBundle)
    assert why in str(problem)
    assert problem.hint


def test_a_package_and_a_module_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, "twin/__init__.py", "twin.py")
    listing = look(tmp_path)
    assert [source.path for source in listing.sources] == [tmp_path / "twin"]
    (problem,) = listing.problems.values()
    assert isinstance(problem, BundleConflict)


def test_a_module_beats_a_directory_without_init_as_in_python(tmp_path: Path) -> None:
    write(tmp_path, "twin/part.py", "twin.py")
    assert names(tmp_path) == ["twin.py"]


def test_installed_with_pip_target(tmp_path: Path) -> None:
    write(tmp_path, "one/__init__.py", "two.py", "other.py", "thing-1.0.dist-info/METADATA")
    (tmp_path / "thing-1.0.dist-info" / "RECORD").write_text(
        'one/__init__.py,sha256=x,0\ntwo.py,,\n"one/odd,name.py",,\nthing-1.0.dist-info/METADATA,,\n../bin/thing,,\n'
    )
    found = {source.path.name: (source.names, source.info) for source in look(tmp_path).sources}
    assert found == {
        "one": (("one", "two"), "thing-1.0.dist-info"),
        "other.py": (("other",), None),
    }


def test_recorded_names_without_a_record(tmp_path: Path) -> None:
    (tmp_path / "top_level.txt").write_text("b\na\n")
    assert recorded_names(tmp_path) == ("a", "b")


def test_the_signature_changes_with_the_files(tmp_path: Path) -> None:
    write(tmp_path, "pkg/__init__.py", "pkg/sub/m.py")
    (source,) = look(tmp_path).sources
    before = source.signature()[0]
    assert source.signature()[0] == before
    (tmp_path / "pkg" / "sub" / "m.py").write_text("x = 1\n")
    after = source.signature()[0]
    assert after != before
    write(tmp_path, "pkg/__pycache__/m.pyc")
    assert source.signature()[0] == after
    (tmp_path / "pkg" / "sub" / "m.py").unlink()
    assert source.signature()[0] != after


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/pkg/__init__.py")
    place = tmp_path / "place"
    place.mkdir()
    (place / "pkg").symlink_to(tmp_path / "elsewhere" / "pkg")
    (place / "pkg" / "loop").symlink_to(place / "pkg")
    (place / "gone.py").symlink_to(tmp_path / "nowhere.py")
    (source, *_rest) = (one for one in look(place).sources if one.path.name == "pkg")
    assert source.tree().paths == ["pkg/__init__.py"]
