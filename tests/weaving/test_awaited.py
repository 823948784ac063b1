"""The swap of code in coroutine functions: what is armed makes the coroutines that plain code makes."""

from __future__ import annotations

import asyncio
import gc
import inspect
import traceback
import warnings
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any

import pytest

from bundlebee.weaving.joinpoint import JoinPoint


def armed(function: Any, advice: Callable[..., Any] | None = None) -> JoinPoint:
    point = JoinPoint(function, function.__module__, function.__qualname__)
    point.advice = advice or (lambda point, args, kwargs: point.plain(*args, **kwargs))
    point.arm()
    assert point.armed and point.awaited
    return point


async def add(a: int, b: int = 2, /, *rest: int, c: int = 3, **more: int) -> tuple[Any, ...]:
    """Its own text."""
    await asyncio.sleep(0)
    return a, b, rest, c, more


async def fail(text: str) -> None:
    await asyncio.sleep(0)
    raise LookupError(text)


@pytest.fixture(autouse=True)
def originals() -> Iterator[None]:
    codes = add.__code__, fail.__code__
    yield
    add.__code__, fail.__code__ = codes


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((1,), {}), ((1, 5, 6, 7), {"c": 8, "z": 9}), ((1,), {"c": 4}), ((), {}), ((1,), {"b": 1})],
)
def test_binds_as_the_original(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    def outcome() -> Any:
        try:
            return drive(add(*args, **kwargs))
        except TypeError as error:
            return str(error)

    plain = outcome()
    armed(add)
    assert outcome() == plain


def test_it_is_the_same_coroutine_function() -> None:
    point = armed(add)
    assert inspect.iscoroutinefunction(add) and asyncio.iscoroutinefunction(add)
    assert add.__code__.co_flags == point.original.co_flags
    assert inspect.getsource(add).startswith("async def add") and add.__doc__ == "Its own text."
    coroutine = add(1)
    plain = point.plain(1)
    assert inspect.iscoroutine(coroutine)
    for name in ("__name__", "__qualname__"):
        assert getattr(coroutine, name) == getattr(plain, name)
    for name in ("co_name", "co_qualname", "co_filename", "co_firstlineno"):
        assert getattr(coroutine.cr_code, name) == getattr(plain.cr_code, name)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
    assert coroutine.cr_frame.f_lineno == plain.cr_frame.f_lineno
    assert coroutine.cr_frame.f_locals.items() >= plain.cr_frame.f_locals.items()
    coroutine.close()
    plain.close()


def test_the_advice_is_asked_in_the_first_step() -> None:
    asked: list[Any] = []

    def advice(point: JoinPoint, args: Any, kwargs: Any) -> Any:
        asked.append((args, kwargs))
        return point.plain(*args, **kwargs)

    point = armed(add, advice)
    coroutine = add(1, c=5)
    point.disarm()
    assert not asked
    assert drive(coroutine) == (1, 2, (), 5, {})
    assert asked == [((1, 2), {"c": 5})]


def test_one_that_is_never_awaited_says_so() -> None:
    def told() -> list[str]:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            add(1)
            gc.collect()
        return [f"{one.category.__name__} {one.message} {one.lineno} {one.filename}" for one in seen]

    plain = told()
    assert len(plain) == 1 and "coroutine 'add' was never awaited" in plain[0]
    armed(add)
    assert told() == plain


def lines(error: BaseException) -> list[tuple[str, int]]:
    entries: TracebackType | None = error.__traceback__
    return [(entry.name, entry.lineno or 0) for entry in traceback.extract_tb(entries)]


def failure() -> BaseException:
    async def outer() -> None:
        await fail("x")

    try:
        asyncio.run(outer())
    except LookupError as error:
        return error
    raise AssertionError


def test_tracebacks_are_those_of_plain_code() -> None:
    plain = failure()
    armed(fail)
    error = failure()
    assert (
        lines(error)[-2:]
        == lines(plain)[-2:]
        == [("outer", lines(plain)[-2][1]), ("fail", lines(plain)[-1][1])]
    )
    assert len(lines(error)) == len(lines(plain))
    assert error.__context__ is None and error.__cause__ is None


def test_cancellation_close_and_throw_reach_the_author() -> None:
    seen: list[str] = []

    async def waits() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        except KeyError:
            return "caught"
        finally:
            seen.append("over")
        return "never"

    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    armed(waits)
    asyncio.run(main())
    coroutine = waits()
    with pytest.raises(RuntimeError):  # no loop is running
        coroutine.send(None)
    assert seen == ["cancelled", "over", "over"]


@pytest.mark.parametrize("kind", ["async def f(): yield 1", "def f(): yield 1"])
def test_generators_are_not_advised(kind: str) -> None:
    namespace: dict[str, Any] = {}
    exec(kind, namespace)
    point = JoinPoint(namespace["f"], "m", "f")
    point.advice = lambda point, args, kwargs: None
    point.arm()
    assert not point.armed and "generator" in (point.blocked or "")


def test_disarmed_it_is_the_original_code() -> None:
    code = add.__code__
    point = armed(add)
    point.disarm()
    assert add.__code__ is code
