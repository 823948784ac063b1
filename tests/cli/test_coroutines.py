"""Coroutine functions that are awaited elsewhere: the program sees what it sees plainly, and its loop goes on meanwhile."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

WORK = """
import asyncio, sys, threading, time

async def work(turns, seed=0):
    total = seed
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total

"""

SHAPES = (
    WORK
    + '''
class Box:
    """Its methods are coroutines, too."""

    def __init__(self, edge):
        self.edge = edge

    async def volume(self, turns=1000):
        return self.edge ** 3 + await work(turns)

    @classmethod
    async def unit(cls):
        return cls(await work(10))

    @staticmethod
    async def twice(n, *more, by=2, **named):
        return n * by, more, named

    async def grow(self, n):
        self.edge += await work(n)
        return self

class Context:
    def __init__(self):
        self.seen = []
    async def __aenter__(self):
        self.seen.append(await work(3))
        return self
    async def __aexit__(self, *_):
        self.seen.append(await work(4))

async def with_context(n):
    async with Context() as context:
        context.seen.append(n)
    return context.seen

async def same(xs, ys):
    return xs, [ys], ys

async def total(xs, turns):
    await work(turns)
    return sum(xs), xs

async def fails(n):
    try:
        await work(n)
        raise LookupError(n)
    except LookupError as error:
        raise ValueError("outer") from error

async def says(n):
    print("said", n)
    return n

async def in_order(results, n):
    results.append(await work(n))

async def generates(n):
    for i in range(n):
        yield await work(i)

async def waits(n):
    await asyncio.sleep(0.001)
    return await work(n)

async def main():
    print(await work(20_000), await work(turns=20_001), await Box(3).volume())
    print((await Box.unit()).edge, await Box.twice(4, 5, by=6, z=7), (await Box(3).grow(9)).edge)
    print(await with_context(5), await says(3), await waits(30), [x async for x in generates(4)])
    xs, ys = [1, 2], {"a": [1]}
    a, b, c = await same(xs, ys)
    print(a is xs, b[0] is ys, c is ys)
    task = asyncio.create_task(total(xs, 100_000))
    async def change():
        xs.append(99)
    found, _ = await asyncio.gather(task, change())
    print(found[0], found[1] is xs, xs)
    results = []
    await asyncio.gather(*(in_order(results, n) for n in (90_000, 20, 60_000, 10, 30_000, 5)))
    print(results)
    try:
        await fails(100)
    except ValueError as error:
        import traceback
        traceback.print_exc(file=sys.stdout)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work(n)) for n in range(1000, 1010)]
    print([task.result() for task in tasks], await asyncio.wait_for(work(50), 60))
    cancelled = asyncio.create_task(work(7))
    cancelled.cancel()
    print(await asyncio.gather(cancelled, work(8), fails(2), return_exceptions=True))
    try:
        by_hand = work(9)
        by_hand.send(None)
    except StopIteration as end:
        print(end.value)
    try:
        print(await asyncio.to_thread(asyncio.run, Box(2).volume()))
    finally:
        work(1).close()

def in_thread():
    loop = asyncio.new_event_loop()
    try:
        print(loop.run_until_complete(asyncio.gather(work(40), Box(1).volume(), loop=None) if 0 else work(40)))
    finally:
        loop.close()

class Policy(asyncio.DefaultEventLoopPolicy):
    pass

if __name__ == "__main__":
    asyncio.run(main())
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    if sys.version_info < (3, 14):
        asyncio.set_event_loop_policy(Policy())
    asyncio.run(main(), debug=True)
'''
)


def alike(home: Any, program: str, policies: list[str]) -> dict[str, str]:
    """The log of each run; all say and return the same."""
    (home.path / "p.py").write_text(program)
    plain = home.python("p.py")
    assert plain.returncode == 0, plain.stderr
    logs = {}
    for policy in policies:
        ours = home.bee("exec", "--policy", policy, "-v", "p.py")
        assert (ours.stdout, ours.returncode) == (plain.stdout, 0), (policy, ours.stderr)
        logs[policy] = ours.stderr
    return logs


def test_they_see_what_they_see_plainly(home: Any) -> None:
    logs = alike(home, SHAPES, ["remote", "chaos:1.0:3"])
    for log in logs.values():
        for name in ("work", "Box.volume", "Box.unit", "with_context", "same", "total", "fails"):
            assert re.search(rf"__main__:{name} → own-cores", log), (name, log)
        for name in ("says", "Box.grow", "waits", "main"):
            assert not re.search(rf"__main__:{name} → own-cores", log), (name, log)
        assert "no-loop" in log  # the one that is driven by hand


GOES_ON = (
    WORK
    + """
async def main():
    ticks = 0
    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1
    await work(10)
    ticking = asyncio.create_task(tick())
    turns, before = 20_000, 0
    while ticks - before < 20:  # until it takes long enough, on any machine
        before, turns = ticks, turns * 2
        await work(turns)
    print("goes on")
    forever = asyncio.create_task(work(10 ** 7))
    while not ticks % 10:
        await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    forever.cancel()
    try:
        await forever
    except asyncio.CancelledError as error:
        print("cancelled", error.args)
    try:
        async with asyncio.timeout(0.05):
            await work(10 ** 7)
    except TimeoutError as error:
        print("timeout", error.args, type(error.__cause__).__name__)
    try:
        await asyncio.wait_for(work(10 ** 7), 0.05)
    except TimeoutError:
        print("too late")
    print(await asyncio.gather(*(work(n) for n in range(5))))
    ticking.cancel()

asyncio.run(main())
"""
)


@pytest.mark.parametrize("policy", ["remote", "chaos:1.0:1"])
def test_the_loop_goes_on_and_what_is_cancelled_stops(home: Any, policy: str) -> None:
    (home.path / "p.py").write_text(GOES_ON)
    done = home.bee("exec", "--policy", policy, "p.py")
    expected = ["goes on", "cancelled ()", "timeout () CancelledError", "too late", "[0, 0, 1, 33, 1026]"]
    assert (done.stdout.splitlines(), done.returncode) == (expected, 0), done.stderr


INTERRUPTED = (
    WORK
    + """
import os, signal

async def main():
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        await work(10 ** 7)
    finally:
        print("put in order", flush=True)

await_first = asyncio.run(work(10))
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
"""
)


def test_ctrl_c_in_the_middle(home: Any) -> None:
    (home.path / "p.py").write_text(INTERRUPTED)
    done = home.bee("exec", "--policy", "remote", "p.py")
    assert (done.stdout, done.returncode) == ("put in order\ninterrupted\n", 0), done.stderr


# -- random programs ----------------------------------------------------------------------------------------


class Maker:
    """Writes programs whose answer does not depend on which task runs first."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.names: list[str] = []

    def expression(self, depth: int) -> str:
        dice = self.dice
        kinds = ["n", "len(xs)", "xs[n % len(xs)]", str(dice.randint(0, 9))]
        if depth and self.names:
            name = dice.choice(self.names)
            inner = self.expression(depth - 1)
            kinds += [f"await {name}(({inner}) % 7, xs)"] * 5
            kinds += [f"sum([await {name}(i, xs) for i in range(({inner}) % 3)])"]
        if depth:
            kinds += [f"({self.expression(depth - 1)} {dice.choice('+-*')} {self.expression(depth - 1)})"]
        return dice.choice(kinds)

    def function(self, name: str) -> str:
        dice = self.dice
        lines = [f"async def {name}(n, xs):", f"    a = {self.expression(2)}"]
        for _ in range(dice.randint(0, 3)):
            lines.append(
                dice.choice(
                    [
                        f"    for i in range({dice.randint(1, 300)}):\n        a = (a * 3 + i) % 1009",
                        f"    if (a + n) % {dice.randint(2, 5)} == 0:\n        raise {dice.choice(['ValueError', 'KeyError'])}(a)",
                        f"    try:\n        a += {self.expression(2)}\n    except ValueError as error:\n        a = error.args[0] + 1",
                        f"    try:\n        a += {self.expression(1)}\n    finally:\n        a -= 1",
                        "    await asyncio.sleep(0)" if dice.random() < 0.3 else "    a += 1",
                        "    xs = [*xs, a]",
                    ]
                )
            )
        lines.append("    return (a if isinstance(a, int) else 0) % 1_000_003")
        self.names.append(name)
        return "\n".join(lines)

    def scenario(self, number: int) -> str:
        dice = self.dice

        def call() -> str:
            return f"{dice.choice(self.names)}({dice.randint(0, 20)}, [{dice.randint(0, 5)}, 7, {dice.randint(0, 5)}])"

        calls = ", ".join(call() for _ in range(dice.randint(1, 6)))
        kind = dice.randrange(6)
        lines = [f"async def scenario_{number}():"]
        if kind == 0:
            lines += [f"    return await asyncio.gather({calls}, return_exceptions=True)"]
        elif kind == 1:
            lines += [f"    return await {call()}, await {call()}"]
        elif kind == 2:
            lines += [f"    return await asyncio.wait_for({call()}, 600)"]
        elif kind == 3:
            lines += [
                f"    tasks = [asyncio.create_task(one) for one in ({calls},)]",
                f"    tasks[{dice.randint(0, 2)} % len(tasks)].cancel()",
                "    return await asyncio.gather(*tasks, return_exceptions=True)",
            ]
        elif kind == 4:
            lines += [
                "    async with asyncio.timeout(600):",
                "        async with asyncio.TaskGroup() as group:",
                f"            tasks = [group.create_task(caught(one)) for one in ({calls},)]",
                "    return [task.result() for task in tasks]",
            ]
        else:
            lines += [
                "    try:",
                "        async with asyncio.timeout(0):",
                "            await asyncio.sleep(60)",
                "    except TimeoutError:",
                f"        return await {call()}",
            ]
        return "\n".join(lines)

    def program(self) -> str:
        parts = ["import asyncio\n"]
        parts += [self.function(f"f{number}") for number in range(8)]
        parts += [
            "async def caught(one):\n    try:\n        return await one\n    except Exception as error:\n        return repr(error)"
        ]
        parts += [self.scenario(number) for number in range(20)]
        parts += [
            "async def main():\n"
            "    for number in range(20):\n"
            "        print(number, await caught(globals()[f'scenario_{number}']()))\n"
            "asyncio.run(main())"
        ]
        return "\n\n".join(parts)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_programs(home: Any, seed: int) -> None:
    program = Maker(seed).program()
    print(f"seed {seed}\n{program}")
    logs = alike(home, program, ["remote", f"chaos:1.0:{seed}"])
    assert all("→ own-cores" in log for log in logs.values())
