"""Tasks that submit tasks: nobody waits for itself, however few workers there are."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from bundlebee import Executor
from bundlebee.decisions.records import from_json
from bundlebee.errors import CallError, Unshippable

pytestmark = pytest.mark.usefixtures("alone")

SECONDS = 30.0


def double(x: int) -> int:
    print("double", x)
    return 2 * x


def sum_of_doubles(count: int) -> int:
    with Executor() as executor:
        return sum(executor.map(double, range(count)))


def deep(levels: int) -> int:
    if not levels:
        return 1
    with Executor() as executor:
        return 1 + executor.submit(deep, levels - 1).result()


def change(values: list[int]) -> list[int]:
    values.append(1)
    return values


def copies() -> tuple[list[int], list[int], bool]:
    mine = [0]
    with Executor() as executor:
        theirs = executor.submit(change, mine).result()
    return mine, theirs, theirs is mine


def fail(x: int) -> None:
    raise LookupError(x)


def failures() -> tuple[Any, ...]:
    with Executor() as executor:
        error = executor.submit(fail, 3).exception()
        locked = executor.submit(threading.Lock).exception()
        refused = executor.submit(double, threading.Lock()).exception()
    return type(error), error.args if error else None, type(locked), type(refused)


def children() -> int:
    import psutil

    with Executor() as executor:
        list(executor.map(double, range(5)))
        return len(psutil.Process(os.getpid()).children())


@pytest.fixture(scope="module")
def executor(alone: Any) -> Any:
    with Executor(1) as executor:  # one worker for all
        yield executor


def test_a_full_grid_of_tasks_that_wait(executor: Executor, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(executor.map(sum_of_doubles, [5, 6, 7])) == [20, 30, 42]
    assert capsys.readouterr().out.count("double") == 18
    assert executor.submit(deep, 6).result(SECONDS) == 7


def test_it_is_as_in_another_worker(executor: Executor) -> None:
    assert executor.submit(copies).result(SECONDS) == ([0], [0, 1], False)
    assert executor.submit(failures).result(SECONDS) == (LookupError, (3,), Unshippable, Unshippable)


def test_a_worker_starts_no_workers(executor: Executor) -> None:
    assert executor.submit(children).result(SECONDS) == 0


def die(x: int) -> int:
    if x == 5:
        os._exit(3)
    return x


def test_a_map_whose_worker_dies_ends(executor: Executor) -> None:
    from bundlebee.errors import WorkerLost

    found = []
    with pytest.raises(WorkerLost, match=r"had .*die: worker 0 there .* exited with 3"):
        for x in executor.map(die, range(8)):
            found.append(x)
    assert found == list(range(len(found))) and len(found) <= 5


def without_end() -> Any:
    with Executor() as executor:
        return executor.submit(without_end).result()


def lineage_of(levels: int) -> tuple[str, ...]:
    if not levels:
        from bundlebee.calls import lineage

        assert lineage.current().hops + len(lineage.current().chain) == lineage.HOPS
        return lineage.current().chain
    with Executor() as executor:
        return executor.submit(lineage_of, levels - 1).result()


@pytest.mark.parametrize("transport", ["network", "in-process"])
def test_tasks_know_who_has_submitted_them(transport: str) -> None:
    from bundlebee.calls import lineage

    name = f"{__name__}:lineage_of"
    with Executor(1, transport=transport) as executor:
        assert executor.submit(lineage_of, 3).result(SECONDS) == (name,) * 4
        assert executor.submit(lineage_of, 0).result(SECONDS) == (name,)
    assert lineage.current() is lineage.PROGRAM


def test_a_task_that_submits_itself_without_end_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "decisions.jsonl"
    monkeypatch.setenv("BUNDLEBEE_DECISIONS", str(path))
    with Executor(1) as executor, pytest.raises(CallError, match="64 deep") as caught:
        executor.submit(without_end).result(SECONDS)
    assert "without_end → " in str(caught.value) and "submit itself" in str(caught.value)
    found = [from_json(line) for line in path.read_text().splitlines()]
    (refused,) = [one for one in found if one.why == "hop-limit"]
    assert refused.function == f"{__name__}:without_end" and "→" in (refused.detail or "")
    assert sum(one.count for one in found if one.why == "forced") == 64
