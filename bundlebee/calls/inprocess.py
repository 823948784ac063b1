"""Workers that are threads of the caller's own process: no sockets, no other process, the same bytes.

For tests and for debugging: a breakpoint in a task stops in this process, and nothing has to be started or torn down. It
makes nothing faster. The worker's code is that of a worker process (`worker_loop`, `runner`, `performer`), so what may not travel,
what is refused and what comes back is the same; `transport.Transport.separate` says what is not.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

from bundlebee.calls import output
from bundlebee.calls.channel import LinkChannel
from bundlebee.calls.control import BundlePath, Lease
from bundlebee.calls.guard import ThreadGuard
from bundlebee.calls.queues import Ended, QueueLetters, QueueLink, QueueWay
from bundlebee.calls.serving import serving
from bundlebee.calls.surroundings import SharedProcess
from bundlebee.calls.wire import Hello
from bundlebee.calls.worker_loop import WorkerLoop
from bundlebee.clock import clock
from bundlebee.errors import CallError, PeerBusy

if TYPE_CHECKING:
    from bundlebee.calls.fate import Fate
    from bundlebee.calls.leasing import LeaseRequest
    from bundlebee.calls.transport import Lessor
    from bundlebee.words import BundleRef

STOP_SECONDS = 2.0  #: that `stop` waits for what still runs


class InProcess:
    """See `transport.Transport`."""

    separate = False

    def node(self, name: str, address: str, archive: Callable[[str], bytes]) -> Lessor:
        raise CallError(f"{name} is another process", hint="the transport in-process reaches none")

    def workers(
        self, name: str, slots: int, hash_seed: int, path: Callable[[BundleRef], BundlePath]
    ) -> ThreadWorkers:
        return ThreadWorkers(name, slots, path)

    def after_fork(self) -> None:
        """Threads are the parent's."""


class ThreadWorkers:
    """See `transport.Workers`."""

    def __init__(self, name: str, slots: int, path: Callable[[BundleRef], BundlePath]) -> None:
        self.name = name
        self.slots = slots
        self._path = path
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._bundles = _Bundles()
        self._stopped = False

    def start(self) -> None:
        """A thread takes no time to start."""

    def free(self) -> int:
        return self.slots - len(self._workers)

    def pids(self) -> list[int]:
        return []

    def lease(self, request: LeaseRequest) -> LinkChannel:
        lease = Lease(secrets.token_hex(16), [self._path(ref) for ref in request.bundles], request.main)
        with self._lock:
            if self._stopped:
                raise PeerBusy(f"{self.name} has stopped its workers")
            if len(self._workers) >= self.slots:
                raise PeerBusy(f"all workers of {self.name} are leased", hint="ask again later")
            worker = _Worker(self.name, lease, request.caller, self._bundles, self._ended)
            self._workers.add(worker)
        worker.thread.start()
        return LinkChannel(worker.link, self.name, self.name, lease.token, loads=worker.surroundings.loads)

    def release(self, token: str) -> None:
        with self._lock:
            workers = [worker for worker in self._workers if worker.token == token]
        for worker in workers:
            if worker.thread is not threading.current_thread():
                worker.thread.join(STOP_SECONDS)

    def fate(self, token: str) -> Fate | None:
        return None

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            workers = list(self._workers)
            self._bundles.close()
        for worker in workers:
            worker.stop()
        deadline = clock.monotonic() + STOP_SECONDS
        for worker in workers:
            if worker.thread is not threading.current_thread():
                worker.thread.join(max(0.0, deadline - clock.monotonic()))

    def after_fork(self) -> None:
        self._stopped = True

    def _ended(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.discard(worker)


class _Worker:
    """One lease, and the thread that serves it."""

    def __init__(
        self,
        name: str,
        lease: Lease,
        caller: str,
        bundles: _Bundles,
        ended: Callable[[_Worker], None],
    ) -> None:
        self.token = lease.token
        self.link = QueueLink(name, self._caller_gone)
        self._way = QueueWay(self.link)
        self._guard = ThreadGuard()
        self._printing = output.Printing()
        self._ended = ended
        self.surroundings = SharedProcess(self._guard)
        letters = QueueLetters(self.link, self._way)
        self._loop = WorkerLoop(
            letters,
            self._printing,
            self.surroundings,
            tell=lambda _message: None,
            connected=lambda _descriptor: True,
            load=bundles.load,
        )
        self._loop.lease(lease)
        self._loop.greet_local(self._way, Hello(lease.token, caller))
        self.thread = threading.Thread(target=self._run, name="bundlebee-in-process", daemon=True)

    def stop(self) -> None:
        """Whatever it does: its caller is told that it is lost."""
        self.link.end("its workers were stopped")
        self._loop.gone_local(self._way)

    def _caller_gone(self) -> None:
        self._loop.gone_local(self._way)

    def _run(self) -> None:
        serving.here = True
        try:
            self.surroundings.enter()
            self._printing.enter()
            self._guard.install()
            _streams.enter(self._printing, self._guard)
            self._loop.run()
        except (Ended, KeyboardInterrupt):
            pass
        finally:
            self._exit()
            _streams.exit()
            self._guard.remove()
            self._loop.close()
            self.link.end("its worker has ended")
            self._ended(self)

    def _exit(self) -> None:
        while True:
            try:
                return self.surroundings.exit()
            except BaseException:
                continue  # an interrupt that came too late


class _Streams:
    """The program's standard streams are divided as long as there is a worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def enter(self, printing: output.Printing, guard: ThreadGuard) -> None:
        with self._lock:
            output.Divided.calls[threading.get_ident()] = {
                "stdin": output.Input(guard),
                "stdout": output.Stream("stdout", printing, guard),
                "stderr": output.Stream("stderr", printing, guard),
            }
            output.divide()

    def exit(self) -> None:
        with self._lock:
            output.Divided.calls.pop(threading.get_ident(), None)
            if not output.Divided.calls:
                output.unite()


_streams = _Streams()


class _Bundles:
    """Bundles that leases name, for whoever does not find them otherwise. The program's script is here already."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}  # by import name

    def load(self, lease: Lease) -> None:
        """Make a lease's bundles importable."""
        for bundle in lease.bundles:
            for name in bundle.ref.imports:
                if name not in sys.modules:
                    self._paths[name] = str(bundle.path)
        if self._paths and self not in sys.meta_path:
            sys.meta_path.append(self)

    def close(self) -> None:
        """Nobody leases any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder.find_spec`."""
        place = self._paths.get(name) if path is None else None
        return None if place is None else PathFinder.find_spec(name, [place], target)
