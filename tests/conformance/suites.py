"""Other people's test suites, ready to run: a package's own, and CPython's for a module of the standard library."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

UNREACHED = 3  #: exit code: a package could not be fetched or installed, so nothing was compared

Outcomes = dict[str, Counter[str]]
"""Test id → how often it ended how (``passed``, ``failed``, ``error``, ``skipped``)."""


_prepared: set[Path] = set()  #: places, in this process: all suites of the standard library share one


@dataclass
class Package:
    """One entry of packages.toml."""

    name: str
    version: str
    arguments: list[str]
    copy: list[str] = field(default_factory=list)
    requires: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    remote: bool = False
    archive: str = ""


class Suite:
    """A test suite and a virtual environment to run it in.

    Args:
        name: what to call it.
        place: directory of everything that belongs to it.
        timeout: seconds for one run.
    """

    version: str
    weave: str  #: for the option of `bundlebee exec`
    remote: bool  #: whether it is short enough to run with every call shipped that can be

    def __init__(self, name: str, place: Path, timeout: float) -> None:
        self.name = name
        self._place = place
        self._timeout = timeout
        self._bin = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self._work = place / "work"

    def prepare(self) -> None:
        """Fetch and install what is not there yet; this checkout is installed anew each time."""
        if self._place in _prepared:
            return
        _prepared.add(self._place)
        self._work.mkdir(parents=True, exist_ok=True)
        if not self._bin.exists():
            venv.create(self._place / "venv", with_pip=True)
        self._fetch()
        self._pip("install", "--upgrade", "--force-reinstall", "--no-deps", str(ROOT))
        self._pip("install", str(ROOT))

    def plain(self) -> tuple[Outcomes, float]:
        """Run it under plain python; also the seconds it took."""
        return self._outcomes("plain", [str(self._bin / "python")])

    def woven(self, policy: str) -> tuple[Outcomes, float, int]:
        """Run it under that policy; there is no node, so calls go to this machine's own cores. Also how many did."""
        decisions = self._place / "decisions.jsonl"
        decisions.unlink(missing_ok=True)
        command = [str(self._bin / "bundlebee"), "exec", "--weave", self.weave, "--policy", policy]
        outcomes, seconds = self._outcomes(
            policy.replace(":", "_"), [*command, "--decisions", str(decisions)]
        )
        with decisions.open() as lines:
            shipped = sum(json.loads(line)["where"] != "here" for line in lines)
        return outcomes, seconds, shipped

    def positions(self) -> dict[str, Any]:
        """What positions.py says of everything that is woven."""
        log = self._place / "positions.json"
        run(
            [str(self._bin / "python"), str(HERE / "positions.py"), self.weave],
            timeout=self._timeout,
            log=log,
        )
        said: dict[str, Any] = json.loads(log.read_text())
        return said

    def _fetch(self) -> None:
        """Get what the suite needs beside this checkout."""

    def _program(self, label: str, report: Path) -> list[str]:
        """What to run: arguments for python. It writes the report, a JUnit file."""
        raise NotImplementedError

    def _variables(self) -> dict[str, str]:
        return {}

    def _outcomes(self, label: str, command: list[str]) -> tuple[Outcomes, float]:
        report, log = self._place / f"{label}.xml", self._place / f"{label}.log"
        report.unlink(missing_ok=True)
        start = time.monotonic()
        run(
            [*command, *self._program(label, report)],
            cwd=self._work,
            env=self._environment(),
            timeout=self._timeout,
            log=log,
        )
        seconds = time.monotonic() - start
        if not report.exists():
            raise SystemExit(f"{self.name} under {label}: no report; see {log}")
        outcomes = read(report)
        if label == "plain" and not passed(outcomes):
            raise SystemExit(f"{self.name}: not one test passes under plain python; see {log}")
        return outcomes, seconds

    def _pip(self, *arguments: str) -> None:
        run([str(self._bin / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments])

    def _environment(self) -> dict[str, str]:
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON", "PYTEST"))
        }
        home = self._place / "home"
        home.mkdir(exist_ok=True)
        # one seed for both, so that what depends on the order of sets is the same
        own = {"HOME": str(home), "BUNDLEBEE_INTERFACE": "lo", "PYTHONHASHSEED": "0"}
        # hypothesis, where CI is set, draws the same examples each time and has no deadline: shipped calls take long
        own["CI"] = "true"
        return {**kept, **self._variables(), **own}


class PackageSuite(Suite):
    """A package's own suite: the package and its tests come from its source distribution on PyPI."""

    def __init__(self, package: Package, cache: Path, timeout: float) -> None:
        super().__init__(package.name, cache / package.name, timeout)
        self.version, self.weave, self.remote = package.version, package.name, package.remote
        self._package = package
        self._source = self._place / "source"

    def _fetch(self) -> None:
        if not self._source.exists():
            archive = self._archive()
            with tarfile.open(archive) as tar:
                tar.extractall(self._place / "unpacked", filter="data")
            (top,) = (self._place / "unpacked").iterdir()
            self._pip("install", "pytest", str(archive), *self._package.requires)
            top.rename(self._source)
        for directory in self._package.copy:
            shutil.copytree(self._source / directory, self._work / directory, dirs_exist_ok=True)

    def _archive(self) -> Path:
        fetched = self._place / "sdist"
        if not any(fetched.glob("*.tar.gz")):
            name = self._package.name
            if self._package.archive:
                self._download(self._package.archive, fetched)
            else:
                wanted = f"{name}=={self.version}"
                self._pip("download", "--no-deps", "--no-binary", name, "--dest", str(fetched), wanted)
        (archive,) = fetched.glob("*.tar.gz")
        return archive

    def _download(self, address: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        partial = directory / "partial"
        try:
            with urllib.request.urlopen(address, timeout=60) as answer, partial.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except OSError as error:
            print(f"{address} cannot be fetched: {error}; {directory} may hold it", file=sys.stderr)
            raise SystemExit(UNREACHED) from None
        partial.rename(directory / f"{self.name}-{self.version}.tar.gz")

    def _program(self, label: str, report: Path) -> list[str]:
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", f"--junitxml={report}"]
        return ["-m", "pytest", *options, *self._package.arguments]

    def _variables(self) -> dict[str, str]:
        return {name: value.format(source=self._source) for name, value in self._package.environment.items()}


class StandardSuite(Suite):
    """CPython's tests of one module of the standard library, of the Python that runs this."""

    def __init__(self, module: str, cache: Path, timeout: float, *, remote: bool) -> None:
        super().__init__(f"stdlib:{module}", cache / "stdlib", timeout)
        self.version, self.weave, self.remote = platform.python_version(), f"stdlib:{module}", remote
        self._module = module

    def _fetch(self) -> None:
        """The tests come with the Python. Many distributions leave them out."""
        if subprocess.run(
            [self._bin / "python", "-c", "import test.support"], capture_output=True
        ).returncode:
            print(f"{self.name}: {sys.executable} came without its tests (package test)", file=sys.stderr)
            raise SystemExit(UNREACHED)

    def _program(self, label: str, report: Path) -> list[str]:
        woven = [] if label == "plain" else ["woven"]
        return [str(HERE / "standard.py"), self._module, f"test.test_{self._module}", str(report), *woven]


def read(report: Path) -> Outcomes:
    """The outcomes in a JUnit file."""
    outcomes: Outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = {"failure": "failed"}.get(ends[0], ends[0]) if ends else "passed"
        outcomes.setdefault(name, Counter())[outcome] += 1
    return outcomes


def passed(outcomes: Outcomes) -> int:
    """How many tests passed."""
    return sum(outcome["passed"] for outcome in outcomes.values())


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 1800.0,
    log: Path | None = None,
) -> None:
    """Run a command in a process group of its own; installing must succeed, a suite need not."""
    out: Any = subprocess.PIPE if log is None else log.open("w")
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=timeout)
    except BaseException:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.communicate()
        raise
    finally:
        if log is not None:
            out.close()
    if log is None and process.returncode:
        print(f"{' '.join(argv)} failed:\n{text.decode(errors='replace')[-2000:]}", file=sys.stderr)
        raise SystemExit(UNREACHED)
