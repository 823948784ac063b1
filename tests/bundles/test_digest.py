"""Equal code has an equal digest, however it is packed."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bundlebee.bundles.digest import content, digest, is_left_over
from bundlebee.bundles.install import examine, read
from bundlebee.bundles.sources import Source, look

NAMES = st.text("abcdefgh_", min_size=1, max_size=6)
DATA = st.binary(max_size=60)
INSIDE = st.dictionaries(
    st.builds(
        lambda folders, name, end: "/".join([*folders, name + end]),
        st.lists(NAMES, max_size=2),
        NAMES,
        st.sampled_from([".py", ".txt", ".dat"]),
    ),
    DATA,
    max_size=6,
)


def put(root: Path, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def pack(path: Path, files: dict[str, bytes], backwards: bool = False) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(files, reverse=backwards):
            archive.writestr(name, files[name])


@settings(max_examples=60, deadline=None)
@given(INSIDE)
def test_directory_wheel_and_zip_have_one_digest(inside: dict[str, bytes]) -> None:
    files = {f"thing/{path}": data for path, data in inside.items()} | {"thing/__init__.py": b"x = 1\n"}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        put(root, files)
        put(root, {"thing/__pycache__/__init__.cpython-311.pyc": b"old", "thing/.git/HEAD": b"ref"})
        info = {"thing-1.dist-info/METADATA": b"Name: thing\nVersion: 1\n", "thing-1.dist-info/RECORD": b""}
        pack(root / "thing.zip", files)
        pack(root / "thing-1-py3-none-any.whl", files | info, backwards=True)
        found = {source.path.name: read(source)[0] for source in look(root).sources}
    assert set(found) == {"thing", "thing.zip", "thing-1-py3-none-any.whl"}
    assert len({record.ref.digest for record in found.values()}) == 1
    assert {record.ref.version for record in found.values()} == {"0", "1"}


def test_a_single_module_and_its_wheel_have_one_digest(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_bytes(b"x = 1\n")
    pack(tmp_path / "one.whl", {"one.py": b"x = 1\n"})
    records = [read(Source(tmp_path / "one.py", ("one",)))[0], read(Source(tmp_path / "one.whl"))[0]]
    assert records[0].ref == records[1].ref


@given(
    st.dictionaries(NAMES.map(lambda name: f"p/{name}.py"), DATA, min_size=1, max_size=4),
    st.dictionaries(NAMES.map(lambda name: f"p/{name}.py"), DATA, min_size=1, max_size=4),
)
def test_different_files_have_different_digests(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


def test_bytes_cannot_move_between_a_name_and_its_content() -> None:
    assert digest({"p/a.py": b"bc"}) != digest({"p/a.pyb": b"c"})
    assert digest({"p/a.py": b"", "p/b.py": b"x"}) != digest({"p/a.py": b"x", "p/b.py": b""})


def test_the_digest_stays_what_it_was() -> None:
    # grids mix releases: a change of this value means that they do not share bundles any more
    known = "f65acc03983a0b5b202d8c45fe9596a0971c91e708c4a2d15103511d6747ee03"
    assert digest({"p/__init__.py": b"x = 1\n", "p/data.txt": b"hello"}) == known
    spelled = b"bundlebee-digest-1\n"
    for text in (b"p/__init__.py", b"x = 1\n", b"p/data.txt", b"hello"):
        spelled += struct.pack(">Q", len(text)) + text
    assert hashlib.sha256(spelled).hexdigest() == known


def test_only_what_can_be_imported_counts() -> None:
    names, code = content(
        {
            "a/__init__.py": b"",
            "a/data.bin": b"1",
            "b.py": b"",
            "README.md": b"",
            "docs/index.rst": b"",
            "setup-x.py": b"",
            "__main__.py": b"",
            "space/inner/m.py": b"",
            "a/__pycache__/x.pyc": b"",
            "a-1.dist-info/METADATA": b"",
        }
    )
    assert names == ("a", "b", "space")
    assert set(code) == {"a/__init__.py", "a/data.bin", "b.py", "space/inner/m.py"}


def test_left_overs() -> None:
    assert all(map(is_left_over, ["__pycache__", "x.pyc", ".git", "a.py~", ".#a.py", "a-1.dist-info"]))
    assert not any(map(is_left_over, ["x.py", ".hidden-data", "git", "py.typed"]))


def test_metadata_does_not_count() -> None:
    files = {"p/__init__.py": b""}
    plain, _ = examine(files, "p", "p")
    told, kept = examine(files | {"p-2.dist-info/METADATA": b"Name: P\nVersion: 2\n"}, "p", "p")
    assert plain.ref.digest == told.ref.digest
    assert (told.ref.name, told.ref.version, told.info) == ("P", "2", "p-2.dist-info")
    assert "p-2.dist-info/METADATA" in kept
