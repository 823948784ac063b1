from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest

from bundlebee import platform
from bundlebee.calls import larder as module
from bundlebee.calls.content import digest_of
from bundlebee.calls.larder import KEEP_FROM, Larder, Missing, Named, Place
from bundlebee.calls.sent import Places, Sent

SIZE = 3 * KEEP_FROM


def buffer(number: int, size: int = SIZE) -> bytearray:
    return bytearray(hashlib.sha256(bytes([number])).digest() * (size // 32))


def name(frame: bytearray, place: Place | None = None) -> Named:
    return Named(0, digest_of(frame), len(frame), place)


@pytest.fixture(params=["memory", "copies"])
def larder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Larder]:
    if request.param == "copies":
        monkeypatch.setattr(platform, "SHARES_MEMORY", False)
    elif not platform.SHARES_MEMORY:
        pytest.skip("this platform shares no memory")
    larder = Larder()
    yield larder
    larder.clear()


@pytest.mark.parametrize("when", ["idle", "asked"])
def test_what_came_is_kept_under_its_digest(larder: Larder, when: str) -> None:
    frame = buffer(1)
    larder.came([frame, b"small"])
    while when == "idle" and larder.step():
        pass
    for _ in range(3):
        [found] = larder.restore([], [name(frame)])
        assert bytes(found) == frame
        found[5] ^= 255  # it is the call's own
        del found
    with pytest.raises(Missing):
        larder.restore([], [name(buffer(2))])


def test_two_at_a_time(larder: Larder) -> None:
    larder.came([buffer(1)])
    [one, other, last] = larder.restore([b"x"], [name(buffer(1)), Named(2, *_rest(buffer(1)))])
    assert last == b"x" or other == b"x"
    one[0] ^= 1
    assert bytes(larder.restore([], [name(buffer(1))])[0]) == buffer(1)


def _rest(frame: bytearray) -> tuple[bytes, int]:
    return digest_of(frame), len(frame)


def test_a_call_that_has_changed_its_argument_spoils_nothing(larder: Larder) -> None:
    frame = buffer(1)
    sent = name(frame)
    larder.came([frame])
    frame[0] ^= 255
    with pytest.raises(Missing):
        larder.restore([], [sent])
    assert bytes(larder.restore([], [name(frame)])[0]) == frame


def test_memory_has_a_bound(larder: Larder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3 * SIZE)
    for number in range(10):
        larder.came([buffer(number)])
        larder.step()
    assert sum(map(len, larder.pending)) <= 3 * SIZE
    while larder.step():
        pass
    assert sum(entry.length for entry in larder._entries.values()) <= 3 * SIZE
    assert bytes(larder.restore([], [name(buffer(9))])[0]) == buffer(9)
    with pytest.raises(Missing):
        larder.restore([], [name(buffer(0))])


@pytest.mark.skipif(not platform.SHARES_MEMORY, reason="this platform shares no memory")
def test_workers_of_a_node_take_each_others() -> None:
    one, other = Larder(), Larder()
    one.came([buffer(1)])
    one.step()
    [news] = one.news
    found = other.restore([], [name(buffer(1), news.place)])[0]
    one.clear()
    assert bytes(found) == buffer(1)
    assert bytes(other.restore([], [name(buffer(1))])[0]) == buffer(1)
    other.clear()
    with pytest.raises(Missing):
        Larder().restore([], [name(buffer(1), news.place)])  # it is gone there


def test_no_open_file_is_left(larder: Larder) -> None:
    before = len(os.listdir("/proc/self/fd")) if platform.IS_LINUX else 0
    for number in range(5):
        larder.came([buffer(number)])
        larder.step()
        larder.restore([], [name(buffer(number))])
    larder.clear()
    assert (len(os.listdir("/proc/self/fd")) if platform.IS_LINUX else 0) == before


def test_only_what_looks_known_is_named() -> None:
    sent = Sent()
    frame = buffer(1)
    assert sent.replace([frame, b"x"]) == ([frame, b"x"], [])
    rest, [named] = sent.replace([b"x", frame])
    assert (rest, named) == ([b"x"], Named(1, digest_of(frame), SIZE))
    frame[SIZE // 2 + 100] ^= 1  # not among the samples: it looks the same, and has another digest
    [changed] = sent.replace([frame])[1]
    assert changed.digest == digest_of(frame) != named.digest
    frame[0] ^= 1
    assert not sent.replace([frame])[1]


def test_what_is_often_missing_is_not_asked_for_each_time() -> None:
    sent = Sent()
    frame = buffer(1)
    sent.replace([frame])
    asked = 0
    for _ in range(100):
        named = sent.replace([frame])[1]
        if named:
            asked += 1
            sent.missing(named, [frame])
    assert 0 < asked < 10
    sent.there()
    sent.replace([frame] * 64)
    assert sent.replace([frame])[1]


def test_another_connection_names_what_it_knows_a_place_of() -> None:
    places = Places()
    one, other = Sent(places), Sent(places)
    frame = buffer(1)
    one.replace([frame])
    assert not other.replace([frame])[1]
    third = Sent(places)
    places.learn(Named(0, *_rest(frame), Place(1, 2, 3, SIZE)))
    [named] = third.replace([frame])[1]
    assert named.place == Place(1, 2, 3, SIZE)
    third.missing([named], [frame])
    assert places.get(named.digest) is None
