"""Many tiny tasks at once, two workers: how many a second?"""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from contending import Bench, Unavailable
from plot import Bar, Chart
from report import Figure

NAMES = {"bundlebee": "bundlebee, a loop that spreads", "executor": "bundlebee.Executor.map"}


def run(bench: Bench) -> list[Chart]:
    count = 2_000 if bench.quick else 20_000
    bars: list[Bar] = []
    rates: dict[str, list[float]] = {}
    submits: dict[tuple[str, str], list[float]] = {}
    for heavy in (False, True):
        keys = [kind.key for kind in bench.kinds if kind.heavy is heavy]
        if not keys:
            continue
        with ExitStack() as stack:
            taking_part = bench.start(stack, keys, "tasks")
            for turn in range(max(1, bench.repeat // 2) + 1):
                for key, contender in list(taking_part.items()):
                    tasks = max(100, count // contender.kind.slow)
                    try:
                        seconds = contender.turn("tasks", tasks)
                        for other in sorted(contender.turns & {"submit", "submit_lambda"}):
                            rate = tasks / contender.turn(other, tasks) / 1000
                            if turn:
                                submits.setdefault((key, other), []).append(rate)
                    except Unavailable as why:
                        bench.report.say(f"{contender.kind.name} gives up: {why}")
                        del taking_part[key]
                        continue
                    if turn:
                        rates.setdefault(key, []).append(tasks / seconds / 1000)
    for kind in bench.kinds:
        found = rates.get(kind.key)
        if found:
            name = NAMES.get(kind.key, kind.name)
            middle, low, high = statistics.median(found), min(found), max(found)
            least = 100.0 if kind.key == "bundlebee" else None
            note = f"{low:.1f} … {high:.1f}"
            bench.report.add(Figure(f"tiny tasks: {name}", middle, "k/s", at_least=least, note=note))
            bars.append(Bar(name, middle, low, high, kind.key in NAMES))
    for key, bound in (("pool", 1.0), ("ray", 20.0)):
        if key in rates and "executor" in rates:
            if key == "pool":  # in the same turns
                pairs = zip(rates["executor"], rates[key], strict=True)
                ratio = statistics.median(a / b for a, b in pairs)
            else:
                ratio = statistics.median(rates["executor"]) / statistics.median(rates[key])
            name = next(kind.name for kind in bench.kinds if kind.key == key)
            bench.report.add(Figure(f"tiny tasks: Executor.map ÷ {name}", ratio, "x", at_least=bound))
    names = {kind.key: kind.name for kind in bench.kinds}
    for (key, turn_name), found in submits.items():
        what = "submit, a lambda" if turn_name == "submit_lambda" else "submit"
        name = f"tiny tasks: {names[key]}.{what}"
        note = f"{min(found):.1f} … {max(found):.1f}"
        bench.report.add(Figure(name, statistics.median(found), "k/s", note=note))
    if ("executor", "submit") in submits and ("process-pool", "submit") in submits:
        pairs = zip(submits["executor", "submit"], submits["process-pool", "submit"], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        name = "tiny tasks: Executor.submit ÷ ProcessPoolExecutor.submit"
        bench.report.add(Figure(name, ratio, "x", at_least=1.0))
    return [Chart(f"{count:,} tiny tasks, two workers", "thousand a second", bars, more_is_better=True)]
