"""How much faster is the fractal with a LAN than without? Sequential code, slow hosts, honest shares.

    python benchmarks/lan_mandelbrot.py [--json FILE] [--quick] [--repeat N]

1. Four hosts of 0.4 CPU, a node on each; the program on one of them, against `--policy local` on that host
alone. 2. A caller of 0.1 CPU, one peer of 1.0 CPU; against `--policy local` on the caller alone.

The hosts are namespaces with CPU quotas on this machine (tests/lan/lab.py), so it needs root, Linux, and
about 1.8 idle cores. The time is that of the whole command, start-up included. The pictures must be the same,
byte for byte.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from report import SAMPLES, Figure, Report, arguments

from grid import Grid  # isort: skip
from lab import Host, Lan, unavailable  # isort: skip


def render(grid: Grid, host: Host, size: list[str], policy: str) -> tuple[float, bytes, str]:
    """Seconds, picture, and who took part."""
    picture = host.work / "picture.png"
    picture.unlink(missing_ok=True)
    done = grid.exec(
        host,
        "-m",
        "mandelbrot",
        *size,
        "--out",
        picture,
        policy=policy,
        bundles=SAMPLES,
        decisions=True,
        timeout=1800,
    )
    tally = ", ".join(f"{count} {where} ({why})" for (where, why), count in sorted(done.tally().items()))
    return done.seconds, picture.read_bytes(), tally


def compare(
    report: Report,
    name: str,
    shares: list[float],
    nodes: list[int],
    size: list[str],
    repeat: int,
    bound: float,
) -> None:
    """One LAN: first the caller alone, then with nodes on the hosts given by number; the caller is host 0."""
    with tempfile.TemporaryDirectory() as root, Lan(len(shares), list(shares), root=Path(root)) as lan:
        grid = Grid(lan, SAMPLES)
        caller = lan[0]
        render(grid, caller, ["--width", "16", "--height", "8"], "local")  # now the woven modules are cached
        alone = [render(grid, caller, size, "local") for _ in range(repeat)]
        grid.start(*(lan[number] for number in nodes))
        before = [host.cpu_seconds() for host in lan]
        spread = [render(grid, caller, size, "auto") for _ in range(repeat)]
        used = [host.cpu_seconds() - start for host, start in zip(lan, before, strict=True)]
        grid.stop()
    if len({picture for _, picture, _ in [*alone, *spread]}) != 1:
        raise SystemExit(f"{name}: the pictures differ")
    slow, fast = (statistics.median(seconds for seconds, _, _ in runs) for runs in (alone, spread))
    total = sum(seconds for seconds, _, _ in spread)
    report.say(f"{name}: shares {shares}, nodes on {', '.join(lan[number].name for number in nodes)}")
    report.say("  took part: " + spread[-1][2])
    parts = [
        f"{host.name} {cpu / (total * share):.0%}" for host, cpu, share in zip(lan, used, shares, strict=True)
    ]
    report.say("  CPU used of what the hosts have: " + ", ".join(parts))
    report.add(Figure(f"{name}: alone", slow, "s"))
    report.add(Figure(f"{name}: with the grid", fast, "s"))
    report.add(Figure(f"{name}: speed-up", slow / fast, "x", at_least=bound, note="same picture"))


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument(
        "--repeat", type=int, default=3, help="runs of each kind; the median counts (default 3)"
    )
    parser.add_argument("--only", choices=["four", "slow"], help="only one of the two LANs")
    options = parser.parse_args()
    reason = unavailable(shares=True)
    if reason is not None:
        print(f"no LAN here: {reason}", file=sys.stderr)
        return 2
    size = ["--width", "64", "--height", "48"] if options.quick else []
    report = Report("mandelbrot on a LAN", bounds=not options.quick)
    if options.only != "slow":
        compare(report, "4 hosts of 0.4 CPU", [0.4] * 4, [0, 1, 2, 3], size, options.repeat, 3.2)
    if options.only != "four":
        compare(report, "caller 0.1 CPU, peer 1.0 CPU", [0.1, 1.0], [1], size, options.repeat, 6.0)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
