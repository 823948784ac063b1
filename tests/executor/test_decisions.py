"""Tasks are decisions, too: where they ran, what they took, and what became of those that did not come back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bundlebee import Executor
from bundlebee.decisions.records import Decision, from_json, text
from bundlebee.errors import PeerLost, Unshippable

pytestmark = pytest.mark.usefixtures("alone")


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def die() -> None:
    os._exit(7)


def double(x: int) -> int:
    return 2 * x


def records(path: Path) -> list[Decision]:
    return [from_json(line) for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "decisions.jsonl"
    monkeypatch.setenv("BUNDLEBEE_DECISIONS", str(path))
    return path


def test_long_tasks_have_a_record_each(path: Path) -> None:
    with Executor(2, transport="in-process") as executor:
        assert list(executor.map(nap, [0.02, 0.03, 0.02])) == [0.02, 0.03, 0.02]
    found = records(path)
    assert len(found) == 3
    for one in found:
        assert one.function == f"{__name__}:nap" and one.where == "own-cores" and one.why == "forced"
        assert one.count == 1 and one.detail == "task"
        assert one.seconds is not None and one.seconds >= 0.02
        assert one.bytes_out > 0 and one.bytes_back > 0


def test_short_ones_share_records_that_count_all_of_them(path: Path) -> None:
    with Executor(2, transport="in-process") as executor:
        assert list(executor.map(double, range(5000))) == [2 * i for i in range(5000)]
    found = records(path)
    assert sum(one.count for one in found) == 5000
    assert len(found) < 500
    assert all(one.bytes_out >= one.count and one.bytes_back >= one.count for one in found)
    many = max(found, key=lambda one: one.count)
    assert f"{many.count} calls took" in text(many)


def test_one_that_raises_ran_and_one_that_cannot_travel_says_so(path: Path) -> None:
    with Executor(1, transport="in-process") as executor:
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()
        with pytest.raises(Unshippable):
            executor.submit(threading.Lock).result()
    whys = {one.function: (one.why, one.count) for one in records(path)}
    assert whys["builtins:divmod"] == ("forced", 1)
    assert whys["_thread:allocate_lock" if "_thread:allocate_lock" in whys else "_thread:lock"] == (
        "unpicklable",
        1,
    )


def test_one_whose_worker_died(path: Path) -> None:
    with Executor(1) as executor, pytest.raises(PeerLost):
        executor.submit(die).result()
    (one,) = records(path)
    assert one.why == "peer-lost" and one.where == "own-cores" and "exited with 7" in (one.detail or "")


def sum_of_doubles(count: int) -> int:
    with Executor() as executor:
        return sum(executor.map(double, range(count)))


def deeper(count: int) -> int:
    with Executor() as executor:
        return executor.submit(sum_of_doubles, count).result()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_submits_is_on_the_programs_record(path: Path, workers: int) -> None:
    with Executor(workers) as executor:
        assert executor.submit(deeper, 50).result() == 2450
    counts: dict[tuple[str, str], int] = {}
    for one in records(path):
        assert one.why == "forced" and one.detail == "task"
        counts[one.function, one.where] = counts.get((one.function, one.where), 0) + one.count
    assert counts == {
        (f"{__name__}:deeper", "own-cores"): 1,
        (f"{__name__}:sum_of_doubles", "own-cores"): 1,
        (f"{__name__}:double", "own-cores"): 50,
    }


def test_joblibs_batches_are_known_by_the_programs_function(path: Path) -> None:
    joblib = pytest.importorskip("joblib")
    import bundlebee.joblib

    assert bundlebee.joblib.NAME == "bundlebee"
    with joblib.parallel_config(backend="bundlebee", transport="in-process"):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(double)(x) for x in range(20)) == [
            2 * x for x in range(20)
        ]
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(divmod)(x, 3) for x in range(3)) == [
            (0, 0),
            (0, 1),
            (0, 2),
        ]
    for shared in list(bundlebee.joblib._last.values()):
        shared.executor.shutdown()
    bundlebee.joblib._last.clear()
    assert {one.function for one in records(path)} == {f"{__name__}:double", "builtins:divmod"}


def test_a_file_that_cannot_be_written_stops_no_task(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BUNDLEBEE_DECISIONS", str(tmp_path / "no" / "such" / "file"))
    with Executor(1, transport="in-process") as executor:
        assert executor.submit(double, 2).result() == 4
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("verbose", ["-v", ""])
def test_under_exec_they_are_among_those_of_calls(
    alone: Path, tmp_path: Path, verbose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from bundlebee import Executor\n"
        "def work(x):\n    return x + 1\n"
        "if __name__ == '__main__':\n"
        "    with Executor() as executor:\n"
        "        print(sum(executor.map(work, range(1000))))\n"
    )
    path = tmp_path / "d.jsonl"
    command: list[Any] = [sys.executable, "-m", "bundlebee", "exec", "--transport", "in-process"]
    command += [*([verbose] if verbose else []), "--decisions", path, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "500500\n", done.stderr
    tasks = [line for line in map(json.loads, path.read_text().splitlines()) if line["detail"] == "task"]
    assert {line["function"] for line in tasks} == {"__main__:work"}
    assert sum(line["count"] for line in tasks) == 1000
    assert ("__main__:work → own-cores  forced (task)" in done.stderr) == bool(verbose)
