"""A program, above all a test of one, may replace clocks and `open`. Ours go on, and take nobody's turn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Home

PROGRAM = """
import builtins, datetime, sys, threading, time
import counted

asked = set()

def stand_in(real):
    def fake(*args, **kwargs):
        caller = sys._getframe(1)
        asked.add((threading.current_thread().name, caller.f_globals.get("__name__"), caller.f_code.co_name))
        return real(*args, **kwargs)
    return fake

counted.row(1)
names = "time monotonic perf_counter thread_time process_time sleep time_ns monotonic_ns perf_counter_ns".split()
fakes = {id(real := getattr(time, name)): (real, stand_in(real)) for name in names}
for module in list(sys.modules.values()):
    if (getattr(module, "__name__", None) or "").partition(".")[0] in ("time", "bundlebee", "__main__"):
        for name, value in list(vars(module).items()):
            if id(value) in fakes and fakes[id(value)][0] is value:
                setattr(module, name, fakes[id(value)][1])
builtins.open = stand_in(open)

print(sum(counted.row(n) for n in range(50)))
print(sum([counted.row(n) for n in range(2000)]))
print(counted.slow(200_000))
end = time.monotonic() + 2.2  # the load is sampled meanwhile
while time.monotonic() < end:
    counted.row(3)
asked.discard(("MainThread", "__main__", "<module>"))
print(sorted(asked))
"""

BUNDLE = """
def row(n):
    return sum(i * n for i in range(100))

def slow(n):
    return sum(row(i) for i in range(n // 100))
"""


@pytest.mark.parametrize("policy", ["auto", "local", "remote", "chaos:0.5:1"])
def test_nothing_of_ours_asks_the_programs_clocks(home: Home, policy: str) -> None:
    place = home.path / "bundles" / "counted"
    place.mkdir(parents=True, exist_ok=True)
    (place / "__init__.py").write_text(BUNDLE)
    (home.path / "program.py").write_text(PROGRAM)
    ran = home.bee("exec", "--policy", policy, "--decisions", "d.jsonl", "program.py")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"
    assert all(json.loads(line)["time"] for line in (home.path / "d.jsonl").read_text().splitlines())
