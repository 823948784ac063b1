"""What does weaving cost at import?

    python benchmarks/weaving.py [--json FILE] [--quick] [--repeat N] [--cache DIR]

networkx (285 modules, 116,000 lines) and toolz are fetched from PyPI into an environment of the benchmark's own.

1. Warm: `import networkx` under `exec --weave networkx` with a filled cache, against plain python.
2. Not a bundle: the same import under `exec --weave toolz`, against plain python.
3. Cold: CPU time a line of source to weave all of networkx, one core; with and without the facts for the effect analysis.
4. Cold import: wall-clock seconds of `import networkx` with an empty cache, which uses all cores.

In 1 and 2 each run is a fresh process that measures its own import in CPU time, and the sides take turns; the bounds hold for the
median of the pairs' ratios. CPU time counts what our threads do meanwhile, and is steadier than the clock where others use the
machine. All sides first import what networkx needs of others, and what `exec` has imported by itself: so each of them has the same
work in its measured time, networkx's own modules. A fourth side is plain python again: what this machine shows where there is no
difference.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from ground import DEFAULT, Ground
from report import Figure, Report, arguments

NETWORKX = "networkx==3.4.2"

LOADED = "import networkx, sys; print(*sys.modules)"

PRELOAD = """
import importlib
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
"""
"""A module beside the program: the program itself holds nothing to weave."""

IMPORT = """
import preload
import time
clock, cpu = time.perf_counter(), time.process_time()
import networkx
print(time.perf_counter() - clock, time.process_time() - cpu)
"""

COLD = """
import sys, time
from pathlib import Path
import networkx
from bundlebee.bundles.facts import collect, encode
from bundlebee.weaving import weaver

files = sorted({m.__file__ for n, m in list(sys.modules.items()) if n.partition(".")[0] == "networkx" and m.__file__})
facts = 0.0
plain = weaver._facts
def timed(*args):
    global facts
    start = time.process_time()
    result = plain(*args)
    facts += time.process_time() - start
    return result
weaver._facts = timed
lines = 0
weaver.weave(b"def f(): pass", module="m", path="m.py")
facts, total = 0.0, 0.0
for file in files[:int(sys.argv[1])]:
    source = Path(file).read_bytes()
    lines += source.count(b"\\n")
    start = time.process_time()
    weaver.weave(source, module="m", path=file)
    total += time.process_time() - start
print(len(files), lines, total, facts)
"""


class Runner:
    """Runs commands with a home of their own."""

    def __init__(self, home: Path) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON"))}
        self._env = {**kept, "HOME": str(home), "BUNDLEBEE_INTERFACE": "lo", "PYTHONHASHSEED": "0"}
        self._home = home

    def __call__(self, *argv: str) -> list[float]:
        """The numbers that a command prints."""
        return [float(word) for word in self.words(*argv)]

    def words(self, *argv: str) -> list[str]:
        """What a command prints."""
        done = subprocess.run(
            argv, env=self._env, cwd=self._home, capture_output=True, text=True, timeout=600
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(argv[:4])} failed:\n{done.stderr}")
        return done.stdout.split()


def in_turn(run: Runner, commands: Sequence[Sequence[str]], repeat: int) -> list[list[float]]:
    """CPU seconds of each command's import, `repeat` times, taking turns in changing order."""
    seconds: list[list[float]] = [[] for _ in commands]
    for round_ in range(repeat + 1):
        for i in range(len(commands)):
            which = (i + round_) % len(commands)
            cpu = run(*commands[which])[1]
            if round_:  # the first one fills caches
                seconds[which].append(cpu)
    return seconds


def main() -> int:
    """Run it; the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--repeat", type=int, default=40, metavar="N", help="runs of each kind [40]")
    parser.add_argument("--cache", type=Path, default=DEFAULT, metavar="DIR", help=f"[{DEFAULT}]")
    options = parser.parse_args()
    repeat = 3 if options.quick else options.repeat
    ground = Ground(options.cache / "weaving", [NETWORKX, "toolz==1.0.0"])
    report = Report("weaving at import", bounds=not options.quick)
    with tempfile.TemporaryDirectory() as directory:
        run = Runner(Path(directory))
        count, lines, total, facts = run(*ground.python, "-c", COLD, "20" if options.quick else "10000")
        note = f"{lines:.0f} lines, one core, CPU time"
        report.add(
            Figure("cold weave, a line", (total - facts) / lines * 1e6, "us", at_most=130.0, note=note)
        )
        report.add(Figure("cold weave with effects, a line", total / lines * 1e6, "us", at_most=400.0))
        start = time.monotonic()
        (Path(directory) / "preload.py").write_text("")
        run(*ground.exec, "--weave", "networkx", "-c", IMPORT)
        seconds = time.monotonic() - start
        report.add(Figure("cold import", seconds, "s", note=f"{count:.0f} modules, {os.cpu_count()} cores"))
        time.sleep(2.5)  # so that the cache trusts what was installed and woven just now
        commands = [
            [*ground.python, "-c"],
            [*ground.exec, "--weave", "networkx", "-c"],
            [*ground.exec, "--weave", "toolz", "-c"],
            [*ground.python, "-c"],
        ]
        loaded = {word for command in commands for word in run.words(*command, LOADED)}
        names = sorted(n for n in loaded if n.partition(".")[0] not in ("bundlebee", "__main__", "networkx"))
        (Path(directory) / "preload.py").write_text(PRELOAD.format(names=names))
        sides = in_turn(run, [[*command, IMPORT] for command in commands], repeat)
    report.add(Figure("import: plain", statistics.median(sides[0]), "s"))
    for name, side, bound in (
        ("warm import", sides[1], 1.15),
        ("import of what is no bundle", sides[2], 1.01),
        ("plain import", sides[3], None),
    ):
        ratios = [b / a for a, b in zip(sides[0], side, strict=True)]
        medians = statistics.median(side) / statistics.median(sides[0])
        note = f"of the medians {medians:.3f}, of the least {min(side) / min(sides[0]):.3f}"
        report.add(Figure(f"{name} ÷ plain", statistics.median(ratios), "x", at_most=bound, note=note))
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
