"""Large arrays, on one host and through the socket (see `benchmarks/arrays.py`), beside Ray."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from importlib.util import find_spec

from contending import Bench
from plot import Chart

MIB, QUICK_MIB = 64, 1


def run(bench: Bench) -> list[Chart]:
    if find_spec("numpy") is None:
        bench.report.say("arrays are left out: NumPy is not installed beside bundlebee")
        return []
    import arrays

    mib = QUICK_MIB if bench.quick else MIB
    with ExitStack() as stack:
        keys = [kind.key for kind in bench.kinds if kind.key == "ray"]
        beside = {
            contender.kind.name: {what: partial(contender.turn, what, mib) for what in ("there", "back")}
            for contender in bench.start(stack, keys, "there").values()
        }
        return arrays.measure(bench.report, mib, bench.repeat, beside)
