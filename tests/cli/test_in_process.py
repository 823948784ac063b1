"""`bundlebee exec --transport in-process`: what is shipped runs in threads of the program, and the program ends as under python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BUNDLE = """
def inner(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    return total

def work(n):
    print("work", n)
    return inner(n) + inner(n)

def grow(values, n):
    values.append(inner(n))
    return len(values)

def rows(k, n):
    return [inner(n + i) for i in range(k)]

def fail(n):
    inner(n)
    raise ValueError(n)
"""

PROGRAM = """
import heavy, sys, threading
values = []
print([heavy.work(2000 + i) for i in range(4)])
print(heavy.grow(values, 1000), values)
print(sum(heavy.rows(40, 3000)))

def mine(x):
    return heavy.inner(x) + 1

print(mine(3000), file=sys.stderr)
try:
    heavy.fail(100)
except ValueError as error:
    print(repr(error), error.__traceback__.tb_next.tb_lineno)
"""


@pytest.mark.parametrize("policy", ["remote", "chaos:0.5:3"])
def test_a_program_ends_as_under_python(tmp_path: Path, policy: str) -> None:
    bundles = tmp_path / "bundles"
    (bundles / "heavy").mkdir(parents=True)
    (bundles / "heavy" / "__init__.py").write_text(BUNDLE)
    script = tmp_path / "main.py"
    script.write_text(PROGRAM)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("BUNDLEBEE_", "XDG_"))
    }
    environment |= {"HOME": str(tmp_path), "BUNDLEBEE_INTERFACE": "127.0.0.1"}
    plain = subprocess.run(
        [sys.executable, script],
        env=environment | {"PYTHONPATH": str(bundles)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    records = tmp_path / "decisions.jsonl"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bundlebee", "exec", "--transport", "in-process", "--bundles", bundles),
            *("--policy", policy, "--decisions", records, script),
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)
    decisions = [json.loads(line) for line in records.read_text().splitlines()]
    there = [one["function"] for one in decisions if one["where"] == "own-cores"]
    assert "heavy:inner" in there
    if policy == "remote":
        assert "heavy:work" in there
        # what a shipped call calls is not shipped on: there are the loop's 40, and two of each call that was busy or stayed
        stayed = [one for one in decisions if one["where"] == "here" and one["function"] != "heavy:inner"]
        shipped = sum(one["count"] for one in decisions if one["function"] == "heavy:inner")
        assert 40 <= shipped <= 40 + 2 * len(stayed)


def test_an_unknown_transport_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bundlebee", "exec", "--transport", "pigeon", "-c", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and "pigeon" in done.stderr and "in-process" in done.stderr
