"""How many tiny tasks a second does `bundlebee.Executor` take, against the standard library's pools?

    python benchmarks/executor.py [--json FILE] [--quick] [--repeat N]

20,000 tasks that add one to a number, in as many worker processes on this machine, without a grid:

1. `Executor.map(chunksize=1)` against `multiprocessing.Pool.imap(chunksize=1)` and `ProcessPoolExecutor.map(chunksize=1)`.
2. `Executor.submit` against `ProcessPoolExecutor.submit`, with a function that travels by name, and with a lambda (which
   the other cannot take).

All take turns in one run; medians count.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from operator import index

from report import Figure, Report, arguments

from bundlebee import Executor


def add_one(x: int) -> int:
    return x + 1


def rate(run: Callable[[], Iterable[object]], tasks: int) -> float:
    """Tasks a second."""
    start = time.perf_counter()
    count = sum(1 for _ in run())
    assert count == tasks
    return tasks / (time.perf_counter() - start)


def main() -> int:
    """Run it; the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=9, metavar="N", help="turns [9]")
    options = parser.parse_args()
    tasks, repeat = (2000, 3) if options.quick else (20_000, options.repeat)
    workers = os.cpu_count() or 1
    report = Report(f"{tasks} tiny tasks, {workers} workers", bounds=not options.quick)
    numbers = range(tasks)
    with (
        tempfile.TemporaryDirectory() as home,
        multiprocessing.Pool(workers) as pool,
        ProcessPoolExecutor(workers) as standard,
    ):
        for name in [name for name in os.environ if name.startswith(("BUNDLEBEE_", "XDG_"))]:
            del os.environ[name]
        os.environ["HOME"] = home  # no key, so no grid
        with Executor(workers) as ours:
            runs: dict[str, Callable[[], Iterable[object]]] = {
                "Executor.map(chunksize=1)": lambda: ours.map(add_one, numbers),
                "Pool.imap(chunksize=1)": lambda: pool.imap(add_one, numbers),
                "ProcessPoolExecutor.map(chunksize=1)": lambda: standard.map(add_one, numbers),
                "Executor.submit, by name": lambda: [
                    end.result() for end in [ours.submit(index, n) for n in numbers]
                ],
                "Executor.submit, a lambda": lambda: [
                    end.result() for end in [ours.submit(lambda x: x + 1, n) for n in numbers]
                ],
                "ProcessPoolExecutor.submit": lambda: [
                    end.result() for end in [standard.submit(index, n) for n in numbers]
                ],
            }
            rates: dict[str, list[float]] = {name: [] for name in runs}
            for turn in range(repeat + 1):
                for name, run in runs.items():
                    found = rate(run, tasks)
                    if turn:  # the first one warms up
                        rates[name].append(found)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, value in medians.items():
        low, high = min(rates[name]) / 1000, max(rates[name]) / 1000
        report.add(Figure(f"{name}", value / 1000, "k/s", note=f"{low:.1f} … {high:.1f}"))
    ratios = [
        ("map against Pool.imap", "Executor.map(chunksize=1)", "Pool.imap(chunksize=1)", 1.0),
        (
            "map against ProcessPoolExecutor.map",
            "Executor.map(chunksize=1)",
            "ProcessPoolExecutor.map(chunksize=1)",
            1.0,
        ),
        ("submit against ProcessPoolExecutor", "Executor.submit, by name", "ProcessPoolExecutor.submit", 1.0),
    ]
    for name, one, other, bound in ratios:
        ratio = statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))
        report.add(Figure(name, ratio, "x", at_least=bound))
    return report.finish(options.json)


if __name__ == "__main__":
    raise SystemExit(main())
