from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bundlebee import platform
from bundlebee.calls import mapping
from bundlebee.calls.inlet import Inlet
from bundlebee.calls.mapping import MOST_ALIVE
from bundlebee.calls.outlet import MOST_SEGMENTS, Outlet
from bundlebee.calls.segments import LEDGER, Held, Home
from bundlebee.calls.sharing import Sharing

pytestmark = pytest.mark.skipif(not platform.SHARES_MEMORY, reason="this platform shares no memory")

SIZE = 300_000


def pattern(number: int, size: int = SIZE) -> bytes:
    return bytes([number % 256]) * size


@pytest.fixture
def pair() -> Any:
    outlet = Outlet()
    inlet = Inlet(outlet.home)
    yield outlet, inlet
    outlet.close()
    inlet.close()


def give(pair: tuple[Outlet, Inlet], frame: bytes) -> memoryview:
    held = pair[0].put(0, frame)
    assert held is not None
    return pair[1].take(held)


def test_what_arrives_is_writable_and_nobody_elses(pair: tuple[Outlet, Inlet]) -> None:
    outlet, inlet = pair
    held = outlet.put(0, pattern(1))
    assert held is not None
    one, other = inlet.take(held), Inlet(outlet.home).take(held)
    one[5] = 9
    assert (one[5], other[5]) == (9, 1)
    assert one.nbytes == SIZE and one.format == "B" and not one.readonly


def test_a_segment_is_used_again_once_the_last_object_is_gone(pair: tuple[Outlet, Inlet]) -> None:
    first = give(pair, pattern(1))
    part = first[10:20]
    del first
    second = give(pair, pattern(2))  # the first is still in use
    assert bytes(part) == pattern(1, 10)
    part[0] = 7
    del part, second
    third, fourth = give(pair, pattern(3)), give(pair, pattern(4))
    assert (bytes(third), bytes(fourth)) == (
        pattern(3),
        pattern(4),
    )  # nothing of what was written there is left
    assert len(pair[0]._segments) == 2


@pytest.mark.parametrize("size", [70_000, SIZE, 3_000_000])
def test_nothing_that_was_written_is_seen_by_the_next(pair: tuple[Outlet, Inlet], size: int) -> None:
    for number in range(6):
        view = give(pair, pattern(number, size))
        assert bytes(view) == pattern(number, size)
        view[0] = view[size // 2] = view[-1] = 255
        del view
    assert len(pair[0]._segments) == 1


def test_without_a_look_at_the_pages(pair: tuple[Outlet, Inlet], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "_can_tell_written", lambda: False)
    test_nothing_that_was_written_is_seen_by_the_next(pair, 3_000_000)


def test_many_that_are_kept(pair: tuple[Outlet, Inlet]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    views = [give(pair, pattern(number)) for number in range(3 * MOST_ALIVE)]
    assert [view[7] for view in views] == [number % 256 for number in range(3 * MOST_ALIVE)]
    assert len(pair[0]._segments) <= MOST_SEGMENTS
    assert len(os.listdir("/proc/self/fd")) - before <= 2 * MOST_SEGMENTS + MOST_ALIVE
    del views
    pair[0].sweep()
    give(pair, pattern(1))
    assert not mapping._alive


def test_what_is_alive_outlives_the_connection(pair: tuple[Outlet, Inlet]) -> None:
    view = give(pair, pattern(5))
    pair[0].close()
    pair[1].close()
    gc.collect()
    assert bytes(view) == pattern(5)


def test_large_ones_are_not_kept(pair: tuple[Outlet, Inlet], monkeypatch: pytest.MonkeyPatch) -> None:
    for end in ("inlet", "outlet"):
        monkeypatch.setattr(f"bundlebee.calls.{end}.KEPT", SIZE)
    view = give(pair, pattern(1, 2 * SIZE))
    pair[0].sweep()
    assert not pair[0]._segments and bytes(view) == pattern(1, 2 * SIZE)
    del view
    assert not pair[1]._mappings


def test_what_nobody_opened_comes_back(pair: tuple[Outlet, Inlet]) -> None:
    helds = [pair[0].put(0, pattern(number)) for number in range(MOST_SEGMENTS)]
    assert pair[0].put(0, pattern(0)) is None  # through the socket
    pair[0].take_back([held for held in helds if held is not None])
    assert give(pair, pattern(9))[0] == 9


def test_a_child_keeps_what_it_was_born_with(pair: tuple[Outlet, Inlet]) -> None:
    view = give(pair, pattern(1))
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(0 if bytes(view) == pattern(1) else 1)
    os.read(ready[0], 1)
    view[0] = 200
    del view  # ours alone: the child's is still there
    for number in range(2, 5):
        give(pair, pattern(number))
    os.write(go[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for end in (*ready, *go):
        os.close(end)


def test_the_child_does_not_let_go_for_its_parent(pair: tuple[Outlet, Inlet]) -> None:
    view = give(pair, pattern(1))
    child = os.fork()
    if not child:
        del view
        os._exit(0)
    os.waitpid(child, 0)
    other = give(pair, pattern(2))
    assert (view[0], other[0]) == (1, 2)


def test_another_process_is_not_taken_for_it(pair: tuple[Outlet, Inlet]) -> None:
    home = pair[0].home
    other = Outlet()
    with pytest.raises(OSError):
        Inlet(Home(home.pid, other.home.descriptor, home.secret))  # another secret
    other.close()
    for descriptor in (0, 10_000):
        with pytest.raises(OSError):
            Inlet(Home(home.pid, descriptor, home.secret))
    sharing = Sharing()
    assert sharing.accept(Home(2**22 + 5, home.descriptor, home.secret)) is None and not sharing.near


def test_a_pipe_is_not_opened(pair: tuple[Outlet, Inlet], tmp_path: Path) -> None:
    file = tmp_path / "memfd:bundlebee"
    file.write_bytes(bytes(LEDGER))
    with file.open("r+b") as opened, pytest.raises(OSError):
        Inlet(Home(os.getpid(), opened.fileno(), bytes(32)))


def test_only_the_owner_may_open_it(pair: tuple[Outlet, Inlet]) -> None:
    assert os.fstat(pair[0].home.descriptor).st_mode & 0o777 == 0o600


def test_no_memory_is_left_when_a_process_is_killed() -> None:
    before = set(os.listdir("/proc/self/fd"))
    script = (
        "import sys, os; from bundlebee.calls.outlet import Outlet\n"
        "outlet = Outlet(); held = outlet.put(0, bytes([7]) * 300_000)\n"
        "print(os.getpid(), outlet.home.descriptor, outlet.home.secret.hex(), *"
        "[getattr(held, name) for name in held.__struct_fields__], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        pid, ledger, secret, *numbers = process.stdout.readline().decode().split()
        inlet = Inlet(Home(int(pid), int(ledger), bytes.fromhex(secret)))
        held = Held(*map(int, numbers))
        view = inlet.take(held)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert bytes(view) == pattern(7)
    with pytest.raises(OSError):
        inlet.take(replace(held, delivery=held.delivery + 1))
    del view
    del inlet
    assert set(os.listdir("/proc/self/fd")) <= before
