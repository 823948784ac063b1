"""Weaves a large package with all cores when it is imported for the first time.

The importing thread weaves what it needs, in the order of the imports. Meanwhile *apprentices*, processes of their own
(`bundlebee.weaving.apprentice`), fill the cache from the other end of the expected order; where they meet, all is woven. They
run no code of the program and import nothing of it: they read sources and write cache entries.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

WORTH_HELP = 500_000
"""Bytes of source (some 15,000 lines, 1.5 s of weaving). An apprentice needs 0.4 s of CPU time to begin."""

PATIENCE = 60.0
"""Seconds that the importing thread waits for a module that is in an apprentice's hands; then it weaves it itself."""

_Popen = subprocess.Popen  # a test of the program may put its own in the place of it


class Ahead:
    """One package's modules that are still to be woven.

    Args:
        modules: dotted name and source file of each, in the order in which they are expected to be needed.
        directory: of the cache.
        scatter: whether scatter sites are woven, too.
        apprentices: how many to start.
    """

    def __init__(
        self, modules: list[tuple[str, str]], directory: Path, *, scatter: bool, apprentices: int
    ) -> None:
        self._left = {path: module for module, path in modules}
        self._busy: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._directory = directory
        self._scatter = scatter
        self._processes: list[subprocess.Popen[bytes]] = []
        self._pid = os.getpid()
        self._threads = [
            threading.Thread(target=self._feed, name=f"bundlebee-apprentice-{number}", daemon=True)
            for number in range(apprentices)
        ]

    def start(self) -> None:
        """Begin. The apprentices end when nothing is left, with `close`, or with this process."""
        atexit.register(self.close)
        for thread in self._threads:
            thread.start()

    def take(self, path: str) -> bool:
        """The importing thread needs that source woven.

        Returns:
            whether an apprentice has seen to it: look into the cache again. Else it is the caller's to weave.
        """
        with self._lock:
            if self._left.pop(path, None) is not None:
                return False
            under_way = self._busy.get(path)
        return under_way is not None and os.getpid() == self._pid and under_way.wait(PATIENCE)

    def close(self) -> None:
        """End the apprentices now."""
        atexit.unregister(self.close)
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._left.clear()
            ended = [process for process in self._processes if process.poll() is None]
        for process in ended:
            with suppress(OSError):
                process.kill()
        for thread in self._threads:
            thread.join(timeout=5.0)
        for process in ended:
            # what it was just writing
            with suppress(OSError):
                for entry in self._directory.glob(f"*.{process.pid}.*"):
                    entry.unlink()

    def after_fork(self) -> None:
        """In a child process: let go of the apprentices, so that they end with the parent."""
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):
                        os.close(pipe.fileno())
        self._processes = []
        self._left = {}
        self._lock = threading.Lock()  # a thread that is not here may have held the other one

    def _feed(self) -> None:
        try:
            process = self._start()
        except OSError:
            return  # then the importing thread does it all
        assert process.stdin is not None and process.stdout is not None
        with process, suppress(OSError, ValueError):
            while True:
                with self._lock:
                    if not self._left:
                        break
                    path, module = self._left.popitem()
                    done = self._busy[path] = threading.Event()
                try:
                    process.stdin.write(json.dumps([module, path]).encode() + b"\n")
                    process.stdin.flush()
                    if not process.stdout.readline():
                        break  # it has died
                finally:
                    done.set()
                    with self._lock:
                        self._busy.pop(path, None)

    def _start(self) -> subprocess.Popen[bytes]:
        own_group: Mapping[str, Any] = (
            {"process_group": 0}  # Ctrl-C at the terminal is for the program, which ends them
            if os.name == "posix"
            else {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        )
        optimize = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
        process = _Popen(
            [
                *(sys.executable, *optimize, "-P", "-m", "bundlebee.weaving.apprentice"),
                *(str(self._directory), str(int(self._scatter))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **own_group,
        )
        with self._lock:
            self._processes.append(process)
            if not self._left:  # closed meanwhile
                process.kill()
        return process
