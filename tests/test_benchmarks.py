"""The benchmarks that need nothing but this machine still run; what they measure in so short a time says nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize(
    ("arguments", "needs", "figures"),
    [
        (["arrays.py"], "numpy", ["shipped, same host", "shipped, through the socket", "null + digest"]),
        (
            ["calls.py", "--peers", "none", "--sections", "null,tasks,node"],
            None,
            ["null call: bundlebee", "a loop that spreads", "Executor.map", "memory idle"],
        ),
    ],
    ids=["arrays", "calls"],
)
def test_a_quick_run(arguments: list[str], needs: str | None, figures: list[str], tmp_path: Path) -> None:
    if needs is not None:
        pytest.importorskip(needs)
    run = subprocess.run(
        [sys.executable, str(BENCHMARKS / arguments[0]), *arguments[1:], "--quick"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert [figure for figure in figures if figure not in run.stdout] == []
