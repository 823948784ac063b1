"""Ends the wait of another thread that waits for sockets."""

from __future__ import annotations

import socket


class Waker:
    """Ends a `client.wait`, or an `Inbox.next`, of another thread."""

    def __init__(self) -> None:
        self._mine, self._theirs = socket.socketpair()
        self._mine.setblocking(False)
        self._theirs.setblocking(False)

    def wake(self) -> None:
        """End the wait that is going on, or else the next one. Any thread may; never blocks."""
        try:
            self._theirs.send(b"\0")
        except OSError:
            pass  # full: it will wake anyway; or closed

    def fileno(self) -> int:
        return self._mine.fileno()

    def clear(self) -> None:
        """Forget what woke."""
        try:
            while len(self._mine.recv(4096)) == 4096:
                pass
        except OSError:
            pass

    def close(self) -> None:
        self._mine.close()
        self._theirs.close()
