"""Other people's test suites, plain and woven: does one test end differently?

    python tests/conformance/run.py [PACKAGE ...] [--policy P ...] [--positions] [--cache DIR] [--write FILE] [--timeout S]

For each package of packages.toml: its source distribution is fetched from PyPI and installed, with this checkout,
into a virtual environment of its own; then its suite runs under plain python twice, and under `bundlebee exec --weave`
with each policy. ``stdlib:NAME`` is a module of the standard library under CPython's own tests. Tests that differ
between the two plain runs say nothing, and are counted as unsteady. With ``--positions`` no test is run: the line
tables of all modules are compared (positions.py). Exit code 1 where something differs, 3 where a package could not be
fetched.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from suites import HERE, UNREACHED, Outcomes, Package, PackageSuite, StandardSuite, Suite, passed

POLICIES = ("local", "chaos:0.02:1", "chaos:0.02:2", "chaos:0.02:3")

BEGIN, END = "<!-- suites -->", "<!-- /suites -->"
PLACES_BEGIN, PLACES_END = "<!-- positions -->", "<!-- /positions -->"
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


HEAD = (
    "| package | policy | tests | passed plain | passed woven | shipped calls | differences | unsteady | plain | woven |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


def row(r: Result) -> str:
    """One line of the table."""
    return (
        f"| {r.name} {r.version} | {r.policy} | {r.tests} | {r.passed_plain} | {r.passed} | {r.shipped} "
        f"| {len(r.differences)} | {r.unsteady} | {r.seconds_plain:.0f} s | {r.seconds:.0f} s |\n"
    )


def named(r: Result) -> str:
    """Its differences by name, a line each."""
    return "".join(f"- {r.name}, {r.policy}: {one}\n" for one in r.differences)


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
        print(row(result) + named(result), end="", flush=True)
    return results


def write(file: Path, results: Sequence[Result], order: Sequence[str]) -> None:
    """Put the rows of these results into the table of a file, in the place of their older ones."""
    before = file.read_text(encoding="utf-8") if file.exists() else f"# Conformance\n\n{BEGIN}\n{END}\n"
    head, _, rest = before.partition(BEGIN)
    old, _, tail = rest.partition(END)
    rows: dict[tuple[str, str], str] = {}
    notes: dict[tuple[str, str], str] = {}
    for line in old.splitlines(keepends=True):
        if line.startswith("| ") and not line.startswith("| package "):
            package, policy = (cell.strip() for cell in line.split("|")[1:3])
            rows[package.partition(" ")[0], policy] = line
        elif line.startswith("- "):
            package, policy = line.removeprefix("- ").split(": ")[0].split(", ")
            notes[package, policy] = notes.get((package, policy), "") + line
    for result in results:
        rows[result.name, result.policy] = row(result)
        notes[result.name, result.policy] = named(result)
    known = sorted(
        rows, key=lambda key: (order.index(key[0]) if key[0] in order else len(order), key[1] == "remote")
    )
    text = HEAD + "".join(rows[key] for key in known)
    differing = "".join(notes.get(key, "") for key in known)
    if differing:
        text += f"\n{differing}"
    file.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{tail}", encoding="utf-8")


def places(known: Sequence[Suite], file: Path | None) -> int:
    """The table of positions; the number of modules that differ."""
    text = "| package | modules | lines | code objects | woven | loaded plain | differences |\n|---|---:|---:|---:|---:|---:|---:|\n"
    differing: list[str] = []
    for suite in known:
        suite.prepare()
        said = suite.positions()
        modules = said["same"] + said["differs"] + said["plain"]
        text += (
            f"| {suite.name} {suite.version} | {modules} | {said['lines']} | {said['code']} "
            f"| {said['same'] + said['differs']} | {said['plain']} | {len(said['differences'])} |\n"
        )
        differing += said["differences"]
    text += "".join(f"\n- {one}" for one in differing)
    print(text)
    if file is not None:
        head, _, rest = file.read_text(encoding="utf-8").partition(PLACES_BEGIN)
        tail = rest.partition(PLACES_END)[2]
        file.write_text(f"{head}{PLACES_BEGIN}\n\n{text}\n{PLACES_END}{tail}", encoding="utf-8")
    return len(differing)


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
        "--write",
        type=Path,
        metavar="FILE",
        help="put the rows into the table of this file, in the place of older ones",
    )
    parser.add_argument(
        "--timeout", type=float, default=1800.0, help="seconds for one run of a suite (default 1800)"
    )
    parser.add_argument(
        "--positions", action="store_true", help="compare the positions of all code instead of running tests"
    )
    options = parser.parse_args()
    known = suites(options.cache.absolute(), options.timeout)
    unknown = [name for name in options.package if name not in known]
    if unknown:
        parser.error(f"{unknown[0]} is none of {', '.join(known)}")
    chosen = [known[name] for name in options.package or known]
    if options.positions:
        return 1 if places(chosen, options.write) else 0
    results: list[Result] = []
    unreached = False
    print(HEAD, end="", flush=True)
    for suite in chosen:
        try:
            results += measure(suite, options.policy or [*POLICIES, *(["remote"] if suite.remote else [])])
        except SystemExit as end:
            if end.code != UNREACHED:
                raise
            unreached = True
    if options.write is not None:
        write(options.write, results, list(known))
    if any(result.differences for result in results):
        return 1
    return UNREACHED if unreached else 0


if __name__ == "__main__":
    sys.exit(main())
