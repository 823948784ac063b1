"""Other people's test suites, plain and woven: does one test end differently?

    python tests/conformance/run.py [PACKAGE ...] [--policy P ...] [--cache DIR] [--write FILE] [--timeout S]

For each package of packages.toml: its source distribution is fetched from PyPI and installed, with this checkout,
into a virtual environment of its own; then its suite runs under plain python twice, and under `bundlebee exec --weave`
with each policy. Tests that differ between the two plain runs say nothing, and are counted as unsteady. Exit code 1 where a
test differs, 3 where a package could not be fetched.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import venv
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
POLICIES = ("local", "chaos:0.02:1", "chaos:0.02:2", "chaos:0.02:3")

UNREACHED = 3  # exit code: a package could not be fetched or installed, so nothing was compared

Outcomes = dict[str, Counter[str]]
"""Test id → how often it ended how (``passed``, ``failed``, ``error``, ``skipped``)."""


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


@dataclass
class Result:
    """One suite under one policy."""

    package: Package
    policy: str
    tests: int
    passed_plain: int
    passed: int
    shipped: int  #: calls that ran in another process
    differences: list[str]
    unsteady: int
    seconds_plain: float
    seconds: float


class Suite:
    """A package's suite, ready to run."""

    def __init__(self, package: Package, place: Path, timeout: float) -> None:
        self.package = package
        self._place = place
        self._timeout = timeout
        self._bin = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self._source = place / "source"
        self._work = place / "work"

    def prepare(self) -> None:
        """Fetch and install what is not there yet; this checkout is installed anew each time."""
        name, version = self.package.name, self.package.version
        self._work.mkdir(parents=True, exist_ok=True)
        if not self._bin.exists():
            venv.create(self._place / "venv", with_pip=True)
        pip = [str(self._bin / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        if not self._source.exists():
            fetched = self._place / "sdist"
            wanted = f"{name}=={version}"
            _run([*pip, "download", "--no-deps", "--no-binary", name, "--dest", str(fetched), wanted])
            (archive,) = fetched.glob("*.tar.gz")
            with tarfile.open(archive) as tar:
                tar.extractall(self._place / "unpacked", filter="data")
            (top,) = (self._place / "unpacked").iterdir()
            _run([*pip, "install", "pytest", str(archive), *self.package.requires])
            top.rename(self._source)
        for directory in self.package.copy:
            _copy(self._source / directory, self._work / directory)
        _run([*pip, "install", "--upgrade", "--force-reinstall", "--no-deps", str(ROOT)])
        _run([*pip, "install", str(ROOT)])

    def plain(self) -> tuple[Outcomes, float]:
        """Run it under plain python."""
        return self._pytest("plain", [str(self._bin / "python")])

    def woven(self, policy: str) -> tuple[Outcomes, float, int]:
        """Run it under that policy; there is no node, so calls go to this machine's own cores. Also how many did."""
        decisions = self._place / "decisions.jsonl"
        decisions.unlink(missing_ok=True)
        command = [str(self._bin / "bundlebee"), "exec", "--weave", self.package.name, "--policy", policy]
        outcomes, seconds = self._pytest(policy.replace(":", "_"), [*command, "--decisions", str(decisions)])
        with decisions.open() as lines:
            shipped = sum(json.loads(line)["where"] != "here" for line in lines)
        return outcomes, seconds, shipped

    def _pytest(self, label: str, command: list[str]) -> tuple[Outcomes, float]:
        report, log = self._place / f"{label}.xml", self._place / f"{label}.log"
        report.unlink(missing_ok=True)
        options = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly", f"--junitxml={report}"]
        start = time.monotonic()
        _run(
            [*command, "-m", "pytest", *options, *self.package.arguments],
            cwd=self._work,
            env=self._environment(),
            timeout=self._timeout,
            log=log,
        )
        seconds = time.monotonic() - start
        if not report.exists():
            raise SystemExit(f"{self.package.name} under {label}: no report; see {log}")
        outcomes = read(report)
        if label == "plain" and not _passed(outcomes):
            raise SystemExit(f"{self.package.name}: not one test passes under plain python; see {log}")
        return outcomes, seconds

    def _environment(self) -> dict[str, str]:
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("BUNDLEBEE_", "XDG_", "PYTHON", "PYTEST"))
        }
        own = {name: value.format(source=self._source) for name, value in self.package.environment.items()}
        home = self._place / "home"
        home.mkdir(exist_ok=True)
        # one seed for both, so that what depends on the order of sets is the same
        return {**kept, **own, "HOME": str(home), "BUNDLEBEE_INTERFACE": "lo", "PYTHONHASHSEED": "0"}


def read(report: Path) -> Outcomes:
    """The outcomes in a JUnit file of pytest."""
    outcomes: Outcomes = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        ends = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = {"failure": "failed"}.get(ends[0], ends[0]) if ends else "passed"
        outcomes.setdefault(name, Counter())[outcome] += 1
    return outcomes


def compare(plain: Sequence[Outcomes], woven: Outcomes) -> tuple[list[str], int]:
    """The tests that end differently, and the number of those that already differ between plain runs."""
    first = plain[0]
    unsteady = {
        name
        for other in plain[1:]
        for name in first.keys() | other.keys()
        if first.get(name) != other.get(name)
    }
    differences = [
        f"{name}: {_text(first.get(name))} plain, {_text(woven.get(name))} woven"
        for name in sorted(first.keys() | woven.keys())
        if name not in unsteady and first.get(name) != woven.get(name)
    ]
    return differences, len(unsteady)


def _text(outcome: Counter[str] | None) -> str:
    return (
        "missing"
        if outcome is None
        else " and ".join(f"{n} {end}" if n > 1 else end for end, n in outcome.items())
    )


def _passed(outcomes: Outcomes) -> int:
    return sum(outcome["passed"] for outcome in outcomes.values())


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target, dirs_exist_ok=True)


def _run(
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


def table(results: Sequence[Result]) -> str:
    """Markdown: a row for each suite and policy, then each difference by name."""
    lines = [
        "| package | policy | tests | passed plain | passed woven | shipped calls | differences | unsteady | plain | woven |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        lines.append(
            f"| {r.package.name} {r.package.version} | {r.policy} | {r.tests} | {r.passed_plain} | {r.passed} | {r.shipped} "
            f"| {len(r.differences)} | {r.unsteady} | {r.seconds_plain:.0f} s | {r.seconds:.0f} s |"
        )
    differing = [(r, one) for r in results for one in r.differences]
    if differing:
        lines += ["", *(f"- {r.package.name}, {r.policy}: {one}" for r, one in differing)]
    return "\n".join(lines) + "\n"


def packages() -> dict[str, Package]:
    """The entries of packages.toml by name."""
    entries = tomllib.loads((HERE / "packages.toml").read_text())
    return {name: Package(name, **entry) for name, entry in entries.items()}


def main() -> int:
    known = packages()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", nargs="*", choices=[[], *known], metavar="PACKAGE", help="default: all")
    parser.add_argument(
        "--policy", action="append", help=f"default: {', '.join(POLICIES)}; remote where time allows"
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "bundlebee-conformance")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table to this file, too")
    parser.add_argument(
        "--timeout", type=float, default=1800.0, help="seconds for one run of a suite (default 1800)"
    )
    options = parser.parse_args()
    results: list[Result] = []
    for name in options.package or known:
        package = known[name]
        suite = Suite(package, options.cache.absolute() / name, options.timeout)
        suite.prepare()
        first, seconds_plain = suite.plain()
        plain = [first, suite.plain()[0]]
        for policy in options.policy or [*POLICIES, *(["remote"] if package.remote else [])]:
            woven, seconds, shipped = suite.woven(policy)
            differences, unsteady = compare(plain, woven)
            tests = sum(outcome.total() for outcome in first.values())
            result = Result(
                package,
                policy,
                tests,
                _passed(first),
                _passed(woven),
                shipped,
                differences,
                unsteady,
                seconds_plain,
                seconds,
            )
            results.append(result)
            print(table([result]).partition("---:|\n")[2], end="", flush=True)
    text = table(results)
    print("\n" + text, end="")
    if options.write is not None:
        machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs"
        intro = (
            "# Conformance\n\nOther people's test suites, plain and woven: `python tests/conformance/run.py` "
            f"({machine}).\n*Unsteady* tests already differ between two plain runs.\n\n"
        )
        options.write.write_text(intro + text, encoding="utf-8")
    return 1 if any(result.differences for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
