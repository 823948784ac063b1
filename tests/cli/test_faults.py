"""What goes wrong while calls are away: workers that die or hang, Ctrl-C, callers that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")

CALLS = """
import sys

def work(turns):
    total = 0
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total

work(1000)
print("ready", flush=True)
"""


class Running:
    """A program under way."""

    def __init__(self, home: Any, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=home.path,
            env=home.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        home.running.append(self.process)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def workers(self) -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process(self.process.pid).children(recursive=True)
            if "bundlebee.worker" in child.cmdline()
        ]

    def end(self, timeout: float = 30.0) -> tuple[str, str]:
        return self.process.communicate(timeout=timeout)


@pytest.fixture
def start(home: Any) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        started.append(Running(home, *arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def busy(processes: Callable[[], list[psutil.Process]]) -> psutil.Process:
    """The one that computes; a worker needs less than this to start, and our machine may be very busy."""
    first: dict[int, float] = {}
    found: list[psutil.Process] = []

    def computes() -> bool:
        for process in processes():
            try:
                used = process.cpu_times().user
            except psutil.NoSuchProcess:
                continue
            if used - first.setdefault(process.pid, used) > 0.35:
                found.append(process)
        return bool(found)

    eventually(computes, 60.0)
    return found[0]


def expected(turns: int) -> int:
    total = 0
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_call_whose_worker_dies_runs_here_and_the_log_says_how(home: Any, start: Any) -> None:
    (home.path / "p.py").write_text(CALLS + "print(work(20_000_000))\n")
    program = start(
        *("-m", "bundlebee", "exec", "--policy", "remote", "--decisions", "d.jsonl", "-v", "p.py")
    )
    assert program.line() == "ready"
    worker = busy(program.workers)
    worker.send_signal(signal.SIGSEGV)
    output, errors = program.end(60)
    assert int(output) == expected(20_000_000)
    record = records(home.path / "d.jsonl")[-1]
    assert (record["where"], record["why"]) == ("here", "peer-lost")
    assert f"(process {worker.pid}) was killed by SIGSEGV" in record["detail"], record
    assert "own-cores" in record["detail"] and "__main__:work" in record["detail"]
    assert "was killed by SIGSEGV" in errors


def test_a_loop_whose_worker_dies_goes_on_and_the_log_says_how(home: Any, start: Any) -> None:
    (home.path / "p.py").write_text(CALLS + "print([work(4_000_000 + x) for x in range(4)])\n")
    program = start("-m", "bundlebee", "exec", "--policy", "remote", "p.py")
    assert program.line() == "ready"
    worker = busy(program.workers)
    worker.send_signal(signal.SIGABRT)
    output, errors = program.end(60)
    assert output == f"{[expected(4_000_000 + x) for x in range(4)]}\n"
    assert "lost the worker that had __main__:work: worker" in errors
    assert f"(process {worker.pid}) was killed by SIGABRT" in errors


INTERRUPTED = """
import time
start = time.monotonic()
try:
    {}
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(work(1000))
"""


@pytest.mark.parametrize("body", ["work(2_000_000_000)", "print([work(300_000_000 + x) for x in range(9)])"])
def test_ctrl_c_comes_at_once_and_ends_what_is_away(home: Any, start: Any, body: str) -> None:
    (home.path / "p.py").write_text(CALLS + INTERRUPTED.format(body))
    program = start("-m", "bundlebee", "exec", "--policy", "remote", "p.py")
    assert program.line() == "ready"
    worker = busy(program.workers)
    sent = time.monotonic()
    program.process.send_signal(signal.SIGINT)
    assert program.line() == "interrupted"
    assert time.monotonic() - sent < 2.0
    worker.wait(5.0)
    program.end()
    assert program.process.returncode == 0


TASKS = """
import os, sys, time
from bundlebee import Executor

def task(directory):
    open(directory + "/begun", "w").close()
    try:
        time.sleep(60)
    finally:
        open(directory + "/ended", "w").close()

def stubborn(directory):
    open(directory + "/begun", "w").close()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

if __name__ == "__main__":
    {}
"""

WITH = """
    with Executor(1) as executor:
        executor.submit({}, os.getcwd()).result()
"""
WITHOUT = """
    executor = Executor(1)
    executor.submit({}, os.getcwd()).result()
"""


@pytest.mark.parametrize(("body", "name"), [(WITH, "task"), (WITHOUT, "task"), (WITH, "stubborn")])
def test_ctrl_c_ends_tasks_and_they_put_things_in_order(home: Any, start: Any, body: str, name: str) -> None:
    (home.path / "p.py").write_text(TASKS.format(body.format(name)))
    program = start("p.py")
    eventually((home.path / "begun").exists, 30.0)
    (worker,) = [one for one in program.workers() if one.is_running()][:1]
    sent = time.monotonic()
    program.process.send_signal(signal.SIGINT)
    _, errors = program.end()
    assert time.monotonic() - sent < 5.0
    assert program.process.returncode == -signal.SIGINT and errors.endswith("KeyboardInterrupt\n")
    assert not worker.is_running()
    assert (home.path / "ended").exists() == (name == "task")


def test_what_a_killed_caller_had_away_ends(home: Any, start: Any, bundles: Any) -> None:
    node = home.node("--workers", "1", name="n1")
    node.wait_for("serves at")
    (home.path / "p.py").write_text(TASKS.format(WITH.format("task")))
    program = start("p.py")
    eventually((home.path / "begun").exists, 30.0)
    program.process.kill()
    program.process.wait()
    eventually((home.path / "ended").exists)
    # the node has a new worker for who comes next
    (home.path / "q.py").write_text(
        "from bundlebee import Executor\n"
        "with Executor() as executor:\n    print(executor.submit(pow, 2, 3).result(20))\n"
    )
    assert home.python("q.py").stdout == "8\n"
    assert node.stop() == 0


def test_a_deadline(home: Any, start: Any) -> None:
    (home.path / "p.py").write_text(CALLS + "print(work(3_000_000))\n")
    program = start(
        *("-m", "bundlebee", "exec", "--policy", "remote", "--decisions", "d.jsonl"),
        *("--deadline", "0.01", "p.py"),
    )
    output, _ = program.end(60)
    assert output == f"ready\n{expected(3_000_000)}\n"
    record = records(home.path / "d.jsonl")[-1]
    assert (record["where"], record["why"]) == ("here", "deadline")
    assert "has not answered: the deadline of 0.01 s is over" in record["detail"]


def test_a_deadline_of_a_loop(home: Any, start: Any) -> None:
    (home.path / "p.py").write_text(CALLS + "print([work(1_000_000 + x) for x in range(8)])\n")
    program = start(
        *("-m", "bundlebee", "exec", "--policy", "remote", "-v", "--deadline", "0.01", "p.py"),
    )
    output, errors = program.end(60)
    assert output == f"ready\n{[expected(1_000_000 + x) for x in range(8)]}\n"
    assert "the deadline of 0.01 s is over" in errors


def test_a_node_that_hangs_is_lost_in_seconds(home: Any, start: Any, bundles: Any) -> None:
    node = home.node("--workers", "1", name="n1")
    node.wait_for("serves at")
    (home.path / "p.py").write_text(CALLS + "print(work(20_000_000))\n")
    program = start("-m", "bundlebee", "exec", "--policy", "remote", "--decisions", "d.jsonl", "p.py")
    assert program.line() == "ready"
    family = psutil.Process(node.process.pid)
    busy(family.children)
    stopped = [family, *family.children()]
    for process in stopped:
        process.suspend()
    try:
        began = time.monotonic()
        output, _ = program.end(60)
        assert time.monotonic() - began < 30.0
    finally:
        for process in stopped:
            process.resume()
    assert int(output) == expected(20_000_000)
    record = records(home.path / "d.jsonl")[-1]
    assert (record["where"], record["why"]) == ("here", "peer-lost")
    assert node.stop() == 0


def test_a_call_by_hand_says_how_its_worker_died(home: Any, start: Any, bundles: Any) -> None:
    bundles({"slow.py": "def work(turns):\n    while turns:\n        turns -= 1\n"})
    node = home.node("--workers", "1", name="n1")
    node.wait_for("is active")
    program = start("-m", "bundlebee", "call", "slow:work", "2_000_000_000")
    worker = busy(psutil.Process(node.process.pid).children)
    worker.send_signal(signal.SIGKILL)
    _, errors = program.end()
    assert program.process.returncode == 1
    assert "n1 lost the worker that had slow:work" in errors and "was killed by SIGKILL" in errors
    assert node.stop() == 0
