"""State: equal where it is equal, different where it is not, refused where nobody can tell."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.bundles.fingerprint import Unfingerprintable, fingerprint, state


def module(source: str, name: str = "sample") -> ModuleType:
    made = ModuleType(name)
    exec(compile(dedent(source), f"{name}.py", "exec", dont_inherit=True), made.__dict__)
    return made


def digest(source: str, *names: str) -> bytes:
    return fingerprint([("sample", name) for name in names or ("x",)], modules={"sample": module(source)})


SAME = [
    ("x = {1, 2, 3}", "x = {3, 2, 1}"),
    ("x = [1, 'a', 2.5, None, (1, 2)]", "x = [1, 'a', 2.5, None] + [(1, 2)]"),
    ("def x(a, b=1): return a", "def x(a, b=1): return a"),
    ("import math as x", "import math as x"),
    ("from math import sqrt as x", "from math import sqrt as x"),
    ("class x:\n    a = 1\n    def m(self): return 1", "class x:\n    a = 1\n    def m(self): return 1"),
    ("import re; x = re.compile('a')", "import re; x = re.compile('a')"),
    ("x = []; x.append(x)", "x = []; x.append(x)"),
    (
        "import enum\nclass C(enum.Enum):\n    A = 1\nx = C.A",
        "import enum\nclass C(enum.Enum):\n    A = 1\nx = C.A",
    ),
    ("from dataclasses import dataclass\n@dataclass\nclass x:\n    a: int = 1",) * 2,
    ("from typing import *\nclass x(NamedTuple):\n    a: int = 1",) * 2,
    ("import functools\n@functools.lru_cache\ndef x(): return 1",) * 2,
    ("import functools, operator\nx = functools.partial(operator.add, 1)",) * 2,
    ("import logging\nx = logging.getLogger('a')",) * 2,
    ("from typing import Optional as x",) * 2,
    ("x = 10 ** 6000",) * 2,
    ("from fractions import Fraction\nx = Fraction(1, 3)",) * 2,
    (
        "from functools import wraps\ndef d(f):\n    @wraps(f)\n    def w(*a): return f(*a)\n    return w\n@d\ndef x(): return 1",
    )
    * 2,
]


@pytest.mark.parametrize("one, other", SAME)
def test_equal(one: str, other: str) -> None:
    assert digest(one) == digest(other)


DIFFERENT = [
    ("x = 1", "x = 2"),
    ("x = 1", "x = 1.0"),
    ("x = 1", "x = True"),
    ("x = 0.0", "x = -0.0"),
    ("x = 'a'", "x = b'a'"),
    ("x = [1, 2]", "x = [2, 1]"),
    ("x = (1,)", "x = [1]"),
    ("x = {'a': 1, 'b': 2}", "x = {'b': 2, 'a': 1}"),
    ("x = ['ab', 'c']", "x = ['a', 'bc']"),
    ("x = [[1], 2]", "x = [[1, 2]]"),
    ("y = []; x = [y, y]", "x = [[], []]"),
    ("x = 1", "y = 1"),
    ("def x(a): return 1", "def x(b): return 1"),
    ("def x(a): return a.b", "def x(a): return a.c"),
    ("def x(a): return f(a)", "def x(a): return g(a)"),
    ("def x(a): return 'a'", "def x(a): return 'b'"),
    ("def x(a, b=1): return a", "def x(a, b=2): return a"),
    ("def x(*, b=1): return b", "def x(*, b=2): return b"),
    ("def x(a): return 1", "\ndef x(a): return 1"),
    ("def x(a): return 1", "class x:\n    def x(a): return 1"),
    ("def x(): pass\nx.n = 1", "def x(): pass\nx.n = 2"),
    ("class x:\n    a = 1", "class x:\n    a = 2"),
    ("class x: pass", "class x: pass\nx.m = len"),
    ("class B: pass\nclass x(B): pass", "class B: pass\nclass x(B): pass\nB.n = 1"),
    ("class x:\n    def m(self): return a", "class x:\n    def m(self): return b"),
    (
        "class x:\n    @property\n    def m(self): return a",
        "class x:\n    @property\n    def m(self): return b",
    ),
    ("class C: pass\nx = C()", "class C: pass\nx = C()\nx.a = 1"),
    ("class C:\n    __slots__ = ('a',)\nx = C()", "class C:\n    __slots__ = ('a',)\nx = C()\nx.a = 1"),
    ("class C(list): pass\nx = C()", "class C(list): pass\nx = C([1])"),
    ("import math as x", "import cmath as x"),
    ("from math import sqrt as x", "from cmath import sqrt as x"),
    ("import re; x = re.compile('a')", "import re; x = re.compile('a', re.I)"),
    ("import abc\nclass x(abc.ABC): pass", "import abc\nclass x(abc.ABC): pass\nx.register(int)"),
    (
        "def f(n):\n    def g(): return n\n    return g\nx = f(1)",
        "def f(n):\n    def g(): return n\n    return g\nx = f(2)",
    ),
    (
        "from functools import partial\nx = partial(len, 1)",
        "from functools import partial\nx = partial(len, 2)",
    ),
    (
        "import enum\nclass C(enum.Enum):\n    A = 1\nx = C.A",
        "import enum\nclass C(enum.Enum):\n    A = 2\nx = C.A",
    ),
]


@pytest.mark.parametrize("one, other", DIFFERENT)
def test_different(one: str, other: str) -> None:
    assert digest(one) != digest(other)


def test_missing_names_and_modules_are_state() -> None:
    here = module("x = 1")
    assert fingerprint([("sample", "x")], modules={"sample": here}) != fingerprint(
        [("sample", "x")], modules={}
    )
    assert digest("y = 1", "x") != digest("x = None", "x")


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nx = threading.Lock()",
        "import sys\nx = sys.stdout",
        "x = iter([1])",
        "import random\nx = random.Random(1)",
        "import itertools\nx = [itertools.count()]",
        "class C: pass\nimport weakref\nc = C()\nx = weakref.ref(c)",
        "x = list(range(3)) + [[] for _ in range(250_000)]",
    ],
)
def test_what_cannot_be_compared(source: str) -> None:
    with pytest.raises(Unfingerprintable) as raised:
        digest(source)
    assert raised.value.name == "sample.x"


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Unfingerprintable):
        digest("x = []\nfor _ in range(100_000): x = [x]")


def test_objects_of_the_state() -> None:
    made = module("class C: pass\nx = {'k': [1, C()], 's': {1}}")
    found = state([("sample", "x")], modules={"sample": made})
    x: dict[str, Any] = made.__dict__["x"]
    assert {id(x), id(x["k"]), id(x["k"][1]), id(x["s"])} <= found.objects


def test_a_dispatcher_in_the_way_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An armed function has other code; the weaver tells what it was."""
    made = module("def x(a): return len(a)")
    before = fingerprint([("sample", "x")], modules={"sample": made})
    original = made.__dict__["x"].__code__
    made.__dict__["x"].__code__ = (lambda a: print(a)).__code__
    assert fingerprint([("sample", "x")], modules={"sample": made}) != before
    weaving = ModuleType("bundlebee.weaving.joinpoint")
    weaving.__dict__["original_code"] = lambda function: original
    monkeypatch.setitem(sys.modules, "bundlebee.weaving.joinpoint", weaving)
    assert fingerprint([("sample", "x")], modules={"sample": made}) == before


WOVEN = """
def x(rows):
    return {woven}[row(y) for y in rows]{rest}
"""


def test_woven_loops_look_like_plain_ones() -> None:
    plain = "def x(rows):\n    return [row(y, 'k') for y in rows]"
    woven = (
        "def x(rows):\n    return [c((y, 'k')) for y, c in __bee__.scatter(0, lambda: row, rows, None, "
        "lambda y: __bee__.args(y, 'k'))] if __bee__.s0 else [row(y, 'k') for y in rows]"
    )
    assert digest(plain) == digest(woven)


PROGRAM = """
import enum, re, dataclasses
class Colour(enum.Enum):
    RED = 1
    BLUE = "b"
@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: object = None
    def norm(self): return self.x
TABLE = {"a": [1, 2.5, Colour.RED], Colour.BLUE: {"x", "y", 3, (4, "z")}}
POINT = Point(1, TABLE)
WORD = re.compile("x+")
def function(a, b=TABLE, *c, d=POINT, **e): return a
"""


def test_equal_in_another_process(tmp_path: Path) -> None:
    """With the grid's one hash seed, a fresh interpreter computes the same digest."""
    (tmp_path / "program.py").write_text(PROGRAM)
    code = (
        "import sys, program; from bundlebee.bundles.fingerprint import fingerprint; "
        "names = ['Colour', 'Point', 'TABLE', 'POINT', 'WORD', 'function', 'len']; "
        "print(fingerprint([('program', n) for n in names], modules=sys.modules).hex())"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "PYTHONHASHSEED": "7",
    }
    results = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        for _ in range(2)
    }
    assert len(results) == 1


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner),
        st.tuples(inner),
        st.dictionaries(st.text(), inner),
        st.sets(st.integers()),
        st.frozensets(st.text()),
    ),
    max_leaves=12,
)


@given(values, values)
def test_equal_digests_mean_equal_values(one: Any, other: Any) -> None:
    def of(value: Any) -> bytes:
        made = ModuleType("sample")
        made.__dict__["x"] = value
        return fingerprint([("sample", "x")], modules={"sample": made})

    import copy

    assert (
        of(one) == of(copy.deepcopy(one))
        or isinstance(one, set | frozenset)
        or "set" in repr(one)
        or "{" in repr(one)
    )
    if repr(one) != repr(other) and one != other:
        assert of(one) != of(other)


def test_what_pickle_remembers_of_a_class_is_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickling an instance leaves ``__slotnames__`` in its class, here before a call and there after it."""
    made = module("class x:\n    def __init__(self): self.a = 1\n")
    monkeypatch.setitem(sys.modules, "sample", made)
    before = fingerprint([("sample", "x")], modules=sys.modules)
    copy.copy(made.__dict__["x"]())
    assert "__slotnames__" in vars(made.__dict__["x"])
    assert fingerprint([("sample", "x")], modules=sys.modules) == before


def test_threads_do_not_matter() -> None:
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(digest("x = [1, {2}]"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1


def test_what_has_no_encoding_hides_nothing_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class attribute that holds a lock, among others: the others count."""
    module = ModuleType("gaps_sample")
    monkeypatch.setitem(sys.modules, "gaps_sample", module)
    source = "import threading\nclass Settings:\n    conf = [threading.Lock(), 4]\n    table = {1: threading.Lock()}\n"
    exec(source, module.__dict__)

    def digest() -> bytes:
        return fingerprint([("gaps_sample", "Settings")], modules=sys.modules)

    met = {digest()}
    module.Settings.conf[1] = 5
    met.add(digest())
    module.Settings.table[2] = 0
    met.add(digest())
    module.Settings.table[1] = 0
    met.add(digest())
    assert len(met) == 4


@pytest.mark.parametrize("met", ["A, A", "here, A", "A, here", "here, here"])
def test_a_gap_of_a_class_is_none_of_what_holds_the_class(monkeypatch: pytest.MonkeyPatch, met: str) -> None:
    """networkx keeps a lock-like object on the class of its decorators, and each decorated function meets it twice."""
    module = ModuleType("gaps_sample")
    monkeypatch.setitem(sys.modules, "gaps_sample", module)
    exec(
        "import threading\nclass A:\n    conf = threading.Lock()\n"
        "class Holder:\n    first = A\n    second = [A]\n"
        f"def here(): pass\nhere.kept = A\nVALUE = [{met}]\nINSIDE = [Holder, {met}]\n",
        module.__dict__,
    )
    for name in ("VALUE", "INSIDE"):
        assert fingerprint([("gaps_sample", name)], modules=sys.modules)


def test_a_gap_is_an_obstacle_where_the_value_itself_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("gaps_sample")
    monkeypatch.setitem(sys.modules, "gaps_sample", module)
    exec("import threading\nCONF = [threading.Lock()]\nclass A:\n    conf = CONF\n", module.__dict__)
    fingerprint([("gaps_sample", "A")], modules=sys.modules)
    for reads in ([("gaps_sample", "CONF")], [("gaps_sample", "A"), ("gaps_sample", "CONF")]):
        with pytest.raises(Unfingerprintable):
            fingerprint(reads, modules=sys.modules)


@pytest.mark.parametrize("name", ["default", "item_separator", "encode"])
def test_what_a_program_puts_into_a_class_of_the_library_is_seen(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    reads = [("json", "JSONEncoder")]
    before = fingerprint(reads, modules=sys.modules)
    monkeypatch.setattr(json.JSONEncoder, name, lambda self, thing: "x")
    assert fingerprint(reads, modules=sys.modules) != before
    monkeypatch.undo()
    assert fingerprint(reads, modules=sys.modules) == before
