"""How fast does other people's pure Python run woven, where nothing can be gained?

    python benchmarks/pure_python.py [BENCHMARK ...] [--json FILE] [--quick] [--rounds N] [--cache DIR]

The benchmarks of pyperformance, fetched from PyPI, as they are: each is a script that runs under plain python and under
`bundlebee exec` (policy auto, no node), woven as a bundle. Both processes live at once and take turns of a twentieth of a second, so
that a machine that changes its speed does so for both. The first seconds of each are not counted: this is the steady state.
A ratio is the median of the pairs' ratios of clock time. In the note: the same for the CPU time of the whole process, which
counts what our threads do while it is not the program's turn.
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
WARM = 2.0  #: seconds of each side that are not counted, and again as long while the other side runs
LONGEST = 20.0  #: seconds of each side, about: where one turn takes long, there are fewer


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


def measure(plain: Turns, woven: Turns, rounds: int) -> tuple[float, float, float]:
    """Seconds of a plain turn, and the ratios woven ÷ plain by the clock and by CPU time."""
    loops = 1
    while (seconds := plain.turn(loops)[0]) < TURN / 2:
        loops *= 2
    for _ in range(math.ceil((WARM if rounds > 10 else 0.0) / seconds)):
        plain.turn(loops)
        woven.turn(loops)
    rounds = min(rounds, max(5, round(LONGEST / seconds)))
    pairs = []
    for i in range(rounds):
        if i % 2:
            pairs.append((plain.turn(loops), woven.turn(loops)))
        else:
            pairs.append((woven.turn(loops), plain.turn(loops))[::-1])
    clock = statistics.median(b[0] / a[0] for a, b in pairs)
    cpu = statistics.median(b[1] / a[1] for a, b in pairs)
    return min(a[0] for a, _ in pairs) / loops, clock, cpu


def main() -> int:
    """Run it; the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("benchmark", nargs="*", metavar="BENCHMARK", help="default: all of them")
    parser.add_argument("--rounds", type=int, default=60, metavar="N", help="turns of each side [60]")
    parser.add_argument("--cache", type=Path, default=DEFAULT, metavar="DIR", help=f"[{DEFAULT}]")
    options = parser.parse_args()
    rounds = 4 if options.quick else options.rounds
    ground = Ground(options.cache / "pure_python", [PYPERFORMANCE])
    (scripts,) = ground.place.glob("venv/**/pyperformance/data-files/benchmarks")
    report = Report("pyperformance, woven ÷ plain", bounds=not options.quick)
    ratios = []
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        for name in options.benchmark or NAMES:
            place = home / name
            shutil.copytree(scripts / f"bm_{name}", place)
            shutil.copy(ROOT / "benchmarks" / "standin" / "pyperf.py", place)
            argv = ["run_benchmark.py"]
            of_script = []
            with (
                Turns([*ground.python, *argv], place, home) as plain,
                Turns([*ground.exec, *argv], place, home) as woven,
            ):
                while True:
                    title = plain.name()
                    if title != woven.name():
                        raise SystemExit(f"{name}: the two runs differ")
                    if not title:
                        break
                    seconds, clock, cpu = measure(plain, woven, rounds)
                    note = f"{seconds * 1000:9.3f} ms plain, CPU time {cpu:.3f} x"
                    report.add(Figure(title, clock, "x", at_most=1.10, note=note))
                    of_script.append(clock)
                    plain.say("next")
                    woven.say("next")
            if not of_script:
                raise SystemExit(f"{name} has no benchmark that we can run")
            ratios.append(statistics.geometric_mean(of_script))
    report.add(
        Figure(
            "geometric mean", statistics.geometric_mean(ratios), "x", at_most=1.02, note=f"of {len(ratios)}"
        )
    )
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
