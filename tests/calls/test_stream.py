from __future__ import annotations

import random
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from bundlebee.calls.stream import ROOM, FrameStream
from bundlebee.errors import ProtocolError
from bundlebee.platform import has_local_sockets

pytestmark = pytest.mark.skipif(not has_local_sockets(), reason="only used where there are such sockets")

Pair = tuple[FrameStream, FrameStream]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    yield FrameStream(one), FrameStream(other)
    one.close()
    other.close()


def test_messages_of_all_sizes_arrive_as_they_were_sent(pair: Pair) -> None:
    one, other = pair
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    dice = random.Random(seed)
    sizes = [0, 1, 100, ROOM - 13, ROOM - 12, ROOM, ROOM + 1, 300_000, 2_000_000]
    messages = [
        [dice.randbytes(dice.choice(sizes)) for _ in range(dice.choice([1, 1, 2, 3, 9]))] for _ in range(60)
    ]
    messages.append([b"x"] * 3_000)  # more frames than one system call takes
    messages.append([b"y"] * 30_000)  # their lengths alone are longer than the buffer
    sender = threading.Thread(target=lambda: [one.send(message) for message in messages])
    sender.start()
    for message in messages:
        assert other.receive(10.0) == message
    sender.join()
    assert other.receive(0.0) is None


def test_frames_after_the_first_can_be_written_to(pair: Pair) -> None:
    one, other = pair
    one.send([b"header", b"small", memoryview(b"large" * 100_000)[:70_000]])
    received = other.receive(10.0)
    assert received is not None
    assert type(received[0]) is bytes
    for frame in received[1:]:
        assert not memoryview(frame).readonly


def test_an_offer_never_waits(pair: Pair) -> None:
    one, other = pair
    large = bytes(3_000_000)
    assert one.offer([b"first", large])
    assert one.behind
    assert not one.offer([b"second"])  # no room: nothing of it was taken
    received: list[object] = []
    reader = threading.Thread(target=lambda: received.append(other.receive(10.0)))
    reader.start()
    while one.behind:
        one.flush()
    reader.join()
    assert received == [[b"first", large]]
    assert one.offer([b"second"])
    assert other.receive(10.0) == [b"second"]


def test_what_was_sent_before_the_end_is_read(pair: Pair) -> None:
    one, other = pair
    one.send([b"last words"])
    assert not other.ended()
    one.hang_up()
    one.socket.close()
    assert other.ended()
    assert other.receive(10.0) == [b"last words"]
    with pytest.raises(EOFError):
        other.receive(10.0)
    with pytest.raises(OSError):
        other.send([b"too late"])


@pytest.mark.parametrize("data", [b"\xff" * 100, (1).to_bytes(4, "little") + b"\xff" * 8])
def test_what_is_no_message_is_refused(pair: Pair, data: bytes) -> None:
    one, other = pair
    one.socket.sendall(data)
    with pytest.raises(ProtocolError):
        other.receive(10.0)


def test_a_deadly_sigpipe_does_not_kill() -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        one, other = socket.socketpair()
        other.close()
        with pytest.raises(BrokenPipeError):
            FrameStream(one).offer([b"x"])
        one.close()
    finally:
        signal.signal(signal.SIGPIPE, before)
