"""A program that works with arrays says the same under python and when each of its calls that may leave does."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Home

pytest.importorskip("numpy", reason="NumPy is not installed")

PROGRAM = r"""
import hashlib, warnings
import numpy as np

SCALE = np.linspace(1, 2, 5)

def root(a): return np.sqrt(np.abs(a))
def mixed(a, b): return a * 2.5 - b / 3 + a ** 2
def product(a, b): return a @ b.T
def total(a): return a.sum(axis=0), a.mean(), a.std(ddof=1)
def scaled(a): return SCALE * a
def turned(a): return np.ascontiguousarray(a.T) + 1
def fortran(a): return np.asfortranarray(a) * 2
def where(a): return np.where(a > 2, a, -a), np.flatnonzero(a > 2)
def ordered(a): return np.sort(a, axis=None), np.argsort(a.ravel())
def fitted(x): return np.polyfit(x, x ** 2, 2)
def solved(a): return np.linalg.solve(a, np.ones(len(a))), np.linalg.det(a)
def transformed(a): return np.fft.rfft(a.ravel())
def drawn(seed): return np.random.default_rng(seed).normal(size=7)
def joined(a, b): return np.concatenate([a, b]), np.stack([a, b], axis=-1)
def counted(a): return np.unique(a.astype(np.int64), return_counts=True)
def told(a): return f"{a} {a.dtype} {a.shape} {a.mean():.4f}"
def listed(a): return a.tolist()
def filled(n):
    out = np.zeros((n, n), dtype=np.float32)
    for i in range(n):
        out[i] = np.arange(n) * i
    return out
def same(a): return a
def small(x): return x * np.float32(2)
def view(a): return a[1:]
def writes(a): a[0] = 7; return a.sum()
def divides(a): return a / (a - a)
def large(n): return np.arange(n, dtype=np.float64) * 2
def looked(a): return float(a[::512].sum())
def mandelbrot(w, h, n):
    c = np.linspace(-2, 1, w)[np.newaxis, :] + 1j * np.linspace(-1, 1, h)[:, np.newaxis]
    z = np.zeros_like(c)
    counts = np.zeros(c.shape, dtype=np.int32)
    for _ in range(n):
        mask = np.abs(z) <= 2
        z[mask] = z[mask] ** 2 + c[mask]
        counts[mask] += 1
    return counts

def tell(value):
    if isinstance(value, (tuple, list)):
        return type(value).__name__, *map(tell, value)
    if type(value) is np.ndarray:
        flags = value.flags
        data = hashlib.sha256(value.tobytes("A")).hexdigest()[:12]
        return data, value.dtype.str, value.shape, value.strides, flags.writeable, flags.fnc
    return repr(value), type(value).__name__

np.random.default_rng(0)
GRID = np.random.default_rng(1).normal(size=(4, 5))
LINE = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
SQUARE = GRID[:, :4] @ GRID[:, :4].T
FROZEN = LINE * 2
FROZEN.flags.writeable = False
for again in range(2):
    for call in (
        (root, GRID), (mixed, GRID, GRID + 1), (product, GRID, GRID), (total, GRID), (scaled, LINE), (turned, GRID),
        (turned, np.asfortranarray(GRID)), (fortran, GRID), (where, GRID), (ordered, GRID), (fitted, LINE), (solved, SQUARE),
        (transformed, GRID), (drawn, 5), (joined, GRID, GRID), (counted, GRID * 3), (told, LINE), (listed, GRID), (filled, 6),
        (same, GRID), (same, FROZEN), (small, np.float64(3)), (view, GRID), (writes, LINE.copy()), (large, 100_000),
        (looked, large(300_000)), (mandelbrot, 12, 9, 20), (root, GRID[:, ::2]), (root, np.ma.array([1.0, 4.0])),
    ):
        function, *args = call
        result = function(*args)
        print(function.__name__, *tell(result), result is args[0])
        if function is large:
            result[0] = 5
            print(result[0], result[:3])
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    print(divides(LINE), len(seen), seen[0].category.__name__)
with np.errstate(all="ignore"):
    print(divides(LINE), len(seen))
with np.errstate(all="raise"):
    try:
        divides(LINE)
    except FloatingPointError as error:
        print("raises", error)
with np.printoptions(precision=2):
    print(told(GRID[0]))
SCALE[0] = 100
print(scaled(LINE))
"""

STAY = {"view", "divides", "scaled"}
"""These may not leave: they give back the memory of an argument; or they warn. And a script's array of its own is
not made in a worker, which runs its definitions only."""


def test_arrays_there_and_back(home: Home) -> None:
    (home.path / "program.py").write_text(PROGRAM)
    plain = home.python("program.py")
    assert plain.returncode == 0, plain.stderr
    woven = home.bee("exec", "--policy", "chaos:1.0:7", "--decisions", "d.jsonl", "program.py")
    assert woven.returncode == 0, woven.stderr
    assert woven.stdout == plain.stdout
    records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
    shipped = {re.sub(r".*[:.]", "", one["function"]) for one in records if one["where"] != "here"}
    functions = set(re.findall(r"(?m)^def (\w+)", PROGRAM)) - {"tell"}
    assert functions - shipped == STAY
    assert not shipped & STAY


def test_numpy_is_not_imported_for_a_program_without_it(home: Home) -> None:
    (home.path / "program.py").write_text(
        "import sys\ndef f(x):\n    return x + 1\nprint(f(1), 'numpy' in sys.modules)\n"
    )
    found = home.bee("exec", "--policy", "chaos:1.0:1", "program.py")
    assert found.stdout == "2 False\n", found.stderr
