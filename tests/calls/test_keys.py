from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.calls.keys import GridKey, GridKeys, default_path
from bundlebee.errors import KeyFileError, UsageError

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")


def test_create_then_load_gives_the_same_key(tmp_path: Path) -> None:
    path = tmp_path / "new" / "grid.key"
    made = GridKey.create(path)
    assert GridKey.load(path) == made
    assert path.read_text().startswith("bundlebee-grid-key-1 ")
    assert path.read_text().count("\n") == 1
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["grid.key"]  # no temporary file is left


def test_create_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "grid.key"
    first = GridKey.create(path)
    with pytest.raises(KeyFileError, match="exists already"):
        GridKey.create(path)
    assert GridKey.load_or_create(path) == (first, False)


def test_of_many_that_race_for_a_key_one_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "grid.key"
    got: list[tuple[GridKey, bool]] = []
    start = threading.Barrier(8)

    def racer() -> None:
        start.wait()
        got.append(GridKey.load_or_create(path))

    threads = [threading.Thread(target=racer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.secret for key, _ in got}) == 1
    assert sum(made for _, made in got) == 1


@posix
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o610])
def test_a_key_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "grid.key"
    GridKey.create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 600"):
        GridKey.load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"bundlebee-grid-key-1",
        b"bundlebee-grid-key-1 ???",
        b"bundlebee-grid-key-1 AAAA",
        b"\0" * 9999,
    ],
)
def test_what_is_not_a_key_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "grid.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=str(path)):
        GridKey.load(path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="there is no key file"):
        GridKey.load(tmp_path / "nothing")
    with pytest.raises(KeyFileError):
        GridKey.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe", 0o600)
        with pytest.raises(KeyFileError, match="not a regular file"):
            GridKey.load(tmp_path / "pipe")  # and does not wait for a writer


def test_a_key_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyFileError, match="cannot write"):
        GridKey.create(tmp_path / "file" / "grid.key")


@given(st.binary(min_size=32, max_size=32))
def test_everything_derived_differs_by_purpose_and_grid(secret: bytes) -> None:
    one, same, other = GridKey(secret).derive("a"), GridKey(secret).derive("a"), GridKey(secret).derive("b")
    assert one == same
    parts = [
        one.datagram,
        one.server.secret,
        one.client.secret,
        one.server.public,
        one.client.public,
        other.datagram,
        other.server.secret,
        other.client.secret,
    ]
    assert len(set(parts)) == len(parts)
    assert 1 <= one.hash_seed <= 0xFFFFFFFF
    assert one.server.public == zmq.curve_public(one.server.secret)
    assert one.fingerprint != other.fingerprint
    assert GridKeys.restore(one.dump()) == one


def test_no_secret_is_printed() -> None:
    key = GridKey(b"k" * 32)
    keys = key.derive("a")
    for text in (repr(key), repr(keys)):
        assert "kkkk" not in text
        assert keys.server.secret.decode() not in text
        assert repr(keys.datagram) not in text


def test_an_open_grid_needs_no_file_and_is_told_by_its_name() -> None:
    a, b = GridKey.open_grid("a").derive("a"), GridKey.open_grid("b").derive("b")
    assert a.open and b.open
    assert a == GridKey.open_grid("a").derive("a")
    assert a.datagram != b.datagram
    assert not GridKey(b"k" * 32).derive("a").open


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a b"])
def test_a_grid_name_is_checked(name: str) -> None:
    with pytest.raises(UsageError):
        GridKey(b"k" * 32).derive(name)
    with pytest.raises(UsageError):
        default_path(name)


def test_default_path_is_the_users() -> None:
    assert default_path("lab").name == "lab.key"
