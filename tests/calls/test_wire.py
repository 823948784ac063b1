from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.calls import wire
from bundlebee.calls.larder import Named, Place
from bundlebee.calls.segments import Held, Home
from bundlebee.errors import ProtocolError
from bundlebee.words import FunctionRef

CALL = wire.Call(FunctionRef("b", "d", "m", "q"), 3, (("m", "x"),), b"\0state", 1, ("a", "b"), 500, 0)

HELD = Held(1, 2, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    "message",
    [
        wire.Hello("token", "caller"),
        wire.Hello("token", "caller", Home(1, 2, b"secret")),
        wire.Define(3, CALL),
        wire.Submit(1, 2, 3),
        wire.Submit(
            1, 2, 3, held=[HELD], named=[Named(0, b"digest", 5, Place(1, 2, 3, 4)), Named(1, b"", 5)]
        ),
    ],
    ids=lambda m: type(m).__name__,
)
def test_to_worker_round_trip(message: wire.ToWorker) -> None:
    assert wire.decode_to_worker(wire.encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        wire.Reply(1, 0, [(0.5, 0.25)], [(0, "stdout", "x")], True),
        wire.Reply(1, 0, [(0.5, 0.25)], [], held=[HELD, HELD]),
        wire.Welcome(),
        wire.Welcome(Home(1, 2, b"secret")),
        wire.Kept([Named(0, b"digest", 5, Place(1, 2, 3, 4))]),
        wire.Raised(1, 2, 0.5, 0.25, []),
        wire.Refusal(1, 0, 3, "guard", b"error", True),
        wire.Output(1, [(0, "stderr", "y")]),
    ],
    ids=lambda m: type(m).__name__,
)
def test_to_caller_round_trip(message: wire.ToCaller) -> None:
    assert wire.decode_to_caller(wire.encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for decode in (wire.decode_to_worker, wire.decode_to_caller):
        try:
            decode(data)
        except ProtocolError:
            pass


def test_a_header_has_a_bound() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        wire.decode_to_worker(bytes(wire.LARGEST_HEADER + 1))
    with pytest.raises(ProtocolError):
        wire.decode_to_caller(wire.encode(wire.Submit(1, 2, 3)))


def test_equal_calls_are_one_definition() -> None:
    assert hash(CALL) == hash(wire.Call(*[getattr(CALL, name) for name in CALL.__struct_fields__]))
