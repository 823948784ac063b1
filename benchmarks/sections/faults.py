"""Minutes of killed workers, killed nodes, pulled cables and lost packets, and what came of the calls (see `benchmarks/soak.py`)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from contending import Bench
from plot import Chart
from report import Figure

SEED = 1


def run(bench: Bench, minutes: float) -> list[Chart]:
    import soak  # it builds on the LAN of the tests

    if (reason := soak.unavailable(loss=True)) is not None:
        bench.report.say(f"faults are left out: {reason}")
        return []
    with TemporaryDirectory(prefix="bundlebee-soak-") as root:
        problems, figures, counts = soak.soak(minutes, SEED, Path(root))
    for figure in figures:
        bench.report.add(figure)
    done = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    bench.report.add(Figure("faults: what went wrong", len(problems), "", at_most=0, note=done))
    for problem in problems:
        bench.report.say(f"PROBLEM: {problem}")
    return []
