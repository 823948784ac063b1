from __future__ import annotations

import io
import stat
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.bundles.archive import pack, unpack
from bundlebee.errors import BrokenBundle

PATHS = st.lists(
    st.text("ab.é_", min_size=1, max_size=4).filter(lambda part: part not in (".", "..")), min_size=1
)


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for name, data in entries:
            archive.writestr(name, data)
    return out.getvalue()


@given(st.dictionaries(PATHS.map("/".join), st.binary(max_size=200), max_size=6))
def test_what_goes_in_comes_out(files: dict[str, bytes]) -> None:
    assert unpack(pack(files), "it") == files


@given(st.dictionaries(PATHS.map("/".join), st.binary(max_size=50), max_size=6))
def test_equal_files_give_equal_bytes(files: dict[str, bytes]) -> None:
    assert pack(files) == pack(dict(reversed(files.items())))


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../up.py", "a/../../up.py", "a/./b.py", "a//b.py", "..\\up.py", "C:/x.py", "a\\b.py"],
)
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(BrokenBundle, match="is refused"):
        unpack(zipped((name, b"x")), "it")


def test_links_are_refused() -> None:
    link = zipfile.ZipInfo("a/link.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(BrokenBundle, match="no ordinary file"):
        unpack(zipped((link, b"/etc/passwd")), "it")


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(BrokenBundle, match="twice"):
        unpack(zipped(("a.py", b"1"), ("a.py", b"2")), "it")


def test_the_bound_holds_for_what_comes_out() -> None:
    bomb = zipped(*((f"a{number}.py", bytes(100_000)) for number in range(20)))
    assert len(bomb) < 10_000
    with pytest.raises(BrokenBundle, match="too large"):
        unpack(bomb, "it", max_bytes=1_000_000)


def test_a_size_that_lies_is_noticed() -> None:
    data = bytearray(zipped(("a.py", bytes(100_000))))
    where = data.index(b"PK\x01\x02") + 24  # uncompressed size, in the central directory
    data[where : where + 4] = (10).to_bytes(4, "little")
    with pytest.raises(BrokenBundle):
        unpack(bytes(data), "it")


@given(st.data())
def test_damage_is_an_error_of_ours_or_does_no_harm(data: st.DataObject) -> None:
    good = bytearray(pack({"a/__init__.py": b"x = 1\n" * 20, "a/b.py": b"y = 2\n"}))
    where = data.draw(st.integers(0, len(good) - 1))
    good[where] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(good)))
    for damaged in (bytes(good), bytes(good[:cut])):
        try:
            unpack(damaged, "it")
        except BrokenBundle:
            pass


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BrokenBundle, match="cannot be read"):
        unpack(tmp_path / "none.whl", "none.whl")
