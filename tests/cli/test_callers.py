"""Every kind of caller: child processes, the end of the interpreter, coroutines, many threads. All see what they see plainly."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import psutil
import pytest

WORK = """
def work(turns):
    total = 0
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total

"""

CHILDREN = (
    "import multiprocessing, os, sys\n"
    + WORK
    + """
def child(queue, n):
    queue.put([work(20_000 + i) for i in range(n)] + [work(30_000)])

if __name__ == "__main__":
    print([work(20_000 + i) for i in range(6)], work(30_000))
    for method in sys.argv[1:]:
        context = multiprocessing.get_context(method)
        queue = context.Queue()
        process = context.Process(target=child, args=(queue, 4))
        process.start()
        print(method, queue.get(timeout=60))
        process.join(60)
        with context.Pool(2) as pool:
            print(process.exitcode, pool.map(work, [20_000, 30_000, 40_000]))
    print([work(20_000 + i) for i in range(6)])
"""
)

ENDING = (
    "import atexit, builtins\n"
    + WORK
    + """
class Last:
    def __init__(self, number):
        self.number = number
    def __del__(self, work=work, say=print):
        say("del", self.number, work(20_000))

atexit.register(lambda: print("atexit", work(30_000), [work(20_000 + i) for i in range(5)]))
one = Last(1)
cycle = [Last(2)]
cycle.append(cycle)
builtins.three = Last(3)
print(work(25_000))
"""
)

MANY = (
    "import asyncio, threading\n"
    + WORK
    + """
async def one(n):
    await asyncio.sleep(0)
    return work(n), [work(n + i) for i in range(4)]

async def main():
    return await asyncio.gather(*(one(20_000 + i) for i in range(6)))

print(asyncio.run(main()))
found = {}
def thread(n):
    found[n] = [work(n + i) for i in range(5)], work(n)
threads = [threading.Thread(target=thread, args=(20_000 + n,)) for n in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sorted(found.items()))
"""
)


def left(home: Any) -> list[int]:
    """Workers of this test that are still there."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if "bundlebee.worker" in (process.info["cmdline"] or ())
        and (process.info["environ"] or {}).get("HOME") == str(home.path)
    ]


METHODS = ["fork", "spawn", "forkserver"] if hasattr(os, "fork") else ["spawn"]


@pytest.mark.parametrize(
    ("program", "policies", "arguments"),
    [
        (CHILDREN, ["remote"], METHODS),
        (ENDING, ["remote", "local"], []),
        (MANY, ["remote", "chaos:0.5:1"], []),
    ],
    ids=["children", "ending", "many"],
)
def test_they_see_what_they_see_plainly(
    home: Any, program: str, policies: list[str], arguments: list[str]
) -> None:
    (home.path / "p.py").write_text(program)
    plain = home.python("p.py", *arguments)
    assert plain.returncode == 0, plain.stderr
    for policy in policies:
        ours = home.bee("exec", "--policy", policy, "p.py", *arguments)
        assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, 0), policy
    assert not left(home)


@pytest.mark.parametrize("method", METHODS)
def test_children_that_begin_from_nothing_find_bundles(home: Any, bundles: Any, method: str) -> None:
    bundles({"far/__init__.py": "near = 3\n" + WORK, "far/deep.py": "from far import near, work\n"})
    (home.path / "p.py").write_text(
        "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor\nfrom far.deep import work\n\n"
        "def places(_):\n    import far\n    return far.__file__, far.near\n\n"
        "if __name__ == '__main__':\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    with ProcessPoolExecutor(1, mp_context=context) as pool:\n"
        "        import far\n"
        "        print(list(pool.map(work, [1000, 2000])) == [work(1000), work(2000)])\n"
        "        print(set(pool.map(places, range(3))) == {(far.__file__, 3)})\n"
    )
    done = home.bee("exec", "p.py")
    assert (done.stdout, done.stderr, done.returncode) == ("True\nTrue\n", "", 0)
    assert not left(home)


TASKS = """
import asyncio, multiprocessing, sys, time
from bundlebee import Executor

def square(x):
    return x * x

def fail(x):
    raise LookupError(x)

async def main():
    loop = asyncio.get_running_loop()
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1
    ticking = asyncio.create_task(tick())
    with Executor() as executor:
        print(await asyncio.gather(*(loop.run_in_executor(executor, square, i) for i in range(20))))
        print(await asyncio.wrap_future(executor.submit(square, 9)))
        try:
            await asyncio.wrap_future(executor.submit(fail, 9))
        except LookupError as error:
            print("failed", error.args)
        try:
            await asyncio.wait_for(loop.run_in_executor(executor, time.sleep, 1), 0.2)
        except asyncio.TimeoutError:
            print("too late")
    ticking.cancel()
    print(ticks > 10)

def child(queue):
    with Executor(1) as executor:
        queue.put(list(executor.map(square, range(4))))

if __name__ == "__main__":
    asyncio.run(main())
    with Executor(1) as executor:
        assert executor.submit(square, 2).result() == 4
        for method in sys.argv[1:]:
            context = multiprocessing.get_context(method)
            queue = context.Queue()
            process = context.Process(target=child, args=(queue,))
            process.start()
            print(method, queue.get(timeout=60))
            process.join(60)
        print(executor.submit(square, 3).result())
"""


def test_tasks_of_coroutines_and_children(home: Any) -> None:
    (home.path / "p.py").write_text(TASKS)
    done = home.python("p.py", *METHODS)
    squares = [i * i for i in range(20)]
    expected = [str(squares), "81", "failed (9,)", "too late", "True"]
    expected += [f"{method} {squares[:4]}" for method in METHODS] + ["9"]
    assert (done.stdout.splitlines(), done.returncode) == (expected, 0), done.stderr
    assert not left(home)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_a_fork_says_that_it_is_alone(home: Any) -> None:
    (home.path / "p.py").write_text(
        f"import os\n{WORK}\nprint(work(20_000), flush=True)\n"
        "if os.fork():\n    os.wait()\nelse:\n    print(work(20_000), flush=True)\n    os._exit(0)\n"
    )
    done = home.bee("exec", "--policy", "remote", "-v", "p.py")
    first, second = done.stdout.split()
    assert first == second and "was forked off: its calls run there" in done.stderr


FORKS = (
    "import os, threading\n"
    + WORK
    + """
def fork():
    pid = os.fork()
    if not pid:
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

print(work(20_000), flush=True)
fork()
over = threading.Event()
thread = threading.Thread(target=over.wait)
thread.start()
fork()
over.set()
thread.join()
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
@pytest.mark.parametrize("warnings", ["-Wdefault", "-Werror"])
def test_a_fork_warns_of_the_programs_own_threads(home: Any, warnings: str) -> None:
    (home.path / "p.py").write_text(FORKS)
    plain = home.python(warnings, "p.py")
    assert plain.stderr.count("multi-threaded") == (sys.version_info >= (3, 12) and "default" in warnings)
    ours = home.python(warnings, "-m", "bundlebee", "exec", "--policy", "remote", "p.py")
    assert (ours.stdout, ours.returncode) == (plain.stdout, 0)
    assert re.sub("pid=[0-9]+", "", ours.stderr) == re.sub("pid=[0-9]+", "", plain.stderr)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_who_waits_for_all_children_waits_for_its_own(home: Any) -> None:
    (home.path / "p.py").write_text(
        f"import os\n{WORK}\nprint(work(20_000), flush=True)\n"
        "for code in range(3):\n    if not os.fork():\n        os._exit(code)\n"
        "codes = []\n"
        "while True:\n"
        "    try:\n        codes.append(os.waitstatus_to_exitcode(os.wait()[1]))\n"
        "    except ChildProcessError:\n        break\n"
        "print(sorted(codes), work(30_000))\n"
    )
    plain = home.python("p.py")
    ours = home.bee("exec", "--policy", "remote", "p.py", timeout=30)
    assert (ours.stdout, ours.stderr, ours.returncode) == (plain.stdout, plain.stderr, 0)
