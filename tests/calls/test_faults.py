"""Workers that die, results that do not fit into memory: who is told what, and that the node goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from bundlebee.calls.client import Call, LeaseChannel, call
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.pool import WorkerPool
from bundlebee.errors import PeerLost
from bundlebee.platform import IS_LINUX, end_within, memory_kills, wait_for_end
from bundlebee.words import FunctionRef, Reason

MIB = 1 << 20

Open = Callable[[], tuple[LeaseChannel, str]]


def builtin(name: str, module: str = "builtins") -> Call:
    return Call(FunctionRef("", "", module, name))


@pytest.fixture(scope="module")
def pool(keys: GridKeys) -> Iterator[WorkerPool]:
    pool = WorkerPool(keys, "b", "127.0.0.1", 1)
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def open_(pool: WorkerPool, context: zmq.Context[Any], keys: GridKeys) -> Iterator[Open]:
    opened: list[LeaseChannel] = []

    def open_() -> tuple[LeaseChannel, str]:
        grant = pool.lease([])
        channel = LeaseChannel(context, keys, "b", grant.address, grant.token)
        opened.append(channel)
        return channel, grant.token

    yield open_
    for channel in opened:
        channel.close()
        pool.release(channel.token)


SLEEP = Call(FunctionRef("", "", "time", "sleep"))


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_who_lost_a_worker_is_told_the_signal_and_its_memory(
    pool: WorkerPool, open_: Open, number: int
) -> None:
    channel, token = open_()
    assert call(channel, builtin("len"), (bytes(80 * MIB),), {}).get() == 80 * MIB
    (pid,) = pool.pids()
    channel.submit(SLEEP, [((30,), {})])
    assert channel.poll(0.2) == []
    os.kill(pid, number)
    with pytest.raises(PeerLost):
        channel.poll(10.0)
    fate = pool.fate(token)
    assert fate is not None and fate.pid == pid and fate.worker == 0
    assert fate.how == f"was killed by {signal.Signals(number).name}"
    # where it cannot be told from what this very process had, nothing is said
    assert fate.peak is None or 90 * MIB < fate.peak < 1024 * MIB
    assert str(pid) in str(fate) and ("MiB" in str(fate)) == (fate.peak is not None)
    # the node goes on
    channel, token = open_()
    assert call(channel, builtin("len"), ("abc",), {}).get() == 3
    assert pool.fate(token, 0.05) is None


def test_a_worker_that_was_told_to_end_has_no_fate(pool: WorkerPool, open_: Open) -> None:
    channel, token = open_()
    channel.submit(SLEEP, [((30,), {})])
    channel.close()
    assert pool.fate(token, 0.5) is None
    assert pool.fate("no such lease") is None


@pytest.mark.skipif(not IS_LINUX, reason="sets the limits of another process")
def test_a_result_that_does_not_fit_there_is_left_to_the_caller(pool: WorkerPool, open_: Open) -> None:
    import resource

    channel, _ = open_()
    assert call(channel, builtin("len"), ("abc",), {}).get() == 3
    (pid,) = pool.pids()
    used = psutil.Process(pid).memory_info().vms
    resource.prlimit(pid, resource.RLIMIT_AS, (used + 100 * MIB, -1))
    outcome = call(channel, builtin("bytes"), (300 * MIB,), {})  # the function itself fails
    assert outcome.refused and outcome.reason is Reason.ENVIRONMENT and "MemoryError" in str(outcome.error)
    outcome = call(channel, builtin("mul", "operator"), ("x", 60 * MIB), {})  # it fits, its pickle does not
    assert outcome.refused and outcome.reason is Reason.UNPICKLABLE and "MemoryError" in str(outcome.error)
    assert call(channel, builtin("len"), ("abc",), {}).get() == 3  # the same worker
    assert pool.pids() == [pid]
    resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A memory control group, version 1 or 2, of 150 MiB."""
    for top, limit, kind in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", 1),
        ("/sys/fs/cgroup", "memory.max", 2),
    ):
        group = Path(top) / f"bundlebee-faults-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(150 * MIB))
            swap = group / ("memory.memsw.limit_in_bytes" if kind == 1 else "memory.swap.max")
            if swap.exists():
                swap.write_text(str(150 * MIB) if kind == 1 else "0")
        except OSError:
            group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no memory control group can be made here")


NODE = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
import zmq
from bundlebee.calls.client import Call, LeaseChannel, call
from bundlebee.calls.keys import GridKey
from bundlebee.calls.pool import WorkerPool
from bundlebee.errors import PeerLost
from bundlebee.words import FunctionRef

keys = GridKey(b"k" * 32).derive("test")
pool = WorkerPool(keys, "b", "127.0.0.1", 1)
pool.start()
grant = pool.lease([])
context = zmq.Context()
channel = LeaseChannel(context, keys, "b", grant.address, grant.token)
try:
    print(call(channel, Call(FunctionRef("", "", "builtins", "list")), (range(10_000_000),), {}))
except PeerLost:
    print(pool.fate(grant.token, 5.0))
channel.close()
pool.stop()
context.destroy(linger=0)
"""


def test_the_kernel_kills_for_memory(small_group: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NODE, str(small_group)], capture_output=True, text=True, timeout=60
    )
    assert "was killed by the kernel for memory" in done.stdout, done
    assert "MiB at most" in done.stdout


def test_memory_kills_are_counted_on_linux() -> None:
    assert memory_kills(os.getpid()) is not None or not IS_LINUX


def test_the_end_of_a_child() -> None:
    child = subprocess.Popen([sys.executable, "-c", "x = bytearray(60 << 20); raise SystemExit(7)"])
    code, peak = wait_for_end(child)
    assert code == 7 == child.returncode
    assert peak is None or peak > 60 * MIB
    assert wait_for_end(child)[0] == 7


def test_a_child_that_does_not_end_is_ended() -> None:
    for program, code in (("raise SystemExit(7)", 7), ("import time; time.sleep(99)", -signal.SIGKILL)):
        child = subprocess.Popen([sys.executable, "-c", program])
        end_within(child, 30.0 if code == 7 else 0.2)
        assert wait_for_end(child)[0] == (code if os.name == "posix" or code == 7 else 1)


def test_what_cannot_be_encoded(open_: Open) -> None:
    channel, _ = open_()
    outcome = call(channel, builtin("print"), ("\udcff",), {})
    assert outcome.refused and outcome.reason is Reason.GUARD  # the caller's stream may take it
    outcome = call(channel, builtin("print"), ("é",), {})
    assert outcome.returned and list(outcome.output) == [("stdout", "é\n")]


def test_a_text_of_any_length_is_printed(open_: Open) -> None:
    channel, _ = open_()
    for text in ("x" * 3_000_000, "é" * 700_000):
        outcome = call(channel, builtin("print"), (text,), {})
        assert outcome.returned and "".join(part for _, part in outcome.output) == text + "\n"
