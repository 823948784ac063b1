"""A LAN in trouble, for minutes: is every result right, does every call run as often as it may, is nothing left over?

    python benchmarks/soak.py [--json FILE] [--minutes N] [--seed N] [--quick]

Four hosts with a node each, 30 % of the registry's packets lost on all of them. A worker is killed every 2 s, a node
is killed and started again every 10 s, and every 15 s the cable of a host is pulled for 4 s. On the first host, whose
node and cable stay, two programs run all the time:

- *tasks* submits tasks to a `bundlebee.Executor`. Each writes its number to a file when it begins, so the callee counts.
  A task must return its right result, or raise `PeerLost`; either way it has begun at most once, and once if it returned.
- *calls* runs under `bundlebee exec --policy remote`: calls and loops of a function that only computes. All results must be
  right, whatever happens.

Nothing may take longer than `DEADLINE`. At the end no process, note, shared memory or temporary file is left.

The hosts are namespaces on this machine (tests/lan/lab.py): it needs root and Linux.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from report import Figure, Report, arguments

from grid import Grid  # isort: skip
from lab import Host, Lan, Program, unavailable  # isort: skip

DEADLINE = 45.0  #: seconds. A lost peer is noticed in 3 to 5, twice in a row at worst, on a machine that is busy all the time

TASKS = """
import faulthandler, os, random, sys, time
from bundlebee import Executor
from bundlebee.errors import PeerLost

directory, minutes, seed, deadline = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def task(number, seconds):
    with open(f"{directory}/{os.getpid()}.begun", "a") as file:  # a line of less than a block is written whole
        file.write(f"{number}\\n")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return number * number

def main():
    dice = random.Random(seed)
    end = time.monotonic() + 60 * minutes
    number = returned = lost = 0
    slowest = 0.0
    with open(f"{directory}/outcomes", "w") as outcomes, Executor() as executor:
        while time.monotonic() < end:
            faulthandler.dump_traceback_later(deadline, exit=True)
            start = time.monotonic()
            batch = {}
            for _ in range(dice.choice([1, 10, 100])):
                number += 1
                batch[number] = executor.submit(task, number, dice.choice([0.0, 0.001, 0.02, 0.1]))
            for one, future in batch.items():
                try:
                    assert future.result() == one * one, one
                    returned += 1
                    print(one, "returned", file=outcomes)
                except PeerLost:
                    lost += 1
                    print(one, "lost", file=outcomes)
            slowest = max(slowest, time.monotonic() - start)
        faulthandler.dump_traceback_later(deadline, exit=True)
    print("tasks", returned, lost, f"{slowest:.1f}", len(os.listdir("/proc/self/fd")), flush=True)

if __name__ == "__main__":
    main()
"""

CALLS = '''
import faulthandler, os, random, sys, time

def work(turns, start):
    total = start
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total

def each(sizes, start):
    return [work(size, start) for size in sizes]

def main():
    minutes, seed, deadline = float(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    plain = {}
    exec(SOURCE, plain)  # not woven: what the results must be
    dice = random.Random(seed)
    end = time.monotonic() + 60 * minutes
    single = items = 0
    slowest = 0.0
    while time.monotonic() < end:
        faulthandler.dump_traceback_later(deadline, exit=True)
        begun = time.monotonic()
        size, start = dice.choice([100, 10_000, 200_000, 1_000_000]), dice.randrange(1000)
        assert work(size, start) == plain["work"](size, start)
        single += 1
        sizes = [dice.choice([1_000, 30_000, 100_000]) for _ in range(dice.choice([5, 50, 200]))]
        assert each(sizes, start) == [plain["work"](size, start) for size in sizes]
        items += len(sizes)
        slowest = max(slowest, time.monotonic() - begun)
    faulthandler.cancel_dump_traceback_later()
    print("calls", single, items, f"{slowest:.1f}", len(os.listdir("/proc/self/fd")), flush=True)

SOURCE = """
def work(turns, start):
    total = start
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total
"""

if __name__ == "__main__":
    main()
'''


class Trouble:
    """Makes it, by the clock."""

    def __init__(self, grid: Grid, dice: random.Random) -> None:
        self.grid = grid
        self.lan = grid.lan
        self.dice = dice
        self.counts: Counter[str] = Counter()
        self.unplugged: Host | None = None
        self._others = list(self.lan)[1:]

    def kill_worker(self) -> None:
        workers = [pid for host in self.lan for pid in host.pids() if _is_worker(pid)]
        if workers:
            _kill(self.dice.choice(workers))
            self.counts["workers killed"] += 1

    def restart_node(self) -> None:
        """Kill a node, its workers too or not, and start it again."""
        host = self.dice.choice(self._others)
        node = self.grid.nodes[host.name]
        if self.dice.random() < 0.5:
            host.kill()
        else:
            node.kill()
        directory = self.grid.bundles(host)
        arguments = [] if directory is None else [str(directory)]
        self.grid.nodes[host.name] = host.start(
            ["bundlebee", "run", *arguments, "--name", host.name, "--workers", "1"]
        )
        self.counts["nodes restarted"] += 1

    def pull(self) -> None:
        if self.unplugged is None:
            self.unplugged = self.dice.choice(self._others)
            self.unplugged.unplug()
            self.counts["cables pulled"] += 1

    def plug(self) -> None:
        if self.unplugged is not None:
            self.unplugged.plug()
            self.unplugged = None


def _is_worker(pid: int) -> bool:
    try:
        return "bundlebee.worker" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def soak(minutes: float, seed: int, root: Path) -> tuple[list[str], list[Figure], Counter[str]]:
    """Run it.

    Returns:
        what is wrong, the figures, and what was done to the LAN.
    """
    problems: list[str] = []
    figures: list[Figure] = []
    shared = root / "shared"
    temporary = root / "tmp"
    shared.mkdir()
    temporary.mkdir()
    memory = _shared_memory()
    with Lan(4, root=root / "lan", env={"TMPDIR": str(temporary)}) as lan:
        grid = Grid(lan)
        grid.start(options=("--workers", "1"))
        for host in lan:
            host.lose(30)
        caller = lan[0]
        (caller.work / "tasks.py").write_text(TASKS)
        (caller.work / "calls.py").write_text(CALLS)
        programs = [
            caller.start([sys.executable, "tasks.py", str(shared), str(minutes), str(seed), str(DEADLINE)]),
            caller.start(
                [
                    *("bundlebee", "exec", "--policy", "remote", "calls.py"),
                    *(str(minutes), str(seed), str(DEADLINE)),
                ]
            ),
        ]
        trouble = Trouble(grid, random.Random(seed))
        _make_trouble(trouble, programs, 60 * minutes)
        for program in programs:
            try:
                program.process.wait(2 * DEADLINE)
            except Exception:
                problems.append(f"{program.log.name} does not end:\n{program.output[-3000:]}")
                program.kill()
            if program.process.returncode:
                problems.append(
                    f"{program.log.name} ended with {program.process.returncode}:\n{program.output[-5000:]}"
                )
        figures += _figures(programs)
        problems += _counted(shared)
        stopping = time.monotonic()
        for name, node in list(grid.nodes.items()):
            try:
                if code := node.stop():
                    problems.append(f"the node on {name} ended with {code}:\n{node.output[-3000:]}")
            except Exception as error:
                problems.append(f"the node on {name} does not stop: {error}")
        end = time.monotonic() + 10.0
        while (left := {pid for host in lan for pid in host.pids()}) and time.monotonic() < end:
            time.sleep(0.05)  # workers of a node that was killed end by themselves
        for pid in left:
            problems.append(f"process {pid} is left: {' '.join(_command(pid))}")
        figures.append(Figure("nodes stopped", time.monotonic() - stopping, "s", at_most=15.0))
        for host in lan:
            problems += [f"{path} is left" for path in _notes(host)]
        problems += [f"{path} is left" for path in temporary.iterdir()]
    problems += [f"{name} is left in shared memory" for name in _shared_memory() - memory]
    return problems, figures, trouble.counts


def _make_trouble(trouble: Trouble, programs: list[Program], seconds: float) -> None:
    start = time.monotonic()
    due = {"worker": 2.0, "node": 10.0, "pull": 15.0, "plug": 19.0}
    again = {"worker": 2.0, "node": 10.0, "pull": 15.0, "plug": 15.0}
    acts = {
        "worker": trouble.kill_worker,
        "node": trouble.restart_node,
        "pull": trouble.pull,
        "plug": trouble.plug,
    }
    while (now := time.monotonic() - start) < seconds and any(program.running for program in programs):
        name = min(due, key=lambda one: due[one])
        if due[name] > now:
            time.sleep(min(0.2, due[name] - now))
            continue
        due[name] += again[name]
        acts[name]()
    trouble.plug()


def _figures(programs: list[Program]) -> list[Figure]:
    figures = []
    for program in programs:
        for line in program.output.splitlines():
            words = line.split()
            if words[:1] == ["tasks"]:
                figures.append(Figure("tasks that returned", float(words[1]), "", at_least=1))
                figures.append(Figure("tasks whose worker was lost", float(words[2]), ""))
                figures.append(Figure("slowest batch of tasks", float(words[3]), "s", at_most=DEADLINE))
                figures.append(Figure("open files of tasks at its end", float(words[4]), "", at_most=40))
            elif words[:1] == ["calls"]:
                figures.append(Figure("single calls", float(words[1]), "", at_least=1))
                figures.append(Figure("calls of loops", float(words[2]), "", at_least=1))
                figures.append(Figure("slowest round of calls", float(words[3]), "s", at_most=DEADLINE))
                figures.append(Figure("open files of calls at its end", float(words[4]), "", at_most=60))
    return figures


def _counted(shared: Path) -> list[str]:
    """What the callees have counted, beside what the caller has got."""
    begun: Counter[int] = Counter()
    for path in shared.glob("*.begun"):
        begun.update(map(int, path.read_text().split()))
    problems = [f"task {number} began {count} times" for number, count in begun.items() if count > 1]
    outcomes = shared / "outcomes"
    if outcomes.exists():
        for line in outcomes.read_text().splitlines():
            number, _, outcome = line.partition(" ")
            if outcome == "returned" and begun[int(number)] != 1:
                problems.append(f"task {number} returned and began {begun[int(number)]} times")
    return problems


def _notes(host: Host) -> list[Path]:
    """Notes of nodes (see `bundlebee.presence`). One that was killed leaves its own; the next one sweeps it up."""
    return list((host.home / ".local" / "state").rglob("nodes/*"))


def _shared_memory() -> set[str]:
    """Named segments as Python makes them; the machine's other programs have theirs."""
    try:
        return {name for name in os.listdir("/dev/shm") if name.startswith(("psm_", "bundlebee"))}
    except OSError:
        return set()


def _command(pid: int) -> list[str]:
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return ["?"]


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    reason = unavailable(loss=True)
    if reason is not None:
        print(f"no LAN: {reason}", file=sys.stderr)
        return 2
    report = Report("soak", bounds=not options.quick)
    if options.quick:
        options.minutes = min(options.minutes, 0.5)
    with tempfile.TemporaryDirectory(prefix="bundlebee-soak-") as root:
        problems, figures, counts = soak(options.minutes, options.seed, Path(root))
    for figure in figures:
        report.add(figure)
    for what, count in sorted(counts.items()):
        print(f"{what}: {count}")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    return report.finish(options.json) or int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
