"""Counters of CPU time and memory: those of Linux read directly, those of other systems by psutil.

To import psutil takes 15 ms of CPU time; a program that is over in a second need not pay for it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Protocol

_open = open  # a test of the program may put its own in the place of the builtin


class Counters(Protocol):
    """What the operating system counts. Not for use from several threads."""

    def cores(self) -> list[float]:
        """The share of each core that was busy since the last time, 0 to 1."""

    def seconds(self, pid: int) -> float | None:
        """CPU seconds of a process so far; None where it is gone or not for us to see."""

    def memory(self) -> tuple[int, int]:
        """Bytes that are available, and in all."""


class LinuxCounters:
    """Reads ``/proc``."""

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = os.fspath(root)
        self._tick = 1.0 / os.sysconf("SC_CLK_TCK")
        self._before: list[tuple[int, int]] = []

    def cores(self) -> list[float]:
        now = []
        for line in self._read("stat").splitlines():
            name, *figures = line.split()
            if name.startswith("cpu") and name != "cpu":
                # user nice system idle iowait irq softirq steal; what guests used is in user and nice already
                ticks = [int(figure) for figure in figures[:8]]
                now.append((sum(ticks) - sum(ticks[3:5]), sum(ticks)))
        before, self._before = self._before, now
        if len(before) != len(now):  # the first time, or a core came or went
            return [0.0] * len(now)
        return [
            min(1.0, max(0.0, (busy - was_busy) / (total - was))) if total > was else 0.0
            for (busy, total), (was_busy, was) in zip(now, before, strict=True)
        ]

    def seconds(self, pid: int) -> float | None:
        try:
            # the name stands in parentheses, and may hold anything
            figures = self._read(f"{pid}/stat").rpartition(")")[2].split()
            return (int(figures[11]) + int(figures[12])) * self._tick
        except (OSError, ValueError, IndexError):
            return None

    def memory(self) -> tuple[int, int]:
        found = {}
        for line in self._read("meminfo").splitlines():
            name, _, rest = line.partition(":")
            if name in ("MemAvailable", "MemTotal", "MemFree"):
                found[name] = int(rest.split()[0]) * 1024
        return found.get("MemAvailable", found["MemFree"]), found["MemTotal"]

    def _read(self, name: str) -> str:
        with _open(f"{self._root}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()


class PsutilCounters:
    """Asks psutil."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil

    def cores(self) -> list[float]:
        return [percent / 100.0 for percent in self._psutil.cpu_percent(percpu=True)]

    def seconds(self, pid: int) -> float | None:
        try:
            times = self._psutil.Process(pid).cpu_times()
        except (self._psutil.Error, OSError):
            return None
        return float(times.user + times.system)

    def memory(self) -> tuple[int, int]:
        memory = self._psutil.virtual_memory()
        return int(memory.available), int(memory.total)


def counters() -> Counters:
    """Those of this system."""
    if sys.platform == "linux":
        try:
            direct = LinuxCounters()
            direct.memory(), direct.cores()
            if direct.seconds(os.getpid()) is not None:
                return direct
        except (OSError, ValueError, KeyError, IndexError):
            pass  # a strange /proc
    return PsutilCounters()
