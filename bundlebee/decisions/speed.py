"""How fast one core of this machine runs Python, against a fixed reference, by a small loop of ordinary code.

Only ratios between machines count. The loop is measured in CPU time of its thread, so a busy or throttled
machine comes out as fast as it is when it is left alone; what load and quota take away is a matter of
`model.rate`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from bundlebee.clock import clock

#: CPU seconds of one round at speed 1.0, the reference: a virtual core of a 2024 server, Python 3.11.
REFERENCE = 0.0010
ROUNDS = 8  #: rounds of a measurement; the quickest counts, since disturbances only ever add
KEEP = 7 * 86400.0  #: seconds that a stored figure is good for; firmware and cooling change slowly


def speed(cache: Path | None = None) -> float:
    """Speed of one core, 1.0 as the reference. Costs 10 ms of CPU time at the first call only.

    Args:
        cache: directory that keeps the figure for the next process. It is no error if it cannot be used.
    """
    global _measured
    if _measured is None:
        _measured = (_load(cache) if cache is not None else None) or _measure()
        if cache is not None:
            _store(cache, _measured)
    return _measured


_measured: float | None = None


def _measure() -> float:
    # The thread's own clock is missing or coarse on some systems; there the best of wall-clock times must do.
    now = clock.thread_time if _is_fine() else clock.perf_counter
    best = float("inf")
    for _ in range(ROUNDS):
        start = now()
        _round()
        best = min(best, now() - start)
    return round(REFERENCE / max(best, 1e-6), 3)


def _round() -> float:
    """A bit of everything that ordinary code does: floats, integers, calls, lists, dictionaries."""
    total = 0.0
    table: dict[int, float] = {}
    for i in range(4500):
        x = i * 0.001
        y = x * x - x + 0.25
        table[i & 63] = y
        total += _step(y, i) if i & 1 else abs(y)
    return total + sum([value * 0.5 for value in table.values()])


def _step(value: float, count: int) -> float:
    return value + count % 7


def _is_fine() -> bool:
    try:
        return time.get_clock_info("thread_time").resolution <= 1e-5
    except (ValueError, OSError):
        return False


def _file(cache: Path) -> Path:
    import platform

    # A home directory may be shared by machines, and a machine has several Pythons.
    return cache / f"speed-{platform.node() or 'host'}-{platform.machine()}-{platform.python_version()}.txt"


def _load(cache: Path) -> float | None:
    path = _file(cache)
    try:
        if abs(clock.time() - path.stat().st_mtime) > KEEP:
            return None
        value = float(path.read_text())
    except (OSError, ValueError):
        return None
    return value if 1e-3 < value < 1e3 else None


def _store(cache: Path, value: float) -> None:
    path = _file(cache)
    try:
        if path.exists() and abs(clock.time() - path.stat().st_mtime) <= KEEP:
            return
        import tempfile

        cache.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=cache, prefix="speed-")
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{value}\n")
        os.replace(temporary, path)
    except OSError:
        pass  # a read-only cache directory: measured again next time
