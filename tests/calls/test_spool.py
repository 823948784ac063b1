from __future__ import annotations

import tracemalloc

from bundlebee.calls import spool
from bundlebee.calls.spool import Spool


def test_parts_keep_their_order_and_can_be_read_again() -> None:
    parts = Spool()
    assert not parts and list(parts) == []
    expected = []
    for number in range(300):
        part = ("stdout", "stderr")[number % 2], f"{number} é " * 2000
        parts.add(*part)
        expected.append(part)
    assert parts and list(parts) == expected
    parts.add("stdout", "last")
    assert parts == [*expected, ("stdout", "last")]


def test_memory_is_bounded() -> None:
    tracemalloc.start()
    try:
        parts = Spool()
        for number in range(1000):
            parts.add("stdout", f"{number:07d} " * 8192)  # 64 KiB
        size = sum(len(text) for _, text in parts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 1000 * 65536
    assert peak < 8 * spool.KEPT
