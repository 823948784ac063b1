"""The executor with real workers on this machine; the cases of the standard library's own tests are among these."""

from __future__ import annotations

import enum
import functools
import gc
import operator
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import psutil
import pytest

import bundlebee
from bundlebee import Executor
from bundlebee.errors import PeerLost, Unshippable, UsageError

pytestmark = pytest.mark.usefixtures("alone")

SECONDS = 30.0
FACTOR = 3


class Point:
    def __init__(self, x: int) -> None:
        self.x = x

    def moved(self) -> Point:
        return Point(self.x + 1)


class Colour(enum.Enum):
    RED = 1


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")
        self.lock = threading.Lock()


class Mine(Exception):
    pass


def scale(x: int) -> int:
    return x * FACTOR


def fail(x: Any) -> None:
    try:
        raise Mine("no", x)
    except Mine as error:
        raise KeyError("why") from error


def raise_mine(x: Any) -> None:
    raise Mine("no", x)


def capture(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def touch(path: Path) -> str:
    path.write_text("here")
    return subprocess.check_output([sys.executable, "-c", "print(1)"], text=True)


def append(values: list[int]) -> list[int]:
    values.append(1)
    return values


_kept: list[int] = []


def keep(x: int) -> list[int]:
    _kept.append(x)
    return _kept


def talk(x: int) -> int:
    print("out", x)
    print("err", x, file=sys.stderr)
    return x


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def mark_and_die(directory: str, x: int) -> None:
    (Path(directory) / f"{x}-{os.getpid()}").touch()
    if x == 5:
        os._exit(7)
    time.sleep(0.05)


class Blob:
    """Pickles with a large buffer out of band."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: int) -> Any:
        import pickle

        return Blob, (pickle.PickleBuffer(self.data),)


def fill(blob: Blob, byte: int) -> Blob:
    blob.data[:] = bytes([byte]) * len(blob.data)
    return blob


# -- submit --------------------------------------------------------------------------------------------------


def test_submit(executor: Executor) -> None:
    assert executor.submit(pow, 2, 8).result(SECONDS) == 256
    assert executor.submit(scale, 4).result(SECONDS) == 12
    assert executor.submit(capture, 1, self=2, fn=3).result(SECONDS) == ((1,), {"self": 2, "fn": 3})
    with pytest.raises(TypeError):
        executor.submit(fn=capture)  # type: ignore[call-arg]


def test_lambdas_closures_methods_and_partials(executor: Executor) -> None:
    offset = 10
    assert executor.submit(lambda x, y=2: x + y + offset, 1).result(SECONDS) == 13
    assert executor.submit(Point(4).moved).result(SECONDS).x == 5
    assert executor.submit(functools.partial(capture, 1, a=2), 3, a=4).result(SECONDS) == ((1, 3), {"a": 4})
    assert executor.submit(operator.itemgetter(1), "abc").result(SECONDS) == "b"
    assert executor.submit(int, "7").result(SECONDS) == 7


def test_a_closure_is_what_it_is_when_it_is_submitted(executor: Executor) -> None:
    n = 1

    def look() -> int:
        return n

    first = executor.submit(look)
    n = 2
    assert (first.result(SECONDS), executor.submit(look).result(SECONDS)) == (1, 2)


def test_classes_of_the_program_come_home_as_themselves(executor: Executor) -> None:
    moved = Point.moved
    point = executor.submit(lambda p: p.moved(), Point(1)).result(SECONDS)
    assert type(point) is Point and point.x == 2
    assert Point.moved is moved
    assert executor.submit(lambda: Colour.RED).result(SECONDS) is Colour.RED


def test_effects_are_allowed(executor: Executor, tmp_path: Path) -> None:
    assert executor.submit(touch, tmp_path / "file").result(SECONDS) == "1\n"
    assert (tmp_path / "file").read_text() == "here"


def test_tasks_do_not_see_each_others_arguments(executor: Executor) -> None:
    values: list[int] = []
    results = list(executor.map(append, [values] * 500, timeout=SECONDS))
    assert results == [[1]] * 500 and values == []
    assert len(set(map(id, results))) == 500


def test_a_result_is_what_it_was(executor: Executor) -> None:
    # whatever its worker runs before and after it; on a busy machine that is not always in order
    for x, result in enumerate(executor.map(keep, range(2000), timeout=SECONDS)):
        assert result[-1] == x and len(result) == len(set(result))
    assert [result[-1] for result in executor.map(keep, range(3000, 3100), timeout=SECONDS)] == list(
        range(3000, 3100)
    )


def test_large_buffers(executor: Executor) -> None:
    blobs = [Blob(bytearray(100_000)) for _ in range(4)]
    results = list(executor.map(fill, blobs, range(4), timeout=SECONDS))
    assert [bytes(result.data) for result in results] == [bytes([byte]) * 100_000 for byte in range(4)]
    assert not any(any(blob.data) for blob in blobs)


def test_what_it_prints_appears_here(executor: Executor, capsys: pytest.CaptureFixture[str]) -> None:
    assert [executor.submit(talk, x).result(SECONDS) for x in range(3)] == [0, 1, 2]
    printed = capsys.readouterr()
    assert printed.out == "out 0\nout 1\nout 2\n"
    assert printed.err == "err 0\nerr 1\nerr 2\n"
    list(executor.map(talk, range(300), timeout=SECONDS))
    assert sorted(capsys.readouterr().out.split("\n")[:-1]) == sorted(f"out {x}" for x in range(300))
    executor.submit(lambda: [print(i) for i in range(50_000)] and None).result(SECONDS)
    assert capsys.readouterr().out == "".join(f"{i}\n" for i in range(50_000))


# -- what goes wrong -----------------------------------------------------------------------------------------


def test_exceptions(executor: Executor) -> None:
    future = executor.submit(fail, 1)
    with pytest.raises(KeyError) as caught:
        future.result(SECONDS)
    assert caught.value.args == ("why",)
    assert type(caught.value.__cause__) is Mine and caught.value.__cause__.args == ("no", 1)
    text = "".join(traceback.format_exception(caught.value))
    assert 'raise KeyError("why") from error' in text and "raised on node" in text
    assert "performer" not in text
    for kind in (SystemExit, KeyboardInterrupt, RecursionError, MemoryError):

        def stop(kind: type[BaseException] = kind) -> None:
            raise kind("x")

        assert type(executor.submit(stop).exception(SECONDS)) is kind
    assert executor.submit(scale, 1).result(SECONDS) == 3


def test_map_exception(executor: Executor) -> None:
    results = executor.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
    assert (next(results), next(results)) == ((0, 1), (0, 1))
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_cannot_travel_is_named(executor: Executor) -> None:
    lock = threading.Lock()
    before = executor.submit(scale, 1)
    cases: list[tuple[futures.Future[Any], str]] = [
        (
            executor.submit(lambda: lock),
            r"lock, which the function .*<lambda> uses, cannot travel: a _thread.lock",
        ),
        (executor.submit(scale, [1, lock]), r"args\[0\]\[1\] cannot travel: a _thread.lock"),
        (executor.submit(capture, a={"b": lock}), r"a\['b'\] cannot travel"),
        (executor.submit(threading.Lock), "result cannot travel"),
        (executor.submit(lambda: [1, threading.Lock()]), r"result\[1\] cannot travel"),
        (executor.submit(lambda: (_ for _ in ()).throw(Odd(1, 2))), r"the exception Odd cannot travel.*1 2"),
    ]
    for future, message in cases:
        with pytest.raises(Unshippable, match=message):
            future.result(SECONDS)
    assert before.result(SECONDS) == 3

    def lock_or(x: int) -> Any:
        return threading.Lock() if x == 50 else x

    results = [executor.submit(lock_or, x) for x in range(100)]
    assert [x for x, future in enumerate(results) if future.exception(SECONDS)] == [50]


def test_an_argument_that_cannot_be_read_there(executor: Executor) -> None:
    class Bad:
        def __reduce__(self) -> Any:
            return int, ("no number",)

    with pytest.raises(Unshippable, match="cannot be read there"):
        executor.submit(scale, Bad()).result(SECONDS)


def test_a_task_whose_worker_dies_is_never_run_again(tmp_path: Path) -> None:
    with Executor(2) as executor:
        ends = [executor.submit(mark_and_die, str(tmp_path), x) for x in range(20)]
        errors = [end.exception(SECONDS) for end in ends]
    assert isinstance(errors[5], PeerLost) and "mark_and_die" in str(errors[5])
    assert sum(error is None for error in errors) >= 10
    begun = [int(path.name.partition("-")[0]) for path in tmp_path.iterdir()]
    assert len(begun) == len(set(begun))
    assert {x for x, error in enumerate(errors) if error is None} <= set(begun)


def test_wrong_arguments() -> None:
    for number in (0, -1):
        with pytest.raises(ValueError, match="max_workers must be greater than 0"):
            Executor(number)
    with pytest.raises(UsageError):
        Executor(peers="host:1")
    with pytest.raises(UsageError):
        Executor(peers=["host"])
    with pytest.raises(bundlebee.BundlebeeError):
        Executor(key_file="/nowhere/at/all")


# -- map -----------------------------------------------------------------------------------------------------


def test_map(executor: Executor) -> None:
    expected = list(map(pow, range(10), range(10)))
    assert list(executor.map(pow, range(10), range(10))) == expected
    assert list(executor.map(pow, range(10), range(10), chunksize=3)) == expected
    assert list(executor.map(functools.partial(pow, 2), range(5))) == [1, 2, 4, 8, 16]
    assert list(executor.map(scale, [])) == []
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(scale, [1], chunksize=0)


def test_many_tiny_tasks(executor: Executor) -> None:
    assert list(executor.map(scale, range(20_000))) == [3 * x for x in range(20_000)]
    ends = [executor.submit(scale, x) for x in range(2000)]
    assert [end.result(SECONDS) for end in ends] == [3 * x for x in range(2000)]


def test_map_timeout(executor: Executor) -> None:
    results = []
    with pytest.raises(futures.TimeoutError):
        for pid in executor.map(nap, [0, 0, 2], timeout=1):
            results.append(pid)
    assert len(results) == 2


def test_map_takes_only_so_many_ahead(executor: Executor) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for x in range(100):
            taken.append(x)
            yield x

    results = executor.map(scale, numbers(), buffersize=5)
    assert len(taken) == 5
    assert next(results) == 0 and len(taken) == 6
    assert list(results) == [3 * x for x in range(1, 100)]


def test_a_map_that_nobody_wants_any_more_stops(executor: Executor, tmp_path: Path) -> None:
    def mark(x: int) -> None:
        (tmp_path / str(x)).touch()
        time.sleep(0.05)

    results = executor.map(mark, range(200))
    next(results)
    results.close()  # type: ignore[attr-defined]
    executor.submit(scale, 1).result(SECONDS)
    assert len(list(tmp_path.iterdir())) < 20


def test_long_tasks_are_balanced(executor: Executor) -> None:
    """Quick ones first, so that chunks are large when the long ones come."""
    list(executor.map(nap, [0.0] * 2000))
    pids = list(executor.map(nap, [0.0] * 500 + [0.1] * 20))[500:]
    assert 5 <= pids.count(pids[0]) <= 15


def test_a_long_task_does_not_keep_others_waiting(executor: Executor) -> None:
    list(executor.map(nap, [0.0] * 2000))
    long = [executor.submit(nap, 0.0) for _ in range(100)] + [executor.submit(nap, 2.0)]
    quick = [executor.submit(nap, 0.0) for _ in range(400)]
    start = time.perf_counter()
    assert not futures.wait([*long[:-1], *quick], SECONDS).not_done
    assert time.perf_counter() - start < 1.5
    assert not long[-1].done()
    long[-1].result(SECONDS)


# -- futures -------------------------------------------------------------------------------------------------


def test_wait_and_as_completed(executor: Executor) -> None:
    slow, quick = executor.submit(nap, 0.5), executor.submit(nap, 0.0)
    done, pending = futures.wait([slow, quick], SECONDS, futures.FIRST_COMPLETED)
    assert (done, pending) == ({quick}, {slow})
    failing = executor.submit(raise_mine, 1)
    done, _ = futures.wait([failing, executor.submit(nap, 0.5)], SECONDS, futures.FIRST_EXCEPTION)
    assert failing in done
    ends = [executor.submit(nap, seconds) for seconds in (0.3, 0.0)]
    assert [end is ends[1] for end in futures.as_completed(ends, SECONDS)] == [True, False]
    with pytest.raises(futures.TimeoutError):
        list(futures.as_completed([executor.submit(nap, 0.5)], 0.05))


def test_cancel(tmp_path: Path) -> None:
    with Executor(1) as executor:
        running = executor.submit(nap, 0.5)
        waiting = [executor.submit((tmp_path / str(x)).touch) for x in range(50)]
        assert all(future.cancel() for future in waiting[10:])
        while not running.running():
            time.sleep(0.01)
        assert not running.cancel()
        assert waiting[20].cancelled()
        with pytest.raises(futures.CancelledError):
            waiting[20].result(0)
    assert {int(path.name) for path in tmp_path.iterdir()} == set(range(10))


def test_callbacks(executor: Executor) -> None:
    called = threading.Event()
    executor.submit(scale, 1).add_done_callback(lambda future: called.set())
    assert called.wait(SECONDS)


def test_a_callback_may_submit(executor: Executor) -> None:
    second: futures.Future[futures.Future[int]] = futures.Future()
    executor.submit(scale, 1).add_done_callback(
        lambda future: second.set_result(executor.submit(scale, future.result()))
    )
    assert second.result(SECONDS).result(SECONDS) == 9


def test_many_threads_submit(executor: Executor) -> None:
    results: list[list[int]] = []

    def work(start: int) -> None:
        ends = [executor.submit(scale, start + x) for x in range(200)]
        results.append([end.result(SECONDS) - 3 * start for end in ends])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[3 * x for x in range(200)]] * 8


def test_no_stale_references(executor: Executor) -> None:
    """As the standard library's: neither arguments nor functions nor results are kept."""
    point = Point(1)
    gone = threading.Event()
    watch = weakref.ref(point, lambda _: gone.set())
    executor.submit(point.moved)
    del point
    assert gone.wait(SECONDS)
    del watch
    for point in executor.map(Point, range(10)):
        reference = weakref.ref(point)
        del point
        assert reference() is None


@pytest.mark.parametrize(
    "submit",
    [
        lambda executor, held: executor.submit(capture, held).result(SECONDS),
        lambda executor, held: executor.submit(capture, a=[1, {"b": held}]).result(SECONDS),
        lambda executor, held: executor.submit(lambda: held).result(SECONDS),
        lambda executor, held: list(executor.map(capture, [held])),
    ],
    ids=["argument", "part", "closure", "map"],
)
def test_what_cannot_travel_is_not_kept(executor: Executor, submit: Callable[[Executor, Any], Any]) -> None:
    """Not until the next collection of garbage either, for it may be large."""
    odd = Odd(1, 2)
    gone = threading.Event()
    watch = weakref.ref(odd, lambda _: gone.set())
    gc.disable()
    try:
        try:
            submit(executor, odd)
        except Unshippable as error:
            assert "lock" in str(error)
        else:
            pytest.fail("it travelled")
        del odd
        assert gone.wait(SECONDS)
    finally:
        gc.enable()
    del watch


# -- the end -------------------------------------------------------------------------------------------------


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("bundlebee-")]


def test_nothing_is_left_behind() -> None:
    me = psutil.Process()
    before = ours(), me.num_fds(), set(me.children())
    for _ in range(3):
        with Executor() as executor:
            assert list(executor.map(scale, range(10))) == [3 * x for x in range(10)]
    assert ours() == before[0]
    assert set(me.children()) <= before[2]
    assert me.num_fds() <= before[1] + 2


def test_one_that_was_never_used_leaves_nothing() -> None:
    me = psutil.Process()
    before = me.num_fds()
    for _ in range(20):
        with Executor():
            pass
        Executor()
    assert me.num_fds() <= before + 1


INTERRUPTED = """
import threading, time
from bundlebee import Executor

def interrupted(self, timeout=None):
    raise KeyboardInterrupt

executor = Executor(1)
plain, threading.Event.wait = threading.Event.wait, interrupted
try:
    executor.submit(int)
finally:
    threading.Event.wait = plain
"""


def test_ctrl_c_while_its_thread_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == -signal.SIGINT and done.stderr.endswith("\nKeyboardInterrupt\n")


def test_shut_down_while_somebody_counts_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    me = psutil.Process()
    before = ours(), set(me.children())
    executor = Executor()
    waited, over = threading.Event(), threading.Event()

    def wait_for_nodes() -> None:
        waited.set()
        assert over.wait(SECONDS)

    monkeypatch.setattr(executor._dispatcher._peers, "wait_for_nodes", wait_for_nodes)
    thread = threading.Thread(target=executor.workers)
    thread.start()
    assert waited.wait(SECONDS)
    executor.shutdown()
    over.set()
    thread.join(SECONDS)
    assert (ours(), set(me.children())) == before


def test_after_shutdown() -> None:
    executor = Executor()
    executor.submit(scale, 1).result(SECONDS)
    executor.shutdown()
    executor.shutdown()
    for call in (lambda: executor.submit(scale, 1), lambda: executor.map(scale, [1])):
        with pytest.raises(RuntimeError, match="after shutdown"):
            call()


def test_shutdown_finishes_what_was_submitted() -> None:
    executor = Executor(2)
    ends = [executor.submit(nap, 0.05) for _ in range(20)]
    results = executor.map(scale, range(100))
    executor.shutdown()
    assert all(end.done() for end in ends)
    assert list(results) == [3 * x for x in range(100)]


def test_shutdown_without_waiting() -> None:
    executor = Executor(2)
    ends = [executor.submit(nap, 0.05) for _ in range(10)]
    executor.shutdown(wait=False)
    assert all(end.result(SECONDS) for end in ends)
    executor.shutdown()


def test_cancel_futures() -> None:
    executor = Executor(2)
    ends = [executor.submit(nap, 0.1) for _ in range(50)]
    results = executor.map(nap, [0.0] * 10)
    ends[0].result(SECONDS)
    executor.shutdown(cancel_futures=True)
    cancelled = [end for end in ends if end.cancelled()]
    assert 20 < len(cancelled) < 50
    assert all(end.result(0) for end in ends if not end.cancelled())
    with pytest.raises(futures.CancelledError):
        next(results)


def test_one_that_is_forgotten_ends_by_itself() -> None:
    executor = Executor(2)
    end = executor.submit(nap, 0.1)
    thread = executor._dispatcher.thread
    del executor
    thread.join(SECONDS)
    assert not thread.is_alive() and end.done()


def test_cancelled_right_before_shutdown() -> None:
    executor = Executor(1)
    executor.submit(int).result(SECONDS)
    executor.submit(int).cancel()
    executor.shutdown()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_no_part_in_it(executor: Executor) -> None:
    assert executor.submit(scale, 1).result(SECONDS) == 3
    child = os.fork()
    if not child:
        code = 1
        try:
            executor.submit(scale, 1)
        except RuntimeError as error:
            code = 0 if "parent" in str(error) else 2
        finally:
            executor.shutdown()
            os._exit(code)
    deadline = time.monotonic() + SECONDS
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(status[1]) == 0
    assert executor.submit(scale, 2).result(SECONDS) == 6


def test_max_workers() -> None:
    for most in (1, 2):
        with Executor(most) as executor:
            assert len(set(executor.map(nap, [0.05] * 8))) <= most


def test_tasks_are_bounded_in_flight() -> None:
    with Executor(1) as executor:
        executor.submit(scale, 1).result(SECONDS)
        slow = [executor.submit(nap, 0.2)] + [executor.submit(scale, x) for x in range(5000)]
        time.sleep(0.1)
        assert sum(future.running() for future in slow) <= 1100
        assert slow[-1].result(SECONDS) == 3 * 4999
