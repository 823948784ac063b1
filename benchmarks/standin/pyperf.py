"""Stands in for pyperf beside a benchmark's script: runs it in turns, whenever the parent process says so.

The parent writes a line: a number of loops, or ``next`` for the script's next benchmark. It gets a line back: seconds of the
clock, then CPU seconds since the turn before ended, those of other threads included.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

_answers = os.fdopen(os.dup(1), "w")
sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the program runs

__all__ = ["Runner", "perf_counter"]


class Runner:
    """The part of `pyperf.Runner` that pure-Python benchmarks use."""

    def __init__(self, add_cmdline_args: object = None, **_settings: object) -> None:
        self.argparser = argparse.ArgumentParser()
        self.metadata: dict[str, object] = {}

    def parse_args(self, args: Sequence[str] | None = None) -> argparse.Namespace:
        return self.argparser.parse_args(args)

    def bench_func(self, name: str, func: Callable[..., Any], *args: Any, inner_loops: int = 1) -> None:
        def run(loops: int) -> float:
            start = perf_counter()
            for _ in range(loops):
                func(*args)
            return perf_counter() - start

        _serve(name, run)

    def bench_time_func(
        self, name: str, func: Callable[..., float], *args: Any, inner_loops: int = 1
    ) -> None:
        _serve(name, lambda loops: func(loops, *args))


def _serve(name: str, run: Callable[[int], float]) -> None:
    print(name, file=_answers, flush=True)
    spent = time.process_time()
    for line in sys.stdin:
        if line == "next\n":
            return
        seconds = run(int(line))
        now = time.process_time()
        print(seconds, now - spent, file=_answers, flush=True)
        spent = now
    raise SystemExit
