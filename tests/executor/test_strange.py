"""Programs that do what hardly any does: none of it may cost the executor its thread, a worker its life, or a task its outcome."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from bundlebee import Executor
from bundlebee.errors import CallError, PeerLost, Unshippable

pytestmark = pytest.mark.usefixtures("alone")

SECONDS = 30.0
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


class Base(BaseException):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Key:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Raises:
    """Cannot be pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Unreadable:
    def __reduce__(self) -> Any:
        return refuse, ()


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Closed(Exception):
    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


def refuse() -> NoReturn:
    raise Mute


def same(x: Any) -> Any:
    return x


def throw(kind: type[Exception], *args: Any) -> NoReturn:
    try:
        raise LookupError("first")
    except LookupError as first:
        raise kind(*args) from first


def throw_mute(*, locked: bool) -> NoReturn:
    error = Mute("x")
    if locked:
        error.lock = threading.Lock()  # type: ignore[attr-defined]
    raise error


def throw_deep(levels: int) -> NoReturn:
    error: Exception = ValueError("leaf")
    for _ in range(levels):
        error = ExceptionGroup("g", [error])
    raise error


def raises_base() -> Raises:
    return Raises(SystemExit(3))


def locks() -> dict[Key, Any]:
    return {Key(): threading.Lock()}


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), KeyboardInterrupt(), Base("x"), Mute("x")],
    ids=lambda error: type(error).__name__,
)
def test_arguments_whose_pickling_raises_anything(executor: Executor, error: BaseException) -> None:
    bad, good = executor.submit(same, Raises(error)), executor.submit(same, 5)
    with pytest.raises(Unshippable, match=type(error).__name__):
        bad.result(SECONDS)
    assert good.result(SECONDS) == 5
    with pytest.raises(Unshippable):
        list(executor.map(same, [1, Raises(error)]))


@pytest.mark.parametrize(
    ("function", "args"),
    [(same, (locks(),)), (locks, ()), (same, (Unreadable(),)), (Unreadable, ()), (raises_base, ())],
)
def test_what_cannot_travel_and_cannot_be_shown(
    executor: Executor, function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    pid = executor.submit(os.getpid).result(SECONDS)
    with pytest.raises(Unshippable):
        executor.submit(function, *args).result(SECONDS)
    assert executor.submit(os.getpid).result(SECONDS) == pid


@pytest.mark.parametrize("kind", [Frozen, Closed])
def test_exceptions_that_take_no_attributes(executor: Executor, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        executor.submit(throw, kind, 3).result(SECONDS)
    assert caught.value.args == (3,) and vars(caught.value).get("code", 3) == 3
    assert isinstance(caught.value.__cause__, LookupError)
    assert any("raised on node" in note for note in caught.value.__notes__)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "throw"


def test_exceptions_that_cannot_be_sent_cost_no_worker(executor: Executor) -> None:
    pid = executor.submit(os.getpid).result(SECONDS)
    for locked, kind in ((False, Mute), (True, Unshippable)):
        with pytest.raises(kind):
            executor.submit(throw_mute, locked=locked).result(SECONDS)
    with pytest.raises((ExceptionGroup, Unshippable)):
        executor.submit(throw_deep, 20_000).result(SECONDS)
    assert executor.submit(os.getpid).result(SECONDS) == pid


def test_a_callback_that_raises_anything_concerns_nobody_else(executor: Executor) -> None:
    def leave(future: Any) -> None:
        raise SystemExit(3)

    future = executor.submit(time.sleep, 0.1)
    future.add_done_callback(leave)
    others = [executor.submit(same, number) for number in range(20)]
    future.result(SECONDS)
    assert [other.result(SECONDS) for other in others] == list(range(20))
    assert executor.submit(same, 1).result(SECONDS) == 1


def test_a_future_that_the_program_sets_itself(executor: Executor) -> None:
    with Executor(1) as executor:
        executor.submit(time.sleep, 0.2)
        futures = [executor.submit(same, number) for number in range(5)]
        futures[1].set_result(7)
        futures[2].set_running_or_notify_cancel()
        assert [futures[number].result(SECONDS) for number in (0, 1, 3, 4)] == [0, 7, 3, 4]
        futures[2].cancel()


def test_callables_with_any_attribute(executor: Executor) -> None:
    class Magic:
        def __getattr__(self, name: str) -> Any:
            if name.startswith(("__reduce", "__get", "__set", "__new")):
                raise AttributeError(name)
            return Magic()

        def __call__(self, x: int) -> int:
            return x + 1

    assert executor.submit(Magic(), 1).result(SECONDS) == 2
    assert list(executor.map(Magic(), [1, 2])) == [2, 3]


def test_a_module_that_can_be_asked_for_nothing(executor: Executor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(types.ModuleType):
        def __getattribute__(self, name: str) -> Any:
            raise ImportError("the backend is missing")

    monkeypatch.setitem(sys.modules, "bundlebee_test_lazy", Lazy("bundlebee_test_lazy"))
    assert executor.submit(same, 1).result(SECONDS) == 1


def test_an_executor_that_has_failed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = Executor(1)
    executor.submit(same, 1).result(SECONDS)

    def fail(*args: Any) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(executor._dispatcher, "_send", fail)
    futures = [executor.submit(same, number) for number in range(3)]
    for future in futures:
        with pytest.raises(CallError, match="RuntimeError: ours"):
            future.result(SECONDS)
    executor._dispatcher.thread.join(SECONDS)
    with pytest.raises(CallError, match="the executor"):
        executor.submit(same, 1).result(SECONDS)
    with pytest.raises(CallError, match="the executor"):
        list(executor.map(same, [1]))
    executor.shutdown()


# -- tasks that fork -----------------------------------------------------------------------------------------


def fork_and_return() -> str:
    child = os.fork()
    if not child:
        return "child"
    os.waitpid(child, 0)
    return "parent"


def fork_and_raise() -> int:
    child = os.fork()
    if not child:
        raise ValueError("child")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def talk() -> None:
    for number in range(20_000):
        print("line", number)


def talking_child() -> int | None:
    print("before")
    child = multiprocessing.get_context("fork").Process(target=talk)
    child.start()
    child.join()
    return child.exitcode


def die_and_leave_a_child(path: str) -> None:
    child = os.fork()
    if not child:
        while not Path(path).exists():
            time.sleep(0.02)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("function", "result"), [(fork_and_return, "parent"), (fork_and_raise, 1), (talking_child, 0)]
)
def test_a_child_of_a_task_answers_nothing(
    executor: Executor, function: Callable[[], Any], result: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        futures = [executor.submit(function), *(executor.submit(same, number) for number in range(20))]
        assert [future.result(SECONDS) for future in futures] == [result, *range(20)]
    assert set(capsys.readouterr().out.split()) <= {"before"}


@forks
def test_a_child_that_outlives_its_worker_hides_nothing(tmp_path: Path) -> None:
    end = tmp_path / "end"
    try:
        with Executor(1) as executor:
            with pytest.raises(PeerLost, match="SIGKILL"):
                executor.submit(die_and_leave_a_child, str(end)).result(SECONDS)
            assert executor.submit(same, 1).result(SECONDS) == 1
    finally:
        end.touch()


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_is_told_whoever_holds_a_lock(executor: Executor) -> None:
    with executor._lock, executor._dispatcher._luggage._lock:
        child = os.fork()
        if not child:
            signal.alarm(int(SECONDS))
            told = 0
            for use in (lambda: executor.submit(same, 1), lambda: executor.map(same, [1]), executor.workers):
                try:
                    use()
                except RuntimeError:
                    told += 1
            executor.shutdown()
            os._exit(told)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3


# -- how the program was started -----------------------------------------------------------------------------

ASSERTS = """
import asserts
from bundlebee import Executor
with Executor(1) as executor:
    print(asserts.f(), executor.submit(asserts.f).result())
"""


@pytest.mark.parametrize("option", ["", "-O", "-OO"])
@pytest.mark.parametrize("variable", ["", "1"])
def test_assertions_run_there_as_they_do_here(tmp_path: Path, option: str, variable: str) -> None:
    (tmp_path / "asserts.py").write_text(
        "def f():\n    'doc'\n    try:\n        assert 0\n    except AssertionError:\n        return 'ran', f.__doc__\n"
        "    return __debug__, f.__doc__\n"
    )
    (tmp_path / "p.py").write_text(ASSERTS)
    environment = {**os.environ, "PYTHONOPTIMIZE": variable}
    done = subprocess.run(
        [sys.executable, *option.split(), "p.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    here, _, there = done.stdout.strip().partition(") (")
    assert here.strip("()") == there.strip("()")


def test_a_directory_whose_name_is_no_text(tmp_path: Path) -> None:
    place = os.path.join(os.fsencode(tmp_path), b"b\xffd")
    try:
        os.mkdir(place)
    except OSError:
        pytest.skip("names are text here")
    with open(os.path.join(place, b"tool.py"), "w") as file:
        file.write("def f():\n    raise KeyError('f')\n")
    with open(os.path.join(place, b"p.py"), "w") as file:
        file.write(
            "import os, tool\nfrom bundlebee import Executor\n"
            "def g():\n    raise ValueError(__file__)\n"
            "with Executor(1) as executor:\n"
            "    pid = executor.submit(os.getpid).result()\n"
            "    for function in (tool.f, g):\n"
            "        print(type(executor.submit(function).exception()).__name__)\n"
            "    print(executor.submit(os.getpid).result() == pid)\n"
        )
    done = subprocess.run(
        [sys.executable, b"p.py"], cwd=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["KeyError", "ValueError", "True"], done.stderr


# -- workers that are there, and do not answer ----------------------------------------------------------------


def stop_yourself() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def close_everything() -> None:
    os.closerange(3, 1000)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc says who is stopped")
@pytest.mark.parametrize("function", [stop_yourself, close_everything])
def test_a_worker_that_cannot_be_heard_is_lost_and_replaced(
    function: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundlebee.calls import local

    monkeypatch.setattr(local, "STOPPED_SECONDS", 1.0)
    monkeypatch.setattr(local, "LOOK_SECONDS", 0.5)
    with Executor(1) as executor:
        pid = executor.submit(os.getpid).result(SECONDS)
        with pytest.raises(PeerLost):
            executor.submit(function).result(SECONDS)
        assert executor.submit(os.getpid).result(SECONDS) != pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


# -- what functools makes of functions ------------------------------------------------------------------------

WRAPPED = """
import functools
from bundlebee import Executor

class Thing:
    def __init__(self, side):
        self.side = side
    @functools.cached_property
    def area(self):
        "Its size."
        return self.side ** 2
    @functools.lru_cache(maxsize=7)
    def scaled(self, by):
        return self.side * by

@functools.lru_cache(maxsize=None, typed=True)
def fib(n):
    "Fibonacci's."
    return n if n < 2 else fib(n - 1) + fib(n - 2)
fib.extra = [1]

def use(thing):
    return thing.area, thing.scaled(3), type(thing).area.__doc__, fib(60)

def look():
    return fib.cache_parameters(), fib.extra, fib.__doc__, fib.__wrapped__.__name__

if __name__ == "__main__":
    with Executor(1) as executor:
        print(executor.submit(use, Thing(4)).result())
        print(executor.submit(fib, 50).result(), list(executor.map(fib, [3, 4])), executor.submit(look).result())
        thing = executor.submit(Thing, 5).result()
        print(type(thing) is Thing, thing.area, executor.submit(thing.scaled, 2).result())
        print(executor.submit(functools.lru_cache(lambda x: x + 1), 1).result())
"""


def test_caches_of_the_script_travel(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text(WRAPPED)
    done = subprocess.run(
        [sys.executable, "p.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == [
        "(16, 12, 'Its size.', 1548008755920)",
        "12586269025 [2, 3] ({'maxsize': None, 'typed': True}, [1], \"Fibonacci's.\", 'fib')",
        "True 25 10",
        "2",
    ], done.stderr


# -- an interpreter that starts no threads at its end: Python 3.12.0 and 3.12.1 --------------------------------


@pytest.mark.parametrize(("names", "works"), [("bundlebee-lease", True), ("bundlebee-worker", False)])
def test_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch, names: str, works: bool) -> None:
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name.startswith(names):
            raise RuntimeError("no thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    before = set(psutil.Process().children())
    with Executor(1) as executor:
        future = executor.submit(same, 1)
        if works:
            assert future.result(SECONDS) == 1
        else:
            with pytest.raises(CallError, match="no worker can be started any more: no thread"):
                future.result(SECONDS)
    left = set(psutil.Process().children()) - before
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]
