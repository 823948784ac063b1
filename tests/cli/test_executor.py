"""`bundlebee.Executor` as people use it: in a script of its own, under `exec`, with and without a grid."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

SCRIPT = """
import os, sys
from bundlebee import Executor
import helper

FACTOR = 3

class Point:
    def __init__(self, x):
        self.x = x

def scale(x):
    return x * FACTOR

def all_of(xs):
    return [scale(x) for x in xs]

def move(point):
    print("moving", point.x)
    return Point(point.x + 1)

if __name__ == "__main__":
    with Executor(*map(int, sys.argv[1:])) as executor:
        point = executor.submit(move, Point(1)).result(60)
        assert type(point) is Point and point.x == 2
        assert list(executor.map(scale, range(500))) == [3 * x for x in range(500)]
        assert executor.submit(all_of, [1, 2]).result(60) == [3, 6]
        assert list(executor.map(helper.twice, [1, 2])) == [2, 4]
        assert type(executor.submit(helper.Box, 1).result(60)) is helper.Box
        assert executor.submit(lambda box: helper.twice(box.content), helper.Box(4)).result(60) == 8
        pids = set(executor.map(lambda _: os.getpid(), range(20)))
        assert os.getpid() not in pids
        print("done", os.getppid() in pids)
"""

HELPER = """
from helper_of_helper import two

class Box:
    def __init__(self, content):
        self.content = content

def twice(x):
    return two() * x
"""


def write(home: Any) -> Path:
    (home.path / "helper.py").write_text(HELPER)
    (home.path / "helper_of_helper.py").write_text("def two():\n    return 2\n")
    script: Path = home.path / "script.py"
    script.write_text(SCRIPT)
    return script


def passed(run: Any) -> str:
    assert run.returncode == 0, run.stderr
    assert "moving 1\n" in run.stdout and "done False" in run.stdout
    errors: str = run.stderr
    return errors


def test_a_plain_script_without_a_grid(home: Any) -> None:
    assert passed(home.python(write(home))) == ""


def test_under_exec(home: Any) -> None:
    assert passed(home.bee("exec", write(home))) == ""
    passed(home.bee("exec", "--policy", "remote", write(home)))


def test_functions_of_bundles(home: Any, bundles: Callable[[dict[str, str]], Path]) -> None:
    bundles({"tool/__init__.py": "from .inner import f\n", "tool/inner.py": "def f(x):\n    return x + 1\n"})
    script = home.path / "s.py"
    script.write_text(
        "import tool, bundlebee\nwith bundlebee.Executor() as executor:\n"
        "    print(list(executor.map(tool.f, range(3))))\n"
    )
    run = home.bee("exec", "--policy", "remote", script)
    assert run.stdout == "[1, 2, 3]\n", run.stderr


def test_on_a_node(home: Any) -> None:
    node = home.node("--workers", "2")
    node.wait_for("serves at")
    script = write(home)
    script.write_text(
        script.read_text() + "        print(sorted(set(executor.map(lambda _: os.getppid(), range(20)))))\n"
    )
    errors = passed(run := home.python(script))
    assert errors == ""
    assert json.loads(run.stdout.splitlines()[-1]) == [node.process.pid]
    assert "helper" in node.log.read_text()  # the modules of the program were offered
    passed(home.bee("exec", script))
    passed(home.python(script, "1"))


def test_what_tasks_did_to_a_worker_is_nobody_elses_affair(home: Any) -> None:
    home.node("--workers", "1").wait_for("serves at")
    script = home.path / "s.py"
    script.write_text(
        "import decimal\nfrom bundlebee import Executor\n"
        "def look():\n    return decimal.getcontext().prec\n"
        "def change():\n    decimal.getcontext().prec = 3\n"
        "for _ in range(2):\n    with Executor() as executor:\n"
        "        before = executor.submit(look).result(60)\n"
        "        executor.submit(change).result(60)\n"
        "        print(before, executor.submit(look).result(60))\n"
    )
    run = home.python(script)
    assert (run.stdout, run.stderr) == ("28 3\n28 3\n", "")


def test_a_busy_grid_is_waited_for(home: Any) -> None:
    home.node("--workers", "1").wait_for("serves at")
    script = home.path / "s.py"
    script.write_text(
        "import sys, time\nfrom bundlebee import Executor\n"
        "first, second = Executor(), Executor()\n"
        "start = time.monotonic()\n"
        "one = first.submit(time.sleep, 1.5)\n"
        "while not one.running():\n    time.sleep(0.01)\n"
        "two = second.submit(time.monotonic)\n"
        "print(two.result(60) - start > 1.4)\n"
    )
    run = home.python(script)
    assert (run.stdout, run.stderr) == ("True\n", "")


def test_a_node_that_dies(home: Any) -> None:
    node = home.node("--workers", "1")
    node.wait_for("serves at")
    script = home.path / "s.py"
    script.write_text(
        "import os, signal, time\nfrom bundlebee import Executor\n"
        "with Executor() as executor:\n"
        "    parent = executor.submit(os.getppid).result(60)\n"
        "    away = executor.submit(time.sleep, 60)\n"
        "    while not away.running():\n        time.sleep(0.01)\n"
        "    time.sleep(0.2)\n"
        "    os.kill(parent, signal.SIGKILL)\n"
        "    print(type(away.exception(60)).__name__)\n"
        "    print(executor.submit(os.getppid).result(60) == os.getpid())\n"
    )
    run = home.python(script)
    assert run.stdout == "PeerLost\nTrue\n", run.stderr


def test_what_is_pending_at_the_end_is_done(home: Any) -> None:
    script = home.path / "s.py"
    script.write_text(
        "import time, atexit\nfrom bundlebee import Executor\n"
        "def late():\n"
        "    try:\n        executor.submit(int)\n"
        "    except RuntimeError as error:\n        print(error)\n"
        "atexit.register(late)\n"
        "def work(x):\n    time.sleep(0.2)\n    print('worked', x)\n"
        "executor = Executor()\n"
        "futures = [executor.submit(work, x) for x in range(4)]\n"
        "other = Executor()\nother.submit(work, 4)\nother.shutdown(wait=False)\n"
    )
    for run in (home.python(script), home.bee("exec", script)):
        *worked, refused = run.stdout.splitlines()
        assert sorted(worked) == [f"worked {x}" for x in range(5)]
        assert refused.startswith("cannot schedule new futures")
        assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_caller_that_is_killed_leaves_no_process(home: Any) -> None:
    script = home.path / "s.py"
    script.write_text(
        "import os, signal, time\nfrom bundlebee import Executor\n"
        "executor = Executor(1)\n"
        "print(executor.submit(os.getpid).result(60), flush=True)\n"
        "executor.submit(time.sleep, 60)\n"
        "time.sleep(0.3)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = home.python(script)
    pid = int(run.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_variables_and_arguments(home: Any) -> None:
    script = home.path / "s.py"
    script.write_text("import bundlebee\nwith bundlebee.Executor() as e:\n    e.submit(int).result(60)\n")
    run = home.python(script, env={"BUNDLEBEE_KEYFILE": "x"})
    assert "UsageError" in run.stderr and "did you mean BUNDLEBEE_KEY_FILE?" in run.stderr
    run = home.python(script, env={"BUNDLEBEE_KEY_FILE": str(home.path / "none.key")})
    assert "KeyFileError" in run.stderr
    run = home.bee("exec", "--grid", "no name!", script)
    assert run.returncode != 0


def test_the_import_is_light(home: Any) -> None:
    code = (
        "import sys, bundlebee; print([name for name in"
        " ('concurrent.futures', 'cloudpickle', 'zmq', 'msgspec') if name in sys.modules]);"
        " print('Executor' in bundlebee.__all__, 'Executor' in dir(bundlebee), bundlebee.Executor.__name__)"
    )
    assert home.python("-c", code).stdout == "[]\nTrue True Executor\n"


NESTED = """
import sys
from bundlebee import Executor

def leaf(x):
    return x + 1

def branch(n):
    if n == 0:
        return leaf(0)
    with Executor() as executor:
        return sum(executor.map(branch, [n - 1, n - 1]))

if __name__ == "__main__":
    with Executor() as executor:
        print(list(executor.map(branch, [2, 2, 2])))
"""


def test_nested_tasks_on_full_nodes(home: Any) -> None:
    nodes = [home.node("--workers", "1", name=name) for name in ("n1", "n2")]
    for node in nodes:
        node.wait_for("serves at")
    (home.path / "p.py").write_text(NESTED)
    done = home.python("p.py", timeout=120)
    assert (done.stdout, done.returncode) == ("[4, 4, 4]\n", 0), done.stderr
    assert [node.stop() for node in nodes] == [0, 0]
