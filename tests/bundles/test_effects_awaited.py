"""The effect analysis of coroutine functions: what can be awaited elsewhere, and what keeps a call here."""

# ruff: noqa: E501
from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from bundlebee.bundles.effects import Effect, EffectAnalysis
from bundlebee.bundles.facts import ModuleFacts, collect, decode, encode
from bundlebee.bundles.values import walk

NAME = "sample_awaited"


@pytest.fixture
def load() -> Iterator[Any]:
    facts: dict[str, ModuleFacts] = {}

    def make(source: str) -> tuple[ModuleType, EffectAnalysis]:
        source = "import asyncio, contextlib\n" + dedent(source)
        module = sys.modules[NAME] = ModuleType(NAME)
        module.__file__ = f"{NAME}.py"
        facts[NAME] = decode(encode(collect(ast.parse(source), NAME)))
        exec(compile(source, f"{NAME}.py", "exec", dont_inherit=True), module.__dict__)
        return module, EffectAnalysis(facts.get)

    yield make
    sys.modules.pop(NAME, None)


def drive(coroutine: Any) -> Any:
    """Its result; it must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("it suspends")


FREE: dict[str, tuple[str, str, object]] = {
    "another coroutine": (
        "async def g(x): return x + 1\nasync def f(x): return await g(x) * await g(x)",
        "(2,)",
        9,
    ),
    "in a comprehension": (
        "async def g(x): return x * x\nasync def f(n): return [await g(i) for i in range(n) if await g(i)]",
        "(4,)",
        [1, 4, 9],
    ),
    "a method": (
        """
        class C:
            def __init__(self, n): self.n = n
            async def double(self): return self.n * 2
        async def f(n):
            c = C(n)
            c.n += 1
            return await c.double()
        """,
        "(3,)",
        8,
    ),
    "recursion": ("async def f(n): return n if n < 2 else await f(n - 1) + await f(n - 2)", "(9,)", 34),
    "kept, and awaited later": (
        "async def g(x): return [x]\nasync def f(x):\n    later = g(x)\n    found = await later\n    found.append(1)\n    return found",
        "(5,)",
        [5, 1],
    ),
    "an exception": (
        "async def g(x): raise KeyError(x)\nasync def f(x):\n    try:\n        await g(x)\n    except KeyError as e:\n        return len(e.args)",
        "(5,)",
        1,
    ),
    "its own context": (
        """
        class Context:
            def __init__(self): self.seen = []
            async def __aenter__(self):
                self.seen.append(1)
                return self
            async def __aexit__(self, *_):
                self.seen.append(2)
        async def f():
            async with Context() as c:
                c.seen.append(3)
            return c.seen
        """,
        "()",
        [1, 3, 2],
    ),
    "its own iteration": (
        """
        class Count:
            def __init__(self, n): self.n = n
            def __aiter__(self): return self
            async def __anext__(self):
                self.n -= 1
                if self.n < 0:
                    raise StopAsyncIteration
                return self.n
        async def f(n):
            return [x async for x in Count(n)] + [x + y async for x in Count(2) for y in range(2)]
        """,
        "(3,)",
        [2, 1, 0, 1, 2, 0, 1],
    ),
    "a nested coroutine function": (
        "async def f(n):\n    async def g(): return n + 1\n    return await g()",
        "(3,)",
        4,
    ),
    "a function that it is given": (
        "async def g(x): return -x\nasync def f(h, x): return await h(x)",
        "(g, 3)",
        -3,
    ),
}

STAYS: dict[str, tuple[str, str, str]] = {
    "sleep": (
        "async def f(): await asyncio.sleep(0)",
        "()",
        "waits for the event loop (asyncio.tasks.sleep)",
    ),
    "sleep below": (
        "async def h(): await asyncio.sleep(0)\nasync def g(): await h()\nasync def f(): await g()",
        "()",
        "g → h: waits for the event loop",
    ),
    "gather": (
        "async def g(): return 1\nasync def f(): return await asyncio.gather(g(), g())",
        "()",
        "waits for the event loop",
    ),
    "a lock": (
        "LOCK = asyncio.Lock()\nasync def f():\n    async with LOCK: return 1",
        "()",
        "of module global 'LOCK'",
    ),
    "a queue": (
        "QUEUE = asyncio.Queue()\nasync def f(): return await QUEUE.get()",
        "()",
        "writes module global 'QUEUE'",
    ),
    "an event of its own": (
        "async def f():\n    e = asyncio.Event()\n    e.set()\n    await e.wait()",
        "()",
        "asyncio",
    ),
    "the current task": ("async def f(): return asyncio.current_task()", "()", "asyncio"),
    "a context variable": (
        "import contextvars\nV = contextvars.ContextVar('v', default=1)\nasync def f(): return V.get()",
        "()",
        "context variable",
    ),
    "an argument that is written": (
        "async def f(xs): xs.append(1)",
        "([],)",
        "writes its argument 'xs', and other tasks may",
    ),
    "self that is written": (
        "class C:\n    async def f(self): self.n = 1\nf = C.f",
        "(C(),)",
        "and other tasks may",
    ),
    "written below": (
        "async def g(xs): xs.sort()\nasync def f(xs): await g(xs)",
        "([2, 1],)",
        "and other tasks may",
    ),
    "printing": ("async def f(): print(1)", "()", "prints, and other tasks may"),
    "module state": ("SEEN = []\nasync def f(): SEEN.append(1)", "()", "SEEN"),
    "an asynchronous generator": ("async def f(): yield 1", "()", "is an asynchronous generator"),
    "one below": (
        "async def g(): yield 1\nasync def f(): return [x async for x in g()]",
        "()",
        "calls g, an asynchronous generator",
    ),
    "an asynchronous generator expression": (
        "async def g(): return 1\nasync def f(): return [x async for x in (await g() for i in range(2))]",
        "()",
        "makes an asynchronous generator",
    ),
    "a coroutine returned": (
        "async def g(): return 1\nasync def f(): return g()",
        "()",
        "returns a coroutine",
    ),
    "a coroutine in a list": (
        "async def g(): return 1\nasync def f(): return [g()]",
        "()",
        "returns a coroutine",
    ),
    "one driven by hand": (
        "async def g(): return 1\nasync def f():\n    try:\n        g().send(None)\n    except StopIteration as e: return e.value",
        "()",
        "drives a coroutine by hand",
    ),
    "an awaitable of its own": (
        "class A:\n    def __await__(self):\n        yield\n        return 1\nasync def f(): return await A()",
        "()",
        "awaits a A",
    ),
    "one that is given": (
        "class A:\n    def __await__(self):\n        yield\nasync def f(a): return await a",
        "(A(),)",
        "awaits a A",
    ),
    "a context of the library": (
        "async def f(xs):\n    async with contextlib.nullcontext(xs) as ys: ys.append(1)",
        "([],)",
        "writes its argument 'xs', and other tasks may look at it first",
    ),
    "a plain function with a coroutine": (
        "async def g(): return 1\ndef f():\n    g().close()",
        "()",
        "calls g, a coroutine",
    ),
}


@pytest.mark.parametrize("name", FREE)
def test_ships(load: Any, name: str) -> None:
    source, arguments, result = FREE[name]
    module, analysis = load(source)
    args = eval(arguments, module.__dict__)
    assert drive(module.f(*args)) == result
    summary = analysis.for_call(module.f, walk(args, {}))
    assert (summary.level, summary.why, summary.free) == (Effect.FREE, "", True)


@pytest.mark.parametrize("name", STAYS)
def test_stays(load: Any, name: str) -> None:
    source, arguments, why = STAYS[name]
    module, analysis = load(source)
    summary = analysis.for_call(module.f, walk(eval(arguments, module.__dict__), {}))
    assert summary.level is Effect.UNSAFE
    assert why in summary.why, summary.why
