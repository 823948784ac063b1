"""The catalogue's data file, parsed and kept."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from bundlebee.bundles import catalogue

FILE = Path(catalogue.__file__).with_name("catalogue.toml")


def test_what_is_kept_is_what_the_file_says(tmp_path: Path) -> None:
    parsed = tomllib.loads(FILE.read_text("utf-8"))
    assert catalogue.read(FILE, tmp_path / "new") == parsed
    assert os.listdir(tmp_path / "new") == ["catalogue.msgpack"]
    assert catalogue.read(FILE, tmp_path / "new") == parsed


def test_an_edited_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    for text in ("a = 1", "a = 22"):
        file.write_text(text)
        assert catalogue.read(file, tmp_path) == tomllib.loads(text)


def test_a_damaged_or_unusable_cache_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("a = 1")
    for data in (b"", b"\xc1", b"\x80", b"[1]"):
        (tmp_path / "catalogue.msgpack").write_bytes(data)
        assert catalogue.read(file, tmp_path) == {"a": 1}
    assert catalogue.read(file, file / "no directory") == {"a": 1}
