"""Counters of the operating system."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bundlebee.decisions.counters import LinuxCounters, PsutilCounters, counters

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_linux_and_psutil_agree() -> None:
    direct, other = LinuxCounters(), PsutilCounters()
    pid = os.getpid()
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    seconds, others = direct.seconds(pid), other.seconds(pid)
    assert seconds is not None and others is not None and abs(seconds - others) <= 0.05
    assert direct.memory()[1] == other.memory()[1]
    assert abs(direct.memory()[0] - other.memory()[0]) < direct.memory()[1] / 10
    assert len(direct.cores()) == len(other.cores())


@linux
def test_shares_of_cores_and_seconds_of_processes(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    counted = LinuxCounters(tmp_path)
    stat.write_text(
        "cpu 9 9 9 9 9 9 9 9 9 9\ncpu0 10 0 10 80 0 0 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0 0 0\nintr 1\n"
    )
    assert counted.cores() == [0.0, 0.0]
    stat.write_text("cpu 9\ncpu0 60 0 10 120 10 0 0 0 50 0\ncpu1 0 0 0 100 0 0 0 0 0 0\n")
    assert counted.cores() == [0.5, 0.0]
    stat.write_text("cpu0 70 0 10 120 10 0 0 0 50 0\n")
    assert counted.cores() == [0.0]  # a core went away
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 250 50 0 0 20 0 1 0 0")
    assert counted.seconds(7) == 300 / os.sysconf("SC_CLK_TCK")
    assert counted.seconds(8) is None


def test_a_process_that_is_gone_has_no_seconds() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    for one in (counters(), PsutilCounters()):
        assert one.seconds(child.pid) is None
        assert one.seconds(os.getpid()) is not None
