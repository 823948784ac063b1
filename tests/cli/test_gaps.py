"""Programs with calls of which nothing is known ahead: they say the same under python and under `bundlebee exec`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Home

NODES = """
import sys, traceback
LOG = []
FACTOR = 2
SETTINGS = {"width": 80}
class Node:
    kind = "node"
    def __init__(self, *parts):
        self.parts = list(parts)
    def visit(self, name, *args, **named):
        return getattr(self, "visit_" + name)(*args, **named)
    def visit_sum(self): return [sum(self.parts) * FACTOR]
    def visit_self(self): return self
    def visit_grow(self, x):
        self.parts.append(x)
        return self.parts
    def visit_keep(self): LOG.append(self.parts)
    def visit_settings(self): return SETTINGS
    def visit_say(self):
        print("saying")
        return 1
    def visit_deep(self, n): return 0 if n == 0 else 1 + self.visit("deep", n - 1)
    def visit_file(self): return open(__file__).readline()
    def visit_fail(self): raise KeyError(self.parts[0])
    def visit_many(self): yield from self.parts
def field(thing, name, *default): return getattr(thing, name, *default)
def put(thing, name, value): setattr(thing, name, value)
"""

PROGRAMS = {
    "visitors": """
n = Node(1, 2)
parts = n.parts
print(n.visit("sum"), n.visit("self") is n, n.visit("deep", 20))
print(n.visit("grow", 5) is parts, parts, n.visit("say"))
for name in ("qqqqqqqqqqqqqqqq", "fail"):
    try:
        n.visit(name)
    except LookupError as error:
        traceback.print_exc()
    except AttributeError as error:
        traceback.print_exc()
""",
    "state of the module is not touched from afar": """
n = Node(1)
n.visit("keep")
print(LOG, LOG[0] is n.parts)
n.visit("settings")["width"] = 5
print(SETTINGS, n.visit("sum"))
""",
    "a global that only the visitor reads": """
n = Node(1)
print(n.visit("sum"))
FACTOR = 5
print(n.visit("sum"))
FACTOR = 6
print(n.visit("sum"))
""",
    "a method that was put there": """
n = Node(1)
print(n.visit("sum"))
Node.visit_sum = lambda self: "another"
print(n.visit("sum"))
n.visit_sum = lambda: "its own"
print(n.visit("sum"))
""",
    "files and generators": """
n = Node(1, 2)
print(n.visit("file") == open(__file__).readline(), list(n.visit("many")))
""",
    "fields": """
n = Node([1])
print(field(n, "parts") is n.parts, field(n, "kind"), field(n, "none", 7), field(5, "real"), field([], "x", None))
put(n, "more", n.parts)
print(n.more is n.parts, vars(n))
put(n, "visit_sum", 3)
print(n.visit_sum, field(n, "visit_say")())
""",
}


@pytest.mark.parametrize(
    ("name", "policy"), [*((name, "remote") for name in PROGRAMS), ("visitors", "chaos:1.0")]
)
def test_it_says_the_same(home: Home, name: str, policy: str) -> None:
    (home.path / "program.py").write_text(NODES + PROGRAMS[name])
    plain = home.python("program.py")
    assert plain.returncode == 0, plain.stderr
    woven = home.bee("exec", "-q", "--policy", policy, "--decisions", "told.jsonl", "program.py")
    assert (woven.returncode, woven.stdout, woven.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    told = [json.loads(line) for line in (home.path / "told.jsonl").read_text().splitlines()]
    ours = [one for one in told if one["function"] in ("__main__:Node.visit", "__main__:field")]
    assert any(one["where"] != "here" or one["why"] == "guard" for one in ours), told


def test_a_function_that_was_stopped_stays_and_the_log_says_why(home: Home) -> None:
    (home.path / "program.py").write_text(
        NODES + 'n = Node(1)\nn.visit("sum")\nn.visit("keep")\nn.visit("sum")\nprint(LOG)\n'
    )
    done = home.bee("exec", "-v", "--policy", "remote", "--decisions", "told.jsonl", "program.py")
    assert (done.returncode, done.stdout) == (0, "[[1]]\n")
    told = [json.loads(line) for line in (home.path / "told.jsonl").read_text().splitlines()]
    visits = [one for one in told if one["function"] == "__main__:Node.visit"]
    assert [one["why"] for one in visits] == ["forced", "guard"]  # then it is not asked about any more
    assert "writes module global 'LOG'" in visits[1]["detail"]
    assert "program.py:" in visits[1]["detail"]
    said = [line for line in done.stderr.splitlines() if "Node.visit " in line and "'LOG'" in line]
    assert len(said) == 1, done.stderr


def test_in_process_it_stays(home: Home) -> None:
    (home.path / "program.py").write_text(NODES + 'print(Node(1).visit("sum"))\n')
    done = home.bee(
        "exec",
        "-q",
        "--transport",
        "in-process",
        "--policy",
        "remote",
        "--decisions",
        "told.jsonl",
        "program.py",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[2]\n", "")
    told = [json.loads(line) for line in (home.path / "told.jsonl").read_text().splitlines()]
    assert [one["why"] for one in told if one["function"] == "__main__:Node.visit"] == ["effects"]


def test_a_loop_over_a_function_with_gaps_is_not_spread(home: Home) -> None:
    (home.path / "program.py").write_text(
        NODES + 'n = Node(1)\nprint([field(n, name) for name in ["kind", "kind", "parts"]])\n'
    )
    done = home.bee("exec", "-q", "--policy", "remote", "--decisions", "told.jsonl", "program.py")
    assert (done.returncode, done.stdout, done.stderr) == (0, "['node', 'node', [1]]\n", "")
    told = [json.loads(line) for line in (home.path / "told.jsonl").read_text().splitlines()]
    fields = [one for one in told if one["function"] == "__main__:field"]
    assert any("shipped one by one" in one["detail"] for one in fields), fields
    assert any(one["where"] != "here" for one in fields), fields
