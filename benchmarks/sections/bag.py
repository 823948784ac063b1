"""A bag of tasks, two workers: how much longer than two forks that split the list and need no queue?"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack

from contending import CONTENDERS, Bench, Unavailable
from plot import Bar, Chart
from report import Figure

sys.path.insert(0, str(CONTENDERS))
from base import work

BAGS = ((200, 0.020, 1.05), (20_000, 0.0002, 1.15))
"""Tasks, seconds of each, and what may be taken of the forks' time."""

NAMES = {"bundlebee": "bundlebee, a loop that spreads", "executor": "bundlebee.Executor.map"}


def run(bench: Bench) -> list[Chart]:
    return [_bag(bench, *bag) for bag in BAGS]


def _bag(bench: Bench, count: int, length: float, bound: float) -> Chart:
    count = count // 10 if bench.quick else count
    loops = _loops(length)
    title = f"{count:,} × {length * 1000:g} ms"
    bars: list[Bar] = []
    for heavy in (False, True):
        keys = [kind.key for kind in bench.kinds if kind.heavy is heavy]
        if not keys:
            continue
        found: dict[str, list[float]] = {}
        with ExitStack() as stack:
            taking_part = bench.start(stack, list(dict.fromkeys(["forks", *keys])), "bag")
            for turn in range(max(1, bench.repeat // 3) + 1):
                for key, contender in list(taking_part.items()):
                    # a fraction of a bag of tiny tasks is as good: what counts is the cost of each
                    tasks = max(20, count // contender.kind.slow) if count > 1000 else count
                    try:
                        seconds = contender.turn("bag", [tasks, loops]) * count / tasks
                    except Unavailable as why:
                        bench.report.say(f"{contender.kind.name} gives up: {why}")
                        del taking_part[key]
                        continue
                    if turn:
                        found.setdefault(key, []).append(seconds)
        for key, contender in taking_part.items():
            if key != "forks" and "forks" in found:
                ratios = [a / b for a, b in zip(found[key], found["forks"], strict=True)]
                middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
                name = NAMES.get(key, contender.kind.name)
                at_most = bound if key in NAMES else None
                note = f"{low:.2f} … {high:.2f}"
                bench.report.add(Figure(f"bag, {title}: {name}", middle, "x", at_most=at_most, note=note))
                bars.append(Bar(name, middle, low, high, key in NAMES))
    return Chart(f"Bag of tasks, {title}: makespan", "times that of two forks without a queue", bars)


def _loops(seconds: float) -> int:
    """How many loops of `base.work` take so long; the quickest of several tries."""
    loops = 20_000
    best = float("inf")
    for _ in range(15):
        start = time.perf_counter()
        work(loops)
        best = min(best, time.perf_counter() - start)
    return max(1, round(loops * seconds / best))
