"""The command as a person runs it: a process of its own, a home of its own, loopback only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Home:
    """A person's machine: run commands in it, start nodes in it."""

    path: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON"))}
        return {**kept, "HOME": str(self.path), "BUNDLEBEE_INTERFACE": "127.0.0.1", "LC_ALL": "C.UTF-8"}

    def python(self, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, *map(str, arguments)], **options)

    def bee(self, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, "-m", "bundlebee", *map(str, arguments)], **options)

    def run(
        self,
        command: Sequence[str],
        *,
        input: str | None = None,
        stdin: int | None = None,
        env: dict[str, str] | None = None,
        timeout: float = 120.0,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.path,
            env={**self.env, **(env or {})},
            stdin=stdin,
            **({} if stdin is not None else {"input": input}),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def node(self, *arguments: str | Path, name: str = "n1") -> Node:
        log = self.path / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "bundlebee", "run", *map(str, arguments), "--name", name],
                cwd=self.path,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self.running.append(process)
        return Node(process, log)


@dataclass
class Node:
    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, text: str, timeout: float = 30.0) -> str:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            seen = self.log.read_text()
            if text in seen:
                return seen
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {text!r} in the log:\n{self.log.read_text()}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    path = tmp_path / "home"
    path.mkdir()
    home = Home(path)
    yield home
    for process in home.running:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.fixture
def bundles(home: Home) -> Callable[[dict[str, str]], Path]:
    """Write files into ``./bundles``."""

    def write(files: dict[str, str]) -> Path:
        directory = home.path / "bundles"
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return directory

    return write
