"""How good are shipped calls, beside what others do on the same machine in the same minute?

    python benchmarks/calls.py [--sections LIST] [--peers LIST] [--svg FILE] [--json FILE] [--quick] [--repeat N]
                               [--soak N] [--faults MINUTES] [--everything]

Sections:

1. ``null``: a call that does nothing, one at a time, over a woven function under the policy ``remote``.
2. ``tasks``: 20,000 tiny tasks at once on two workers, through `bundlebee.Executor.map` and through a loop that spreads.
3. ``bag``: 200 tasks of 20 ms and 20,000 of 0.2 ms on two workers, against two forks that split the list.
4. ``arrays``: a NumPy array of 64 MiB there and back, on one host and through the socket; see `arrays.py`.
5. ``node``: the memory of an idle node with two workers, and the time from `bundlebee run` to the first call served.
6. ``soak``, with ``--soak N`` only: so many null calls in a row, and the memory afterwards.
7. ``faults``, with ``--faults MINUTES`` only: a LAN in trouble, and what came of the calls; see `soak.py`. Needs root and Linux.

``--everything`` is all of them, with a million calls and ten minutes: half an hour.

The peers take turns with us. Each is installed, the first time, into an environment of its own (``--environment``); one that
cannot be had is left out, and the report says why. All run on this machine; Ray gets a network namespace of its own where
that can be made, since it probes a public address.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import plot
from contending import KINDS, Bench
from report import Report, arguments
from sections import arrays, bag, faults, node, null, soak, tasks

SECTIONS = {"null": null.run, "tasks": tasks.run, "bag": bag.run, "arrays": arrays.run, "node": node.run}
OURS = ("bundlebee", "executor", "pyzmq")


def main() -> int:
    """Run it; the exit code."""
    parser = arguments(__doc__)
    every = [kind.key for kind in KINDS if kind.key not in (*OURS, "forks")]
    parser.add_argument("--sections", default=",".join(SECTIONS), metavar="LIST", help="[all]")
    parser.add_argument(
        "--peers",
        default="all",
        metavar="LIST",
        help=f"all, none, light, or some of {', '.join(every)} [all]",
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="draw the figures into this file")
    parser.add_argument("--repeat", type=int, default=15, metavar="N", help="turns of each [15]")
    parser.add_argument("--soak", type=int, default=0, metavar="N", help="null calls of a soak [none]")
    parser.add_argument(
        "--faults", type=float, default=0.0, metavar="MINUTES", help="of a LAN in trouble [none]"
    )
    parser.add_argument("--everything", action="store_true", help="--soak 1000000 --faults 10")
    parser.add_argument(
        "--environment",
        type=Path,
        default=Path.home() / ".cache" / "bundlebee-benchmarks",
        metavar="DIR",
        help="where peers are installed [~/.cache/bundlebee-benchmarks]",
    )
    options = parser.parse_args()
    if options.everything:
        options.soak, options.faults = options.soak or 1_000_000, options.faults or 10.0
    chosen = {
        "all": every,
        "none": [],
        "light": [kind.key for kind in KINDS if kind.key in every and not kind.heavy],
    }.get(options.peers, options.peers.split(","))
    sections = options.sections.split(",") if options.sections else []
    for name in [*(set(chosen) - set(every)), *(set(sections) - set(SECTIONS))]:
        parser.error(f"there is no {name!r}")
    report = Report("Shipped calls", bounds=not options.quick)
    charts: list[plot.Chart] = []
    with tempfile.TemporaryDirectory(prefix="bundlebee-calls-", ignore_cleanup_errors=True) as home:
        bench = Bench(
            report,
            [kind for kind in KINDS if kind.key in (*OURS, *chosen)],
            options.environment,
            Path(home),
            options.quick,
            2 if options.quick else options.repeat,
        )
        for name in sections:
            charts += SECTIONS[name](bench)
        if options.soak:
            charts += soak.run(bench, options.soak)
        if options.faults:
            charts += faults.run(bench, options.faults)
    if options.svg is not None:
        plot.draw(charts, options.svg)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
