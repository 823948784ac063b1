"""What tasks print, log and warn of, at the caller: in order, through the caller's own settings, in bounded memory."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import psutil
import pytest

from bundlebee import Executor

pytestmark = pytest.mark.usefixtures("alone")

SECONDS = 30.0

log = logging.getLogger("bundlebee_test.module")


class Strange:
    """Cannot be pickled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def __str__(self) -> str:
        return "strange"


def say(number: int) -> int:
    print("before", number)
    log.debug("debug %d", number)
    log.info("info %d", number, extra={"mine": number})
    print("between", number, file=sys.stderr)
    log.warning("with %s", Strange())
    try:
        raise ValueError("v")
    except ValueError:
        log.exception("it raised")
    print("after", number)
    return number


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def records() -> Any:
    logger = logging.getLogger("bundlebee_test")
    handler = Records()
    logger.addHandler(handler)
    logger.propagate = False
    yield handler.records
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def levels(records: list[logging.LogRecord]) -> list[int]:
    return [record.levelno for record in records]


def test_records_go_through_the_callers_logging(executor: Executor, records: Any) -> None:
    executor.submit(say, 1).result(SECONDS)
    assert levels(records) == [logging.WARNING, logging.ERROR]
    assert records[0].getMessage() == "with strange"
    assert records[1].name == "bundlebee_test.module" and records[1].funcName == "say"
    text = logging.Formatter("%(message)s").format(records[1])
    assert (
        text.startswith("it raised\nTraceback") and "performer" not in text and text.endswith("ValueError: v")
    )
    # a level that changes is in force at once
    logging.getLogger("bundlebee_test").setLevel(logging.INFO)
    records.clear()
    executor.submit(say, 7).result(SECONDS)
    assert levels(records) == [logging.INFO, logging.WARNING, logging.ERROR]
    assert records[0].mine == 7 and records[0].args == (7,)
    logging.disable(logging.WARNING)
    records.clear()
    executor.submit(say, 1).result(SECONDS)
    assert levels(records) == [logging.ERROR]
    logging.disable(logging.NOTSET)


def test_all_that_is_said_keeps_its_order(executor: Executor, records: Any, monkeypatch: Any) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger("bundlebee_test").addHandler(handler)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    for number in range(20):
        executor.submit(say, number).result(SECONDS)
    logging.getLogger("bundlebee_test").removeHandler(handler)
    lines = [line for line in stream.getvalue().splitlines() if not line.startswith(("Tr", " ", "Va"))]
    assert lines == [
        line
        for number in range(20)
        for line in (f"before {number}", f"between {number}", "with strange", "it raised", f"after {number}")
    ]


def capture_there(text: str) -> tuple[str, int]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    log.addHandler(handler)
    try:
        log.error(text)
    finally:
        log.removeHandler(handler)
    return stream.getvalue(), len(logging.getLogger("bundlebee_test").handlers)


def test_a_handler_of_the_task_itself(executor: Executor, records: Any) -> None:
    assert executor.submit(capture_there, "x").result(SECONDS) == ("x\n", 0)
    assert levels(records) == [logging.ERROR]


def warn(text: str, times: int = 1, kind: type[Warning] = UserWarning) -> None:
    for _ in range(times):
        warnings.warn(text, kind, stacklevel=1)


class Mine(UserWarning):
    pass


def test_warnings_go_through_the_callers_filters(executor: Executor) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        executor.submit(warn, "one", 2).result(SECONDS)
        assert [str(one.message) for one in seen] == ["one", "one"]
        assert seen[0].filename == __file__ and seen[0].category is UserWarning
        seen.clear()
        executor.submit(warn, "mine", 1, Mine).result(SECONDS)
        assert [one.category for one in seen] == [Mine]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(4):
            executor.submit(warn, "two", 3).result(SECONDS)
        assert len(seen) == 1
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("ignore")
        executor.submit(warn, "three").result(SECONDS)
        assert not seen
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="four"):
            executor.submit(warn, "four").result(SECONDS)
    with warnings.catch_warnings(record=True) as seen:
        warnings.filterwarnings("ignore", module="no_such_module")
        warnings.filterwarnings("always", module=__name__.replace(".", r"\."))
        executor.submit(warn, "five").result(SECONDS)
        assert len(seen) == 1


def from_threads() -> None:
    threads = [threading.Thread(target=print, args=("thread", n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_of_a_task(executor: Executor, capsys: pytest.CaptureFixture[str]) -> None:
    executor.submit(from_threads).result(SECONDS)
    assert sorted(capsys.readouterr().out.split("\n"))[1:] == [f"thread {n}" for n in range(4)]


def say_much(size: int) -> int:
    print("x" * size, end="")
    print("é" * size, file=sys.stderr, end="")
    log.warning("%s", "y" * size)
    warnings.warn("z" * size, stacklevel=1)
    return size


def test_texts_of_any_length(executor: Executor, records: Any, capsys: pytest.CaptureFixture[str]) -> None:
    size = 3_000_000
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert executor.submit(say_much, size).result(SECONDS) == size
    captured = capsys.readouterr()
    assert captured.out == "x" * size and captured.err == "é" * size
    assert [record.getMessage() for record in records] == ["y" * size]
    assert [str(one.message) for one in warned] == ["z" * size]


BYTES = """
import sys
from bundlebee import Executor

def raw():
    print("one")
    sys.stdout.buffer.write(b"\\xff\\x00\\n")
    sys.stdout.buffer.flush()
    sys.stdout.reconfigure(line_buffering=True)
    print("two")
    sys.stderr.buffer.write(bytearray(b"\\xfe\\n"))
    print("caf\\xe9")
    print("three", sys.stdout.isatty())

with Executor(1) as executor:
    executor.submit(raw).result()
    sys.stdout.flush()
    class Text:
        def write(self, text):
            told.append(text)
    told, plain, sys.stdout = [], sys.stdout, Text()
    executor.submit(raw).result()
    sys.stdout = plain
print("".join(told).encode("unicode_escape").decode())
"""


def test_bytes_and_what_the_callers_streams_cannot_encode(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(BYTES)
    done = subprocess.run(
        [sys.executable, "p.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == (
        b"one\n\xff\x00\ntwo\ncaf\\xe9\nthree False\none\\n\\\\xff\\x00\\ntwo\\ncaf\\xe9\\nthree False\\n\n"
    ), done.stderr
    assert done.stderr == b"\xfe\n" * 2


def slowly(event: str) -> None:
    print("early", flush=True)
    end = time.monotonic() + SECONDS
    while not Path(event).exists() and time.monotonic() < end:
        time.sleep(0.01)


def test_it_is_seen_while_the_task_runs(executor: Executor, tmp_path: Path, monkeypatch: Any) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    future = executor.submit(slowly, str(tmp_path / "go"))
    end = time.monotonic() + SECONDS
    while stream.getvalue() != "early\n":
        assert time.monotonic() < end and not future.done()
        time.sleep(0.005)
    (tmp_path / "go").touch()
    future.result(SECONDS)


MILLION = """
import resource, sys
from bundlebee import Executor

def talk(n):
    for i in range(n):
        print(f"{i:079d}")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

if __name__ == "__main__":
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with Executor(1) as executor:
        small = executor.submit(talk, 10).result()
        there = executor.submit(talk, int(sys.argv[1])).result()
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(there - small, here - before, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="resource")
def test_a_slow_reader_of_very_many_lines(tmp_path: Path, alone: Path) -> None:
    (tmp_path / "p.py").write_text(MILLION)
    count = 500_000  # 40 MB
    process = subprocess.Popen(
        [sys.executable, "p.py", str(count)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    program = psutil.Process(process.pid)
    end = time.monotonic() + SECONDS
    still = 0
    while still < 10:  # nobody reads: the worker is made to wait
        assert time.monotonic() < end and process.poll() is None
        worker = [one for one in program.children(recursive=True) if "bundlebee.worker" in one.cmdline()]
        used = sum(one.cpu_times().user for one in worker)
        time.sleep(0.05)
        still = still + 1 if worker and sum(one.cpu_times().user for one in worker) == used > 0 else 0
    data, errors = process.communicate(timeout=SECONDS)
    lines = data.splitlines()
    assert len(lines) == count + 10 and lines[-1] == b"%079d" % (count - 1) and lines[10] == b"0" * 79
    there, here = map(int, errors.split()[-2:])
    assert there < 16_000 and here < 40_000, errors  # KiB
