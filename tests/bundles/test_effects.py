"""The effect analysis: what ships, what stays, and why. The safety of every shipped call rests on these."""

# ruff: noqa: E501
from __future__ import annotations

import io
import pickle
import re
import sys
import tomllib
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from source_modules import SourceModules

from bundlebee.bundles import catalogue as catalogue_module
from bundlebee.bundles.catalogue import Catalogue
from bundlebee.bundles.effects import Effect, Summary
from bundlebee.bundles.values import walk
from bundlebee.calls.changes import Before, restore
from bundlebee.calls.pickling import dumps_referring, loads_referring, refers

Load = Callable[..., ModuleType]
DATA = Path(catalogue_module.__file__).with_name("catalogue.toml")


class World(SourceModules):
    def ask(self, function: Any, *args: Any, **kwargs: Any) -> Summary:
        while hasattr(function, "__func__"):
            function = function.__func__
        return self.analysis.for_call(function, walk(args, kwargs))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.forget()


IMPORTS = """
import bisect, collections, functools, hashlib, heapq, itertools, json, math, operator, random, re, statistics, string
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from fractions import Fraction
from functools import cache, cached_property, lru_cache, partial, reduce, total_ordering
from typing import NamedTuple
"""

FREE = {
    "a row of the mandelbrot set": (
        """
        def f(y, width, iterations):
            line = bytearray()
            for x in range(width):
                c = complex(x / width - 2, y)
                z, n = 0j, 0
                while n < iterations and abs(z) <= 2.0:
                    z = z * z + c
                    n += 1
                line.append(min(n, 255))
                line += bytes((n % 256,))
            return bytes(line)
        """,
        (1, 3, 9),
    ),
    "queens with tuples": (
        """
        def f(n, row=0, columns=(), up=(), down=()):
            if row == n:
                return 1
            total = 0
            for c in range(n):
                if c not in columns and row + c not in up and row - c not in down:
                    total += f(n, row + 1, columns + (c,), up + (row + c,), down + (row - c,))
            return total
        """,
        (4,),
    ),
    "queens with a local board, nested functions and nonlocal": (
        """
        def f(n):
            board, found = [-1] * n, []
            count = 0
            def safe(row, column):
                return all(board[r] != column and abs(board[r] - column) != row - r for r in range(row))
            def place(row):
                nonlocal count
                if row == n:
                    count += 1
                    found.append(board[:])
                    return
                for column in range(n):
                    if safe(row, column):
                        board[row] = column
                        place(row + 1)
                        board[row] = -1
            place(0)
            return count, found
        """,
        (5,),
    ),
    "a helper that fills a list of its caller": (
        """
        def push(into, value):
            into.append(value)
        def f(n):
            out = []
            for i in range(n):
                push(out, i)
            return out
        """,
        (3,),
    ),
    "trial division": (
        """
        def f(n):
            if n < 2:
                return False
            d = 2
            while d * d <= n:
                if n % d == 0:
                    return False
                d += 1
            return True
        """,
        (97,),
    ),
    "the argument itself counted down": (
        "def f(n):\n    while n > 1:\n        n //= 2\n        n *= 1\n    return n",
        (9,),
    ),
    "miller and rabin with pow": (
        """
        def f(n, bases=(2, 3, 5, 7)):
            d, s = n - 1, 0
            while not d & 1:
                d >>= 1
                s += 1
            for a in bases:
                x = pow(a, d, n)
                if x in (1, n - 1):
                    continue
                for _ in range(s - 1):
                    x = x * x % n
                    if x == n - 1:
                        break
                else:
                    return False
            return True
        """,
        (101,),
    ),
    "words with a dictionary": (
        """
        def f(text):
            counts = {}
            for word in text.lower().split():
                counts[word] = counts.get(word, 0) + 1
            return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        """,
        ("a b a",),
    ),
    "words with a counter and a pattern": (
        """
        WORD = re.compile(r"[a-z']+")
        def f(text, most=3):
            counts = Counter()
            counts.update(WORD.findall(text.lower()))
            counts += Counter(m.group(0) for m in WORD.finditer(text))
            return counts.most_common(most), dict(counts)
        """,
        ("a b a",),
    ),
    "defaultdict and setdefault": (
        """
        def f(words):
            groups = defaultdict(list)
            other = {}
            for word in words:
                groups[len(word)].append(word)
                other.setdefault(word[0], set()).add(word)
            return dict(groups), other
        """,
        (["a", "bb"],),
    ),
    "a generator of random numbers of its own": (
        """
        def f(seed, n):
            rng = random.Random(seed)
            hits = sum(rng.random() ** 2 + rng.random() ** 2 <= 1 for _ in range(n))
            cards = list(range(52))
            rng.shuffle(cards)
            return hits, rng.choice(cards), rng.sample(cards, 3), rng.gauss(0, 1)
        """,
        (1, 2),
    ),
    "dataclasses": (
        """
        @dataclass
        class Point:
            x: float
            y: float = 0.0
            tags: list = field(default_factory=list)
            def move(self, dx):
                self.x += dx
                self.tags.append("moved")
                return self
        @dataclass(frozen=True, order=True)
        class Pair:
            a: int
            b: int
        def f(n):
            points = [Point(i).move(1) for i in range(n)]
            pairs = sorted({Pair(i, -i) for i in range(n)})
            return points, pairs, max(points, key=lambda p: p.x), str(points[0])
        """,
        (3,),
    ),
    "named tuples": (
        """
        Pair = namedtuple("Pair", "a b")
        class Triple(NamedTuple):
            a: int
            b: int
            c: int = 3
            def total(self):
                return self.a + self.b + self.c
        def f(n):
            p = Pair(n, [n])
            p.b.append(1)
            return p._replace(a=2), p.a + 1, Triple(1, 2).total(), p._asdict()
        """,
        (3,),
    ),
    "an object of a bundle's class, made and changed inside": (
        """
        class Stack:
            limit = 10
            def __init__(self):
                self.items = []
            def push(self, item):
                if len(self.items) >= self.limit:
                    raise OverflowError(item)
                self.items.append(item)
            def __len__(self):
                return len(self.items)
            def __iter__(self):
                return iter(self.items)
        class Counted(Stack):
            def __init__(self):
                super().__init__()
                self.count = 0
            def push(self, item):
                super().push(item)
                self.count += 1
        def f(n):
            stack = Counted()
            for i in range(n):
                stack.push(i)
            return len(stack), list(stack), stack.count
        """,
        (3,),
    ),
    "enums and tables of the module": (
        """
        class Colour(Enum):
            RED = 1
            GREEN = 2
            @property
            def other(self):
                return Colour.GREEN if self is Colour.RED else Colour.RED
        WEIGHTS = {Colour.RED: 0.5, Colour.GREEN: 1.5}
        PRIMES = [2, 3, 5]
        LIMIT = 100
        def f(n):
            return [c.name for c in Colour], WEIGHTS[Colour.RED] * n, Colour(1).other, sum(PRIMES), LIMIT, Colour["RED"].value
        """,
        (3,),
    ),
    "a table of functions": (
        """
        def add(a, b): return a + b
        def sub(a, b): return a - b
        OPS = {"+": add, "-": sub, "*": operator.mul, "/": lambda a, b: a / b}
        def f(op, a, b):
            return OPS[op](a, b)
        """,
        ("+", 1, 2),
    ),
    "caches of numbers": (
        """
        @lru_cache(maxsize=None)
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)
        @cache
        def square(n):
            return n * n
        def f(n):
            return fib(n) + square(n)
        """,
        (5,),
    ),
    "formatting": (
        """
        def f(a, b):
            return f"{a:>10} {b!r}" + "{:.3f} {}".format(a, b) + "%d %s" % (a, b) + str(a).zfill(4) + ",".join(map(str, range(b)))
        """,
        (1, 2),
    ),
    "itertools, functools, heapq, bisect, statistics": (
        """
        def f(xs):
            heap = []
            for x in xs:
                heapq.heappush(heap, (x, -x))
            order = [heapq.heappop(heap) for _ in range(len(heap))]
            where = sorted(xs)
            bisect.insort(where, 3)
            pairs = list(itertools.combinations(where, 2)) + [(a, b) for a, b in zip(xs, xs[1:])]
            grouped = {k: list(g) for k, g in itertools.groupby(where, key=lambda x: x % 2)}
            product = reduce(operator.mul, xs, 1)
            total = list(itertools.accumulate(xs, lambda a, b: a + b))
            return order, where, pairs, grouped, product, total, statistics.mean(xs), math.prod(xs), max(xs, default=0)
        """,
        ([3, 1, 2],),
    ),
    "json, hashes, fractions": (
        """
        def f(data, n):
            text = json.dumps(data, sort_keys=True)
            digest = hashlib.sha256(text.encode())
            digest.update(b"x")
            return json.loads(text), digest.hexdigest(), Fraction(n, 3) + Fraction(1, 2)
        """,
        ({"a": [1]}, 2),
    ),
    "a copy of an argument is changed": (
        """
        def f(xs, table, grid):
            ys = list(xs)
            ys.append(1)
            zs = xs[:]
            zs.sort()
            own = dict(table)
            own["k"] = 1
            rows = [row[:] for row in grid]
            rows[0][0] = 7
            merged = {**table, "x": 1}
            merged.pop("x")
            return ys, zs, own, rows, xs + [1], merged
        """,
        ([2, 1], {}, [[1]]),
    ),
    "a generator inside": (
        """
        def count(n):
            i = 0
            while i < n:
                yield i
                i += 1
        def chain(n):
            yield from count(n)
            yield n
        def f(n):
            return sum(chain(n)), list(count(n)), next(count(3)), {a: b for a, b in enumerate(count(n))}
        """,
        (3,),
    ),
    "exceptions": (
        """
        class Wrong(ValueError):
            def __init__(self, value):
                super().__init__(f"wrong {value}")
                self.value = value
        def f(n):
            try:
                if n > 3:
                    raise Wrong(n)
                return int("x")
            except Wrong as error:
                return error.value
            except ValueError as error:
                try:
                    return str(error)
                finally:
                    n += 1
        """,
        (3,),
    ),
    "methods that only read self": (
        """
        class Matrix:
            def __init__(self, rows):
                self.rows = rows
            @property
            def size(self):
                return len(self.rows)
            def __getitem__(self, where):
                return self.rows[where]
            def __add__(self, other):
                return Matrix([[a + b for a, b in zip(r, s)] for r, s in zip(self.rows, other.rows)])
            def __eq__(self, other):
                return isinstance(other, Matrix) and self.rows == other.rows
            def times(self, other):
                return Matrix([[sum(self.rows[i][k] * other[k][j] for k in range(self.size)) for j in range(self.size)]
                    for i in range(self.size)])
            @staticmethod
            def unit(n):
                return Matrix([[int(i == j) for j in range(n)] for i in range(n)])
            @classmethod
            def zero(cls, n):
                return cls([[0] * n for _ in range(n)])
        def f(m):
            return m.times(m) + Matrix.unit(m.size) + type(m).zero(2), m == m.unit(2)
        """,
        "(Matrix([[1, 2], [3, 4]]),)",
    ),
    "a decorated helper": (
        """
        def twice(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs) + function(*args, **kwargs)
            return wrapper
        @twice
        def g(x, y=1):
            return x * y
        def f(n):
            return g(n, y=2) + partial(g, n)(3)
        """,
        (2,),
    ),
    "operators of a class of the bundle": (
        """
        @total_ordering
        class V:
            __slots__ = ("x", "y")
            def __init__(self, x, y):
                self.x, self.y = x, y
            def __add__(self, o): return V(self.x + o.x, self.y + o.y)
            def __mul__(self, k): return V(self.x * k, self.y * k)
            __rmul__ = __mul__
            def __iadd__(self, o):
                self.x += o.x
                return self
            def __lt__(self, o): return self.x < o.x
            def __eq__(self, o): return self.x == o.x
            def __hash__(self): return hash(self.x)
            def __repr__(self): return f"V({self.x}, {self.y})"
            def __bool__(self): return self.x != 0
        def f(n):
            v = V(0, 0)
            for i in range(n):
                v += 2 * V(i, i) + V(1, 1) * 3
            return v, sorted([v, V(1, 1)]), {v: 1}, v >= V(1, 1), f"{v}" if v else ""
        """,
        (3,),
    ),
    "match": (
        """
        def f(tree):
            match tree:
                case [left, "+", right]:
                    return f(left) + f(right)
                case {"value": value, **rest}:
                    return value + len(rest)
                case int(number) | float(number) if number:
                    return number
                case _:
                    return 0
        """,
        ([1, "+", {"value": 2}],),
    ),
    "a function of the bundle as an argument": (
        """
        def double(x): return 2 * x
        def f(function, xs, key=None):
            return [function(x) for x in xs], sorted(map(function, xs), key=key)
        """,
        "(double, [1, 2])",
    ),
    "imports of what is loaded": (
        """
        def f(n):
            import math as m
            from itertools import chain
            return m.sqrt(n), list(chain([1], [n]))
        """,
        (3,),
    ),
    "game of life": (
        """
        def f(alive, generations):
            alive = set(alive)
            for _ in range(generations):
                near = Counter((x + dx, y + dy) for x, y in alive for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy)
                alive = {cell for cell, n in near.items() if n == 3 or n == 2 and cell in alive}
            return sorted(alive)
        """,
        ([(1, 1), (1, 2)], 3),
    ),
    "breadth first": (
        """
        def f(graph, start):
            queue, seen, order = deque([start]), {start}, []
            while queue:
                node = queue.popleft()
                order.append(node)
                for other in graph[node]:
                    if other not in seen:
                        seen.add(other)
                        queue.append(other)
            return order
        """,
        ({1: [2], 2: []}, 1),
    ),
    "matrices in place, but its own": (
        """
        def f(rows):
            m = [list(map(float, row)) for row in rows]
            for i in range(len(m)):
                for j in range(len(m)):
                    m[i][j] += 1.0
                m[i], m[0] = m[0], m[i]
            return m
        """,
        ([[1, 2], [3, 4]],),
    ),
}


@pytest.mark.parametrize("name", FREE)
def test_ships(world: World, name: str) -> None:
    source, args = FREE[name]
    module = world.load(IMPORTS + dedent(source))
    real = eval(args, module.__dict__) if isinstance(args, str) else args
    module.f(*real)  # it is a program that works
    summary = world.ask(module.f, *real)
    assert (summary.level, summary.why) == (Effect.FREE, "")
    assert summary.still_valid()


PRINTS = "def g(x):\n    print('x', x, sep='')\ndef f(x):\n    g(x)\n    return x\n"


def test_prints(world: World) -> None:
    module = world.load(PRINTS)
    assert world.ask(module.f, 1).level is Effect.PRINTS


#: name -> (source, arguments, part of the reason)
UNSAFE: dict[str, tuple[str, Any, str]] = {
    # -- arguments
    "a defaultdict, by looking up": ("def f(d, xs):\n    for x in xs: d[x]\n    return d", "(defaultdict(list), ['a', 'b'])", "argument"),
    "a defaultdict, counting": ("def f(d, xs):\n    for x in xs: d[x] += 1", "(defaultdict(int), 'abca')", "argument"),
    "a defaultdict, grouping": ("def f(d, xs):\n    for x in xs: d[len(x)].append(x)", "([defaultdict(list)][0], ['a', 'bb', 'c'])", "argument"),
    "a defaultdict in an object": (
        "class C:\n    def __init__(self): self.d = defaultdict(dict)\n    def m(self, k): return self.d[k]\n"
        "def f(c): return c.m('a'), c.m('b'), list(c.d)", "(C(),)", "argument"),
    "a defaultdict, by __getitem__": ("def f(d, xs): return list(map(d.__getitem__, xs))", "(defaultdict(list), 'ab')", "argument"),
    "a random generator": ("def f(r): return [r.random(), r.gauss(0, 1), r.choice([1, 2]), r.randrange(9)]", "(random.Random(1),)", "argument"),
    "a random generator that shuffles": ("def f(r, xs):\n    r.shuffle(xs)\n    return xs", "(random.Random(1), [1, 2, 3])", "argument"),
    "a random generator, seeded anew": ("def f(r): r.seed(5)", "(random.Random(1),)", "argument"),
    "append": ("def f(xs): xs.append(1)", ([],), "writes its argument 'xs'"),
    "item": ("def f(xs): xs[0] = 1", ([0],), "argument 'xs'"),
    "slice": ("def f(xs): xs[:] = [1]", ([0],), "argument 'xs'"),
    "delete an item": ("def f(xs): del xs[0]", ([0],), "argument 'xs'"),
    "in place, list": ("def f(xs):\n    xs += [1]", ([0],), "argument 'xs'"),
    "in place, times": ("def f(xs):\n    xs *= 2", ([0],), "argument 'xs'"),
    "in place, set": ("def f(xs):\n    xs |= {1}", ({0},), "argument 'xs'"),
    "in place, dict": ("def f(xs):\n    xs |= {1: 2}", ({0: 0},), "argument 'xs'"),
    "in place, item": ("def f(xs):\n    xs[0] += 1", ([0],), "argument 'xs'"),
    "in place, operator": ("def f(xs): operator.iadd(xs, [1])", ([0],), "argument 'xs'"),
    "alias": ("def f(xs):\n    ys = xs\n    ys.append(1)", ([],), "argument 'xs'"),
    "alias in a list": ("def f(xs):\n    ys = [xs]\n    ys[0].append(1)", ([],), "argument 'xs'"),
    "alias in a tuple": ("def f(xs):\n    a, b = 1, xs\n    c, d = (b, a)\n    c.append(1)", ([],), "argument 'xs'"),
    "alias in a dict": ("def f(xs):\n    d = {'k': xs}\n    d.get('k').append(1)", ([],), "argument 'xs'"),
    "alias by values": ("def f(xs):\n    for v in {'k': xs}.values(): v.append(1)", ([],), "argument 'xs'"),
    "alias by items": ("def f(xs):\n    for k, v in {'k': xs}.items(): v.append(1)", ([],), "argument 'xs'"),
    "alias by setdefault": ("def f(xs):\n    {}.setdefault(1, xs).append(1)", ([],), "argument 'xs'"),
    "alias by a loop": ("def f(xs):\n    for x in xs: x.append(1)", ([[]],), "argument 'xs'"),
    "alias by star": ("def f(xs):\n    a, *b = xs\n    b[0].append(1)", ([1, []],), "argument 'xs'"),
    "alias by a comprehension": ("def f(xs):\n    [x.append(1) for x in xs]", ([[]],), "argument 'xs'"),
    "alias by copying flat": ("def f(xs):\n    list(xs)[0].append(1)", ([[]],), "argument 'xs'"),
    "alias by sorted": ("def f(xs): sorted(xs)[0].append(1)", ([[]],), "argument 'xs'"),
    "alias by zip": ("def f(xs):\n    for a, b in zip(xs, xs): b.append(1)", ([[]],), "argument 'xs'"),
    "alias by max": ("def f(xs): max(xs).append(1)", ([[]],), "argument 'xs'"),
    "alias by max of two": ("def f(a, b): max(a, b).append(1)", ([], []), "argument"),
    "alias by or": ("def f(xs):\n    ys = xs or []\n    ys.append(1)", ([],), "argument 'xs'"),
    "alias by if": ("def f(xs):\n    (xs if xs else []).append(1)", ([],), "argument 'xs'"),
    "alias by walrus": ("def f(xs):\n    if (ys := xs) is not None: ys.append(1)", ([],), "argument 'xs'"),
    "alias by a lambda": ("def f(xs):\n    (lambda: xs)().append(1)", ([],), "argument 'xs'"),
    "alias by a closure": ("def f(xs):\n    def g(): xs.append(1)\n    g()", ([],), "argument 'xs'"),
    "alias by a default": ("def f(xs):\n    def g(a=xs): a.append(1)\n    g()", ([],), "argument 'xs'"),
    "alias by a helper": ("def g(a): return a\ndef f(xs): g(xs).append(1)", ([],), "argument 'xs'"),
    "alias by args": ("def g(*a, **k): a[0].append(1)\ndef f(xs): g(xs)", ([],), "argument 'xs'"),
    "alias by keywords": ("def g(**k): k['a'].append(1)\ndef f(xs): g(a=xs)", ([],), "argument 'xs'"),
    "alias by unpacking": ("def g(a): a.append(1)\ndef f(xs): g(*[xs])", ([],), "argument 'xs'"),
    "alias by double star": ("def g(a): a.append(1)\ndef f(xs): g(**{'a': xs})", ([],), "argument 'xs'"),
    "alias by map": ("def g(a): a.append(1)\ndef f(xs): list(map(g, xs))", ([[]],), "argument 'xs'"),
    "alias by reduce": ("def g(a, b):\n    a.append(b)\n    return a\ndef f(xs): return reduce(g, xs)", ([[], 1],), "argument 'xs'"),
    "alias by partial": ("def g(a, b): a.append(b)\ndef f(xs): partial(g, xs)(1)", ([],), "^g: "),
    "alias by starmap": ("def g(a, b): b.append(1)\ndef f(xs): list(itertools.starmap(g, xs))", ([(1, [])],), "argument 'xs'"),
    "alias by a sort key": ("def f(xs): sorted(xs, key=lambda x: x.append(1))", ([[]],), "argument 'xs'"),
    "alias by an iterator": ("def f(xs): next(iter(xs)).append(1)", ([[]],), "argument 'xs'"),
    "alias by a generator": ("def g(xs):\n    yield xs\ndef f(xs):\n    for x in g(xs): x.append(1)", ([],), "argument 'xs'"),
    "alias by a generator expression": ("def f(xs):\n    for y in (x for x in xs): y.append(1)", ([[]],), "argument 'xs'"),
    "alias by an attribute": (
        "class C:\n    pass\ndef f(xs):\n    c = C()\n    c.a = xs\n    c.a.append(1)", ([],), "argument 'xs'"),
    "alias by an object": (
        "class C:\n    def __init__(self, xs): self.xs = xs\n    def go(self): self.xs.append(1)\ndef f(xs): C(xs).go()",
        ([],), "argument 'xs'"),
    "alias by a dataclass": ("@dataclass\nclass C:\n    xs: list\ndef f(xs): C(xs).xs.append(1)", ([],), "argument 'xs'"),
    "alias by a named tuple": ("T = namedtuple('T', 'a')\ndef f(xs): T(xs).a.append(1)", ([],), "argument 'xs'"),
    "alias by a heap": ("def f(xs):\n    h = []\n    heapq.heappush(h, (1, xs))\n    heapq.heappop(h)[1].append(1)", ([],), "'xs'"),
    "alias by plus": ("def f(xs): (xs + [[]])[0].append(1)", ([[]],), "argument 'xs'"),
    "alias by times": ("def f(xs): ([xs] * 2)[1].append(1)", ([],), "argument 'xs'"),
    "alias by operator.mul": ("def f(xs): operator.mul([xs], 2)[1].append(1)", ([],), "argument 'xs'"),
    "alias by a slice object": ("def f(xs):\n    s = slice(0, 1)\n    [xs][s][0].append(1)", ([],), "argument 'xs'"),
    "alias by getattr": ("def f(xs): getattr(xs, 'append')(1)", ([],), "argument 'xs'"),
    "alias by a bound method": ("def f(xs):\n    add = xs.append\n    add(1)", ([],), "argument 'xs'"),
    "alias by an unbound method": ("def f(xs): list.append(xs, 1)", ([],), "argument 'xs'"),
    "alias by a special method": ("def f(xs): xs.__setitem__(0, 1)", ([0],), "argument 'xs'"),
    "alias by a match": ("def f(xs):\n    match xs:\n        case [a, *b]: a.append(1)", ([[]],), "argument 'xs'"),
    "alias by an exception": (
        "def f(xs):\n    try:\n        raise ValueError(xs)\n    except ValueError as e:\n        e.args[0].append(1)", ([],), ""),
    "alias by tee": ("def f(xs):\n    a, b = itertools.tee(xs)\n    next(a).append(1)", ([[]],), "argument 'xs'"),
    "alias by reversed": ("def f(xs):\n    for x in reversed(xs): x.append(1)", ([[]],), "argument 'xs'"),
    "alias by itemgetter": ("def f(xs): operator.itemgetter(0)(xs).append(1)", ([[]],), "argument 'xs'"),
    "alias by chain": ("def f(xs):\n    for x in itertools.chain.from_iterable([xs]): x.append(1)", ([[]],), "argument 'xs'"),
    "alias by groupby": ("def f(xs):\n    for k, g in itertools.groupby(xs):\n        for x in g: x.append(1)", ([[]],), "'xs'"),
    "alias by deque": ("def f(xs): deque([xs]).pop().append(1)", ([],), "argument 'xs'"),
    "alias by a nested list": ("def f(xs):\n    a = []\n    b = [a]\n    a.append(xs)\n    b[0][0].append(1)", ([],), "'xs'"),
    "alias by nonlocal": (
        "def f(xs):\n    a = None\n    def g():\n        nonlocal a\n        a = xs\n    g()\n    a.append(1)", ([],), "'xs'"),
    "alias through recursion": ("def f(xs, n):\n    if n: f(xs, n - 1)\n    else: xs.append(1)", ([], 3), "argument 'xs'"),
    "a defaultdict made, its factory kept": (
        "def f(xs):\n    d = defaultdict(lambda: xs)\n    d[1].append(1)", ([],), "argument 'xs'"),
    "shuffle": ("def f(xs): random.Random(1).shuffle(xs)", ([1],), "argument 'xs'"),
    "next of an argument's iterator": ("def f(xs):\n    it = iter(xs)\n    next(it)\n    xs.sort()", ([1],), "argument 'xs'"),
    "self": ("class C:\n    def m(self): self.x = 1\ndef f(c): c.m()", "(C(),)", "of its argument"),
    "self, in place": (
        "class C:\n    x = 0\n    def m(self): self.x += 1\ndef f(c): c.m()", "(C(),)", "of its argument"),
    "self, deleted": ("class C:\n    def m(self): del self.x\ndef f(c): c.m()", "(C(),)", "of its argument"),
    "self, by setattr": ("def f(c): setattr(c, 'x', 1)\nclass C: pass", "(C(),)", "of its argument"),
    "self, by object.__setattr__": ("def f(c): object.__setattr__(c, 'x', 1)\nclass C: pass", "(C(),)", "argument 'c'"),
    "self, by __dict__": ("def f(c): c.__dict__['x'] = 1\nclass C: pass", "(C(),)", "__dict__"),
    "self, by vars": ("def f(c): vars(c)['x'] = 1\nclass C: pass", "(C(),)", "vars"),
    "self, by a computed name": ("def f(c, n): setattr(c, n, 1)\nclass C: pass", "(C(), 'x')", "computed"),
    "an attribute's list": ("class C:\n    def __init__(self): self.xs = []\ndef f(c): c.xs.append(1)", "(C(),)", "argument 'c'"),
    "a property that writes": (
        "class C:\n    @property\n    def p(self):\n        self.n = 1\n        return 2\ndef f(c): return c.p", "(C(),)", "C.p"),
    "a setter": (
        "class C:\n    @property\n    def p(self): return 1\n    @p.setter\n    def p(self, v): self.n = v\n"
        "def f(c):\n    c.p = 2", "(C(),)", "attribute '[np]' of"),
    "an operator that writes": (
        "class C:\n    def __add__(self, o):\n        self.n = 1\n        return 2\ndef f(c): return c + 1", "(C(),)", "C.__add__"),
    "a reflected operator that writes": (
        "class C:\n    def __radd__(self, o):\n        self.n = 1\n        return 2\ndef f(c): return 1 + c", "(C(),)", "C.__radd__"),
    "an operator in place that writes": (
        "class C:\n    def __iadd__(self, o):\n        self.n = 1\n        return self\ndef f(c):\n    c += 1", "(C(),)", "C.__iadd__"),
    "len that writes": ("class C:\n    def __len__(self):\n        self.n = 1\n        return 2\ndef f(c): return len(c)", "(C(),)", ""),
    "truth that writes": (
        "class C:\n    def __bool__(self):\n        self.n = 1\n        return True\ndef f(c):\n    if c: return 1", "(C(),)", ""),
    "equality deep in a list that writes": (
        "class C:\n    def __eq__(self, o):\n        self.n = 1\n        return True\ndef f(cs): return [1] in cs", "([[C()]],)", ""),
    "a text that writes": (
        "class C:\n    def __repr__(self):\n        self.n = 1\n        return ''\ndef f(c): return f'{[c]}'", "(C(),)", "C.__repr__"),
    "a percent that writes": (
        "class C:\n    def __str__(self):\n        self.n = 1\n        return ''\ndef f(c): return '%s' % (c,)", "(C(),)", "C.__str__"),
    "a join of texts that write": (
        "class C:\n    def __str__(self):\n        self.n = 1\n        return ''\ndef f(cs): return ','.join(map(str, cs))",
        "([C()],)", "C.__str__"),
    "an order that writes": (
        "class C:\n    def __lt__(self, o):\n        self.n = 1\n        return True\ndef f(cs): return sorted(cs)", "([C()],)", ""),
    "the size of an object": ("def f(x): return x.__sizeof__()", "([1],)", "__sizeof__"),
    "a hash that writes": (
        "class C:\n    def __hash__(self):\n        self.n = 1\n        return 1\ndef f(c): return {c: 1}", "(C(),)", "C.__hash__"),
    "an iterator that writes": (
        "class C:\n    def __iter__(self): return self\n    def __next__(self):\n        self.n = 1\n        raise StopIteration\n"
        "def f(c): return list(c)", "(C(),)", "C.__next__"),
    "an iterator in a for": (
        "class C:\n    def __iter__(self): return self\n    def __next__(self):\n        self.n = 1\n        raise StopIteration\n"
        "def f(c):\n    for x in c: pass", "(C(),)", "C.__next__"),
    "an iterator in a sum": (
        "class C:\n    def __iter__(self): return self\n    def __next__(self):\n        self.n = 1\n        raise StopIteration\n"
        "def f(c): return sum(c)", "(C(),)", "C.__next__"),
    "a call that writes": ("class C:\n    def __call__(self): self.n = 1\ndef f(c): c()", "(C(),)", "C.__call__"),
    "a context that writes": (
        "class C:\n    def __enter__(self): self.n = 1\n    def __exit__(self, *a): pass\ndef f(c):\n    with c: pass", "(C(),)", ""),
    "an item that writes": ("class C:\n    def __getitem__(self, i): self.n = 1\ndef f(c): return c[0]", "(C(),)", "C.__getitem__"),
    "a missing item that writes": (
        "class C(dict):\n    def __missing__(self, k): self[k] = 1\ndef f(c): return c[0]", "(C(),)", "C.__missing__"),
    "__getattr__ that writes": (
        "class C:\n    def __getattr__(self, n): object.__setattr__(self, 'n', 1)\ndef f(c): return c.x", "(C(),)", "C.__getattr__"),
    "a method of a subclass that writes": (
        "class B:\n    def m(self): return 1\nclass C(B):\n    def m(self): self.n = 1\ndef f(c): return c.m()", "(C(),)", "C.m"),
    "an object inside the arguments": ("class C:\n    def m(self): self.n = 1\ndef f(d): d['c'][0].m()", "({'c': [C()]},)", "C.m"),
    "a format that looks at properties": (
        "class C:\n    @property\n    def p(self): self.n = 1\ndef f(c): return '{0.p}'.format(c)", "(C(),)", "computed"),
    "isinstance with a metaclass": (
        "class M(type):\n    def __instancecheck__(cls, x): x.append(1)\nclass C(metaclass=M): pass\ndef f(x): return isinstance(x, C)",
        ([],), "metaclass"),
    "a deleter": (
        "class C:\n    @property\n    def p(self): return 1\n    @p.deleter\n    def p(self): self.n = 1\n"
        "def f():\n    c = C()\n    del c.p", (), "C.p"),
    "a comparison for sorting": (
        "def f(xs): return len(sorted(xs, key=functools.cmp_to_key(lambda a, b: a.append(b) or 0)))", ([[], []],), "argument"),
    "setitem of operator on an object": (
        "T = []\nclass C:\n    def __setitem__(self, k, v): T.append(v)\ndef f(): operator.setitem(C(), 0, 1)", (), "T"),
    "insort into an object": (
        "T = []\nclass C(list):\n    def insert(self, i, x): T.append(x)\ndef f(): bisect.insort(C(), 1)", (), "T"),
    "keys of an object": (
        "T = []\nclass C:\n    def keys(self): T.append(1)\n    def __getitem__(self, k): return 1\ndef f(): return dict(C())",
        (), "T"),
    "keys of an object, starred": (
        "T = []\nclass C:\n    def keys(self): T.append(1)\n    def __getitem__(self, k): return 1\ndef f(): return dict(**C())",
        (), "T"),
    "a method of a combined flag": (
        "import enum\nT = []\nclass C(enum.Flag):\n    A = 1\n    B = 2\n    def m(self): T.append(1)\ndef f(): (C.A | C.B).m()",
        (), "T"),
    # -- module and class state
    "a global": ("def f():\n    global X\n    X = 1", (), "writes module global 'X'"),
    "a global counted": ("X = 0\ndef f():\n    global X\n    X += 1", (), "writes module global 'X'"),
    "a global deleted": ("X = 0\ndef f():\n    global X\n    del X", (), "module global 'X'"),
    "a global by import": ("def f():\n    global math\n    import math", (), "module global 'math'"),
    "a table": ("T = {}\ndef f(k): T[k] = 1", (1,), "writes module global 'T'"),
    "a table's list": ("T = {1: []}\ndef f(): T[1].append(1)", (), "T"),
    "a table by an alias": ("T = []\ndef f():\n    t = T\n    t.append(1)", (), "module global 'T'"),
    "a table passed on": ("T = []\ndef g(t): t.append(1)\ndef f(): g(T)", (), "module global 'T'"),
    "a module's attribute": ("import sample\ndef f(): sample.X = 1", (), "attribute 'X' of sample"),
    "another module's table": ("import sample\nT = []\ndef f(): sample.T.append(1)", (), "sample.T"),
    "a class attribute": ("class C:\n    n = 0\ndef f(): C.n = 1", (), "class attribute C.n"),
    "a class attribute by cls": ("class C:\n    @classmethod\n    def m(cls): cls.n = 1\ndef f(): C.m()", (), "class attribute C.n"),
    "a class attribute by type": ("class C: pass\ndef f(c): type(c).n = 1", "(C(),)", r"class attribute \w+.n"),
    "a class attribute by __class__": ("class C:\n    def m(self): self.__class__.n = 1\ndef f(): C().m()", (), "class attribute C.n"),
    "a class's list": ("class C:\n    xs = []\ndef f(): C().xs.append(1)", (), "C.xs"),
    "a class's list through a base": ("class B:\n    xs = []\nclass C(B): pass\ndef f(): C().xs.append(1)", (), "B.xs"),
    "a default": ("def f(x, seen=[]):\n    seen.append(x)\n    return x", (1,), "default of 'seen'"),
    "a helper's default": ("def g(x, seen={}): seen[x] = 1\ndef f(x): g(x)", (1,), "default of 'seen'"),
    "a function's attribute": ("def g(): pass\ndef f(): g.n = 1", (), "attribute 'n' of g"),
    "a function's table": ("def g(): pass\ng.table = {}\ndef f(): g.table[1] = 2", (), "g.table"),
    "a closure's variable": (
        "def make():\n    n = 0\n    def step():\n        nonlocal n\n        n += 1\n        return n\n    return step\n"
        "step = make()\ndef f(): return step()", (), "'n'"),
    "a closure's list": (
        "def make():\n    xs = []\n    def step(): xs.append(1)\n    return step\nstep = make()\ndef f(): return step()", (), "'xs'"),
    "a decorator that counts": (
        "CALLS = []\ndef counted(g):\n    def wrapper(*a):\n        CALLS.append(1)\n        return g(*a)\n    return wrapper\n"
        "@counted\ndef g(x): return x\ndef f(x): return g(x)", (1,), "CALLS"),
    "a decorator class that counts": (
        "class counted:\n    def __init__(self, g):\n        self.g = g\n        self.n = 0\n    def __call__(self, *a):\n"
        "        self.n += 1\n        return self.g(*a)\n@counted\ndef g(x): return x\ndef f(x): return g(x)", (1,), "attribute 'n' of g"),
    "a memo": ("M = {}\ndef f(n):\n    if n not in M: M[n] = n\n    return M[n]", (1,), "M"),
    "a module's iterator": ("IDS = itertools.count()\ndef f(): return next(IDS)", (), "IDS|count"),
    "a module's iterator in a loop": ("IDS = iter([1])\ndef f(): return [i for i in IDS]", (), "IDS"),
    "a module's iterator zipped": ("IDS = itertools.count()\ndef f(xs): return list(zip(xs, IDS))", ([1],), "IDS"),
    "a module's generator of random numbers": ("R = random.Random(1)\ndef f(): return R.random()", (), "R"),
    "a module's defaultdict read": ("D = defaultdict(list)\ndef f(k): return len(D[k])", (1,), "D"),
    "a module's object": ("class C:\n    n = 0\nG = C()\ndef f(): G.n = 1", (), "attribute 'n' of module global 'G'"),
    "a cache's list changed": ("@cache\ndef g(): return []\ndef f(): g().append(1)", (), "cache of g"),
    "a cache's list returned": ("@cache\ndef g(): return [1]\ndef f(): return g()", (), "cache of g"),
    "a cache's object inside": (
        "@cache\ndef g(): return ([],)\ndef f():\n    for x in g(): x.append(1)", (), "cache of g"),
    "a cache over a number that may be set anew": ("N = 1\n@cache\ndef g(n): return n * N\ndef f(n): return g(n)", (1,), "outlast a change of 'N'"),
    "a cache over a function that may be replaced": (
        "def h(n): return n\n@cache\ndef g(n): return h(n)\ndef f(n): return g(n)", (1,), "outlast a change of 'h'"),
    "a cache over a number, in a lambda inside": (
        "N = 1\n@cache\ndef g(n): return (lambda: N)()\ndef f(n): return g(n)", (1,), "outlast a change of 'N'"),
    "a cache over a closure": (
        "def make(k):\n    @cache\n    def g(n): return n * k\n    return g\ng = make(2)\ndef f(n): return g(n)", (1,), "outlast|facts|cache"),
    "a cache under an object": (
        "class C:\n    n = 1\n    @cache\n    def m(self): return self.n\ndef f(c): return c.m()", "(C(),)", "cache"),
    "a cached property of an argument": (
        "class C:\n    def __init__(self): self.n = 1\n    @cached_property\n    def p(self): return self.n\n"
        "def f(c): return c.p", "(C(),)", "keeps"),
    "a cache's counter": ("@cache\ndef g(n): return n\ndef f(): return g.cache_info()", (), "g.cache_info"),
    "a cached property of an object of the module": (
        "class C:\n    @cached_property\n    def p(self): return []\nG = C()\ndef f(): G.p.append(1)", (), ""),
    "a table returned": ("T = []\ndef f(): return T", (), "returns module global 'T' itself"),
    "an element of a table returned": ("T = {1: []}\ndef f(k): return T[k]", (1,), "itself"),
    "a default returned": ("X = []\ndef f(x=X): return X", (), "itself"),
    "a sentinel returned": ("S = object()\ndef f(): return S", (), "returns module global 'S' itself"),
    "a table in an exception": ("T = []\ndef f(): raise ValueError(T)", (), "raises module global 'T' itself"),
    # -- the machine
    "open": ("def f(p): return open(p).read()", ("x",), "opens a local file"),
    "open by another name": ("o = open\ndef f(p): return o(p).read()", ("x",), "opens a local file"),
    "open down the line": ("def g(p):\n    with open(p) as x: return 1\ndef f(p): return g(p)", ("x",), r"^g: opens a local file.*sample.py:\d+"),
    "print to a file": ("import sys\ndef f(): print(1, file=sys.stderr)", (), "prints to something"),
    "standard output": ("import sys\ndef f(): sys.stdout.write('x')", (), "uses an open file"),
    "input": ("def f(): return input()", (), "waits for input"),
    "global random": ("def f(): return random.random()", (), "global random"),
    "global random by name": ("from random import randint\ndef f(): return randint(1, 2)", (), "global random"),
    "random without a seed": ("def f(): return random.Random().random()", (), "randomness"),
    "clock": ("import time\ndef f(): return time.time()", (), "reads the clock"),
    "clock of datetime": ("import datetime\ndef f(): return datetime.datetime.now()", (), "now"),
    "environ": ("import os\ndef f(): return os.environ['HOME']", (), "reads the environment"),
    "getcwd": ("import os\ndef f(): return os.getcwd()", (), "getcwd"),
    "decimal": ("from decimal import Decimal\ndef f(): return Decimal(1) / 3", (), "decimal context"),
    "warnings": ("import warnings\ndef f(): warnings.warn('x')", (), "warns"),
    "logging": ("import logging\nlog = logging.getLogger('x')\ndef f(): log.info('x')", (), "logs"),
    "thread": ("import threading\ndef f(): threading.Thread(target=print).start()", (), "Thread"),
    "lock": ("import threading\nL = threading.Lock()\ndef f():\n    with L: pass", (), "uses a lock"),
    "subprocess": ("import subprocess\ndef f(): subprocess.run(['ls'])", (), "subprocess"),
    "socket": ("import socket\ndef f(): return socket.socket()", (), "socket"),
    "eval": ("def f(s): return eval(s)", ("1",), "code made at run time"),
    "exec": ("def f(s): exec(s)", ("1",), "code made at run time"),
    "globals": ("def f(): globals()['x'] = 1", (), "variables by name"),
    "locals": ("def f(): return locals()", (), "variables by name"),
    "id": ("def f(x): return id(x)", ([],), "addresses"),
    "import of what is not loaded": ("def f():\n    import this\n    return 1", (), "not loaded yet"),
    "__import__": ("def f(): return __import__('os')", (), "run time"),
    "recursion limit": ("import sys\ndef f(): sys.setrecursionlimit(10)", (), "interpreter"),
    "a class inside": ("def f():\n    class C: pass\n    return 1", (), "defines class"),
    "namedtuple inside": ("def f(): return namedtuple('T', 'a')(1)", (), "run time"),
    "type of three": ("def f(): return type('T', (), {})", (), "run time"),
    "a bare raise": ("def f(): raise", (), "re-raises"),
    "a generator": ("def f():\n    yield 1", (), "is a generator"),
    "a generator expression returned": ("def f(xs): return (x for x in xs)", ([1],), "returns a generator"),
    "a lambda returned": ("def f(): return lambda: 1", (), "returns a function"),
    "identity of arguments": ("def f(a, b): return a is b", (1000, 1000), "identities"),
    "identity of computed values": ("X = 10 ** 9\ndef f(a): return a + 1 is X", (1,), "identities"),
    "an unknown function": ("import sys\ndef f(s): return sys.getrecursionlimit()", ("x",), "nothing is known"),
    "a frame": ("import sys\ndef f(): return sys._getframe()", (), "_getframe"),
    "a function's globals": ("def g(): pass\ndef f(): g.__globals__['x'] = 1", (), "__globals__"),
    "coroutine": ("async def g(): pass\ndef f(): g()", (), "coroutine"),
    "weakref": ("import weakref\nclass C: pass\ndef f(): return weakref.ref(C())", (), "weakref"),
    "a destructor": ("class C:\n    def __del__(self): print(1)\ndef f():\n    C()\n    return 1", (), "__del__"),
    "a metaclass": (
        "class M(type):\n    def __call__(cls): print(1)\nclass C(metaclass=M): pass\ndef f():\n    C()\n    return 1", (), "metaclass"),
    "a descriptor": (
        "class D:\n    def __get__(self, o, t): o.n = 1\nclass C:\n    d = D()\ndef f(c): return c.d", "(C(),)", "C.d"),
    "__getattribute__": (
        "T = []\nclass C:\n    x = 1\n    def __getattribute__(self, n):\n        T.append(n)\n        return 2\ndef f(): return C().x",
        (), "__getattribute__"),
    # -- callables
    "a function that writes, as an argument": ("T = []\ndef g(x): T.append(x)\ndef f(h, xs): return [h(x) for x in xs]", "(g, [1])", "T"),
    "a builtin that is unsafe, as an argument": ("def f(h, xs): return list(map(h, xs))", "(open, ['x'])", "opens a local file"),
    "as a sort key": ("T = []\ndef g(x): T.append(x)\ndef f(xs, k): return sorted(xs, key=k)", "([1], g)", "T"),
    "as an attribute": (
        "T = []\ndef g(): T.append(1)\nclass C:\n    def __init__(self, h): self.h = h\ndef f(c): return c.h()", "(C(g),)", "T"),
    "hiding a method": (
        "T = []\ndef g(): T.append(1)\nclass C:\n    def m(self): return 1\ndef f(c): return c.m()", "((lambda c: (setattr(c, 'm', g), c)[1])(C()),)", "T"),
    "in a table of functions": ("T = []\ndef g(x): T.append(x)\nOPS = {1: g, 2: abs}\ndef f(k): return OPS[k](1)", (2,), "T"),
    "a class, as an argument": ("T = []\nclass C:\n    def __init__(self): T.append(1)\ndef f(k): k()", "(C,)", "T"),
    "by a factory": ("T = []\ndef g(): T.append(1)\ndef f(): return defaultdict(g)[1]", (), "T"),
    "by json": ("T = []\ndef g(o): T.append(o)\ndef f(): return json.dumps(1, default=g)", (), "T"),
    "by re": ("T = []\ndef g(m):\n    T.append(m)\n    return ''\ndef f(s): return re.sub('x', g, s)", ("x",), "T"),
    "by a compiled pattern": ("T = []\nP = re.compile('x')\ndef g(m):\n    T.append(m)\n    return ''\ndef f(s): return P.sub(g, s)", ("x",), "T"),
}  # fmt: skip


def state_of(module: ModuleType) -> dict[str, str]:
    kinds = (int, list, dict, set, Counter)
    return {
        name: repr(value)
        for name, value in vars(module).items()
        if isinstance(value, kinds) and name != "__builtins__"
    }


@pytest.mark.parametrize("name", UNSAFE)
def test_stays(world: World, name: str) -> None:
    source, args, why = UNSAFE[name]
    module = world.load(IMPORTS + source)
    if args is None:  # it may not even be passed
        assert world.analysis.summary(module.f).level is Effect.UNSAFE
        return
    real = eval(args, module.__dict__) if isinstance(args, str) else args
    summary = world.ask(module.f, *real)
    general = world.analysis.summary(module.f)
    assert not summary.free
    if summary.writes:
        # it ships, and what it changes is changed here: the same must come of it as of the plain call, and nothing else
        assert not general.free or not general.covers(walk(real, {}))
        state = state_of(module)
        assert_restored(module.f, real)
        assert state_of(module) == state
        return
    assert re.search(why, summary.why), summary.why
    if name != "hiding a method":  # whoever goes by the general answer sees to it that no function is passed
        assert general.level is Effect.UNSAFE or general.writes or general.compares


def assert_restored(function: Any, args: tuple[Any, ...]) -> None:
    """The call with copies, and its changes done to other copies, leaves what the plain call leaves."""

    def run(args: tuple[Any, ...]) -> Any:
        try:
            return function(*args)
        except Exception as error:
            return type(error)

    parcel = pickle.dumps(args)
    plain, there, here = (pickle.loads(parcel) for _ in range(3))
    result = run(plain)
    before = Before(walk(there, {}))
    again = run(there)
    both = again, before.changes()
    refers(both, (there, {}), frozenset())
    frames = dumps_referring(both, (there, {}), before.objects)
    objects = walk(here, {}).objects
    again, changes = loads_referring(frames, (here, {}), objects)
    restore(objects, changes)
    assert shown((here, again)) == shown((plain, result))


class ByValue(pickle.Pickler):
    def persistent_id(self, value: Any) -> str | None:
        return ascii(value) if type(value) is str else None


def shown(value: Any) -> bytes:
    """The whole of a value, with the identities inside it; those of texts mean nothing."""
    stream = io.BytesIO()
    ByValue(stream, 0).dump(value)
    return stream.getvalue()


def test_the_reason_names_the_chain_and_the_line(world: World) -> None:
    module = world.load(
        """
        def c(path):
            return open(path)
        def b(path):
            return c(path)
        def f(path):
            return b(path)
        """
    )
    assert world.ask(module.f, "x").why == "b → c: opens a local file (io.open) (sample.py:3)"


def test_reads_names_all_state(world: World) -> None:
    world.load("LIMIT = 3\ndef helper(x): return x + LIMIT\n", "other")
    module = world.load(
        """
        import math
        import other
        from other import helper
        SCALE = 2
        class C:
            def m(self): return SCALE
        def f(c): return helper(c.m()) + other.helper(1) + math.sqrt(2) + len("x")
        """
    )
    reads = set(world.ask(module.f, module.C()).reads)
    assert {
        ("sample", "f"),
        ("sample", "helper"),
        ("sample", "other"),
        ("other", "helper"),
        ("other", "LIMIT"),
        ("sample", "C"),
        ("sample", "SCALE"),
        ("math", "sqrt"),
        ("builtins", "len"),
        ("sample", "len"),
    } <= reads


@pytest.mark.parametrize(
    "change",
    [
        "helper = lambda x: T.append(x)",
        "C.m = lambda self: T.append(1)",
        "TABLE['new'] = lambda x: T.append(x)",
        "math = other",
        "len = T.append",
    ],
)
def test_a_change_makes_the_summary_invalid(world: World, change: str) -> None:
    world.load("def sqrt(x): return x", "other")
    module = world.load(
        """
        import math
        import other
        T = []
        def helper(x): return x
        class C:
            def m(self): return 1
        TABLE = {"old": helper}
        def f(key, x): return helper(x) + C().m() + TABLE[key](x) + math.sqrt(x) + len("x")
        """
    )
    summary = world.ask(module.f, "old", 1)
    assert summary.level is Effect.FREE
    assert summary.still_valid()
    exec(change, module.__dict__)
    assert not summary.still_valid()
    later = world.ask(module.f, "old", 1)
    assert later.level is (Effect.FREE if change == "math = other" else Effect.UNSAFE)


def test_an_import_that_was_done_meanwhile_is_noticed(world: World) -> None:
    sys.modules.pop("this", None)
    module = world.load("def f():\n    import colorsys_of_nobody as c\n    return c.X\n")
    summary = world.ask(module.f)
    assert summary.level is Effect.UNSAFE
    assert summary.still_valid()
    world.load("X = 1", "colorsys_of_nobody")
    assert not summary.still_valid()
    assert world.ask(module.f).level is Effect.FREE


def test_functions_without_facts_stay(world: World) -> None:
    module = world.load("def g(): return 1\ndef f(): return g()")
    assert world.ask(module.f).level is Effect.FREE
    exec("def g(): return 2", module.__dict__)
    summary = world.ask(module.f)
    assert summary.level is Effect.UNSAFE
    assert "nothing is known" in summary.why or "not that of its source" in summary.why


def test_wraps_does_not_deceive(world: World) -> None:
    """The catalogue goes by the code, not by what functools.wraps copied from somebody else."""
    module = world.load(
        """
        import functools, statistics
        T = []
        @functools.wraps(statistics.mean)
        def g(x): T.append(x)
        def f(x): return g(x)
        """
    )
    assert world.ask(module.f, 1).level is Effect.UNSAFE


def test_two_lambdas_on_a_line(world: World) -> None:
    module = world.load("T = []\na, b = (lambda x: x), (lambda x: T.append(x))\ndef f(x): return a(x)")
    assert world.ask(module.f, 1).level is Effect.UNSAFE


def test_default_answer_expects_every_class(world: World) -> None:
    """Without the arguments at hand, any class of any bundle may be passed."""
    module = world.load("def f(c): return c.area()\nclass A:\n    def area(self): return 1\n")
    before = world.analysis.summary(module.f)
    assert before.level is Effect.FREE
    assert before.still_valid()
    assert before.covers(walk((module.A(),), {}))
    elsewhere = world.load("T = []\nclass B:\n    def area(self): T.append(1)\n", "elsewhere")
    assert not before.still_valid()
    assert not before.covers(walk((elsewhere.B(),), {}))
    assert not before.covers(walk((len,), {}))
    assert world.analysis.summary(module.f).level is Effect.UNSAFE
    assert world.ask(module.f, module.A()).level is Effect.FREE


def test_a_large_closure_is_bounded(world: World) -> None:
    lines = [f"def g{n}(x): return g{(n * 7 + 1) % 400}(x) + g{(n * 3 + 2) % 400}([x])" for n in range(400)]
    module = world.load("\n".join([*lines, "def f(x): return g0(x)"]))
    assert world.ask(module.f, 1).level in (Effect.FREE, Effect.UNSAFE)


def test_many_classes_that_compare_what_they_hold_are_no_depth(world: World) -> None:
    """Each of their methods may come to those of all others, through what it looks at."""
    classes = [
        f"@dataclass(order=True, unsafe_hash=True)\nclass C{n}:\n    a: object\n    b: object\n"
        for n in range(60)
    ]
    source = "\n".join(["from dataclasses import dataclass", *classes, "def f(xs, x): return x in xs"])
    summary = world.analysis.summary(world.load(source).f)
    assert summary.level is Effect.FREE, summary.why
    source = source.replace(
        "class C41:", "class C41:\n    def __eq__(self, other): return bool(SEEN.append(other))\n"
    )
    summary = world.analysis.summary(world.load(f"SEEN = []\n{source}", "another").f)
    assert summary.level is Effect.UNSAFE and "C41.__eq__" in summary.why


def test_what_stands_for_a_special_method_is_not_asked_for_its_hash(world: World) -> None:
    module = world.load(
        """
        HASHED = []
        class Method:
            def __call__(self, other): return True
            def __hash__(self): return HASHED.append(1) or 1
        class C:
            __eq__ = Method()
        def f(c): return c == 1
        """
    )
    assert world.ask(module.f, module.C()).what.endswith(", a Method")
    assert module.HASHED == []


def fragile_set() -> set[int]:
    """A set whose copy iterates in another order."""
    made = set(range(1000))
    for number in range(1000):
        if number not in (3, 16):
            made.discard(number)
    return made


@pytest.mark.parametrize(
    "body, level",
    [
        ("return 3 in s", Effect.FREE),
        ("return len(s), bool(s), s == {1}, s.issubset({1})", Effect.FREE),
        ("return sum(1 for x in range(9) if x in s)", Effect.FREE),
        ("return s", Effect.FREE),
        ("return list(s)", Effect.UNSAFE),
        ("return [x for x in s]", Effect.UNSAFE),
        ("return str(s)", Effect.UNSAFE),
        ("return f'{s}'", Effect.UNSAFE),
        ("return s | {1}", Effect.UNSAFE),
        ("return sum(s)", Effect.UNSAFE),
        ("return s.copy()", Effect.UNSAFE),
        ("return s.union({1})", Effect.UNSAFE),
        ("a, *b = s\n    return a", Effect.UNSAFE),
        ("return max(s)", Effect.UNSAFE),
        ("return {1} & s", Effect.UNSAFE),
        ("return set(s)", Effect.UNSAFE),
        ("return next(iter(s))", Effect.UNSAFE),
        ("return (lambda *a: a)(*s)", Effect.UNSAFE),
        ("t = set()\n    t |= s\n    return t", Effect.UNSAFE),
        ("t = []\n    t.extend(s)\n    return t", Effect.UNSAFE),
        ("return [*s]", Effect.UNSAFE),
        ("return {x for x in s}", Effect.UNSAFE),
        ("return list(map(str, s))", Effect.UNSAFE),
        ("return '%s' % s", Effect.UNSAFE),
        ("return ','.join(s)", Effect.UNSAFE),
    ],
)
def test_the_order_of_a_set_that_does_not_travel(world: World, body: str, level: Effect) -> None:
    module = world.load(f"def f(s):\n    {body}\ndef g(ss):\n    return [f(s) for s in ss]\n")
    assert world.ask(module.f, fragile_set()).level is level
    assert (
        world.ask(module.f, frozenset(fragile_set())).level is level
        or not walk((frozenset(fragile_set()),), {}).fragile
    )
    assert world.ask(module.g, [fragile_set()]).level is (level if body != "return s" else Effect.FREE)
    assert not world.analysis.summary(module.f).covers(walk((fragile_set(),), {}))


@pytest.mark.parametrize(
    "body, value",
    [
        ("v._keep_positive()", "Counter(a=-1)"),
        ("v.fromunicode('x')", "array.array('u', 'ab')"),
        ("return v.today()", "datetime.date(2020, 1, 1)"),
        ("return v.now()", "datetime.datetime(2020, 1, 1)"),
        ("return v.timestamp()", "datetime.datetime(2020, 1, 1)"),
        ("return v.astimezone()", "datetime.datetime(2020, 1, 1)"),
        ("return v.strftime('%c')", "datetime.date(2020, 1, 1)"),
        ("return v.from_decimal(1)", "Fraction(1)"),
    ],
)
def test_methods_of_builtin_data_that_are_not_harmless(world: World, body: str, value: str) -> None:
    module = world.load(
        f"{IMPORTS}\nimport array, datetime\ndef f(v):\n    {body}\ndef g(vs):\n    f(vs[0])\n"
    )
    argument = eval(value, vars(module))
    for summary in (
        world.ask(module.f, argument),
        world.ask(module.g, [argument]),
        world.analysis.summary(module.f),
    ):
        assert not summary.free, body


def test_the_catalogue_says_nothing_of_what_a_bundle_defines() -> None:
    """``--weave stdlib:collections``: what it does is analysed, as far as it is written in Python."""
    known = Catalogue(tomllib.loads(DATA.read_text("utf-8")))
    assert known.type(Counter) is not None and known.function("collections", "namedtuple") is not None
    known.leave(frozenset({"collections"}))
    assert known.type(Counter) is None and known.function("collections", "namedtuple") is None
    assert known.type(deque) is not None


SEQUENCES = """
from collections.abc import Sequence
log = []
class Row(Sequence):
    def __init__(self, values):
        self.values = tuple(values)
    def __getitem__(self, index):
        return self.values[index]
    def __len__(self):
        return len(self.values)
    def __iter__(self):
        return iter(self.values)
    def __reversed__(self):
        return iter(self.values[::-1])
class Loud(Row):
    def __len__(self):
        log.append(self.values)
        return len(self.values)
def find(row, value):
    return 1 if value in row else row.index(value) + row.count(value)
"""


def test_mixins_of_sequences_do_what_the_special_methods_do(world: World) -> None:
    module = world.load(SEQUENCES)
    assert world.ask(module.find, module.Row([1, 2]), 2).level is Effect.FREE
    assert "log" in world.ask(module.find, module.Loud([1, 2]), 2).why
