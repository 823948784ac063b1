"""How fast do large arrays travel, on one host and through the socket, against the floor?

    python benchmarks/arrays.py [--mib N] [--repeat N] [--json FILE] [--quick]

A NumPy array of 64 MiB goes to another process, which looks at one number on each of its pages, and the answer comes
back (*there*); or it comes from there, and the caller looks (*back*). Each is done by

1. `multiprocessing.shared_memory` and a pipe: the floor on one host;
2. a shipped call on the same host: memory is shared;
3. pyzmq with CURVE, frames not copied: the floor through the socket;
4. a shipped call through the socket, as between two hosts (TCP and CURVE).

All take turns; medians count, and ratios of one round. The worker is a process of its own in each case. `calls.py` runs this, too,
with Ray beside us.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from plot import Bar, Chart
from report import Figure, Report, arguments

from bundlebee.calls.client import Call, LeaseChannel, call
from bundlebee.calls.keys import GridKey
from bundlebee.calls.pool import BundlePath, WorkerPool
from bundlebee.words import BundleRef, FunctionRef

Run = Callable[[], None]
Timed = Callable[[], float]
"""Does it once; the seconds that it took."""

SHARED, NEAR, CURVE, FAR = (
    *("shared_memory and a pipe", "shipped, same host"),
    *("pyzmq with CURVE", "shipped, through the socket"),
)

SOURCE = """
import numpy as np
kept = {}

def there(values):
    return float(values[::512].sum())

def back(count):
    if count not in kept:
        kept[count] = np.random.default_rng(1).random(count)
    return kept[count]

def null():
    return None
"""


def look(values: np.ndarray[Any, Any]) -> float:
    """One number on each page."""
    return float(values[::512].sum())


# -- the floor on one host ------------------------------------------------------------------------------------


def _memory_worker(pipe: Any, name: str, count: int) -> None:
    memory = SharedMemory(name)
    values = np.ndarray(count, "f8", memory.buf)
    source = np.random.default_rng(1).random(count)
    while (order := pipe.recv()) is not None:
        if order == "there":
            pipe.send(look(values))
        else:
            values[:] = source
            pipe.send(None)
    del values
    memory.close()


@contextmanager
def shared_memory(array: np.ndarray[Any, Any]) -> Iterator[dict[str, Run]]:
    """`multiprocessing.shared_memory` and a pipe."""
    memory = SharedMemory(create=True, size=array.nbytes)
    values = np.ndarray(array.shape, array.dtype, memory.buf)
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_memory_worker, args=(theirs, memory.name, array.size), daemon=True
    )
    process.start()

    def there() -> None:
        values[:] = array
        mine.send("there")
        mine.recv()

    def back() -> None:
        mine.send("back")
        mine.recv()
        look(values)

    yield {"there": there, "back": back}
    mine.send(None)
    process.join()
    memory.unlink()  # it is closed when the last array on it is gone


# -- the floor through the socket ------------------------------------------------------------------------------


def _zmq_worker(port: Any, server: tuple[bytes, bytes], count: int) -> None:
    context = zmq.Context()
    sock = context.socket(zmq.ROUTER)
    sock.curve_server, (sock.curve_publickey, sock.curve_secretkey) = True, server
    port.send(sock.bind_to_random_port("tcp://127.0.0.1"))
    source = np.random.default_rng(1).random(count)
    while True:
        route, order, *frames = sock.recv_multipart(copy=False)
        if order.bytes == b"there":
            answer = look(np.frombuffer(frames[0].buffer, "f8"))
            sock.send_multipart([route, str(answer).encode()], copy=False)
        elif order.bytes == b"back":
            sock.send_multipart([route, source], copy=False)
        else:
            return


@contextmanager
def bare_zmq(array: np.ndarray[Any, Any]) -> Iterator[dict[str, Run]]:
    """pyzmq, CURVE, no copies."""
    server, client = zmq.curve_keypair(), zmq.curve_keypair()
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_zmq_worker, args=(theirs, server, array.size), daemon=True
    )
    process.start()
    context: zmq.Context[Any] = zmq.Context()
    sock = context.socket(zmq.DEALER)
    sock.curve_serverkey = server[0]
    sock.curve_publickey, sock.curve_secretkey = client
    sock.connect(f"tcp://127.0.0.1:{mine.recv()}")

    def there() -> None:
        sock.send_multipart([b"there", array], copy=False)
        sock.recv_multipart(copy=False)

    def back() -> None:
        sock.send(b"back")
        [frame] = sock.recv_multipart(copy=False)
        look(np.frombuffer(frame.buffer, "f8"))

    yield {"there": there, "back": back}
    sock.send(b"")
    process.join()
    context.destroy(linger=0)


# -- ours ------------------------------------------------------------------------------------------------------


@contextmanager
def ours(array: np.ndarray[Any, Any], *, share: bool) -> Iterator[dict[str, Run]]:
    """Shipped calls."""
    keys = GridKey(os.urandom(32)).derive()
    ref = BundleRef("bench", "1", hashlib.sha256(SOURCE.encode()).hexdigest(), ("bench_arrays",))
    context: zmq.Context[Any] = zmq.Context()
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "bench_arrays.py").write_text(SOURCE)
        pool = WorkerPool(keys, "bench", "127.0.0.1", 1)
        pool.start()
        grant = pool.lease([BundlePath(ref, Path(directory))])
        local = grant.local if share else ""
        channel = LeaseChannel(context, keys, "bench", grant.address, grant.token, local=local)

        def ship(name: str, *args: Any) -> Any:
            return call(channel, Call(FunctionRef("bench", ref.digest, "bench_arrays", name)), args, {}).get()

        def back() -> None:
            look(ship("back", array.size))

        def there() -> None:
            ship("there", array)

        def new() -> None:
            array[0] += 1  # what was there before is not what is sent now
            ship("there", array)

        yield {"there": new, "back": back, "again": there, "null": lambda: ship("null")}
        channel.close()
        pool.stop()
    context.destroy(linger=0)


def timed(run: Run) -> Timed:
    """The same with a clock beside it."""

    def seconds() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return seconds


def measure(report: Report, mib: int, repeat: int, beside: Mapping[str, Mapping[str, Timed]]) -> list[Chart]:
    """All of it.

    Args:
        mib: size of the array.
        repeat: turns of each.
        beside: further ways that take part, each with ``there`` and ``back``; we are to be ahead of them.
    """
    array = np.random.default_rng(0).random(mib << 17)
    with ExitStack() as stack:
        own = {
            SHARED: stack.enter_context(shared_memory(array)),
            NEAR: stack.enter_context(ours(array, share=True)),
            CURVE: stack.enter_context(bare_zmq(array)),
            FAR: stack.enter_context(ours(array, share=False)),
        }
        ways: dict[str, Mapping[str, Timed]] = {
            way: {what: timed(run) for what, run in runs.items()} for way, runs in own.items()
        }
        data = memoryview(array).cast("B")
        ways["digest"] = {"again": timed(lambda: hashlib.sha256(data).digest() and None)}
        ways.update(beside)
        taken: dict[tuple[str, str], list[float]] = {
            (way, what): [] for way, runs in ways.items() for what in runs
        }
        for turn in range(repeat + 2):
            for what in ("there", "back", "again", "null"):
                for way, runs in ways.items():
                    if what in runs:
                        seconds = runs[what]()
                        if turn > 1:  # the first ones warm up
                            taken[way, what].append(seconds)
    charts = []
    for what in ("there", "back"):
        bars = []
        for way in ways:
            if (found := taken.get((way, what))) is not None:
                low, high = (mib / 1024 / value for value in (max(found), min(found)))
                value = mib / 1024 / statistics.median(found)
                report.add(Figure(f"{what}: {way}", value, "GiB/s", note=f"{low:.2f} … {high:.2f}"))
                bars.append(Bar(way, value, low, high, way in (NEAR, FAR)))
        charts.append(Chart(f"A NumPy array of {mib} MiB, {what}", "GiB/s", bars))
    for what in ("there", "back"):
        bounds = [(NEAR, SHARED, 0.7), (FAR, CURVE, 0.9), *((NEAR, other, 1.0) for other in beside)]
        for one, other, bound in bounds:
            pairs = zip(taken[one, what], taken[other, what], strict=True)
            ratio = statistics.median(b / a for a, b in pairs)
            report.add(Figure(f"{what}: {one} against {other}", ratio, "x", at_least=bound))
    digest = statistics.median(taken["digest", "again"])
    for way in (NEAR, FAR):
        again, null = statistics.median(taken[way, "again"]), statistics.median(taken[way, "null"])
        report.add(
            Figure(
                f"the same array again, {way.partition(', ')[2]}, against null + digest",
                again / (null + digest), "x", at_most=1.1,
                note=f"{again * 1e3:.1f} ms; null {null * 1e6:.0f} µs, digest {digest * 1e3:.1f} ms",
            )
        )  # fmt: skip
    return charts


def main() -> int:
    """Run it; the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("--mib", type=int, default=64, metavar="N", help="size of the array [64]")
    parser.add_argument("--repeat", type=int, default=15, metavar="N", help="turns [15]")
    options = parser.parse_args()
    mib, repeat = (1, 3) if options.quick else (options.mib, options.repeat)
    report = Report(f"a NumPy array of {mib} MiB", bounds=not options.quick)
    measure(report, mib, repeat, {})
    return report.finish(options.json)


if __name__ == "__main__":
    sys.exit(main())
