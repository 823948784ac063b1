"""One suite for every transport: what callers may rely on, whatever carries their calls (`bundlebee.calls.transport`).

Where workers are not processes of their own, some of it cannot hold; the interface says what (`Transport.separate`), and
the tests here ask for what holds instead.
"""

from __future__ import annotations

import ast
import hashlib
import operator
import os
import signal
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bundlebee.aspects
import bundlebee.hooks
from bundlebee import platform
from bundlebee.bundles.fingerprint import fingerprint
from bundlebee.calls import byvalue, logged
from bundlebee.calls.byvalue import dumps
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.parcels import Parcel
from bundlebee.calls.transport import BundlePath, Call, Channel, LeaseRequest, Outcome, Transport, Workers
from bundlebee.calls.transports import KINDS, in_process, network
from bundlebee.calls.waiting import Waker, wait
from bundlebee.errors import CallError, CallTimeout, PeerBusy, PeerLost, Refused, Unshippable
from bundlebee.words import BundleRef, FunctionRef, Reason

SECONDS = 30.0

SOURCE = """
import enum, os, sys, threading, time

class Box:
    def __init__(self, content):
        self.content = content
    def add(self, x):
        self.content.append(x)
        return self
    def twice(self):
        return [self, self.content]

class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} {b}")
        self.lock = threading.Lock()

TABLE = {1: "one"}

class Odd_value:
    pass

class Kind(enum.Enum):
    PLAIN = 1
    BY_IDENTITY = Odd_value()
    LIST = [1]
    NAN = float("nan")
    ALIAS = PLAIN

class Own(enum.Enum):
    A = 1
    B = 2
    def __reduce_ex__(self, protocol):
        return Own, (1,)

class Access(enum.Flag):
    READ = 1
    WRITE = 2

MEMBERS = [*Kind, *Own, *Access, Access.READ | Access.WRITE]

def pick(number):
    return [MEMBERS[number], Box(MEMBERS[number])]

def find(member):
    return [number for number, one in enumerate(MEMBERS) if one is member]

def add(a, b=1):
    return a + b

def fail(x):
    try:
        return 1 / x
    except ZeroDivisionError as error:
        raise KeyError("no", x) from error

def leave():
    raise SystemExit(3)

def odd():
    raise Odd(1, 2)

def lock(x):
    return threading.Lock() if x else x

def talk(n):
    for i in range(n):
        print("line", i)
    print("problem", file=sys.stderr)
    return n

def talk_and_write(path):
    print("before")
    try:
        open(path, "w")
    except:
        pass
    return "done"

def start_a_thread():
    threading.Thread(target=print).start()

def ask():
    return input()

def look(n):
    return TABLE[n]

def table():
    return TABLE

def extend(values, x):
    values.append(x)
    return len(values)

def extend_and_fail(values, x):
    values.append(x)
    raise ValueError(x)

def fill(array):
    array[:] = 7
    return array.sum()

def echo(x):
    return x

def hold(values):
    return {"them": values, "first": values[0]}

def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds

def recurse(n):
    return n and recurse(n - 1)

def large(n):
    return bytes(n)
"""


class Local:
    """A class of a module that workers cannot import: it travels by value."""

    def __init__(self, x: int) -> None:
        self.x = x

    def more(self) -> int:
        return self.x + 1


@pytest.fixture(scope="module", params=KINDS)
def transport(request: pytest.FixtureRequest, keys: GridKeys) -> Iterator[Transport]:
    if request.param == "network":
        carrier = network(keys)
        yield carrier
        carrier.close()
        carrier.destroy()
    else:
        yield in_process()


@pytest.fixture(scope="module")
def tools(transport: Transport, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BundlePath]:
    name = f"transported_{'there' if transport.separate else 'here'}"
    place = tmp_path_factory.mktemp("bundles")
    (place / f"{name}.py").write_text(textwrap.dedent(SOURCE))
    digest = hashlib.sha256(SOURCE.encode()).hexdigest()
    yield BundlePath(BundleRef(name, "1", digest, (name,)), place)
    sys.modules.pop(name, None)


Make = Callable[[int], Workers]


@pytest.fixture(scope="module")
def make(transport: Transport, tools: BundlePath) -> Make:
    return lambda slots: transport.workers("w", slots, 1, lambda ref: tools)


@pytest.fixture(scope="module")
def workers(make: Make) -> Iterator[Workers]:
    workers = make(2)
    workers.start()
    yield workers
    pids = workers.pids()
    workers.stop()
    assert not any(platform.is_running(pid) for pid in pids)
    assert not [thread for thread in threading.enumerate() if thread.name == "bundlebee-in-process"]


Lease = Callable[[], Channel]


@pytest.fixture
def lease(workers: Workers, tools: BundlePath) -> Iterator[Lease]:
    open_: list[Channel] = []

    def lease() -> Channel:
        channel = lease_from(workers, tools)
        open_.append(channel)
        return channel

    yield lease
    for channel in open_:
        channel.close()
    eventually(lambda: workers.free() == 2)


def lease_from(workers: Workers, tools: BundlePath) -> Channel:
    """A lease; one whose channel was closed a moment ago may still be on its way back."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return workers.lease(LeaseRequest("test", python, 1, (tools.ref,)))
        except PeerBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@pytest.fixture
def channel(lease: Lease) -> Channel:
    return lease()


Run = Callable[..., Outcome]


@pytest.fixture
def run(channel: Channel, tools: BundlePath) -> Run:
    def run(name: str, *args: Any, writes: bool = False) -> Outcome:
        return channel.call(calling(tools, name, writes=writes), args, {}, timeout=SECONDS)

    return run


def calling(tools: BundlePath, name: str, **more: Any) -> Call:
    return Call(FunctionRef(tools.ref.name, tools.ref.digest, tools.ref.name, name), **more)


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def collect(channel: Channel, count: int) -> list[Outcome]:
    found: list[Outcome] = []
    deadline = time.monotonic() + SECONDS
    while len(found) < count and time.monotonic() < deadline:
        found += channel.poll(1.0)
    assert len(found) == count
    return found


# -- calls --------------------------------------------------------------------------------------------------


def test_a_result_comes_back_with_times_and_sizes(run: Run) -> None:
    outcome = run("add", 2, 40)
    assert outcome.returned and outcome.get() == 42
    assert outcome.bytes_out > 0 and outcome.bytes_back > 0
    assert 0 <= outcome.seconds <= outcome.round_trip and outcome.cpu_seconds >= 0


def test_members_of_enumerations_are_what_they_are(
    run: Run, channel: Channel, tools: BundlePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tools.path))
    module = __import__(tools.ref.name)
    for number, member in enumerate(module.MEMBERS):
        found, box = run("pick", number).get()
        assert found is member and box.content is member
        assert run("find", member).get() == [number], member
    channel.submit(calling(tools, "pick"), [((number,), {}) for number in range(len(module.MEMBERS))])
    found = [one.value[0] for one in collect(channel, len(module.MEMBERS))]
    assert all(one is member for one, member in zip(found, module.MEMBERS, strict=True))


def test_an_exception_comes_back_as_itself_with_its_traceback(run: Run, tools: BundlePath) -> None:
    outcome = run("fail", 0)
    assert outcome.raised
    with pytest.raises(KeyError) as caught:
        outcome.get()
    assert caught.value.args == ("no", 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    text = "".join(traceback.format_exception(caught.value))
    assert "return 1 / x" in text and tools.ref.name in text and "in fail" in text
    assert not any(name in text for name in ("worker_loop", "runner", "inprocess"))


def test_system_exit_is_the_programs_own(run: Run) -> None:
    outcome = run("leave")
    assert outcome.raised and isinstance(outcome.error, SystemExit)
    assert run("add", 1).get() == 2


@pytest.mark.parametrize(
    ("name", "args", "reason", "says"),
    [
        ("odd", (), Reason.UNPICKLABLE, "Odd"),
        ("lock", (1,), Reason.UNPICKLABLE, "result"),
        ("recurse", (100_000,), Reason.ENVIRONMENT, "RecursionError"),
        ("nonsense", (), Reason.ENVIRONMENT, "nonsense"),
        ("start_a_thread", (), Reason.GUARD, "starts a thread"),
        ("ask", (), Reason.GUARD, "input"),
    ],
)
def test_refusals_have_a_reason(
    run: Run, name: str, args: tuple[Any, ...], reason: Reason, says: str
) -> None:
    outcome = run(name, *args)
    assert outcome.refused and outcome.reason is reason
    assert says in str(outcome.refusal())
    assert run("add", 1).get() == 2  # the same worker


def test_the_guard_stops_a_call_before_anything_happened(run: Run, tmp_path: Path) -> None:
    outcome = run("talk_and_write", str(tmp_path / "x"))
    assert outcome.refused and outcome.reason is Reason.GUARD
    assert isinstance(outcome.refusal(), Refused)
    assert not list(outcome.output)  # it will print again, where it runs
    assert not (tmp_path / "x").exists()


def test_an_argument_that_cannot_travel_is_named_and_nothing_is_sent(run: Run, channel: Channel) -> None:
    with pytest.raises(Unshippable, match=r"args\[0\]"):
        run("echo", [1, threading.Lock()])
    assert channel.at_rest and not channel.pending
    assert run("add", 1).get() == 2


def test_what_a_call_prints_comes_with_its_outcome_in_order(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = run("talk", 3)
    assert list(outcome.output) == [("stdout", "line 0\nline 1\nline 2\n"), ("stderr", "problem\n")]
    outcome = run("talk", 20_000)
    text = "".join(text for stream, text in outcome.output if stream == "stdout")
    assert text == "".join(f"line {i}\n" for i in range(20_000))
    assert "line" not in capfd.readouterr().out


def test_arguments_and_results_are_copies_but_identity_holds(run: Run) -> None:
    values = [[1], [2]]
    result = run("hold", values).get()
    assert result["them"] is values and result["first"] is values[0]
    point = (1, 2)
    assert run("echo", point).get() is point
    assert run("extend", values, 3).get() == 3  # nobody said that it writes
    assert values == [[1], [2]]


def test_what_a_call_writes_to_its_arguments_is_restored(
    run: Run, tools: BundlePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [1]
    alias = {"same": values}
    outcome = run("extend", values, 2, writes=True)
    outcome.restore()
    assert outcome.get() == 2 and alias["same"] == [1, 2]
    outcome = run("extend_and_fail", values, 3, writes=True)
    assert outcome.raised
    outcome.restore()
    assert alias["same"] == [1, 2, 3]
    monkeypatch.syspath_prepend(str(tools.path))
    module = __import__(tools.ref.name)
    box = module.Box(values)
    outcome = run("Box.add", box, 4, writes=True)
    outcome.restore()
    assert outcome.get() is box and values == [1, 2, 3, 4]


def test_state_is_compared_before_a_call(
    channel: Channel, tools: BundlePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tools.path))
    module = __import__(tools.ref.name)
    reads = ((tools.ref.name, "TABLE"),)
    same = fingerprint(reads, modules=sys.modules)
    look = calling(tools, "look", reads=reads, state=same)
    assert channel.call(look, (1,), {}).get() == "one"
    other = channel.call(calling(tools, "look", reads=reads, state=b"x" + same[1:]), (1,), {})
    assert other.refused and other.reason is Reason.STATE
    # what is part of the module there may not come back as a copy
    outcome = channel.call(calling(tools, "table", reads=reads, state=same), (), {})
    assert outcome.refused and outcome.reason is Reason.UNPICKLABLE
    assert module.TABLE == {1: "one"}


def test_large_buffers_both_ways_are_writable_and_nobody_elses(run: Run) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(300_000, dtype=float)
    for _ in range(2):  # the second time it may have been kept there
        outcome = run("add", array, 1.0)
        result = outcome.get()
        assert (result == array + 1).all() and result.flags.writeable
        assert outcome.bytes_out > array.nbytes and outcome.bytes_back > array.nbytes
        array[0] += 1
    assert run("fill", array).get() == 7.0 * len(array)
    assert array[1] == 1.0
    outcome = run("fill", array, writes=True)
    outcome.restore()
    assert (array == 7.0).all()
    big = bytes(range(256)) * 8000
    assert run("echo", {"a": big}).get() == {"a": big}


# -- chunks -------------------------------------------------------------------------------------------------


def test_chunks_and_items_are_answered_in_order(channel: Channel, tools: BundlePath) -> None:
    add = calling(tools, "add")
    first = channel.submit(add, [((i,), {}) for i in range(1000)])
    second = channel.submit(add, [((i,), {"b": -i}) for i in range(10)])
    assert channel.pending == 1010 and not channel.at_rest
    found = collect(channel, 1010)
    assert [(one.ticket, one.index) for one in found] == [
        *((first, i) for i in range(1000)),
        *((second, i) for i in range(10)),
    ]
    assert [one.value for one in found] == [i + 1 for i in range(1000)] + [0] * 10
    assert channel.at_rest


def test_results_may_come_as_batches(channel: Channel, tools: BundlePath) -> None:
    channel.submit(calling(tools, "add"), [((i,), {}) for i in range(500)])
    values: list[Any] = []
    deadline = time.monotonic() + SECONDS
    while len(values) < 500 and time.monotonic() < deadline:
        for one in channel.poll_batches(1.0):
            values += [one.value] if isinstance(one, Outcome) else one.values
    assert values == list(range(1, 501))


def test_one_bad_item_does_not_spoil_its_chunk(channel: Channel, tools: BundlePath) -> None:
    channel.submit(calling(tools, "lock"), [((0,), {}), ((1,), {}), ((0,), {})])
    channel.submit(calling(tools, "fail"), [((1,), {}), ((0,), {}), ((2,), {})])
    ended = [one.ended.value for one in collect(channel, 6)]
    assert ended == ["returned", "refused", "returned", "returned", "raised", "returned"]


def test_a_call_in_between_leaves_the_other_outcomes_to_poll(channel: Channel, tools: BundlePath) -> None:
    ticket = channel.submit(calling(tools, "add"), [((i,), {}) for i in range(5)])
    assert channel.call(calling(tools, "add"), (40,), {"b": 2}).get() == 42
    assert [(one.ticket, one.value) for one in collect(channel, 5)] == [(ticket, i + 1) for i in range(5)]


def test_a_writer_that_nobody_answers_reads_meanwhile_and_a_reader_that_is_slow_is_waited_for(
    channel: Channel, tools: BundlePath
) -> None:
    # far more than any queue holds, each way, before anything is read
    echo = calling(tools, "echo")
    blob = bytes(40_000)
    for _ in range(1000):
        channel.submit(echo, [((blob,), {})])
    found = collect(channel, 1000)
    assert all(one.value == blob for one in found)


def test_results_that_are_read_while_sending_stay_together(channel: Channel, tools: BundlePath) -> None:
    # far more than any queue holds, each way; what is read one by one then costs several times as much
    add = calling(tools, "add")
    items = [((i << 3000,), {}) for i in range(1, 101)]
    for _ in range(300):
        channel.submit(add, items)
    left, alone = 300 * len(items), 0
    deadline = time.monotonic() + SECONDS
    while left and time.monotonic() < deadline:
        for one in channel.poll_batches(1.0):
            left -= 1 if isinstance(one, Outcome) else len(one.values)
            alone += isinstance(one, Outcome)
    assert not left and alone < 0.1 * 300 * len(items)


# -- leases -------------------------------------------------------------------------------------------------


def test_who_asks_beyond_the_slots_is_told_busy_at_once(
    lease: Lease, workers: Workers, tools: BundlePath
) -> None:
    channels = [lease(), lease()]
    assert workers.free() == 0
    for channel in channels:
        channel.submit(calling(tools, "spin"), [((0.5,), {})])
    with pytest.raises(PeerBusy):
        workers.lease(LeaseRequest("test", "", 1, ()))
    for channel in channels:
        assert collect(channel, 1)[0].get() == 0.5
        channel.close()
    eventually(lambda: workers.free() == 2)  # hanging up ends the leases


def test_a_lease_that_was_given_back_in_the_middle_of_a_call_is_to_be_had_again(
    make: Make, tools: BundlePath
) -> None:
    workers = make(1)
    workers.start()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    request = LeaseRequest("test", python, 1, (tools.ref,))
    try:
        for _ in range(3):
            channel = workers.lease(request)
            channel.submit(calling(tools, "spin"), [((SECONDS,), {})])
            channel.close()
            workers.release(channel.token)
        channel = workers.lease(request)  # waits, and is never told that it is busy
        assert channel.call(calling(tools, "add"), (2, 40), {}, timeout=SECONDS).get() == 42
        channel.close()
    finally:
        workers.stop()


def test_many_channels_are_waited_for_at_once(lease: Lease, tools: BundlePath) -> None:
    slow, quick = lease(), lease()
    slow.submit(calling(tools, "spin"), [((0.5,), {})])
    quick.submit(calling(tools, "add"), [((1,), {})])
    assert wait([slow, quick], SECONDS) == [quick]
    assert [one.value for one in quick.poll()] == [2]
    assert wait([quick], 0.01) == []
    assert wait([slow, quick], SECONDS) == [slow]
    assert collect(slow, 1)[0].value == 0.5
    waker = Waker()
    threading.Timer(0.05, waker.wake).start()
    assert wait([slow, quick], SECONDS, waker=waker) == []
    waker.close()


def test_many_threads_have_channels_of_their_own(make: Make, tools: BundlePath) -> None:
    workers = make(4)
    workers.start()
    problems: list[BaseException] = []

    def use(number: int) -> None:
        try:
            channel = lease_from(workers, tools)
            for i in range(200):
                assert channel.call(calling(tools, "add"), (i,), {"b": number}).get() == i + number
            channel.close()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    workers.stop()
    assert not problems


def test_a_channel_may_be_handed_on_to_another_thread(channel: Channel, tools: BundlePath) -> None:
    found: list[Any] = []
    assert channel.call(calling(tools, "add"), (1,), {}).get() == 2
    thread = threading.Thread(
        target=lambda: found.append(channel.call(calling(tools, "add"), (2,), {}).get())
    )
    thread.start()
    thread.join(SECONDS)
    assert found == [3]


# -- ends ---------------------------------------------------------------------------------------------------


def test_a_deadline(lease: Lease, workers: Workers, tools: BundlePath) -> None:
    channel = lease()
    began = time.monotonic()
    with pytest.raises(CallTimeout):
        channel.call(calling(tools, "spin"), (20.0,), {}, timeout=0.2)
    channel.close()
    # the work there has ended, not come to its end
    eventually(lambda: workers.free() == 2)
    assert time.monotonic() - began < 15.0


def test_hanging_up_cancels_what_runs_and_what_was_not_begun(
    transport: Transport, lease: Lease, workers: Workers, tools: BundlePath, tmp_path: Path
) -> None:
    marks = [tmp_path / name for name in "ab"]
    channel = lease()
    for path in marks:
        submit_task(channel, "transport", _mark_and_spin, (str(path), 20.0))
    eventually(lambda: marks[0].exists() and marks[0].read_text())
    channel.close()
    eventually(lambda: workers.free() == 2)
    if transport.separate:
        # its ``finally`` has a second for that, which is little on a machine that is busy
        assert marks[0].read_text() in ("began\n", "began\nended\n")
    else:
        eventually(lambda: marks[0].read_text() == "began\nended\n")
    assert not marks[1].exists()


def test_stopping_the_workers_loses_what_runs(make: Make, tools: BundlePath) -> None:
    workers = make(1)
    workers.start()
    channel = lease_from(workers, tools)
    assert channel.call(calling(tools, "add"), (1,), {}).get() == 2
    channel.submit(calling(tools, "spin"), [((20.0,), {})])
    assert channel.poll(0.1) == []
    pids = workers.pids()
    workers.stop()
    with pytest.raises(PeerLost):
        channel.poll(SECONDS)
    assert wait([channel], SECONDS) == [channel]
    assert not channel.usable() and not channel.at_rest
    with pytest.raises(PeerLost):
        channel.submit(calling(tools, "add"), [((1,), {})])
    channel.close()
    assert not any(platform.is_running(pid) for pid in pids)
    with pytest.raises(PeerBusy):
        workers.lease(LeaseRequest("test", "", 1, ()))


def test_a_worker_that_is_killed_is_lost_once_and_its_call_never_runs_again(
    transport: Transport, make: Make, tools: BundlePath, tmp_path: Path
) -> None:
    workers = make(1)
    workers.start()
    channel = lease_from(workers, tools)
    path = tmp_path / "mark"
    submit_task(channel, "transport", _mark_and_spin, (str(path), 20.0))
    eventually(lambda: path.exists() and path.read_text())
    if transport.separate:
        (pid,) = workers.pids()
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    else:
        assert not workers.pids()  # there is nothing that could be killed, and the caller live on
        workers.stop()
    with pytest.raises(PeerLost):
        channel.poll(SECONDS)
    if transport.separate:
        fate = workers.fate(channel.token)
        assert fate is not None and fate.pid == pid
    else:
        assert workers.fate(channel.token) is None
    channel.close()
    workers.stop()
    assert path.read_text().count("began") == 1


def test_a_call_that_swallows_its_interrupt_is_never_heard_of(
    transport: Transport, make: Make, tools: BundlePath
) -> None:
    workers = make(1)
    workers.start()
    channel = lease_from(workers, tools)
    submit_task(channel, "transport", _swallow, (0.5,))
    assert channel.poll(0.2) == []
    channel.close()
    if not transport.separate:
        with pytest.raises(PeerBusy):  # its slot is taken until it ends
            workers.lease(LeaseRequest("test", "", 1, ()))
    again = lease_from(workers, tools)
    assert again.call(calling(tools, "add"), (1,), {}).get() == 2
    again.close()
    workers.stop()


def test_nodes(transport: Transport, tools: BundlePath) -> None:
    request = LeaseRequest("test", "", 1, ())
    # nobody listens at that port; and where there is no grid, nobody does anywhere
    with pytest.raises(PeerLost if transport.separate else CallError):
        transport.node("b", "127.0.0.1:1", lambda digest: b"").lease(request)


# -- tasks --------------------------------------------------------------------------------------------------


def task(name: str, function: Callable[..., Any]) -> tuple[Call, bytes]:
    data = dumps(function)
    digest = hashlib.sha256(data).hexdigest()
    settings = logged.current(dumps)
    return Call(FunctionRef("", digest, name, function.__qualname__), task=True, settings=settings), data


def submit_task(channel: Channel, name: str, function: Callable[..., Any], *args: tuple[Any, ...]) -> int:
    parcel = Parcel(byvalue.Outbound)
    for one in args:
        assert parcel.add((one, {}))
    return channel.submit_tasks(*task(name, function), parcel)


def _mark_and_spin(path: str, seconds: float) -> None:
    try:
        with open(path, "a") as file:
            file.write("began\n")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.01)  # CPython 3.13.0 leaves a loop of ``pass`` without its ``finally``
    finally:
        with open(path, "a") as file:
            file.write("ended\n")


def _swallow(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            while time.monotonic() < end:
                pass
        except BaseException:
            pass


def _nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pytest.fixture(autouse=True)
def by_value() -> Iterator[None]:
    """What is defined here travels by value, as from a program's script."""
    import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


def test_tasks_may_do_anything_each_with_a_copy(channel: Channel, tmp_path: Path) -> None:
    shared = [0]

    def work(values: list[int], path: Path) -> list[int]:
        values.append(len(path.read_text()))
        return values

    (tmp_path / "x").write_text("abc")
    submit_task(channel, "transport", work, (shared, tmp_path / "x"), (shared, tmp_path / "x"))
    assert [one.value for one in collect(channel, 2)] == [[0, 3], [0, 3]]
    assert shared == [0]


def test_classes_that_travel_by_value_come_home_as_themselves(channel: Channel) -> None:
    method = Local.more
    submit_task(channel, "transport", lambda local: (local, type(local), local.more()), (Local(1),))
    (outcome,) = collect(channel, 1)
    local, kind, more = outcome.get()
    assert type(local) is kind is Local and (local.x, more) == (1, 2)
    assert Local.more is method


def test_a_tasks_exception_names_the_place(channel: Channel) -> None:
    submit_task(channel, "transport", operator.truediv, (1, 0))
    (outcome,) = collect(channel, 1)
    assert isinstance(outcome.error, ZeroDivisionError)
    assert any("w" in note for note in outcome.error.__notes__)


def test_what_tasks_print_appears_at_the_caller_in_order(
    channel: Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    channel.on_output = lambda stream, text: getattr(sys, stream).write(text) and None

    def talk(x: int) -> int:
        print("out", x)
        print("err", x, file=sys.stderr)
        return x

    submit_task(channel, "transport", talk, *((i,) for i in range(50)))
    assert [one.value for one in collect(channel, 50)] == list(range(50))
    out, err = capsys.readouterr()
    assert out == "".join(f"out {i}\n" for i in range(50))
    assert err == "".join(f"err {i}\n" for i in range(50))


def test_a_task_that_takes_long_hands_back_those_behind_it(channel: Channel) -> None:
    ran = submit_task(channel, "transport", _nap, (0.3,), (0.0,), (0.0,))
    behind = submit_task(channel, "transport", _nap, (0.0,))
    found = collect(channel, 4)
    assert {(one.ticket, one.index) for one in found if one.returned} == {(ran, 0)}
    assert {(one.ticket, one.index) for one in found if one.reason is Reason.PEER_BUSY} == {
        (ran, 1),
        (ran, 2),
        (behind, 0),
    }
    assert channel.at_rest and not channel.over


def test_a_tasks_results_that_cannot_travel_do_not_spoil_the_others(channel: Channel) -> None:
    submit_task(channel, "transport", lambda x: threading.Lock() if x == 1 else x, (0,), (1,), (2,))
    ended = [(one.ended.value, one.value) for one in collect(channel, 3)]
    assert ended == [("returned", 0), ("refused", None), ("returned", 2)]


def test_large_buffers_of_tasks(channel: Channel) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(100_000, dtype=float)

    def double(values: Any) -> Any:
        values *= 2
        return values

    submit_task(channel, "transport", double, (array,))
    (outcome,) = collect(channel, 1)
    assert (outcome.get() == 2 * numpy.arange(100_000)).all()
    assert array[1] == 1.0


# -- the streams of a program that has workers inside ----------------------------------------------------------


def test_the_programs_own_streams_are_its_own(transport: Transport, make: Make, tools: BundlePath) -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    workers = make(1)
    workers.start()
    channel = lease_from(workers, tools)
    outcome = channel.call(calling(tools, "talk"), (1,), {})
    assert list(outcome.output) == [("stdout", "line 0\n"), ("stderr", "problem\n")]
    assert sys.stdout.encoding == before[1].encoding
    channel.close()
    workers.stop()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


# -- who imports what ---------------------------------------------------------------------------------------


CONTENTS = {"byvalue", "lineage", "logged", "parcels", "pickling", "remote_errors", "tasks", "answers"}
"""What is in the messages, whatever carries them: pickles, log records, exceptions, who gets how many tasks."""
IDENTITY = {"keys", "secret"}
"""Who is a member of the grid; the registry's datagrams need that, too."""
INTERFACE = {"transport", "transports", "waiting", "courier", "lessee", "serving"}
DATA = {"call", "outcome", "request", "fate"}
"""What the interface speaks of; each may be had from `transport`, too, which takes longer to import."""
SERVING = {"node.py", "operations.py", "worker.py"}
"""The other end of the transport `network`: they are put together from its parts."""


def test_calls_is_used_through_its_interface_only() -> None:
    package = Path(bundlebee.__file__).parent
    rooms = [package, Path(bundlebee.aspects.__file__).parent, Path(bundlebee.hooks.__file__).parent]
    checked = 0
    for file in sorted(path for room in rooms for path in room.rglob("*.py")):
        if file.parent == package / "calls" or (file.parent == package and file.name in SERVING):
            continue
        for used in _used_of_calls(file):
            checked += 1
            assert used in INTERFACE | DATA | CONTENTS | IDENTITY, f"{file} imports bundlebee.calls.{used}"
    assert checked > 20


def _used_of_calls(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "bundlebee.calls"
                else [node.module]
            )
        for name in names:
            if name.startswith("bundlebee.calls."):
                yield name.split(".")[2]
