"""Kinds of harm: each clause of the analysis has one."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import bundlebee.bundles
from bundlebee.bundles.reasons import OTHER, kind_of

HOME = Path(bundlebee.bundles.__file__).parent


def clauses() -> Iterator[str]:
    """Every clause that is written into the analysis, with a stand-in for what it names."""
    for path in sorted(HOME.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                first = node.args[0]
                if name == "Harm":
                    yield from texts(first)
                elif name == "emit" and isinstance(first, ast.Constant) and first.value == "bad":
                    yield from texts(node.args[2])


def texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        if parts[0] is not None:  # else what happens is a parameter, see LED
            yield "".join("x" if part is None else part for part in parts)


LED = {
    *("returns x itself", "raises x itself", "returns a generator", "raises a function that it makes"),
    *("returns what the cache of f holds", "writes x", "writes a method", "writes attribute 'a' of x"),
    *("leaves in an argument x itself", "leaves in an argument a generator", "writes its argument x, a set"),
    *("may write (by an operator in place) x", "calls what the cache of f holds, whatever that may be"),
}


def test_each_clause_of_the_analysis_has_a_kind() -> None:
    said = set(clauses())
    assert len(said) > 70
    assert {text for text in said | LED if kind_of(text) == OTHER} == set()


def test_each_reason_of_the_catalogue_has_a_kind() -> None:
    data = tomllib.loads((HOME / "catalogue.toml").read_text())
    reasons = {*data["unsafe"], *data["unsafe-types"]}
    assert len(reasons) > 15
    assert {reason for reason in reasons if kind_of(f"{reason} (x.y)") == OTHER} == set()


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("is a generator", "generator"),
        ("returns a generator", "generator"),
        ("is an asynchronous generator", "generator"),
        ("returns a coroutine", "coroutine"),
        ("writes its argument 'rows', and other tasks may look at it first", "seen by other tasks"),
        ("waits for the event loop (asyncio.tasks.sleep)", "event loop"),
        ("calls fetch, a coroutine", "coroutine"),
        ("looks at its caller's frame", "looks at its caller's frame"),
        ("is called by the machinery of pickling and attribute access", "called by Python itself"),
        ("is compiled by its decorator njit", "compiled by a decorator"),
        ("writes its argument 'rows'", "writes an argument"),
        ("writes attribute 'total' of its argument 'self'", "writes an argument"),
        ("may write (by an operator in place) its argument 'n'", "writes an argument"),
        ("writes module global 'seen'", "writes module state"),
        ("writes attribute 'x' of CONFIG", "writes module state"),
        ("writes SEEN", "writes module state"),
        ("writes class attribute Counter.made", "writes module state"),
        ("may fill TABLE, a defaultdict", "writes module state"),
        ("opens a local file (io.open)", "I/O"),
        ("uses an open file (LOG.write)", "I/O"),
        ("logs (log.info)", "I/O"),
        ("uses the global random generator (random.random)", "randomness"),
        ("reads the clock (time.time)", "clock"),
        ("calls numpy.dot, of which nothing is known", "unknown call"),
        ("calls its argument 'key', whatever that may be", "calls its argument"),
        ("fills the cache of fib under an object that may change", "cache"),
        ("compares identities, which copies do not keep", "identity"),
        ("returns TABLE itself", "identity"),
        ("uses Row.__class_getitem__, a classmethod", "class not analysable"),
        ("makes a Sealed, whose metaclass is Meta", "class not analysable"),
        ("calls handler, a lib.Signal", "class not analysable"),
        ("a lib.Row cannot travel: it has its own __reduce__", "object cannot travel"),
        ("lib.TABLE cannot be compared with the worker's", "state cannot be compared"),
    ],
)
def test_kinds(what: str, kind: str) -> None:
    assert kind_of(what) == kind
