"""The executor under an event loop: `run_in_executor`, `wrap_future`, cancellation, and coroutines, which cannot travel."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from bundlebee import Executor
from bundlebee.errors import Unshippable

pytestmark = pytest.mark.usefixtures("alone")


def square(x: int) -> int:
    return x * x


def fail(text: str) -> None:
    raise LookupError(text)


async def wait_for(x: int) -> int:
    await asyncio.sleep(0)
    return x


class Waits:
    async def there(self) -> int:
        return 1


def run_it(x: int) -> int:
    return asyncio.run(wait_for(x))


def touch_later(path: str, seconds: float) -> None:
    time.sleep(seconds)
    Path(path).touch()


def test_run_in_executor_and_wrap_future(executor: Executor) -> None:
    async def main() -> Any:
        loop = asyncio.get_running_loop()
        squares = await asyncio.gather(*(loop.run_in_executor(executor, square, n) for n in range(30)))
        wrapped = await asyncio.wrap_future(executor.submit(square, 9))
        with pytest.raises(LookupError, match="text"):
            await loop.run_in_executor(executor, fail, "text")
        return squares, wrapped, await loop.run_in_executor(executor, run_it, 5)

    assert asyncio.run(main()) == ([n * n for n in range(30)], 81, 5)


def test_as_the_loops_default_executor_it_is_refused_or_works_as_any(executor: Executor) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError):  # asyncio takes thread pools only
            loop.set_default_executor(executor)
        return await asyncio.to_thread(square, 3)

    assert asyncio.run(main()) == 9


def test_what_has_not_begun_is_cancelled(alone: Path, tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with Executor(1) as executor:
            first = loop.run_in_executor(executor, time.sleep, 0.3)
            paths = [tmp_path / str(n) for n in range(20)]
            others = [loop.run_in_executor(executor, touch_later, str(path), 0.2) for path in paths]
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.gather(*others), 0.05)
            assert all(other.cancelled() for other in others)
            await first
        # what a worker had already been given may have run
        assert sum(path.exists() for path in paths) < len(paths)

    asyncio.run(main())


@pytest.mark.parametrize("make", [lambda: wait_for, lambda: Waits().there], ids=["function", "method"])
def test_a_coroutine_function_is_refused_with_what_to_do(
    executor: Executor, make: Callable[[], Callable[..., Coroutine[Any, Any, int]]]
) -> None:
    function = make()
    with pytest.raises(Unshippable, match="coroutine function") as caught:
        executor.submit(function, 1).result(60)
    assert "asyncio.run" in str(caught.value)
    with pytest.raises(Unshippable, match="coroutine function"):
        list(executor.map(function, range(3)))

    async def main() -> None:
        await asyncio.get_running_loop().run_in_executor(executor, function, 1)

    with pytest.raises(Unshippable, match="coroutine function"):
        asyncio.run(main())


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_coroutine_objects_cannot_travel(executor: Executor) -> None:
    coroutine = wait_for(3)
    with pytest.raises(Unshippable, match="coroutine") as caught:
        executor.submit(asyncio.run, coroutine).result(60)  # type: ignore[arg-type]
    coroutine.close()
    assert "submit a function" in str(caught.value)
    # a worker drops this one, and has the filters of this test
    with pytest.raises(Unshippable, match="coroutine"):
        executor.submit(lambda: wait_for(3)).result(60)


def test_tasks_of_loops_in_many_threads(executor: Executor) -> None:
    found: dict[int, list[int]] = {}

    def thread(number: int) -> None:
        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            return await asyncio.gather(*(loop.run_in_executor(executor, square, n) for n in range(number)))

        found[number] = asyncio.run(main())

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(1, 6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert found == {number: [n * n for n in range(number)] for number in range(1, 6)}
