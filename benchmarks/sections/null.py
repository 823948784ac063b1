"""A call that does nothing, one at a time: what shipping itself costs."""

from __future__ import annotations

import statistics
from contextlib import ExitStack

from contending import Bench, Contender, Unavailable
from plot import Bar, Chart
from report import Figure

CALLS = 200  #: in one turn
BEHIND_US = ("pyro5", "rpyc", "mitogen", "process-pool", "loky", "ray", "dask")


def run(bench: Bench) -> list[Chart]:
    """Two groups: those with processes that work on their own would disturb the others."""
    bars: dict[str, Bar] = {}
    for heavy in (False, True):
        keys = [kind.key for kind in bench.kinds if kind.heavy is heavy and kind.key != "executor"]
        if keys:
            bars |= _group(bench, list(dict.fromkeys(["pyzmq", *keys, "bundlebee"])), heavy)
    return [Chart("Null call, one at a time (median)", "µs", list(bars.values()))]


def _group(bench: Bench, keys: list[str], heavy: bool) -> dict[str, Bar]:
    with ExitStack() as stack:
        taking_part = bench.start(stack, keys, "null")
        medians: dict[str, list[float]] = {key: [] for key in taking_part}
        tails: dict[str, list[float]] = {key: [] for key in taking_part}
        for turn in range(bench.repeat + 1):
            for key, contender in list(taking_part.items()):
                found = _turn(bench, contender)
                if found is None:
                    del taking_part[key]
                elif turn:  # the first one warms up
                    medians[key].append(statistics.median(found))
                    tails[key].append(found[len(found) * 99 // 100])
    bars: dict[str, Bar] = {}
    where = ", in the company of Ray and Dask" if heavy else ""
    for key, contender in taking_part.items():
        middle, tail = statistics.median(medians[key]), statistics.median(tails[key])
        low, high = min(medians[key]), max(medians[key])
        ours = key == "bundlebee"
        note = f"{low:.0f} … {high:.0f}, p99 {tail:.0f}"
        bench.report.add(Figure(f"null call: {contender.kind.name}{where}", middle, "µs", note=note))
        if not heavy or key not in ("pyzmq", "bundlebee"):
            bars[key] = Bar(contender.kind.name, middle, low, high, ours)

    def ratio(over: str, values: dict[str, list[float]]) -> float:
        return statistics.median(a / b for a, b in zip(values["bundlebee"], values[over], strict=True))

    if "bundlebee" in taking_part:
        if "pyzmq" in taking_part and not heavy:
            bench.report.add(
                Figure("null call: bundlebee ÷ bare pyzmq, p50", ratio("pyzmq", medians), "x", at_most=1.3)
            )
            bench.report.add(
                Figure("null call: bundlebee ÷ bare pyzmq, p99", ratio("pyzmq", tails), "x", at_most=3)
            )
        for key in BEHIND_US:
            if key in taking_part:
                name = taking_part[key].kind.name
                bench.report.add(
                    Figure(f"null call: bundlebee ÷ {name}, p50", ratio(key, medians), "x", at_most=1.0)
                )
    return bars


def _turn(bench: Bench, contender: Contender) -> list[float] | None:
    """Microseconds of the calls of one turn, sorted."""
    try:
        return sorted(1e6 * one for one in contender.turn("null", max(10, CALLS // contender.kind.slow)))
    except Unavailable as why:
        bench.report.say(f"{contender.kind.name} gives up: {why}")
        return None
