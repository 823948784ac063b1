"""What does `bundlebee exec` cost where nothing can be gained?

    python benchmarks/overhead.py [--json FILE] [--quick] [--repeat N]

1. A program of tiny calls (functions, methods, properties of less than a microsecond), against plain python. Each
   times its own work, so start-up is apart. The two take turns every few hundredths of a second.
2. Start-up: `exec -c pass` against `python -c pass`.
3. Start-up on a host with a tenth of a CPU (needs root and Linux).
4. `import networkx` woven (`--weave networkx`), with a cold and a warm cache, against plain; left out where
   it is not installed.

In the others, plain and woven runs take turns; the quickest of each counts for ratios, since disturbances only ever add.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
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


rounds, parts = map(int, sys.argv[1:])
results = []
while len(results) < parts:
    sys.stdin.readline()
    idle = time.process_time() - spent if results else 0.0  # what threads burnt while it was not its turn
    start = time.perf_counter()
    results.append((walk(rounds), total(rounds)))
    seconds = time.perf_counter() - start
    spent = time.process_time()
    print(seconds, idle, flush=True)
print(results)
"""

Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]

BIN = Path(sys.executable).parent
PYTHON = [sys.executable]
EXEC = [str(BIN / "bundlebee"), "exec"]


def environment(home: Path) -> dict[str, str]:
    """Of commands on this machine, with a home and caches of their own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON"))}
    return {**kept, "HOME": str(home), "BUNDLEBEE_INTERFACE": "lo"}


def local_runner(home: Path) -> Run:
    """Runs commands in that environment."""

    def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env=environment(home), cwd=home, capture_output=True, text=True, check=True, timeout=600
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


def tiny_calls(
    report: Report, env: Mapping[str, str], home: Path, repeat: int, parts: int, rounds: int
) -> None:
    """Both programs run at once and take turns part by part: a machine that changes its speed does so for both.

    Several times, since where a process happens to lie in memory makes it quicker or slower by some percent.
    """
    program = home / "tiny.py"
    program.write_text(TINY)
    subprocess.run(
        [*EXEC, str(program), "1", "1"], env=env, cwd=home, input=b"\n", check=True, capture_output=True
    )
    argv = [str(program), str(rounds), str(parts)]
    ratios: list[float] = []
    least = float("inf")
    for _ in range(repeat):
        with Turns([*PYTHON, *argv], env, home) as plain, Turns([*EXEC, *argv], env, home) as woven:
            for part in range(parts):
                if part % 2:
                    seconds = [plain.turn(), woven.turn()]
                else:
                    seconds = [woven.turn(), plain.turn()][::-1]
                ratios.append(seconds[1] / seconds[0])
                least = min(least, seconds[0])
            if plain.rest() != woven.rest():
                raise SystemExit("the results differ")
    report.add(Figure("tiny calls: plain python, a part", least, "s"))
    mean = statistics.geometric_mean(ratios)
    note = f"start-up apart; the mean of {repeat} runs of {parts} parts, the first included"
    report.add(Figure("tiny calls: exec ÷ python", mean, "x", at_most=1.05, note=note))
    note = "half of the parts lie between " + " and ".join(
        f"{q:.2f}" for q in statistics.quantiles(ratios, n=4)[::2]
    )
    report.add(Figure("tiny calls: exec ÷ python, median", statistics.median(ratios), "x", note=note))


class Turns:
    """A running program that does a part of its work when it is told to."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], home: Path) -> None:
        self._process = subprocess.Popen(
            argv, env=env, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def turn(self) -> float:
        """Seconds of the next part, with the CPU seconds that the program used since the one before."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seconds, idle = map(float, self._process.stdout.readline().split())
        return seconds + idle

    def rest(self) -> str:
        """What it prints at the end."""
        assert self._process.stdout is not None
        return self._process.stdout.read()

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.communicate()


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
    parser.add_argument("--repeat", type=int, default=8, help="runs of each kind (default 8)")
    options = parser.parse_args()
    repeat = 1 if options.quick else options.repeat
    report = Report("overhead of bundlebee exec", bounds=not options.quick)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        run = local_runner(home)
        tiny_calls(report, environment(home), home, repeat, *((20, 5_000) if options.quick else (60, 50_000)))
        start_up(report, run, repeat)
        slow_start_up(report, repeat)
        big_import(report, run, repeat)
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
