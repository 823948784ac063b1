from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from msgspec.structs import replace

from bundlebee import platform
from bundlebee.calls.client import Call, LeaseChannel, call, wait
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.link import Link
from bundlebee.calls.local import LocalLink
from bundlebee.calls.pool import BundlePath, LeaseGrant, MainSource, WorkerPool
from bundlebee.errors import PeerBusy, PeerLost, Refused, Unshippable
from bundlebee.platform import has_local_sockets
from bundlebee.words import BundleRef, FunctionRef, Reason

IP = "127.0.0.1"

SOURCE = """
import os, sys, threading, time

class Box:
    def __init__(self, content):
        self.content = content
    def put_in(self, other):
        return Box([self, other])
    def itself(self):
        return self
    @staticmethod
    def double(x):
        return 2 * x
    @property
    def size(self):
        return len(self.content)

class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} {b}")
        self.lock = threading.Lock()

def add(a, b=1):
    return a + b

def talk(n):
    for i in range(n):
        print("line", i)
    print("problem", file=sys.stderr)
    return n

def fail(x):
    try:
        return 1 / x
    except ZeroDivisionError as error:
        raise KeyError("no", x) from error

def odd():
    raise Odd(1, 2)

def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return os.getpid()

def hold(values):
    return {"them": values, "first": values[0]}

def lock(x):
    return threading.Lock() if x else x

def write(path):
    try:
        open(path, "w")
    except:
        pass
    return "done"

def recurse(n):
    return n and recurse(n - 1)

def order(words):
    return list(set(words))

def echo(x):
    return x

def blank(size):
    return bytes(size)

TABLE = {1: "one"}

def look(n):
    return TABLE[n]

def table():
    return TABLE

def crash():
    os.kill(os.getpid(), 11)
"""


def bundle(directory: Path, name: str, source: str) -> BundlePath:
    package = directory / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(textwrap.dedent(source))
    digest = hashlib.sha256(source.encode()).hexdigest()
    return BundlePath(BundleRef(name, "1", digest, (name,)), directory)


def calling(what: BundlePath, qualname: str, **more: Any) -> Call:
    return Call(FunctionRef(what.ref.name, what.ref.digest, what.ref.name, qualname), **more)


Open = Callable[..., LeaseChannel]


def eventually(condition: Callable[[], bool]) -> None:
    """Other processes and threads get to know in their own time."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> BundlePath:
    return bundle(tmp_path_factory.mktemp("bundles"), "beetools", SOURCE)


@pytest.fixture(scope="module")
def pool(keys: GridKeys) -> Iterator[WorkerPool]:
    pool = WorkerPool(keys, "b", IP, 2)
    pool.start()
    yield pool
    pids = pool.pids()
    pool.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.fixture
def own_pool(keys: GridKeys) -> Iterator[WorkerPool]:
    """One that has no memory of who was refused in another test."""
    pool = WorkerPool(keys, "b", IP, 2)
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture(
    params=[
        "tcp",
        pytest.param("local", marks=pytest.mark.skipif(not has_local_sockets(), reason="Linux only")),
    ]
)
def way(request: pytest.FixtureRequest) -> str:
    """How callers come to their worker: over TCP, or over the short way of one host."""
    return str(request.param)


@pytest.fixture
def attach(way: str, context: zmq.Context[Any], keys: GridKeys) -> Open:
    """Opens a channel for a lease."""

    def attach(grant: LeaseGrant, name: str = "b", token: str = "") -> LeaseChannel:
        local = grant.local if way == "local" else ""
        channel = LeaseChannel(context, keys, name, grant.address, token or grant.token, local=local)
        assert isinstance(channel._link, LocalLink if way == "local" else Link)
        return channel

    return attach


@pytest.fixture
def channel(pool: WorkerPool, tools: BundlePath, attach: Open) -> Iterator[LeaseChannel]:
    grant = pool.lease([tools])
    channel = attach(grant)
    yield channel
    channel.close()
    pool.release(grant.token)


def run(channel: LeaseChannel, tools: BundlePath, name: str, *args: Any, **kwargs: Any) -> Any:
    return call(channel, calling(tools, name), args, kwargs)


def test_a_result_comes_back(channel: LeaseChannel, tools: BundlePath) -> None:
    outcome = run(channel, tools, "add", 2, b=40)
    assert outcome.get() == 42
    assert outcome.bytes_out > 0 and outcome.bytes_back > 0
    assert 0 <= outcome.seconds < outcome.round_trip


def test_what_it_prints_comes_home_in_order(channel: LeaseChannel, tools: BundlePath) -> None:
    outcome = run(channel, tools, "talk", 3)
    assert outcome.output == [("stdout", "line 0\nline 1\nline 2\n"), ("stderr", "problem\n")]


def test_a_hundred_thousand_lines(channel: LeaseChannel, tools: BundlePath) -> None:
    outcome = run(channel, tools, "talk", 100_000)
    text = "".join(text for stream, text in outcome.output if stream == "stdout")
    assert text == "".join(f"line {i}\n" for i in range(100_000))


def test_an_exception_comes_back_as_itself(channel: LeaseChannel, tools: BundlePath) -> None:
    import traceback

    outcome = run(channel, tools, "fail", 0)
    assert outcome.raised
    with pytest.raises(KeyError) as caught:
        outcome.get()
    assert caught.value.args == ("no", 0)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    text = "".join(traceback.format_exception(caught.value))
    assert "return 1 / x" in text
    assert "~~^~~" in text
    assert "raised on node" not in text  # the program may look at it itself
    assert "beetools" in text and "in fail" in text
    assert "worker_loop" not in text and "runner" not in text


def test_an_exception_that_cannot_travel_is_left_to_the_caller(
    channel: LeaseChannel, tools: BundlePath
) -> None:
    outcome = run(channel, tools, "odd")
    assert outcome.refused and outcome.reason is Reason.UNPICKLABLE
    assert "Odd" in str(outcome.refusal())


def test_a_chunk_is_answered_in_order(channel: LeaseChannel, tools: BundlePath) -> None:
    calls = calling(tools, "add")
    first = channel.submit(calls, [((i,), {}) for i in range(1000)])
    second = channel.submit(calls, [((i,), {"b": -i}) for i in range(10)])
    got: list[Any] = []
    while len(got) < 1010:
        got += channel.poll(5.0)
    assert [(o.ticket, o.index) for o in got] == [(first, i) for i in range(1000)] + [
        (second, i) for i in range(10)
    ]
    assert [o.value for o in got] == [i + 1 for i in range(1000)] + [0] * 10
    assert channel.pending == 0


def test_one_bad_item_does_not_spoil_the_chunk(channel: LeaseChannel, tools: BundlePath) -> None:
    channel.submit(calling(tools, "lock"), [((0,), {}), ((1,), {}), ((0,), {})])
    got: list[Any] = []
    while len(got) < 3:
        got += channel.poll(5.0)
    assert [o.ended.value for o in got] == ["returned", "refused", "returned"]
    assert got[1].reason is Reason.UNPICKLABLE
    assert "result" in str(got[1].refusal())
    channel.submit(calling(tools, "fail"), [((1,), {}), ((0,), {}), ((2,), {})])
    got = []
    while len(got) < 3:
        got += channel.poll(5.0)
    assert [o.ended.value for o in got] == ["returned", "raised", "returned"]


def test_an_argument_that_cannot_travel_is_named(channel: LeaseChannel, tools: BundlePath) -> None:
    with pytest.raises(Unshippable, match=r"args\[0\]"):
        run(channel, tools, "echo", [1, threading.Lock()])
    assert run(channel, tools, "add", 1).get() == 2


def test_identity_of_arguments_in_results(channel: LeaseChannel, tools: BundlePath) -> None:
    values = [[1], [2]]
    result = run(channel, tools, "hold", values).get()
    assert result["them"] is values and result["first"] is values[0]
    assert run(channel, tools, "echo", values).get() is values
    point = (1, 2)
    assert run(channel, tools, "echo", point).get() is point


def test_large_data_both_ways(channel: LeaseChannel, tools: BundlePath) -> None:
    big = bytes(range(256)) * 40_000
    assert run(channel, tools, "echo", {"a": big, "b": 1}).get() == {"a": big, "b": 1}


def test_the_guard_stops_before_anything_happened(
    channel: LeaseChannel, tools: BundlePath, tmp_path: Path
) -> None:
    outcome = run(channel, tools, "write", str(tmp_path / "x"))
    assert outcome.refused and outcome.reason is Reason.GUARD
    assert not (tmp_path / "x").exists()
    assert run(channel, tools, "add", 1).get() == 2


def test_methods_static_methods_and_properties(
    channel: LeaseChannel, tools: BundlePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(channel, tools, "Box.double", 4).get() == 8
    monkeypatch.syspath_prepend(str(tools.path))
    import beetools  # type: ignore[import-not-found]

    box = beetools.Box([1, 2, 3])
    assert run(channel, tools, "Box.size", box).get() == 3
    assert run(channel, tools, "Box.itself", box).get() is box
    both = run(channel, tools, "Box.put_in", box, 7).get()
    assert type(both) is beetools.Box and both.content[0] is box


def test_the_recursion_limit_is_the_callers(channel: LeaseChannel, tools: BundlePath) -> None:
    outcome = call(channel, calling(tools, "recurse", recursion_limit=5000), (4000,), {})
    assert outcome.get() == 0
    outcome = call(channel, calling(tools, "recurse", recursion_limit=500), (4000,), {})
    assert outcome.refused and "RecursionError" in str(outcome.refusal())


def test_an_unknown_function_is_refused(channel: LeaseChannel, tools: BundlePath) -> None:
    outcome = run(channel, tools, "nonsense")
    assert outcome.refused and "nonsense" in str(outcome.refusal())
    outcome = call(channel, calling(tools, "add", line=1), (1,), {})
    assert outcome.refused


def test_two_leases_run_at_once_and_a_third_is_told_busy(
    pool: WorkerPool, tools: BundlePath, attach: Open
) -> None:
    grants = [pool.lease([tools]) for _ in range(2)]
    channels = [attach(g) for g in grants]
    for channel in channels:
        channel.submit(calling(tools, "spin"), [((0.3,), {})])
    start = time.monotonic()
    with pytest.raises(PeerBusy):
        pool.lease([tools])
    assert time.monotonic() - start < 1.0
    pids = set()
    waiting = list(channels)
    while waiting:
        for channel in wait(waiting, 5.0):
            for outcome in channel.poll(0.0):
                pids.add(outcome.get())
                waiting.remove(channel)
    assert len(pids) == 2
    for channel in channels:
        channel.close()
    # hanging up ends the leases
    eventually(lambda: pool.free() == 2)
    assert pids <= set(pool.pids())


def test_a_killed_worker_is_lost_at_once_named_and_replaced(
    pool: WorkerPool,
    tools: BundlePath,
    attach: Open,
    caplog: pytest.LogCaptureFixture,
) -> None:
    grant = pool.lease([tools])
    channel = attach(grant)
    pid = run(channel, tools, "spin", 0).get()
    channel.submit(calling(tools, "spin"), [((30,), {})])
    assert channel.poll(0.1) == []
    os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(PeerLost, match="b at"):
        channel.poll(10.0)
    assert time.monotonic() - start < 0.5
    channel.close()
    again = pool.lease([tools])
    channel = attach(again)
    assert run(channel, tools, "add", 1).get() == 2
    channel.close()
    eventually(
        lambda: any("SIGKILL" in r.getMessage() and str(pid) in r.getMessage() for r in caplog.records)
    )
    eventually(lambda: len(pool.pids()) == 2)


def test_hanging_up_cancels_a_call_that_runs(pool: WorkerPool, tools: BundlePath, attach: Open) -> None:
    grant = pool.lease([tools])
    channel = attach(grant)
    process = psutil.Process(run(channel, tools, "spin", 0).get())
    channel.submit(calling(tools, "spin"), [((30,), {})])
    assert channel.poll(0.1) == []
    channel.close()
    process.wait(3.0)
    pool.release(pool.lease([tools]).token)


def test_an_idle_lease_goes_to_who_asks(
    pool: WorkerPool,
    tools: BundlePath,
    attach: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bundlebee.calls.pool.IDLE_SECONDS", 0.05)
    grants = [pool.lease([tools]) for _ in range(2)]
    channels = [attach(g) for g in grants]
    for channel in channels:
        assert run(channel, tools, "add", 1).get() == 2
    time.sleep(0.06)
    third = pool.lease([tools])
    newcomer = attach(third)
    assert run(newcomer, tools, "add", 1).get() == 2
    # one of the idle channels was hung up, and its owner knows without asking
    eventually(lambda: not all(channel.usable() for channel in channels))
    usable = [channel for channel in channels if channel.usable()]
    assert len(usable) < 2
    for channel in usable:
        assert run(channel, tools, "add", 1).get() == 2
    for channel in [*channels, newcomer]:
        channel.close()


def held(pool: WorkerPool, tools: BundlePath, attach: Open) -> list[LeaseChannel]:
    """Both workers, which one caller has and does not use."""
    channels = [attach(pool.lease([tools], caller="first")) for _ in range(2)]
    for channel in channels:
        assert run(channel, tools, "add", 1).get() == 2
    return channels


def close(*channels: LeaseChannel) -> None:
    for channel in channels:
        channel.close()


def test_what_is_on_its_way_when_a_lease_is_taken_back_was_not_begun(
    own_pool: WorkerPool, tools: BundlePath, attach: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundlebee.calls.pool.IDLE_SECONDS", 0.0)
    channels = held(own_pool, tools, attach)
    newcomer = attach(own_pool.lease([tools], caller="second"))
    for channel in channels:
        # who does not know yet sends, and is told that it was for nothing; who has read it sends nothing
        try:
            channel.submit(calling(tools, "add"), [((number,), {}) for number in range(3)])
        except PeerBusy:
            continue
        outcomes: list[Any] = []
        while len(outcomes) < 3:
            outcomes += channel.poll(10.0)
        reasons = {outcome.reason for outcome in outcomes}
        assert reasons in ({None}, {Reason.PEER_BUSY})
        assert reasons == {None} or channel.over
    assert not all(channel.usable() for channel in channels)
    assert run(newcomer, tools, "add", 1).get() == 2
    close(*channels, newcomer)


def test_a_question_to_a_worker_that_was_taken_back_is_answered(
    own_pool: WorkerPool, tools: BundlePath, attach: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundlebee.calls.pool.IDLE_SECONDS", 0.0)
    channels = held(own_pool, tools, attach)
    newcomer = attach(own_pool.lease([tools], caller="second"))
    answers = []
    for channel in channels:
        try:
            answers.append(channel.ask(calling(tools, "echo"), timeout=10.0))
        except PeerBusy:
            answers.append("busy")
    refused = [answer for answer in answers if answer is not None]
    assert refused
    assert all(answer == "busy" or answer.reason is Reason.PEER_BUSY for answer in refused)
    assert run(newcomer, tools, "add", 1).get() == 2
    close(*channels, newcomer)


def test_who_has_nothing_gets_one_of_many_that_lie_idle_at_once(
    own_pool: WorkerPool, tools: BundlePath, attach: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundlebee.calls.pool.IDLE_SECONDS", 1000.0)
    monkeypatch.setattr("bundlebee.calls.pool.RECALL_SECONDS", 10.0)  # of a machine that is busy
    channels = held(own_pool, tools, attach)
    newcomer = attach(own_pool.lease([tools], caller="second"))
    assert run(newcomer, tools, "add", 1).get() == 2
    assert sum(channel.usable() for channel in channels) == 1
    with pytest.raises(PeerBusy):
        own_pool.lease([tools], caller="second")  # each has its share now
    close(*channels, newcomer)


def test_who_does_not_read_does_not_keep_a_worker(
    own_pool: WorkerPool, tools: BundlePath, attach: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundlebee.calls.pool.RECALL_SECONDS", 0.2)
    monkeypatch.setattr("bundlebee.calls.slots.RECALL_AGAIN", 0.2)
    channels = [attach(own_pool.lease([tools], caller="first")) for _ in range(2)]
    for channel in channels:
        for _ in range(1000):  # far more than there is room for on the way
            channel.submit(calling(tools, "blank"), [((30_000,), {})])
    found: list[LeaseGrant] = []

    def given() -> bool:
        try:
            found.append(own_pool.lease([tools], caller="second"))
        except PeerBusy:
            return False
        return True

    eventually(given)
    newcomer = attach(found[0])
    assert run(newcomer, tools, "add", 1).get() == 2
    close(*channels, newcomer)


def test_another_version_or_seed_gets_a_fresh_worker(
    keys: GridKeys, tools: BundlePath, tmp_path: Path, context: zmq.Context[Any]
) -> None:
    pool = WorkerPool(keys, "one", IP, 1)
    pool.start()
    try:
        answers = []
        source = "def add(a, b=1): return 'newer'\ndef order(words): return list(set(words))"
        newer = bundle(tmp_path, "beetools", source)
        words = [f"word {i}" for i in range(50)]
        for what, seed in ((tools, None), (newer, None), (newer, 4711), (newer, 4711), (newer, 0)):
            grant = pool.lease([what], hash_seed=seed)
            channel = LeaseChannel(context, keys, "one", grant.address, grant.token)
            answers.append((run(channel, what, "add", 1).get(), run(channel, what, "order", words).get()))
            channel.close()
            pool.release(grant.token)
        assert [a[0] for a in answers] == [2, *["newer"] * 4]
        assert answers[0][1] == answers[1][1] != answers[2][1] == answers[3][1]
        assert answers[4][1] not in (answers[0][1], answers[3][1])
    finally:
        pool.stop()


def test_a_wrong_token_gets_nothing(
    pool: WorkerPool, tools: BundlePath, context: zmq.Context[Any], keys: GridKeys
) -> None:
    grant = pool.lease([tools])
    thief = LeaseChannel(context, keys, "b", grant.address, "0" * 32)
    outcome = run(thief, tools, "add", 1)
    assert outcome.refused and outcome.reason is Reason.PEER_BUSY
    thief.close()
    channel = LeaseChannel(context, keys, "b", grant.address, grant.token)
    assert run(channel, tools, "add", 1).get() == 2
    channel.close()


def test_the_callers_script_becomes_main(pool: WorkerPool, context: zmq.Context[Any], keys: GridKeys) -> None:
    pytest.importorskip("bundlebee.bundles.definitions")
    source = (
        b"import math\nF = 3\ndef area(r):\n    return math.floor(F * r * r)\nprint(1); raise SystemExit\n"
    )
    digest = hashlib.sha256(source).hexdigest()
    grant = pool.lease([], main=MainSource(source, "/x/script.py", digest))
    channel = LeaseChannel(context, keys, "b", grant.address, grant.token)
    outcome = call(channel, Call(FunctionRef("script", digest, "__main__", "area"), line=3), (2,), {})
    assert outcome.get() == 12 and not outcome.output
    channel.close()


def test_stop_leaves_no_process_even_in_the_middle_of_calls(
    keys: GridKeys, tools: BundlePath, attach: Open
) -> None:
    pool = WorkerPool(keys, "c", IP, 2)
    pool.start()
    grant = pool.lease([tools])
    channel = attach(grant, "c")
    channel.submit(calling(tools, "spin"), [((30,), {})])
    processes = [psutil.Process(pid) for pid in pool.pids()]
    pool.stop()
    assert not any(p.is_running() for p in processes)
    with pytest.raises(PeerLost):
        channel.poll(5.0)
    with pytest.raises(PeerBusy):
        pool.lease([tools])


def test_random_bytes_at_a_workers_port(
    pool: WorkerPool, tools: BundlePath, context: zmq.Context[Any], keys: GridKeys
) -> None:
    import random
    import socket

    chance = random.Random(11)
    grant = pool.lease([tools])
    port = int(grant.address.rsplit(":", 1)[1])
    for _ in range(20):
        with socket.create_connection((IP, port)) as wild:
            try:
                wild.sendall(chance.randbytes(2000))
            except OSError:
                pass
    # and from a member: messages that are none of ours
    from bundlebee.calls.link import Link

    odd = Link(context, keys, grant.address)
    for _ in range(20):
        odd.send([chance.randbytes(chance.randrange(60)) for _ in range(chance.randrange(1, 4))])
    channel = LeaseChannel(context, keys, "b", grant.address, grant.token)
    assert run(channel, tools, "add", 1).get() == 2
    odd.close()
    channel.close()


def test_a_crash_is_named(pool: WorkerPool, tools: BundlePath, channel: LeaseChannel) -> None:
    outcome = run(channel, tools, "crash")
    assert outcome.refused and outcome.reason is Reason.GUARD  # it may not send signals
    assert isinstance(outcome.refusal(), Refused)


def test_state_that_differs_keeps_the_call_here(
    channel: LeaseChannel, tools: BundlePath, tmp_path: Path
) -> None:
    fingerprint = pytest.importorskip("bundlebee.bundles.fingerprint").fingerprint
    sys.path.insert(0, str(tools.path))
    try:
        import beetools

        reads = (("beetools", "TABLE"), ("beetools", "add"))
        good = fingerprint(reads, modules=sys.modules)
        same = calling(tools, "look", reads=reads, state=good)
        assert call(channel, same, (1,), {}).get() == "one"
        beetools.TABLE[1] = "changed"
        changed = fingerprint(reads, modules=sys.modules)
        outcome = call(channel, calling(tools, "look", reads=reads, state=changed), (1,), {})
        assert outcome.refused and outcome.reason is Reason.STATE
        # what is part of the module there may not come back as a copy
        outcome = call(channel, calling(tools, "table", reads=reads, state=good), (), {})
        assert outcome.refused and outcome.reason is Reason.UNPICKLABLE
    finally:
        sys.path.remove(str(tools.path))
        sys.modules.pop("beetools", None)


def test_a_stranger_at_a_workers_port_is_named_once_by_its_node(
    pool: WorkerPool, tools: BundlePath, context: zmq.Context[Any], caplog: pytest.LogCaptureFixture
) -> None:
    from bundlebee.calls.keys import GridKey

    grants = [pool.lease([tools]) for _ in range(2)]
    for grant in grants * 2:
        stranger = LeaseChannel(context, GridKey(b"s" * 32).derive("x"), "b", grant.address, grant.token)
        with pytest.raises(PeerLost):
            call(stranger, calling(tools, "add"), (1,), {})
        stranger.close()
    for grant in grants:
        pool.release(grant.token)
    pool.release(pool.lease([tools]).token)
    assert len([r for r in caplog.records if "turned away 127.0.0.1" in r.getMessage()]) == 1


def test_who_hangs_up_in_its_greeting_is_not_called_a_stranger(
    pool: WorkerPool,
    tools: BundlePath,
    context: zmq.Context[Any],
    keys: GridKeys,
    caplog: pytest.LogCaptureFixture,
) -> None:
    grant = pool.lease([tools])
    host, _, port = grant.address.rpartition(":")
    for greeting in (b"", b"\xff\0\0\0\0\0\0\0\x01\x7f\x03"):
        with socket.create_connection((host, int(port)), timeout=10) as caller:
            caller.sendall(greeting)
            assert caller.recv(1)
    # a call of ours, so that the doorman has read of all that ended before it
    channel = LeaseChannel(context, keys, "b", grant.address, grant.token)
    assert call(channel, calling(tools, "add"), (1,), {}).get() == 2
    channel.close()
    pool.release(grant.token)
    assert not [r for r in caplog.records if "turned away" in r.getMessage()]


def test_workers_end_when_their_pool_is_killed(keys: GridKeys, tmp_path: Path) -> None:
    code = """
import sys
from bundlebee.calls.keys import GridKey
from bundlebee.calls.pool import WorkerPool
pool = WorkerPool(GridKey(b"k" * 32).derive("test"), "x", "127.0.0.1", 2)
pool.start()
for _ in range(2):
    pool.lease([])
print(*pool.pids(), flush=True)
sys.stdin.read()
"""
    node = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert node.stdout is not None
    workers = [psutil.Process(int(pid)) for pid in node.stdout.readline().split()]
    assert len(workers) == 2
    node.kill()
    node.wait()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive
    assert node.stdin is not None
    node.stdin.close()
    node.stdout.close()


def _listens(pid: int, address: str) -> bool:
    port = int(address.rpartition(":")[2])
    return any(one.laddr and one.laddr.port == port for one in psutil.Process(pid).net_connections())


# -- memory that is shared ------------------------------------------------------------------------------------

shares_memory = pytest.mark.skipif(not platform.SHARES_MEMORY, reason="this platform shares no memory")


def opened(
    pool: WorkerPool, tools: BundlePath, context: zmq.Context[Any], keys: GridKeys, way: str = "memory"
) -> LeaseChannel:
    """A channel: ``memory`` is shared, or all goes through the ``stream`` of one host, or through ``tcp``."""
    grant = pool.lease([tools])
    with pytest.MonkeyPatch.context() as patch:
        if way != "memory":
            patch.setattr(platform, "SHARES_MEMORY", False)
        return LeaseChannel(
            context, keys, "b", grant.address, grant.token, local="" if way == "tcp" else grant.local
        )


@pytest.fixture(params=["memory", "stream", "tcp"])
def near_channel(
    request: pytest.FixtureRequest,
    pool: WorkerPool,
    tools: BundlePath,
    context: zmq.Context[Any],
    keys: GridKeys,
) -> Iterator[LeaseChannel]:
    """The same must hold either way."""
    if request.param == "memory" and not platform.SHARES_MEMORY:
        pytest.skip("this platform shares no memory")
    channel = opened(pool, tools, context, keys, request.param)
    assert channel._sharing.near is (request.param == "memory")
    yield channel
    channel.close()
    pool.release(channel.token)


def test_large_buffers_both_ways(near_channel: LeaseChannel, tools: BundlePath) -> None:
    big = bytes(range(256)) * 4000
    for number in range(3):
        outcome = run(near_channel, tools, "add", big, b=bytes([number]))
        assert outcome.get() == big + bytes([number])
        assert outcome.bytes_out > len(big) and outcome.bytes_back > len(big)


@shares_memory
def test_memory_goes_with_a_killed_worker(
    pool: WorkerPool, tools: BundlePath, context: zmq.Context[Any], keys: GridKeys
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    channel = opened(pool, tools, context, keys)
    big = bytes(3_000_000)
    result = run(channel, tools, "echo", [big]).get()
    channel.submit(calling(tools, "spin"), [((60,), {})])
    [process] = [pid for pid in pool.pids() if _listens(pid, channel.address)]
    os.kill(process, signal.SIGKILL)
    with pytest.raises(PeerLost):
        channel.poll(10.0)
    assert result == [big]
    channel.close()
    pool.release(channel.token)
    eventually(lambda: not _segments(pool, before))


def _files(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has ended
        return []


def _segments(pool: WorkerPool, before: set[str]) -> list[Path]:
    """Shared memory, the ledgers of connections excepted."""
    return [
        link
        for pid in [os.getpid(), *pool.pids()]
        for link in _files(pid)
        if os.path.lexists(link) and "memfd:bundlebee" in os.readlink(link)
        if (pid != os.getpid() or link.name not in before) and os.stat(link).st_size > 4096
    ]


@shares_memory
def test_memory_that_cannot_be_opened_is_done_without(
    pool: WorkerPool,
    tools: BundlePath,
    context: zmq.Context[Any],
    keys: GridKeys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bundlebee.calls.outlet import Outlet

    channel = opened(pool, tools, context, keys)
    big = bytes(1_000_000)
    assert run(channel, tools, "add", big, b=b"x").get() == big + b"x"
    put = Outlet.put

    def elsewhere(self: Outlet, index: int, frame: Any) -> Any:
        held = put(self, index, frame)
        return None if held is None else replace(held, descriptor=10_000, inode=1)

    monkeypatch.setattr(Outlet, "put", elsewhere)
    assert run(channel, tools, "add", big, b=b"y").get() == big + b"y"  # it was sent again
    assert not channel._sharing.near
    channel.close()
    pool.release(channel.token)


@shares_memory
def test_a_result_that_cannot_be_opened_is_a_loss(
    pool: WorkerPool,
    tools: BundlePath,
    context: zmq.Context[Any],
    keys: GridKeys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bundlebee.calls.inlet import Inlet
    from bundlebee.calls.segments import Held

    channel = opened(pool, tools, context, keys)

    def fails(self: Inlet, held: Held) -> memoryview:
        raise OSError(24, "Too many open files")

    assert run(channel, tools, "add", 1).get() == 2
    monkeypatch.setattr(Inlet, "take", fails)
    with pytest.raises(PeerLost, match="Too many open files"):
        run(channel, tools, "add", bytes(1_000_000), b=b"x")
    channel.close()
    pool.release(channel.token)


@shares_memory
def test_a_worker_whose_memory_cannot_be_opened_shares_none(
    pool: WorkerPool,
    tools: BundlePath,
    context: zmq.Context[Any],
    keys: GridKeys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bundlebee.calls.inlet import Inlet
    from bundlebee.calls.segments import Home

    def fails(self: Inlet, home: Home) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(Inlet, "__init__", fails)
    channel = opened(pool, tools, context, keys)
    assert not channel._sharing.near
    assert run(channel, tools, "add", bytes(1_000_000), b=b"x").get() == bytes(1_000_000) + b"x"
    channel.close()
    pool.release(channel.token)


# -- what was sent before ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp"], indirect=True)
def test_what_was_sent_before_is_not_sent_again(
    channel: LeaseChannel, tools: BundlePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(channel._link, LocalLink):
        pytest.skip("on one host large buffers are not sent at all")
    sent: list[int] = []
    send = channel._link.send

    def counted(frames: Any, **more: Any) -> bool:
        sent.append(sum(map(len, frames)))
        return send(frames, **more)

    monkeypatch.setattr(channel._link, "send", counted)
    big = bytearray(os.urandom(1 << 20))

    def ship() -> tuple[Any, int]:
        sent.clear()
        return run(channel, tools, "add", big, b=b"!").get(), sum(sent)

    for expected in (1 << 20, 0, 0):
        result, size = ship()
        assert result == big + b"!"
        assert expected <= size < expected + 5000
    big[len(big) // 2 + 12345] ^= 1  # in place, where nobody samples
    result, size = ship()
    assert result == big + b"!" and size > 1 << 20
    result, size = ship()
    assert result == big + b"!"


@pytest.mark.parametrize("way", ["tcp"], indirect=True)
def test_a_chunk_waits_for_what_is_missing(
    channel: LeaseChannel, tools: BundlePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bundlebee.calls import sent

    calls = calling(tools, "add")
    monkeypatch.setattr(sent.Places, "seen", lambda *_: True)
    monkeypatch.setattr(sent.Places, "get", lambda *_: sent.Place(os.getpid(), 10_000, 1, 1 << 20))
    tickets = [
        channel.submit(
            calls, [((bytes([number]) * (1 << 20),), {"b": b"!"})] if number % 2 else [((number,), {})]
        )
        for number in range(6)
    ]
    got: dict[int, Any] = {}
    while len(got) < 6:
        got |= {outcome.ticket: outcome.get() for outcome in channel.poll(5.0)}
    assert [got[ticket] for ticket in tickets] == [
        bytes([number]) * (1 << 20) + b"!" if number % 2 else number + 1 for number in range(6)
    ]


# -- warnings -----------------------------------------------------------------------------------------------------


def test_a_call_that_warns_is_left_to_the_caller(
    pool: WorkerPool, context: zmq.Context[Any], keys: GridKeys, tmp_path: Path
) -> None:
    source = """
import warnings
def warn(often):
    for _ in range(often):
        warnings.warn("careful")
    return often
def swallow():
    try:
        warnings.warn("careful")
    except BaseException:
        pass
    return 1
"""
    tools = bundle(tmp_path, "beewarns", source)
    channel = opened(pool, tools, context, keys, "tcp")
    assert run(channel, tools, "warn", 0).get() == 0
    for name, args in (("warn", (1,)), ("warn", (2,)), ("swallow", ())):
        outcome = run(channel, tools, name, *args)
        assert outcome.refused and outcome.reason is Reason.EFFECTS
        assert "warns" in str(outcome.refusal())
    assert run(channel, tools, "warn", 0).get() == 0
    channel.close()
    pool.release(channel.token)
