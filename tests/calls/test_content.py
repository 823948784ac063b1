"""The digest of a buffer is the same in one piece, in many, and on many cores."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee import platform
from bundlebee.calls import content
from bundlebee.calls.content import BLOCK, Content, digest_of


def in_pieces(data: bytes, sizes: list[int]) -> bytes:
    digest, start = Content(), 0
    for size in [*sizes, len(data)]:
        digest.update(memoryview(data)[start : start + size])
        start += size
    return digest.digest()


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7])
@pytest.mark.parametrize("cpus", [1, 2, 16])
def test_a_buffer_on_any_number_of_cores(size: int, cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "usable_cpus", lambda: cpus)
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    blocks = b"".join(hashlib.sha256(data[i : i + BLOCK]).digest() for i in range(0, size, BLOCK))
    assert digest_of(data) == digest_of(bytearray(data)) == in_pieces(data, [])
    assert digest_of(data) == hashlib.sha256(blocks).digest()


@given(data=st.binary(max_size=200), sizes=st.lists(st.integers(0, 60)), block=st.integers(1, 50))
def test_pieces(data: bytes, sizes: list[int], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "BLOCK", block)
        assert in_pieces(data, sizes) == digest_of(data)


def test_one_that_differs_anywhere_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "BLOCK", 8)
    data = bytes(range(40))
    others = {digest_of(data[:i] + b"x" + data[i + 1 :]) for i in range(len(data))}
    assert len(others | {digest_of(data), digest_of(data[:-1]), digest_of(data[:32])}) == len(data) + 3


def test_where_no_thread_can_start_it_does_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: Any) -> None:
        raise RuntimeError("can't start new thread")

    data = bytes(3 * BLOCK)
    expected = digest_of(data)
    monkeypatch.setattr(platform, "usable_cpus", lambda: 8)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert digest_of(data) == expected
