"""bundlebee on a LAN of lab.py: a key file in common, nodes on some hosts, programs on others.

with Lan(3) as lan:
    grid = Grid(lan, bundles=samples)
    grid.start()
    done = grid.exec(lan["a"], "-m", "mandelbrot", decisions=True)
    assert done.places() == {"b", "c"}
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import Host, LabError, Lan, Program

from bundlebee.calls.keys import GridKey


@dataclass(frozen=True)
class Done:
    """A program that ran to its end under `bundlebee exec`."""

    returncode: int
    stdout: str
    stderr: str
    seconds: float  #: wall clock, start-up included
    decisions: list[dict[str, Any]]  #: the records, if they were asked for

    def places(self) -> set[str]:
        """Names of the nodes that ran a call; without ``here``."""
        return {record["where"] for record in self.decisions} - {"here"}

    def tally(self) -> Counter[tuple[str, str]]:
        """How many records there are for each (where, why)."""
        return Counter((record["where"], record["why"]) for record in self.decisions)


class Grid:
    """Nodes on the hosts of a LAN, each named as its host.

    Args:
        lan: the hosts. All programs on them get the variable for the common key file from now on.
        bundles: directory of bundles for all nodes, or one for each host's name; a host without one has none.
    """

    def __init__(self, lan: Lan, bundles: Path | Mapping[str, Path] | None = None) -> None:
        self.lan = lan
        self.nodes: dict[str, Program] = {}
        self._bundles = bundles
        self._numbers = Counter[str]()
        self.key_file = lan.root / "common.key"
        GridKey.create(self.key_file)
        lan.env["BUNDLEBEE_KEY_FILE"] = str(self.key_file)

    def bundles(self, host: Host) -> Path | None:
        """The directory of bundles of that host's node."""
        return self._bundles.get(host.name) if isinstance(self._bundles, Mapping) else self._bundles

    def start(self, *hosts: Host, options: Sequence[str] = (), timeout: float = 60.0) -> None:
        """Start nodes (on all hosts, if none is named) and wait until all nodes know each other.

        Raises:
            LabError: a node ended, or the time was over; the message holds its log.
        """
        for host in hosts or tuple(self.lan):
            directory = self.bundles(host)
            arguments = [] if directory is None else [str(directory)]
            command = ["bundlebee", "run", *arguments, "--name", host.name, *options]
            self.nodes[host.name] = host.start(command)
        for name, node in self.nodes.items():
            node.wait_for("serves at", timeout)
            for other in self.nodes:
                if other != name:
                    node.wait_for(f"node {other} joined", timeout)

    def stop(self, *hosts: Host) -> None:
        """Stop nodes with SIGTERM (all, if none is named). Raises `LabError` if one does not end well."""
        names = [host.name for host in hosts] or list(self.nodes)
        for name in names:
            node = self.nodes.pop(name)
            code = node.stop()
            if code:
                raise LabError(f"the node on {name} ended with {code}:\n{node.output[-8000:]}")

    def exec(
        self,
        host: Host,
        *arguments: str | Path,
        policy: str | None = None,
        bundles: Path | None = None,
        decisions: bool = False,
        timeout: float = 120.0,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Run ``bundlebee exec`` on a host: `arguments` are options, then the program and its arguments.

        Args:
            host: where the program runs.
            policy: as ``--policy``.
            bundles: as ``--bundles``; None: those of the host's node.
            decisions: collect the decision records.
            timeout, check, input, env: as with `Host.run`.
        """
        command = ["bundlebee", "exec"]
        directory = bundles or self.bundles(host)
        if directory is not None:
            command += ["--bundles", str(directory)]
        if policy is not None:
            command += ["--policy", policy]
        records: Path | None = None
        if decisions:
            self._numbers[host.name] += 1
            records = host.home / f"decisions-{self._numbers[host.name]}.jsonl"
            command += ["--decisions", str(records)]
        start = time.monotonic()
        done = host.run([*command, *map(str, arguments)], timeout=timeout, check=check, input=input, env=env)
        seconds = time.monotonic() - start
        lines = records.read_text().splitlines() if records is not None and records.exists() else []
        return Done(done.returncode, done.stdout, done.stderr, seconds, [json.loads(line) for line in lines])

    def call(self, host: Host, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run ``bundlebee call`` on a host."""
        return host.run(["bundlebee", "call", *arguments], timeout=timeout)
