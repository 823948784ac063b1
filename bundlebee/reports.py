"""What a program decided, told to the node on its machine, so that people can follow it there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from bundlebee.errors import BundlebeeError
from bundlebee.loggers import get_logger

if TYPE_CHECKING:
    from bundlebee.decisions.records import Decision
    from bundlebee.guest import Guest

log = get_logger("bundlebee.reports")

EVERY = 0.5  #: seconds that records are gathered: people read no faster
MOST = 5_000  #: records that wait; beyond that the oldest are dropped, the program's own file has them all


class Reports:
    """Gathers records and sends them in the background. Does nothing where there is no node on this machine.

    Args:
        collect: adds what there is; called before each time that something is sent.
    """

    def __init__(self, guest: Guest, collect: Callable[[], None]) -> None:
        self._guest = guest
        self._collect = collect
        self._waiting: deque[tuple[Decision, bool]] = deque(maxlen=MOST)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._summary: list[str] = []

    def add(self, decision: Decision, changed: bool) -> None:
        """Take a record; never waits."""
        if self._guest.own_node is None:
            return
        self._waiting.append((decision, changed))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="bundlebee-reports", daemon=True)
            self._thread.start()

    def close(self, summary: list[str]) -> None:
        """Send what is left, and lines that sum up the program."""
        self._summary = summary
        self._closing.set()
        if self._thread is not None:
            self._thread.join(timeout=3.0)

    def _run(self) -> None:
        over = False
        while not over:
            over = self._closing.wait(EVERY)
            self._collect()
            while self._waiting:
                self._send([self._waiting.popleft() for _ in range(min(len(self._waiting), 500))], [])
        self._send([], self._summary)

    def _send(self, batch: list[tuple[Decision, bool]], summary: list[str]) -> None:
        own = self._guest.own_node
        if own is None:
            return
        try:
            body = msgspec.msgpack.encode((batch, summary))
            self._guest.ask(own.address, "decisions.tell", body, timeout=2.0)
        except BundlebeeError as error:
            log.debug("the node on this machine does not listen: %s", error)
            self._guest.own_node = None
