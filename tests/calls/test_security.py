"""Who is called a stranger, by what the monitor of a bound socket tells."""

from __future__ import annotations

import errno

import pytest
import zmq

from bundlebee.calls import security


def told(*events: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    named: list[str] = []
    monkeypatch.setattr(security, "_peer_address", lambda descriptor: f"10.0.0.{descriptor}")
    watch = security._Watch(None, None)  # type: ignore[arg-type]
    for kind, value in events:
        watch.seen(kind, value, named.append)
    return named


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400),
        (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, 0x11000001),
        (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, errno.EPROTO),
    ],
)
def test_who_fails_to_show_the_key(kind: int, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    events = (zmq.EVENT_ACCEPTED, 7), (kind, value), (zmq.EVENT_DISCONNECTED, 7)
    assert told(*events, monkeypatch=monkeypatch) == ["10.0.0.7"]


@pytest.mark.parametrize("value", [errno.EPIPE, errno.ECONNRESET])
def test_who_hangs_up_in_its_greeting_is_none(value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, value)
    events = (zmq.EVENT_ACCEPTED, 7), gone, (zmq.EVENT_DISCONNECTED, 7)
    assert told(*events, monkeypatch=monkeypatch) == []
    # and the next one that ends is not taken for it
    more = (zmq.EVENT_ACCEPTED, 8), (zmq.EVENT_HANDSHAKE_SUCCEEDED, 8), (zmq.EVENT_DISCONNECTED, 8)
    assert told(*events, *more, monkeypatch=monkeypatch) == []
