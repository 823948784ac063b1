from __future__ import annotations

import threading
from pathlib import Path

import pytest

from bundlebee.bundles.archive import pack
from bundlebee.bundles.carrier import Carrier, FetchPiece
from bundlebee.bundles.repository import Bundle, Repository
from bundlebee.errors import BundleNotFound, PeerLost

PIECE = 100


@pytest.fixture
def bundle(place: Path, store: Path) -> Bundle:
    (place / "mod.py").write_text("".join(f"x{number} = {number}\n" for number in range(200)))
    repository = Repository(place, store)
    repository.scan()
    return repository.bundles()[0]


def serve(peers: dict[str, bytes], asked: list[str]) -> FetchPiece:
    """Peers that give this archive, piece by piece; an empty one is not there."""

    def fetch(address: str, digest: str, offset: int) -> tuple[int, bytes]:
        if offset == 0:
            asked.append(address)
        data = peers[address]
        if not data:
            raise PeerLost(f"{address} is gone")
        return len(data), data[offset : offset + PIECE]

    return fetch


def test_fetched_piece_by_piece(bundle: Bundle, tmp_path: Path) -> None:
    asked: list[str] = []
    there = Repository(None, tmp_path / "there")
    carrier = Carrier(there, serve({"a": bundle.archive()}, asked))
    got = carrier.get(bundle.ref, ["a"])
    assert got.files() == bundle.files()
    assert carrier.get(bundle.ref, []) is got
    assert asked == ["a"]
    # another process of the same machine has it on the disk
    again = Carrier(Repository(None, tmp_path / "there"), serve({}, asked)).get(bundle.ref, [])
    assert again.ref == bundle.ref


def test_the_next_holder_is_asked(bundle: Bundle, tmp_path: Path) -> None:
    asked: list[str] = []
    good = bundle.archive()
    peers = {"lost": b"", "liar": pack({"mod.py": b"x = 0\n"}), "good": good}
    got = Carrier(Repository(None, tmp_path / "there"), serve(peers, asked)).get(bundle.ref, list(peers))
    assert got.ref == bundle.ref
    assert asked == ["lost", "liar", "good"]


def test_nobody_delivers(bundle: Bundle, tmp_path: Path) -> None:
    carrier = Carrier(Repository(None, tmp_path / "there"), serve({"a": b"", "b": b"zip?"}, []))
    with pytest.raises(BundleNotFound) as caught:
        carrier.get(bundle.ref, ["a", "b"])
    assert "a: a is gone" in str(caught.value)
    assert "b: bundle mod 0 cannot be read" in str(caught.value)
    with pytest.raises(BundleNotFound, match="nobody holds it"):
        carrier.get(bundle.ref, [])


@pytest.mark.parametrize(
    "answers",
    [
        [(100, b"")],
        [(10, b"x" * 11)],
        [(1 << 40, b"x")],
        [(-1, b"x")],
        [(0, b"")],
        [(10, b"x" * 5), (11, b"x" * 6)],
    ],
)
def test_pieces_that_do_not_fit(bundle: Bundle, tmp_path: Path, answers: list[tuple[int, bytes]]) -> None:
    left = iter(answers)
    carrier = Carrier(Repository(None, tmp_path / "there"), lambda *_: next(left))
    with pytest.raises(BundleNotFound, match="do not fit together"):
        carrier.get(bundle.ref, ["a"])


def test_many_wishes_are_one_fetch(bundle: Bundle, tmp_path: Path) -> None:
    asked: list[str] = []
    inside, go_on = threading.Event(), threading.Event()
    data = bundle.archive()

    def fetch(address: str, digest: str, offset: int) -> tuple[int, bytes]:
        asked.append(address)
        inside.set()
        assert go_on.wait(10)
        return len(data), data

    carrier = Carrier(Repository(None, tmp_path / "there"), fetch)
    got: list[Bundle] = []
    threads = [threading.Thread(target=lambda: got.append(carrier.get(bundle.ref, ["a"]))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert inside.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(got) == 5
    assert len({id(one) for one in got}) == 1
    assert asked == ["a"]


def test_an_error_of_the_machinery_reaches_everybody(bundle: Bundle, tmp_path: Path) -> None:
    def fetch(address: str, digest: str, offset: int) -> tuple[int, bytes]:
        raise RuntimeError("a defect")

    carrier = Carrier(Repository(None, tmp_path / "there"), fetch)
    with pytest.raises(RuntimeError, match="a defect"):
        carrier.get(bundle.ref, ["a"])
    # nobody waits for ever on the flight that failed
    with pytest.raises(RuntimeError, match="a defect"):
        carrier.get(bundle.ref, ["a"])
