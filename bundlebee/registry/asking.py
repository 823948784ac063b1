"""A few threads for questions that take their time, so that the one thread of the driver never waits.

Not `concurrent.futures`: its threads are joined at exit, and a program that ends must not wait for a peer
that does not answer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable

from bundlebee.clock import clock
from bundlebee.loggers import get_logger

_log = get_logger("bundlebee.registry")

Job = Callable[[bool], None]


class Askers:
    """Runs jobs in at most `threads` daemon threads, which are started when there is work.

    A job is called with True, or with False if it must give up at once: it waited longer than `patience`
    seconds, or the queue is full. Of several jobs with one key that wait, the later ones are dropped.
    """

    def __init__(self, threads: int = 8, patience: float = 3.0, most: int = 1_000) -> None:
        self._threads = threads
        self._patience = patience
        self._most = most
        self._lock = threading.Condition()
        self._jobs: deque[tuple[float, Hashable, Job]] = deque()
        self._keys: set[Hashable] = set()
        self._running = 0
        self._idle = 0
        self._closed = False

    def submit(self, key: Hashable, job: Job) -> None:
        with self._lock:
            if self._closed or key in self._keys:
                return
            if len(self._jobs) < self._most:
                self._keys.add(key)
                self._jobs.append((clock.monotonic(), key, job))
                if self._idle >= len(self._jobs):
                    self._lock.notify()
                elif self._running < self._threads:
                    self._running += 1
                    threading.Thread(target=self._work, name="bundlebee-ask", daemon=True).start()
                return
        job(False)

    def close(self) -> None:
        """Forget what waits; what is under way ends by itself."""
        with self._lock:
            self._closed = True
            self._jobs.clear()
            self._keys.clear()
            self._lock.notify_all()

    def ended(self, timeout: float | None = 0.0) -> bool:
        """Whether the last thread has ended, after `close`; waits up to ``timeout`` seconds for it."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._running, timeout)

    def _work(self) -> None:
        while True:
            with self._lock:
                while not self._jobs and not self._closed:
                    self._idle += 1
                    more = self._lock.wait(10.0)
                    self._idle -= 1
                    if not more and not self._jobs:
                        self._running -= 1
                        self._lock.notify_all()
                        return
                if self._closed:
                    self._running -= 1
                    self._lock.notify_all()
                    return
                since, key, job = self._jobs.popleft()
            try:
                job(clock.monotonic() - since < self._patience)
            except Exception:
                _log.exception("a question to a peer failed in an unexpected way")
            finally:
                with self._lock:
                    self._keys.discard(key)
