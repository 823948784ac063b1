from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from bundlebee import platform
from bundlebee.hooks import children

pytestmark = pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid")


@pytest.fixture
def ours() -> Iterator[subprocess.Popen[bytes]]:
    """A child that the program knows nothing of."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    platform.children_of_ours.add(process.pid)
    undo = children.hide_ours()
    yield process
    undo()
    platform.children_of_ours.discard(process.pid)
    process.kill()
    process.communicate()


def child(code: int, seconds: float = 0.0) -> int:
    pid = os.fork()
    if not pid:
        time.sleep(seconds)
        os._exit(code)
    return pid


@pytest.mark.parametrize(
    "wait", [lambda: os.wait(), lambda: os.waitpid(-1, 0), lambda: os.wait3(0), lambda: os.wait4(-1, 0)]
)
def test_any_child_is_one_of_the_programs(ours: subprocess.Popen[bytes], wait: object) -> None:
    started = {child(3, 0.1), child(3)}
    found = set()
    for _ in range(2):
        pid, status = wait()[:2]  # type: ignore[operator]
        assert os.waitstatus_to_exitcode(status) == 3
        found.add(pid)
    assert found == started
    with pytest.raises(ChildProcessError):
        wait()  # type: ignore[operator]
    assert ours.poll() is None


def test_without_waiting(ours: subprocess.Popen[bytes]) -> None:
    pid = child(4, 0.2)
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    assert os.wait4(-1, os.WNOHANG)[:2] == (0, 0) and os.wait3(os.WNOHANG)[2].ru_maxrss >= 0
    assert os.waitpid(pid, 0)[0] == pid
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_of_ours_ends_meanwhile(ours: subprocess.Popen[bytes]) -> None:
    def end() -> None:
        ours.kill()
        platform.wait_for_end(ours)
        platform.children_of_ours.discard(ours.pid)

    pid = child(5, 0.4)
    timer = threading.Timer(0.1, end)
    timer.start()
    assert os.wait() == (pid, 5 << 8)
    timer.join()


def test_what_is_named_is_waited_for(ours: subprocess.Popen[bytes]) -> None:
    assert subprocess.run([sys.executable, "-c", "raise SystemExit(6)"]).returncode == 6


def test_undone() -> None:
    before = os.wait, os.waitpid
    children.hide_ours()()
    assert (os.wait, os.waitpid) == before
