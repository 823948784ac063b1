"""Contenders of a benchmark: programs that take turns, each with an environment of its own (see `contenders/base.py`)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import Report

CONTENDERS = Path(__file__).resolve().parent / "contenders"
BUNDLEBEE = [str(Path(sys.executable).parent / "bundlebee")]
START_SECONDS = 90.0  #: Ray takes several on an idle machine


class Unavailable(Exception):
    """A contender cannot take part, and why."""


@dataclass(frozen=True)
class Kind:
    """What to start."""

    name: str  #: for people
    key: str  #: for ``--peers``
    argv: tuple[str, ...]  #: behind the interpreter
    needs: tuple[str, ...] = ()  #: what to install for it
    prefix: tuple[str, ...] = ()  #: in front of the interpreter, or instead of it for our own command
    heavy: bool = False  #: has processes that work even when nobody asks: takes part in a group of its own
    slow: int = 1  #: gets so many times fewer calls and tasks in a turn
    apart: bool = False  #: gets a network namespace of its own where that can be had


KINDS = (
    Kind("pyzmq DEALER/ROUTER", "pyzmq", ("bare_pyzmq.py",)),
    Kind("pyzmq with CURVE", "pyzmq-curve", ("bare_pyzmq.py", "curve")),
    Kind("bundlebee", "bundlebee", ("ours.py",), prefix=(*BUNDLEBEE, "exec", "-q", "--policy", "remote")),
    Kind("bundlebee.Executor", "executor", ("ours_executor.py",)),
    Kind("two forks, no queue", "forks", ("two_forks.py",)),
    Kind("multiprocessing.Pool", "pool", ("pool.py",)),
    Kind("ProcessPoolExecutor", "process-pool", ("process_pool.py",), slow=2),
    Kind("loky", "loky", ("loky_.py",), ("loky", "cloudpickle"), slow=2),
    Kind("Pyro5", "pyro5", ("pyro5.py",), ("Pyro5",)),
    Kind("RPyC", "rpyc", ("rpyc_.py",), ("rpyc",)),
    Kind("Mitogen", "mitogen", ("mitogen_.py",), ("mitogen",)),
    Kind("Ray", "ray", ("ray_.py",), ("ray", "numpy"), heavy=True, slow=10, apart=True),
    Kind("Dask", "dask", ("dask_.py",), ("distributed",), heavy=True, slow=20),
)


class Contender:
    """A running one.

    Args:
        root: where environments lie; a missing one is made there.

    Raises:
        Unavailable: it cannot be installed, or does not start.
    """

    def __init__(self, kind: Kind, root: Path, env: Mapping[str, str], cwd: Path) -> None:
        self.kind = kind
        interpreter = list(kind.prefix) or [_python(kind, root)]
        command = [*_apart(kind), *interpreter, str(CONTENDERS / kind.argv[0]), *kind.argv[1:]]
        self._errors = (cwd / f"{kind.key}.err").open("w+")
        self._process = subprocess.Popen(
            command,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            process_group=0,
        )
        self.pid = self._process.pid
        try:
            self.turns = frozenset(self._read()["ready"])
        except (Unavailable, KeyError, TypeError) as error:
            self.close()
            raise Unavailable(f"it does not start: {error}") from None

    def turn(self, name: str, argument: object) -> Any:
        """Let it do one turn; the result.

        Raises:
            Unavailable: it failed.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([name, argument]) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise Unavailable(self._last_words()) from None
        result = self._read()
        if isinstance(result, dict) and "error" in result:
            raise Unavailable(result["error"])
        return result

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1][:200] if lines else f"it ended with {self._process.wait(5)}"

    def close(self) -> None:
        """End it, and whatever it has started."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.pid, 9)  # a group of its own: nobody else is in it
        except ProcessLookupError:
            pass
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _python(kind: Kind, root: Path) -> str:
    """The interpreter of its environment, which is made if need be."""
    if not kind.needs:
        return sys.executable
    home = root / f"py{sys.version_info.major}.{sys.version_info.minor}" / kind.key
    python = home / "bin" / "python"
    done = home / "installed"
    if done.exists() and done.read_text().split() == list(kind.needs):
        return str(python)
    print(f"  installing {' '.join(kind.needs)} into {home}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    steps = (
        [sys.executable, "-m", "venv", str(home)],
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *kind.needs],
    )
    for step in steps:
        ran = subprocess.run(step, capture_output=True, text=True, timeout=900)
        if ran.returncode:
            lines = [line for line in ran.stderr.splitlines() if "ERROR" in line] or ran.stderr.splitlines()
            raise Unavailable(f"it cannot be installed: {lines[-1] if lines else ran.returncode}")
    done.write_text(" ".join(kind.needs))
    return str(python)


def _apart(kind: Kind) -> Sequence[str]:
    """A network that holds nothing but loopback, where we may make one."""
    if not kind.apart or not hasattr(os, "geteuid") or os.geteuid() or not shutil.which("unshare"):
        return ()
    return ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    import psutil

    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def unique_memory(pid: int) -> int:
    """Bytes that a process and all below it have for themselves."""
    import psutil

    return sum(psutil.Process(one).memory_full_info().uss for one in descendants(pid))


class Node:
    """`bundlebee run` with two workers, in a home of its own."""

    def __init__(self, env: Mapping[str, str], cwd: Path) -> None:
        self._log = (cwd / "node.err").open("w+")
        self.started = time.perf_counter()
        self._process = subprocess.Popen(
            [*BUNDLEBEE, "run", "--name", "beside", "--workers", "2"],
            env=dict(env),
            cwd=cwd,
            stderr=self._log,
        )
        self.pid = self._process.pid

    def wait(self, seconds: float = 30.0) -> None:
        """Until both workers listen."""
        end = time.perf_counter() + seconds
        while "serves at" not in Path(self._log.name).read_text() or len(descendants(self.pid)) < 3:
            if time.perf_counter() > end or self._process.poll() is not None:
                raise SystemExit(f"the node does not start: {Path(self._log.name).read_text()}")
            time.sleep(0.02)

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class Bench:
    """One run of a benchmark.

    Args:
        kinds: who may take part.
        root: where environments lie.
        cwd: an empty directory, which is the home of all.
        repeat: turns of each.
    """

    def __init__(
        self, report: Report, kinds: Sequence[Kind], root: Path, cwd: Path, quick: bool, repeat: int
    ) -> None:
        self.report = report
        self.kinds = kinds
        self.root = root
        self.cwd = cwd
        self.quick = quick
        self.repeat = repeat
        self.node: Node | None = None  #: the one that runs now
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON"))}
        self.env = {**kept, "HOME": str(cwd), "BUNDLEBEE_INTERFACE": "lo"}
        self._missing: set[str] = set()

    def start(self, stack: ExitStack, keys: Sequence[str], turn: str) -> dict[str, Contender]:
        """Those of them that can be had and know that turn, by key; they end with the stack."""
        known = {kind.key: kind for kind in KINDS}
        started: dict[str, Contender] = {}
        if "bundlebee" in keys:
            self.node = stack.enter_context(Node(self.env, self.cwd))
            self.node.wait()
        for key in keys:
            if key in self._missing:
                continue
            kind = known[key]
            try:
                contender = Contender(kind, self.root, self.env, self.cwd)
            except (Unavailable, OSError, subprocess.SubprocessError) as why:
                self._missing.add(key)
                self.report.say(f"{kind.name} is left out: {why}")
                continue
            if turn in contender.turns:
                started[key] = stack.enter_context(contender)
            else:
                contender.close()
        return started
