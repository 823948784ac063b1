"""What does `bundlebee exec` cost where nothing can be gained?

    python benchmarks/overhead.py [--json FILE] [--quick] [--repeat N]

1. A program of tiny calls (functions, methods, properties of a few microseconds), against plain python. The
   program times its own work, so start-up is apart.
2. Start-up: `exec -c pass` against `python -c pass`.
3. Start-up on a host with a tenth of a CPU (needs root and Linux).
4. `import networkx` woven (`--weave networkx`), with a cold and a warm cache, against plain; left out where
   it is not installed.

Plain and woven runs take turns; the quickest of each counts for ratios, since disturbances only ever add.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from report import Figure, Report, arguments

from lab import Lan, unavailable  # isort: skip

TINY = """
import sys
import time


def step(x, n):
    return (x * 1103515245 + n) % 2147483648


def clamp(x, low=0, high=1000):
    if x < low:
        return low
    return high if x > high else x


class Walker:
    def __init__(self, seed):
        self.x = seed
        self.hits = 0

    @property
    def even(self):
        return self.x % 2 == 0

    @staticmethod
    def scale(x):
        return x >> 7

    def move(self, n):
        self.x = step(self.x, n)
        if self.even:
            self.hits += clamp(self.scale(self.x))
        return self.x


def walk(rounds):
    walker = Walker(42)
    for n in range(rounds):
        walker.move(n)
    return walker.hits


def total(rounds):
    return sum(clamp(step(n, 7) >> 20) for n in range(rounds))


rounds = int(sys.argv[1])
start = time.perf_counter()
parts = []
for part in range(10):
    parts.append((walk(rounds), total(rounds)))
print(time.perf_counter() - start)
print(parts, file=sys.stderr)
"""

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]

BIN = Path(sys.executable).parent
PYTHON = [sys.executable]
EXEC = [str(BIN / "bundlebee"), "exec"]


def local_runner(home: Path) -> Run:
    """Runs commands on this machine, with a home and caches of their own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON"))}
    env = {**kept, "HOME": str(home), "BUNDLEBEE_INTERFACE": "lo"}

    def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env=env, cwd=home, capture_output=True, text=True, check=True, timeout=600
        )

    return run


def seconds(run: Run, argv: Sequence[str]) -> float:
    """Wall-clock seconds of a command."""
    start = time.perf_counter()
    run(argv)
    return time.perf_counter() - start


def in_turn(repeat: int, *measures: Callable[[], float]) -> list[float]:
    """The least of several runs of each, taking turns; one round before is not counted."""
    for measure in measures:
        measure()
    rounds = [[measure() for measure in measures] for _ in range(repeat)]
    return [min(column) for column in zip(*rounds, strict=True)]


def tiny_calls(report: Report, run: Run, home: Path, repeat: int, rounds: int) -> None:
    program = home / "tiny.py"
    program.write_text(TINY)
    outputs = set()

    def measure(command: list[str]) -> float:
        done = run([*command, str(program), str(rounds)])
        outputs.add(done.stderr.strip().splitlines()[-1])
        return float(done.stdout)

    plain, woven = in_turn(repeat, lambda: measure(PYTHON), lambda: measure(EXEC))
    if len(outputs) != 1:
        raise SystemExit(f"the results differ: {outputs}")
    report.add(Figure("tiny calls: plain python", plain, "s"))
    report.add(Figure("tiny calls: exec ÷ python", woven / plain, "x", at_most=1.05, note="start-up apart"))


def start_up(
    report: Report, run: Run, repeat: int, name: str = "start-up", at_most: float | None = 0.5
) -> None:
    plain, woven = in_turn(
        repeat,
        lambda: seconds(run, [*PYTHON, "-c", "pass"]),
        lambda: seconds(run, [*EXEC, "-c", "pass"]),
    )
    report.add(Figure(f"{name}: plain python", plain, "s"))
    report.add(Figure(f"{name}: exec − python", woven - plain, "s", at_most=at_most))


def slow_start_up(report: Report, repeat: int) -> None:
    reason = unavailable(shares=True)
    if reason is not None:
        report.say(f"start-up on a slow host: left out, {reason}")
        return
    with tempfile.TemporaryDirectory() as root, Lan(1, [0.1], root=Path(root)) as lan:
        (host,) = lan
        start_up(
            report, lambda argv: host.run(argv, check=True, timeout=120), repeat, "start-up at 0.1 CPU", None
        )


def big_import(report: Report, run: Run, repeat: int) -> None:
    if importlib.util.find_spec("networkx") is None:
        report.say("import networkx: left out, it is not installed")
        return
    code = "import time; t = time.perf_counter(); import networkx; print(time.perf_counter() - t)"

    def measure(command: list[str]) -> float:
        return float(run([*command, "-c", code]).stdout)

    woven = [*EXEC, "--weave", "networkx"]
    cold = measure(woven)
    plain, warm = in_turn(repeat, lambda: measure(PYTHON), lambda: measure(woven))
    report.add(Figure("import networkx: plain", plain, "s"))
    report.add(Figure("import networkx: woven, first time", cold, "s"))
    report.add(
        Figure("import networkx: woven, from the cache", warm, "s", note=f"{warm / plain:.2f} x plain")
    )


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each kind (default 5)")
    options = parser.parse_args()
    repeat = 1 if options.quick else options.repeat
    report = Report("overhead of bundlebee exec", bounds=not options.quick)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        run = local_runner(home)
        tiny_calls(report, run, home, repeat, 20_000 if options.quick else 200_000)
        start_up(report, run, repeat)
        slow_start_up(report, repeat)
        big_import(report, run, repeat)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
