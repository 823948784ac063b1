"""Follows a directory: says when it may have changed.

The operating system tells (through watchfiles). It does not tell everything (network file systems, links to
elsewhere), so the directory is also looked at every few seconds; and often where the system tells nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from bundlebee.loggers import get_logger

log = get_logger("bundlebee.bundles")

SAFETY = 5.0  #: seconds between two looks while the system tells of changes
POLLING = 0.5  #: seconds between two looks where it does not


class Watcher:
    """Calls ``look`` in a thread of its own whenever the directory may have changed.

    Args:
        look: returns the seconds after which it wants to be called again, None for no wish of its own.
        polling: do without the system's help.
    """

    def __init__(self, directory: Path, look: Callable[[], float | None], *, polling: bool = False) -> None:
        self._directory = directory
        self._look = look
        self._polling = True  #: until the system has shown that it tells
        self._stop = threading.Event()
        self._nudge = threading.Event()
        self._threads = [threading.Thread(target=self._follow, name="bundlebee-bundles", daemon=True)]
        if not polling:
            self._threads.append(threading.Thread(target=self._listen, name="bundlebee-watch", daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No call of ``look`` begins after this returns."""
        self._stop.set()
        self._nudge.set()
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(10.0)

    def _follow(self) -> None:
        wait: float | None = 0.0  # something may have changed before we listened
        while True:
            usual = POLLING if self._polling else SAFETY
            self._nudge.wait(usual if wait is None else min(wait, usual))
            self._nudge.clear()
            if self._stop.is_set():
                return
            try:
                wait = self._look()
            except Exception:
                log.exception("looking at %s failed; it is tried again", self._directory)
                wait = None

    def _listen(self) -> None:
        try:
            from watchfiles import watch

            for _changes in watch(
                self._directory,
                watch_filter=None,
                debounce=200,
                step=50,
                rust_timeout=round(SAFETY * 1000),
                yield_on_timeout=True,
                stop_event=self._stop,
                raise_interrupt=False,
            ):
                self._polling = False
                self._nudge.set()
            if not self._stop.is_set():
                log.debug("%s is not watched any more; polling", self._directory)
        except Exception as error:
            log.debug("%s cannot be watched (%s); polling", self._directory, error)
        self._polling = True
        self._nudge.set()
