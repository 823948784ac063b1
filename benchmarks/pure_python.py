"""How fast does other people's pure Python run woven, where nothing can be gained?

    python benchmarks/pure_python.py [BENCHMARK ...] [--json FILE] [--quick] [--processes N] [--rounds N] [--cache DIR]

The benchmarks of pyperformance, fetched from PyPI, as they are: each is a script that runs under `bundlebee exec` (policy auto, no
node), woven as a bundle, and twice under plain python. The three processes live at once and take turns of a twentieth of a second, so
that a machine that changes its speed does so for all. The first turns of each are not counted: this is the steady state.

Where a process happens to lie in memory makes a program quicker or slower for as long as it lives, by some percent, sometimes by a
quarter. So each benchmark is run in several threes of processes. A ratio is the median over these, of the medians of their turns, by
the clock, woven ÷ the geometric mean of both plain ones. In the note: the same for the CPU time of the whole process, which counts
what our threads do while it is not the program's turn; and the floor, plain ÷ plain: what this machine shows where there is no
difference. Run it with each interpreter that you want to know about.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ground import DEFAULT, Ground
from report import ROOT, Figure, Report, arguments

PYPERFORMANCE = "pyperformance==1.14.0"

NAMES = (
    *(
        "richards",
        "deltablue",
        "raytrace",
        "nbody",
        "fannkuch",
        "chaos",
        "hexiom",
        "go",
        "float",
        "spectral_norm",
    ),
    *(
        "pyflate",
        "mdp",
        "json_dumps",
        "unpack_sequence",
        "generators",
        "comprehensions",
        "logging",
        "telco",
        "scimark",
    ),
)

TURN = 0.05  #: seconds, about
WARM = 0.7  #: seconds of each process that are not counted, and again as long while each of the others runs
LONGEST = 20.0  #: seconds of each side, about: where one turn takes long, there are fewer
FEWEST = 3  #: processes of each side that are run in any case

Ratios = tuple[float, float, float, float]
"""woven ÷ plain by the clock and by CPU time; plain ÷ plain, likewise"""


class Turns:
    """A benchmark that runs when it is its turn."""

    def __init__(self, argv: Sequence[str], directory: Path, home: Path) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON"))}
        # one seed for both: the time of a benchmark may depend on the order of its sets
        env = {**kept, "HOME": str(home), "BUNDLEBEE_INTERFACE": "lo", "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            argv, env=env, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def name(self) -> str:
        """Of the benchmark that comes now; empty at the end."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def say(self, word: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def turn(self, loops: int) -> tuple[float, float]:
        """Seconds by the clock, and of CPU time."""
        self.say(loops)
        seconds, cpu = map(float, self.name().split())
        return seconds, cpu

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()


def measure(sides: Sequence[Turns], rounds: int, share: float) -> tuple[float, Ratios]:
    """Seconds of a plain turn, and the ratios. The sides: plain, woven, plain again; ``share``: seconds for each of them."""
    loops = 1
    while (seconds := sides[0].turn(loops)[0]) < TURN / 2:
        loops *= 2
    for _ in range(math.ceil(WARM / seconds)):
        for side in sides:
            side.turn(loops)
    turns: list[list[tuple[float, float]]] = [[] for _ in sides]
    for i in range(min(rounds, max(1, round(share / seconds)))):
        for k in range(len(sides)):
            which = (i + k) % len(sides)
            turns[which].append(sides[which].turn(loops))

    def ratio(kind: int, floor: bool) -> float:
        found: list[float] = []
        for a, w, b in zip(*turns, strict=True):
            mean = statistics.geometric_mean((a[kind], b[kind]))
            found.append(b[kind] / a[kind] if floor else w[kind] / mean)
        return statistics.median(found)

    plain = min(seconds for seconds, _ in turns[0] + turns[2]) / loops
    return plain, (ratio(0, False), ratio(1, False), ratio(0, True), ratio(1, True))


def run(
    place: Path, home: Path, ground: Ground, processes: int, rounds: int
) -> dict[str, tuple[float, Ratios]]:
    """The benchmarks of the script in a directory: the least seconds of a plain turn, and the medians over processes."""
    argv = ["run_benchmark.py"]
    found: dict[str, list[tuple[float, Ratios]]] = {}
    count = 0
    while count < processes:
        count += 1
        with (
            Turns([*ground.python, *argv], place, home) as plain,
            Turns([*ground.exec, *argv], place, home) as woven,
            Turns([*ground.python, *argv], place, home) as again,
        ):
            sides = (plain, woven, again)
            while True:
                titles = {side.name() for side in sides}
                if len(titles) > 1:
                    raise SystemExit(f"{place.name}: the runs differ")
                (title,) = titles
                if not title:
                    break
                one = measure(sides, rounds, LONGEST / processes)
                found.setdefault(title, []).append(one)
                if one[0] > LONGEST / processes / 2:
                    processes = min(processes, FEWEST)
                for side in sides:
                    side.say("next")
    return {
        title: (
            min(seconds for seconds, _ in ones),
            tuple(statistics.median(column) for column in zip(*(r for _, r in ones), strict=True)),
        )
        for title, ones in found.items()
    }


def main() -> int:
    """Run it; the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("benchmark", nargs="*", metavar="BENCHMARK", help="default: all of them")
    parser.add_argument("--processes", type=int, default=5, metavar="N", help="of each side [5]")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="turns of each process [10]")
    parser.add_argument("--cache", type=Path, default=DEFAULT, metavar="DIR", help=f"[{DEFAULT}]")
    options = parser.parse_args()
    processes, rounds = (1, 4) if options.quick else (options.processes, options.rounds)
    ground = Ground(options.cache / "pure_python", [PYPERFORMANCE])
    (scripts,) = ground.place.glob("venv/**/pyperformance/data-files/benchmarks")
    report = Report("pyperformance, woven ÷ plain", bounds=not options.quick)
    ratios: list[Ratios] = []  # of scripts: one that holds several benchmarks counts once
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        for name in options.benchmark or NAMES:
            place = home / name
            shutil.copytree(scripts / f"bm_{name}", place)
            shutil.copy(ROOT / "benchmarks" / "standin" / "pyperf.py", place)
            found = run(place, home, ground, processes, rounds)
            if not found:
                raise SystemExit(f"{name} has no benchmark that we can run")
            for title, (seconds, (clock, cpu, floor, floor_cpu)) in found.items():
                note = f"{seconds * 1000:9.3f} ms; CPU time {cpu:.3f}; plain ÷ plain {floor:.3f}, {floor_cpu:.3f}"
                report.add(Figure(title, clock, "x", at_most=1.10, note=note))
            of_script = zip(*(figures for _, figures in found.values()), strict=True)
            ratios.append(tuple(statistics.geometric_mean(column) for column in of_script))  # type: ignore[arg-type]
    clock, cpu, floor, floor_cpu = (statistics.geometric_mean(column) for column in zip(*ratios, strict=True))
    note = f"of {len(ratios)}; CPU time {cpu:.3f}; plain ÷ plain {floor:.3f}, {floor_cpu:.3f}"
    report.add(Figure("geometric mean", clock, "x", at_most=1.02, note=note))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
