"""Wire format and seal: what is sent arrives, and nothing else gets in."""

from __future__ import annotations

import logging
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.errors import ProtocolError
from bundlebee.registry.messages import (
    MAX_MESSAGE,
    Beat,
    Delta,
    ExchangeRequest,
    Goodbye,
    Heard,
    Hello,
    Message,
    Relay,
    State,
    decode,
    decode_as,
    encode,
    fits,
)
from bundlebee.registry.rows import BundleRow, NodeRow, Pulse, RowSet
from bundlebee.registry.seal import OVERHEAD, Foreigners, Seal
from bundlebee.registry.state import _RELAYED

LONGEST = Pulse("f" * 16, "255.255.255.255:65535", 2**40, 2**40, 0.1, 0.1, 4096)
NODE = NodeRow(id="a" * 16, name="node", address="10.0.0.1:7768")
ALL: list[Message] = [
    Beat(LONGEST, 2**64 - 1),
    Delta(LONGEST, 3, NODE, (BundleRow(name="b", version="1", digest="d" * 64),), ("e" * 64,)),
    State(LONGEST, RowSet(1, NODE), 0),
    Hello("a"),
    Relay("a", "b", (Heard(LONGEST, 1.5, 2),)),
    Goodbye("a"),
]


@pytest.mark.parametrize("message", ALL, ids=lambda message: type(message).__name__)
def test_messages_survive_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


def test_a_full_relay_fits_into_a_datagram() -> None:
    assert fits(Relay("f" * 16, LONGEST.address, (Heard(LONGEST, 4.999, 2**40),) * _RELAYED))


def test_a_sealed_datagram_is_not_fragmented_on_any_link() -> None:
    assert MAX_MESSAGE + OVERHEAD + 28 <= 1_280


@given(st.binary(max_size=200))
def test_no_bytes_break_the_decoder(data: bytes) -> None:
    for kind in (None, ExchangeRequest, Pulse, RowSet):
        try:
            decode(data) if kind is None else decode_as(data, kind)
        except ProtocolError:
            pass


@given(st.sampled_from(ALL), st.integers(0, 10**6), st.integers(0, 255))
def test_no_changed_byte_breaks_the_decoder(message: Message, where: int, value: int) -> None:
    data = bytearray(encode(message))
    data[where % len(data)] = value
    try:
        decode(bytes(data))
    except ProtocolError:
        pass


def test_deeply_nested_bytes_are_refused() -> None:
    with pytest.raises(ProtocolError):
        decode(b"\x92\xa1b" + b"\x91" * 50_000)


@given(st.binary(max_size=300))
def test_what_was_sealed_can_be_opened_with_the_same_key_only(message: bytes) -> None:
    ours, theirs = Seal(b"k" * 32), Seal(b"l" * 32)
    datagram = ours.seal(message)
    assert len(datagram) == len(message) + OVERHEAD
    assert ours.open(datagram) == message
    assert theirs.open(datagram) is None
    assert ours.seal(message) != datagram


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_datagram_does_not_open(where: int, change: int) -> None:
    seal = Seal(b"k" * 32)
    datagram = bytearray(seal.seal(b"message"))
    datagram[where % len(datagram)] ^= change
    assert seal.open(bytes(datagram)) is None


@given(st.binary(max_size=100))
def test_noise_does_not_open(noise: bytes) -> None:
    assert Seal(b"k" * 32).open(noise) is None


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Seal(b"short")


def test_foreigners_are_mentioned_once_each_and_not_without_end(caplog: pytest.LogCaptureFixture) -> None:
    foreigners = Foreigners(most=3)
    other_grid = Seal(os.urandom(32)).seal(b"x")
    with caplog.at_level(logging.WARNING, "bundlebee.registry"):
        for _ in range(100):
            foreigners.note("10.0.0.1", other_grid)
            foreigners.note("10.0.0.2", b"noise")
        assert len(caplog.records) == 2
        assert "another grid" in caplog.messages[0] and "not ours" in caplog.messages[1]
        for number in range(5_000):
            foreigners.note(f"10.1.{number >> 8}.{number & 255}", b"noise")
    assert len(caplog.records) == 4
    assert foreigners.count == 5_200
    assert len(foreigners._seen) <= 4
