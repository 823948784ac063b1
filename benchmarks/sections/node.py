"""A node by itself: the memory that it has for itself when idle, and the time until it has served a first call."""

from __future__ import annotations

import statistics
import subprocess
import time

from contending import BUNDLEBEE, Bench, Node, unique_memory
from plot import Chart
from report import Figure

PROGRAM = """
import time
def first(x):
    return x + 1
print(first(1), time.time())
"""

REST = 3.0  #: seconds after which a node has settled


def run(bench: Bench) -> list[Chart]:
    memory: list[float] = []
    start: list[float] = []
    for _ in range(max(3, bench.repeat // 3)):
        start.append(_first_call(bench))
        with Node(bench.env, bench.cwd) as node:
            node.wait()
            time.sleep(REST)
            memory.append(unique_memory(node.pid) / 2**20)
    note = f"{min(memory):.0f} … {max(memory):.0f}"
    bench.report.add(
        Figure("node: memory idle, two workers", statistics.median(memory), "MiB", at_most=120, note=note)
    )
    note = f"{min(start):.2f} … {max(start):.2f}"
    bench.report.add(
        Figure("node: start to first call served", statistics.median(start), "s", at_most=1.0, note=note)
    )
    return []


def _first_call(bench: Bench) -> float:
    """Seconds from the start of `bundlebee run` until a program, started with it, has its first result from it."""
    program = bench.cwd / "first.py"
    program.write_text(PROGRAM)
    records = bench.cwd / "first.jsonl"
    records.unlink(missing_ok=True)
    began = time.time()
    with Node(bench.env, bench.cwd) as node:
        # a program asks for nodes when it starts: it is to find this one
        while "serves at" not in (bench.cwd / "node.err").read_text():
            time.sleep(0.005)
        ran = subprocess.run(
            [*BUNDLEBEE, "exec", "-q", "--policy", "remote", "--decisions", str(records), str(program)],
            env=dict(bench.env),
            cwd=bench.cwd,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert node.pid
    if '"where":"beside"' not in records.read_text():
        raise SystemExit(f"the first call was not served by the node: {records.read_text()}")
    return float(ran.stdout.split()[1]) - began
