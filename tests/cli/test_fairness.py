"""Two programs on one grid: whoever comes second gets its share, and what is taken back was never begun twice."""

from __future__ import annotations

import collections
import json
from typing import Any

import pytest

ENDLESS = """
import os, time
from bundlebee import Executor

def task(number):
    with open(f"{DIRECTORY}/{os.getpid()}.begun", "a") as file:
        file.write(f"{number}\\n")
    time.sleep(0.02)
    return number

DIRECTORY = os.getcwd() + "/begun"

if __name__ == "__main__":
    with Executor() as executor:
        number = 0
        while not os.path.exists("stop"):
            batch = range(number, number + 200)
            assert list(executor.map(task, batch)) == list(batch)
            number += 200
            print(number, flush=True)
"""

SECOND = """
import time
from bundlebee import Executor

def task(number):
    time.sleep(0.02)
    return number

if __name__ == "__main__":
    start = time.monotonic()
    with Executor() as executor:
        assert list(executor.map(task, range(30))) == list(range(30))
    print(f"{time.monotonic() - start:.1f}")
"""

LOOP = """
import os

def work(turns):
    total = 0
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total

expected = [work(20_000 + x) for x in range(200)]
while not os.path.exists("stop"):
    assert [work(20_000 + x) for x in range(200)] == expected
    print("round", flush=True)
"""


HOLD = """
import os, time
from bundlebee import Executor

def hold():
    while not os.path.exists("go"):
        time.sleep(0.01)

if __name__ == "__main__":
    with Executor() as executor:
        held = executor.submit(hold)
        while not held.running():
            time.sleep(0.01)
        print("held", flush=True)
        held.result()
"""

LATE = """
def work(turns):
    total = 0
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total

expected = work(100_000)
values = [work(100_000) for _ in range(15)]  # finds the workers taken, and is over soon
open("go", "w").close()
values += [work(100_000) for _ in range(600)]  # begins while their node is left out for that
assert set(values) == {expected}
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_program_gets_its_share(home: Any, workers: int) -> None:
    (home.path / "begun").mkdir()
    (home.path / "first.py").write_text(ENDLESS)
    (home.path / "second.py").write_text(SECOND)
    node = home.node("--workers", str(workers))
    node.wait_for("serves at")
    first = start(home, "first.py")
    assert first.stdout.readline()  # it has the workers now
    second = home.python("second.py", timeout=60)
    assert second.returncode == 0, second.stderr
    (home.path / "stop").touch()
    assert first.wait(60) == 0, first.stderr.read()
    begun = collections.Counter(
        line for path in (home.path / "begun").iterdir() for line in path.read_text().split()
    )
    assert max(begun.values()) == 1
    assert node.stop() == 0


def test_a_loop_gives_way_to_tasks(home: Any) -> None:
    (home.path / "first.py").write_text(LOOP)
    (home.path / "second.py").write_text(SECOND)
    node = home.node("--workers", "2")
    node.wait_for("serves at")
    first = start(home, "-m", "bundlebee", "exec", "--policy", "remote", "first.py")
    assert first.stdout.readline()
    second = home.python("second.py", timeout=60)
    assert second.returncode == 0, second.stderr
    (home.path / "stop").touch()
    assert first.wait(60) == 0, first.stderr.read()
    assert node.stop() == 0


def test_a_loop_that_begins_while_all_are_busy_gets_workers_later(home: Any) -> None:
    (home.path / "first.py").write_text(HOLD)
    (home.path / "late.py").write_text(LATE)
    node = home.node("--workers", "2")
    node.wait_for("serves at")
    holders = [start(home, "first.py") for _ in range(2)]
    for holder in holders:
        assert holder.stdout.readline() == "held\n"
    done = home.bee("exec", "-q", "--decisions", "told.jsonl", "late.py", timeout=120)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in (home.path / "told.jsonl").read_text().splitlines()]
    assert sum(one["count"] for one in told if one["where"] != "here") > 50
    assert [holder.wait(30) for holder in holders] == [0] * len(holders)
    assert node.stop() == 0


def start(home: Any, *arguments: str) -> Any:
    import subprocess
    import sys

    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=home.path,
        env=home.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    home.running.append(process)
    return process
