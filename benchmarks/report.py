"""What the benchmarks share: the way to the LAN of the tests, and a report as text and as JSON.

A bound that is not met makes the benchmark exit with 1. Ratios are taken within one run of one machine;
absolute times are shown only to give them a scale.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "samples"

sys.path.insert(0, str(ROOT / "tests" / "lan"))  # lab.py and grid.py


@dataclass(frozen=True)
class Figure:
    """One measured value, with its bound if one is promised."""

    name: str
    value: float
    unit: str  #: ``x`` for a ratio, ``s`` for seconds
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None if there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        if self.at_most is not None:
            return self.value <= self.at_most
        return None


class Report:
    """Collects figures, prints each as it comes, writes JSON at the end if asked to.

    Args:
        title: what is measured.
        bounds: whether the promised bounds hold for this run.
    """

    def __init__(self, title: str, *, bounds: bool = True) -> None:
        self.title = title
        self.bounds = bounds
        self.figures: list[Figure] = []
        print(f"{title}  ({platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs)")

    def add(self, figure: Figure) -> None:
        """Take a figure and print its line."""
        if not self.bounds:
            figure = replace(figure, at_least=None, at_most=None)
        self.figures.append(figure)
        bound = ""
        if figure.at_least is not None:
            bound = f"at least {figure.at_least:g} {figure.unit}"
        elif figure.at_most is not None:
            bound = f"at most {figure.at_most:g} {figure.unit}"
        verdict = {True: "ok", False: "MISSED", None: ""}[figure.met]
        line = (
            f"  {figure.name:<52} {figure.value:8.3f} {figure.unit:<2} {bound:<17} {verdict:<6} {figure.note}"
        )
        print(line.rstrip(), flush=True)

    def say(self, text: str) -> None:
        """Print a remark."""
        print(f"  {text}", flush=True)

    def finish(self, path: Path | None) -> int:
        """Write the JSON file; return the exit code."""
        if path is not None:
            content = {
                "title": self.title,
                "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
                "platform": platform.platform(),
                "python": platform.python_version(),
                "cpus": os.cpu_count(),
                "figures": [{**asdict(figure), "met": figure.met} for figure in self.figures],
            }
            path.write_text(json.dumps(content, indent=2) + "\n")
        return 1 if any(figure.met is False for figure in self.figures) else 0


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a small size, to see that it runs; the bounds do not hold for it",
    )
    return parser
