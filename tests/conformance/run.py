"""Other people's test suites, plain and woven: does one test end differently?

    python tests/conformance/run.py [PACKAGE ...] [--policy P ...] [--cache DIR] [--write FILE] [--timeout S]

For each package of packages.toml: its source distribution is fetched from PyPI and installed, with this checkout,
into a virtual environment of its own; then its suite runs under plain python twice, and under `bundlebee exec --weave`
with each policy. ``stdlib:NAME`` is a module of the standard library under CPython's own tests. Tests that differ
between the two plain runs say nothing, and are counted as unsteady. Exit code 1 where a test differs, 3 where a package
could not be fetched.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suites import HERE, Outcomes, Package, PackageSuite, StandardSuite, Suite, passed

POLICIES = ("local", "chaos:0.02:1", "chaos:0.02:2", "chaos:0.02:3")

BEGIN, END = "<!-- suites -->", "<!-- /suites -->"
"""Between these, `--write` replaces what a file holds."""


@dataclass
class Result:
    """One suite under one policy."""

    name: str
    version: str
    policy: str
    tests: int
    passed_plain: int
    passed: int
    shipped: int  #: calls that ran in another process
    differences: list[str]
    unsteady: int
    seconds_plain: float
    seconds: float


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


def table(results: Sequence[Result]) -> str:
    """Markdown: a row for each suite and policy, then each difference by name."""
    lines = [
        "| package | policy | tests | passed plain | passed woven | shipped calls | differences | unsteady | plain | woven |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        lines.append(
            f"| {r.name} {r.version} | {r.policy} | {r.tests} | {r.passed_plain} | {r.passed} | {r.shipped} "
            f"| {len(r.differences)} | {r.unsteady} | {r.seconds_plain:.0f} s | {r.seconds:.0f} s |"
        )
    differing = [(r, one) for r in results for one in r.differences]
    if differing:
        lines += ["", *(f"- {r.name}, {r.policy}: {one}" for r, one in differing)]
    return "\n".join(lines) + "\n"


def measure(suite: Suite, policies: Sequence[str]) -> list[Result]:
    """Run one suite, plain and under each policy."""
    suite.prepare()
    first, seconds_plain = suite.plain()
    plain = [first, suite.plain()[0]]
    results = []
    for policy in policies:
        woven, seconds, shipped = suite.woven(policy)
        differences, unsteady = compare(plain, woven)
        result = Result(
            suite.name,
            suite.version,
            policy,
            sum(outcome.total() for outcome in first.values()),
            passed(first),
            passed(woven),
            shipped,
            differences,
            unsteady,
            seconds_plain,
            seconds,
        )
        results.append(result)
        print(table([result]).partition("---:|\n")[2], end="", flush=True)
    return results


def write(file: Path, text: str) -> None:
    """Put the table into a file, in the place of the one that it holds."""
    before = file.read_text(encoding="utf-8") if file.exists() else f"# Conformance\n\n{BEGIN}\n{END}\n"
    head, _, rest = before.partition(BEGIN)
    file.write_text(f"{head}{BEGIN}\n{text}{END}{rest.partition(END)[2]}", encoding="utf-8")


def suites(cache: Path, timeout: float) -> dict[str, Suite]:
    """All there are, by name."""
    entries = tomllib.loads((HERE / "packages.toml").read_text())
    standard = entries.pop("stdlib")
    packages = [Package(name, **entry) for name, entry in entries.items()]
    known: list[Suite] = [PackageSuite(package, cache, timeout) for package in packages]
    for module in standard["modules"]:
        known.append(StandardSuite(module, cache, timeout, remote=module in standard["remote"]))
    return {suite.name: suite for suite in known}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("package", nargs="*", metavar="PACKAGE", help="default: all")
    parser.add_argument(
        "--policy", action="append", help=f"default: {', '.join(POLICIES)}; remote where time allows"
    )
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "bundlebee-conformance")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the table into this file, in the place of the old one"
    )
    parser.add_argument(
        "--timeout", type=float, default=1800.0, help="seconds for one run of a suite (default 1800)"
    )
    options = parser.parse_args()
    known = suites(options.cache.absolute(), options.timeout)
    unknown = [name for name in options.package if name not in known]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(known)}")
    results: list[Result] = []
    for name in options.package or known:
        suite = known[name]
        results += measure(suite, options.policy or [*POLICIES, *(["remote"] if suite.remote else [])])
    text = table(results)
    print("\n" + text, end="")
    if options.write is not None:
        machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs"
        write(options.write, f"`python tests/conformance/run.py` ({machine}):\n\n{text}")
    return 1 if any(result.differences for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
