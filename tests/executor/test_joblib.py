"""joblib's backend: what people do with `joblib.Parallel`, in worker processes and in threads."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

joblib = pytest.importorskip("joblib", minversion="1.3", reason="joblib is an extra: bundlebee[joblib]")

import bundlebee.joblib  # noqa: E402
from bundlebee.calls.transports import KINDS  # noqa: E402
from bundlebee.joblib import BundlebeeBackend  # noqa: E402

pytestmark = pytest.mark.usefixtures("alone")

FACTOR = 3


class Mine(Exception):
    pass


def scale(x: int) -> int:
    return x * FACTOR


def fail_at(x: int, bad: int) -> int:
    if x == bad:
        raise Mine("no", x)
    return x


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def inner(x: int) -> list[int]:
    found: list[int] = joblib.Parallel(n_jobs=2)(joblib.delayed(scale)(x + i) for i in range(3))
    return found


@pytest.fixture(scope="module", params=KINDS)
def transport(request: pytest.FixtureRequest, alone: Path) -> Iterator[str]:
    yield str(request.param)
    with bundlebee.joblib._lock:
        last = [bundlebee.joblib._last.popitem()[1] for _ in list(bundlebee.joblib._last)]
    for shared in last:
        shared.executor.shutdown()


@pytest.fixture
def grid(transport: str) -> Iterator[None]:
    with joblib.parallel_config(backend="bundlebee", transport=transport, n_jobs=2):
        yield


def run(jobs: Any, **options: Any) -> Any:
    return joblib.Parallel(**options)(jobs)


def test_functions_of_all_kinds(grid: None) -> None:
    offset = 10
    assert run(joblib.delayed(scale)(i) for i in range(20)) == [3 * i for i in range(20)]
    assert run(joblib.delayed(lambda x: x + offset)(i) for i in range(5)) == list(range(10, 15))
    assert run(joblib.delayed(pow)(2, i) for i in range(5)) == [1, 2, 4, 8, 16]
    assert run([]) == []


def test_it_runs_in_workers(grid: None, transport: str) -> None:
    pids = set(run([joblib.delayed(os.getpid)() for _ in range(8)], batch_size=1))
    threads = run([joblib.delayed(lambda: threading.current_thread().name)() for _ in range(8)])
    if transport == "network":
        assert os.getpid() not in pids and len(pids) <= 2
    else:
        assert set(threads) == {"bundlebee-in-process"}


def test_an_exception_comes_as_itself_and_says_where(grid: None) -> None:
    with pytest.raises(Mine) as caught:
        run(joblib.delayed(fail_at)(i, 7) for i in range(100))
    assert caught.value.args == ("no", 7)
    assert any('raise Mine("no", x)' in note for note in caught.value.__notes__)
    # and goes on
    assert run(joblib.delayed(scale)(i) for i in range(3)) == [0, 3, 6]


def test_what_runs_is_interrupted_after_an_exception(grid: None, tmp_path: Path) -> None:
    def work(x: int) -> None:
        if x:
            deadline = time.monotonic() + 10
            while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            raise Mine(x)
        (tmp_path / "begun").touch()
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                time.sleep(0.01)
        finally:
            (tmp_path / "ended").touch()

    with pytest.raises(Mine):
        run((joblib.delayed(work)(i) for i in range(2)), batch_size=1)
    deadline = time.monotonic() + 30
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert run(joblib.delayed(scale)(i) for i in range(3)) == [0, 3, 6]


def test_results_as_a_generator(grid: None) -> None:
    found = run((joblib.delayed(scale)(i) for i in range(50)), return_as="generator")
    assert next(found) == 0 and list(found) == [3 * i for i in range(1, 50)]
    with joblib.Parallel(return_as="generator") as parallel:
        assert list(parallel(joblib.delayed(scale)(i) for i in range(5))) == [0, 3, 6, 9, 12]
        assert list(parallel(joblib.delayed(scale)(i) for i in range(5))) == [0, 3, 6, 9, 12]


def test_a_timeout(grid: None) -> None:
    with pytest.raises((TimeoutError, multiprocessing.TimeoutError)):
        run([joblib.delayed(nap)(20.0) for _ in range(2)], timeout=0.2)
    assert run(joblib.delayed(scale)(i) for i in range(3)) == [0, 3, 6]


def test_large_arrays(grid: None) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(300_000, dtype=float)
    found = run([joblib.delayed(lambda a, k: a[k:] * 2)(array, k) for k in range(3)])
    assert all((found[k] == array[k:] * 2).all() for k in range(3))


def test_parallel_inside_a_task(grid: None) -> None:
    assert run(joblib.delayed(inner)(i) for i in range(4)) == [
        [3 * (x + i) for i in range(3)] for x in range(4)
    ]


def test_nested_backends() -> None:
    outer = BundlebeeBackend(nesting_level=0, transport="in-process", key_file="/no/such/file")
    nested, n_jobs = outer.get_nested_backend()
    assert isinstance(nested, BundlebeeBackend) and nested.nesting_level == 1 and n_jobs == 1
    assert nested._options == {"transport": "in-process"}
    assert type(nested.get_nested_backend()[0]).__name__ == "SequentialBackend"


def test_how_many_jobs(transport: str) -> None:
    backend = BundlebeeBackend(nesting_level=0, transport=transport)
    every = backend.effective_n_jobs(-1)
    assert every >= 1
    assert backend.effective_n_jobs(-2) == max(1, every - 1)
    assert backend.effective_n_jobs(3) == 3 and backend.effective_n_jobs(None) == 1
    with pytest.raises(ValueError):
        backend.effective_n_jobs(0)
    with joblib.parallel_config(backend="bundlebee", transport=transport):
        assert joblib.effective_n_jobs() == every  # all of them, unless somebody says how many
        assert run((joblib.delayed(scale)(i) for i in range(3)), n_jobs=1) == [0, 3, 6]


def test_shared_memory_is_refused(grid: None) -> None:
    """joblib then takes threads."""
    seen: list[int] = []
    run((joblib.delayed(seen.append)(i) for i in range(3)), require="sharedmem")
    assert sorted(seen) == [0, 1, 2]


def test_in_a_script(alone: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import joblib
import bundlebee.joblib

SCALE = 3

class Point:
    def __init__(self, x):
        self.x = x

def work(point):
    return Point(point.x * SCALE)

if __name__ == "__main__":
    with joblib.parallel_backend("bundlebee", n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(work)(Point(i)) for i in range(10))
    print([point.x for point in found], type(found[0]) is Point)
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == f"{[3 * i for i in range(10)]} True\n", done.stderr
