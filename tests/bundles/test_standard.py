"""Modules of the standard library as bundles, where they lie."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from bundlebee.bundles.distributions import from_distribution
from bundlebee.bundles.standard import from_standard_library
from bundlebee.errors import BundleNotFound


def test_a_module_and_a_package() -> None:
    module = from_distribution("stdlib:statistics")
    assert module.ref.imports == ("statistics",)
    assert module.ref.name == "stdlib:statistics"
    assert module.source == Path(statistics.__file__)
    package = from_standard_library("json")
    assert package.ref.imports == ("json",)
    assert package.path / "json" == Path(json.__file__).parent
    assert package.ref.digest != module.ref.digest


@pytest.mark.parametrize("name", ["math", "sys", "nothing_of_that_name", "site-packages", "pytest", "."])
def test_what_has_no_source_there_is_none(name: str) -> None:
    with pytest.raises(BundleNotFound):
        from_standard_library(name)


def test_its_calls_reach_our_own_cores(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import statistics\nprint(statistics.linear_regression([1, 2, 3], [2, 3, 5]))\n")
    decisions = tmp_path / "decisions.jsonl"
    command = [sys.executable, "-m", "bundlebee", "exec", "--policy", "remote", "--decisions", str(decisions)]
    done = subprocess.run(
        [*command, "--weave", "stdlib:statistics", str(program)], capture_output=True, text=True, timeout=60
    )
    plain = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60)
    assert done.stdout == plain.stdout, done.stderr
    records = [json.loads(line) for line in decisions.read_text().splitlines()]
    assert any(r["where"] != "here" and r["function"] == "statistics:linear_regression" for r in records)
