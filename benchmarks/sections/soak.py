"""Very many null calls in a row: the memory of caller, node and workers stays as it is."""

from __future__ import annotations

from contextlib import ExitStack

from contending import Bench, unique_memory
from plot import Chart
from report import Figure

WARM = 80_000  #: calls until memory has settled
PART = 20_000
GROWTH = 2.0  #: MiB that allocators may take between two looks; a leak of 3 bytes a call shows in a million


def run(bench: Bench, calls: int) -> list[Chart]:
    with ExitStack() as stack:
        contender = bench.start(stack, ["bundlebee"], "null").get("bundlebee")
        assert contender is not None and bench.node is not None
        pids = contender.pid, bench.node.pid

        def look() -> float:
            return sum(map(unique_memory, pids)) / 2**20

        contender.turn("null", WARM)
        before = most = look()
        done = 0
        while done < calls:
            contender.turn("null", min(PART, calls - done))
            done += min(PART, calls - done)
            most = max(most, look())
        growth = look() - before
    name = f"soak: growth over {calls:,} null calls"
    bench.report.add(
        Figure(name, growth, "MiB", at_most=GROWTH, note=f"from {before:.1f} MiB, at most {most:.1f}")
    )
    return []
