"""Scatter sites: before/after pairs, and both branches run with a fake aspect."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.weaving.advice import Advice, Unrepeatable
from bundlebee.weaving.outcomes import ADVICE_NAME, ScatterSite, SkippedSite
from bundlebee.weaving.splice import Spliced, splice


def spliced(source: str) -> Spliced:
    text = dedent(source)
    return splice(text, ast.parse(text))


def assert_spread(before: str, after: str) -> None:
    """Of a module with one expression: its woven form, up to layout."""
    result = spliced(before)
    assert [type(site) for site in result.sites] == [ScatterSite], result.sites
    assert ast.unparse(ast.parse(result.text)) == ast.unparse(ast.parse(dedent(after)))


# -- what it looks like -----------------------------------------------------------------------------------


def test_a_list_comprehension() -> None:
    assert spliced("x = [f(a) for a in b]\n").text == (
        "x = ([__bee_c(a) for a, __bee_c"
        " in __bee__.scatter(0, lambda: f, b, None, lambda a: __bee__.args(a))]"
        " if __bee__.s0 else [f(a) for a in b])\n"
    )


def test_set_and_dict() -> None:
    assert_spread(
        "{f(a) + 1 for a in b}",
        """
        ({__bee_c(a) + 1 for a, __bee_c in __bee__.scatter(0, lambda: f, b, None, lambda a: __bee__.args(a))}
         if __bee__.s0 else {f(a) + 1 for a in b})
        """,
    )
    assert_spread(
        "{a: f(a, key=c) for a in b}",
        """
        ({a: __bee_c(a, key=c)
          for a, __bee_c in __bee__.scatter(0, lambda: f, b, None, lambda a: __bee__.args(a, key=c))}
         if __bee__.s0 else {a: f(a, key=c) for a in b})
        """,
    )


def test_a_filter_becomes_a_shape() -> None:
    assert_spread(
        "[f(a) for a in b if a if a > 1]",
        """
        ([__bee_c(a) for a, __bee_c in __bee__.scatter(
            0, lambda: f, b, lambda __bee_i: (a for a in __bee_i if a if a > 1), lambda a: __bee__.args(a))]
         if __bee__.s0 else [f(a) for a in b if a if a > 1])
        """,
    )


def test_several_loops_become_a_shape() -> None:
    assert_spread(
        "[f(x, y) for y in b for x in range(y)]",
        """
        ([__bee_c(x, y) for (y, x), __bee_c in __bee__.scatter(
            0, lambda: f, b, lambda __bee_i: ((y, x) for y in __bee_i for x in range(y)),
            lambda __bee_t: [__bee__.args(x, y) for (y, x) in (__bee_t,)][0])]
         if __bee__.s0 else [f(x, y) for y in b for x in range(y)])
        """,
    )


def test_a_pattern_is_unpacked_from_what_can_be_looked_at_again() -> None:
    assert_spread(
        "[f(q) for i, (q, *r) in b]",
        """
        ([__bee_c(q) for (i, (q, *r)), __bee_c in __bee__.scatter(
            0, lambda: f, b, None,
            lambda __bee_t: [__bee__.args(q) for (i, (q, *r)) in (__bee__.again(__bee_t, 2),)][0])]
         if __bee__.s0 else [f(q) for i, (q, *r) in b])
        """,
    )


def test_a_generator_that_is_consumed_at_once() -> None:
    assert_spread(
        "sum(f(a) for a in b)",
        """
        sum((__bee_c(a) for a, __bee_c in __bee__.scatter(0, lambda: f, b, None, lambda a: __bee__.args(a)))
            if __bee__.s0 else (f(a) for a in b))
        """,
    )
    for call in (
        "max((f(a) for a in b), default=0)",
        "sorted((f(a) for a in b), key=lambda x: -x)",
        "', '.join(f(a) for a in b)",
        "g(*(f(a) for a in b))",
        "[1, *(f(a) for a in b)]",
        "dict((a, f(a)) for a in b)",
    ):
        assert [site.kind for site in spliced(call).sites] == ["generator"], call


def test_map() -> None:
    assert_spread(
        "list(map(f, b))",
        """
        list(__bee__.each(0, lambda: f, b) if __bee__.s0 else map(f, b))
        """,
    )
    for source, fresh in (("zip(b, c)", True), ("enumerate(b)", True), ("b", False), ("iter(b)", False)):
        for call in (f"[f(a) for a in {source}]", f"list(map(f, {source}))"):
            assert [site.fresh for site in spliced(call).sites] == [fresh], call
    for call in ("sum(map(m.f, b), 1)", "print(*map(f, b))", "[*map(f, b)]", "' '.join(map(f, b))"):
        assert [site.kind for site in spliced(call).sites] == ["map"], call


def test_layout_and_comments_stay_in_the_original() -> None:
    before = dedent(
        """
        def g(b):
            return [
                f(a)  # why
                # how
                for a in b
            ] + []
        """
    )
    after = spliced(before).text
    assert "else [\n        f(a)  # why\n        # how\n        for a in b\n    ]) + []\n" in after


def test_sites_nest_in_the_first_iterable() -> None:
    sites = spliced("[f(a) for a in [g(b) for b in c]]").sites
    assert [(site.callee, site.index) for site in sites if isinstance(site, ScatterSite)] == [
        ("g", 0),
        ("f", 1),
    ]


def test_where_sites_are_reported() -> None:
    text = dedent(
        """
        é = [f(a) for a in b]
        class A:
            def m(self):
                def inner(): return "é", {self.g(a.b): 1 for a in b if a.c.d}
        if [h(x) for x in y]: pass
        """
    )
    assert splice(text, ast.parse(text)).sites == (
        ScatterSite(0, "list", "f", "<module>", 2, 5, ()),
        ScatterSite(1, "dict", "self.g", "A.m", 5, 34, ("b", "c", "d")),
        ScatterSite(2, "list", "h", "<module>", 6, 3, ()),
    )


# -- what is left alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("[f(g(a)) for a in b]", "also calls g"),
        ("[f(a) + g(a) for a in b]", "also calls g"),
        ("{f(a): f(a) for a in b}", "also calls f"),
        ("[f(a) for a in b if g(a)]", "also calls g"),
        ("[f(a) for a in b if f(a)]", "also calls f"),
        ("[f(a.strip()) for a in b]", "also calls a.strip"),
        ("[f(open(a)) for a in b]", "also calls open"),
        ("[f(a)(1) for a in b]", "also calls something"),
        ("import os\n[f(os.getcwd()) for a in b]", "also calls os.getcwd"),
        ("def max(): pass\n[f(max(a, 1)) for a in b]", "also calls max"),
        ("from m import *\n[f(len(a)) for a in b]", "also calls len"),
        ("[f(a) if a else 0 for a in b]", "is called for some of the items only"),
        ("[a and f(a) for a in b]", "is called for some of the items only"),
        ("[a < b < f(a) for a in b]", "is called for some of the items only"),
        ("[f(lambda: a) for a in b]", "holds a lambda"),
        ("[f([x for x in a]) for a in b]", "holds another comprehension"),
        ("[f(y := a) for a in b]", "waits, yields or assigns inside"),
        ("async def g():\n    return [f(await a) for a in b]", "waits, yields or assigns inside"),
        ("async def g():\n    return [f(a) async for a in b]", "is asynchronous"),
        ("[f(a) for a in b for c in a]", "has an inner loop over something that may have effects"),
        ("[f(1) for a.b in c]", "assigns to more than names"),
        ("[f(a) for a in b for a in range(a)]", "binds a name twice"),
        ("list(map(f, b, c))", "goes over several iterables"),
    ],
)
def test_candidates_that_are_not_spread(source: str, reason: str) -> None:
    result = spliced(source)
    assert [site.reason for site in result.sites if isinstance(site, SkippedSite)] == [reason]
    assert [site for site in result.sites if isinstance(site, ScatterSite)] == []


@pytest.mark.parametrize(
    "source",
    [
        "[a for a in b]",
        "[len(a) for a in b]",
        "[a.f() for a in b]",
        "[a(1) for a in b]",
        "(f(a) for a in b)",  # lazy: its consumer decides when, and whether
        "g(f(a) for a in b)",
        "map(f, b)",
        "list(map(lambda x: x, b))",
        "list(map(str, b))",
        "import os\n[os.stat(a) for a in b]",
        "def list(x): pass\nlist(map(f, b))",
        "class A:\n    x = [f(a) for a in b]",
        "def g(x=[f(a) for a in b]): pass",
        "@g([f(a) for a in b])\ndef h(): pass",
        "x: [f(a) for a in b] = 1",
        "g = lambda x=[f(a) for a in b]: x",
        "f'{[f(a) for a in b]}'",
        "[[a] for a in b for c in [f(x) for x in a]]",
    ],
)
def test_what_is_no_site(source: str) -> None:
    result = spliced(source)
    assert result.sites == ()
    assert "scatter" not in result.text


def test_names_that_only_a_class_binds_shadow_nothing() -> None:
    source = "class A:\n    def sum(self): pass\n    len = 1\nx = sum(f(len(a)) for a in b)"
    assert [site.callee for site in spliced(source).sites] == ["f"]


@pytest.mark.parametrize(
    "source",
    ["import math\n[f(math.sqrt(a)) for a in b]", "from math import sqrt as s\n[f(s(a)) for a in b]"],
)
def test_math_is_harmless(source: str) -> None:
    assert [site.callee for site in spliced(source).sites] == ["f"]


# -- what it does -----------------------------------------------------------------------------------------


class Ahead:
    """A fake aspect: prepares a window of items ahead of their turn, as the real one does with peers."""

    def __init__(self, window: int = 3) -> None:
        self.window = window
        self.spread = 0

    def __call__(
        self, advice: Advice, site: ScatterSite, function: Any, iterable: Any, shape: Any, args_of: Any
    ) -> Iterator[Any]:
        targets = iter(iterable if shape is None else shape(iterable))
        failure: Exception | None = None
        while failure is None:
            window: list[Any] = []
            try:
                window.extend(itertools.islice(targets, self.window))
            except Exception as error:  # what comes before it is not lost: extend keeps it
                failure = error
            if not window:
                break
            yield from [(item, self.prepared(function(), args_of, item)) for item in window]
        if failure is not None:
            raise failure

    def prepared(self, function: Callable[..., Any], args_of: Any, item: Any) -> Callable[..., Any]:
        try:
            args, kwargs = args_of(item)
            result = function(*args, **kwargs)
        except Exception:
            return function  # in its turn, it will say what is wrong
        self.spread += 1

        def ready(*a: Any, **k: Any) -> Any:
            assert repr((a, k)) == repr((args, kwargs))
            return result

        return ready


def run(source: str, aspect: Any, **names: Any) -> Any:
    """The value of ``x`` after the woven module ran, or what it raised."""
    result = spliced(source)
    sites = [site for site in result.sites if isinstance(site, ScatterSite)]
    namespace = {ADVICE_NAME: Advice("m", sites, on_scatter=aspect), **names}
    return value_of(result.text, namespace)


def value_of(text: str, namespace: dict[str, Any]) -> Any:
    try:
        exec(compile(text, "<module>", "exec"), namespace)
    except Exception as error:
        return type(error), str(error)
    return namespace["x"]


def f(*args: Any, **kwargs: Any) -> Any:
    return hash((args, tuple(kwargs.items()))) if len(args) > 1 or kwargs else args[0]


PROGRAMS = [
    "x = [f(a) for a in range(10)]",
    "x = {f(a % 3) for a in range(10)}",
    "x = {a: f(a, k=a) for a in range(10)}",
    "x = {f(a): a for a in range(10)}",
    "x = sum(f(a) for a in range(10) if a % 2)",
    "x = max((f(a) for a in []), default=9)",
    "x = list(map(f, 'hello'))",
    "x = [*map(f, range(4)), 5]",
    "def g(a):\n if a == 2: raise StopIteration\n return a\nx = list(map(g, range(4)))",
    "x = list(map(f, 5))",
    "x = ', '.join(str(f(a)) for a in range(7))",
    "x = [f(i, *v) for i, v in enumerate([(1,), (2, 3)])]",
    "x = [f(i + a) for i, (a, *b) in enumerate([(1,), (2, 3)]) if b or i < 1]",
    "x = [f(i * j) for i in range(4) for j in range(i) if i != j + 1]",
    "x = [f(a) for a in [f(b) for b in range(5)]]",
    "x = any(f(a) for a in [0, 0, 3, 1 // 1])",
    "x = [(a, f(**{'k': a})) for a in range(3)]",
    "def g(n, m=2):\n    y = n + m\n    return [f(a + y) for a in range(n)]\nx = g(4)",
    "class A:\n  def f(self, v): return v\n  def g(self): return [self.f(a) for a in range(4)]\nx = A().g()",
    "class A:\n  def __f(self, v): return v\n  def g(self, __q): return [self.__f(a + __q) for a in 'ab']\n"
    "x = A().g('c')",
    "x = [f(a) for a in range(3) for b in 'ab']",
    "g = lambda v: [f(a) for a in v]\nx = g([1, 2])",
    "x = [f(1 // a) for a in [1, 0, 2]]",
    "x = [f(a)[0] for a in ['a', '', 'b']]",
    "x = [f(a) for a in 5]",
    "x = [nobody(a) for a in []]",
    "x = [nobody(a) for a in [1]]",
    "x = [f(a) for a, b in [(1, 2), (3,)]]",
    "x = [f(a) for a in [3, 2, 1, 0] if 6 // a]",
    "x = [f(sum(g)) for g in [iter([1, 2]), iter([3])]]",
    "x = [f(*g) for g in [iter([1]), iter([3])]]",
    "import itertools\nx = [f(k, len(list(g))) for k, g in itertools.groupby('aabbb')]",
    "x = [f(a) for a, b in [iter('ab'), iter('cd')]]",
    "it = iter([1, 2, 3])\nx = [f(2 in it) for a in range(2)]",
]


@pytest.mark.parametrize("source", PROGRAMS)
@pytest.mark.parametrize("window", [1, 3, 100])
def test_the_spread_branch_does_what_the_original_does(source: str, window: int) -> None:
    plain = value_of(source, {"f": f})
    if "groupby" in source and window > 1:
        pytest.skip("a real aspect does not pull ahead from an iterator of that kind")
    assert run(source, Ahead(window), f=f) == plain
    assert run(source, None, f=f) == plain


def test_items_are_prepared_ahead() -> None:
    aspect = Ahead()
    run("x = [f(sum(a)) + len(a) for a in [[1], [2, 3]] if len(a)]", aspect, f=f)
    assert aspect.spread == 2


def test_a_site_that_is_off_runs_the_original() -> None:
    result = spliced("x = [f(a) for a in range(3)]")
    advice = Advice("m", [s for s in result.sites if isinstance(s, ScatterSite)], on_scatter=Ahead())
    advice.switch(0, False)
    aspect_free = {ADVICE_NAME: advice, "f": f}
    assert value_of(result.text, aspect_free) == [0, 1, 2]


def test_an_operand_that_could_be_used_up_is_asked_first() -> None:
    seen: list[Any] = []

    def look(advice: Advice, site: Any, function: Any, iterable: Any, shape: Any, args_of: Any) -> Any:
        for item in iterable:
            with pytest.raises(Unrepeatable):
                args_of(item)
            seen.append(item)
            yield item, function()

    assert run("x = [f(sum(a)) for a in [iter([1, 2])]]", look, f=f) == [3] and len(seen) == 1


@given(
    st.lists(st.integers(-3, 3), max_size=8),
    st.integers(1, 4),
    st.sampled_from(["a", "a + b", "10 // a", "a, b", "[a]", "a if b else -a", "f'{a}'", "-a * 2"]),
    st.sampled_from(["", "if a", "if a > b", "if 6 // a", "if a if b"]),
    st.sampled_from(["[{}]", "{{{}}}", "sum({})", "list({})", "sorted({})", "any({})", "str([{}])"]),
)
def test_any_site_does_what_the_original_does(
    values: list[int], window: int, argument: str, condition: str, form: str
) -> None:
    source = f"x = {form.format(f'f({argument}) for a in values {condition}')}"
    plain = value_of(source, {"f": f, "values": values, "b": 1})
    assert run(source, Ahead(window), f=f, values=values, b=1) == plain


@pytest.mark.parametrize(
    "place",
    [
        "if {}: pass",
        "if a: pass\nelif {}: pass",
        "while {}: pass",
        "for a in {}: pass",
        "with {} as a, b: pass",
        "with a as b, {}: pass",
        "if a: x = {}",
        "for a in b:\n  pass\nelse:\n  x = {}",
        "try:\n  pass\nexcept E:\n  x = {}\nfinally:\n  pass",
        "match a:\n  case 1:\n    x = {}",
        "x = 1; y = {}; z = 2",
        "def g():\n  if a:\n    return {}",
        "def g():\n  def h():\n    yield {}",
        "def g():\n  class A:\n    def m(self): return {}",
        "def g():\n  async def h():\n    async with a:\n      async for b in {}: pass",
        "class A:\n  if a:\n    def m(self):\n      for a in {}: pass",
        "x = lambda: {}",
        "x = [1, (2, {{3: {}}})]",
        "assert {}, 'no'",
        "x = y = {}",
        "print(a, *b, k={})",
    ],
)
def test_wherever_it_stands(place: str) -> None:
    source = place.format("[f(v) for v in w]")
    result = spliced(source)
    assert [type(site) for site in result.sites] == [ScatterSite]
    line, column = result.sites[0].line, result.sites[0].column
    assert source.split("\n")[line - 1][column:].startswith("[f(v)")
    assert result.text.count("else [f(v) for v in w]") == 1


@pytest.mark.parametrize(
    "place", ["class A:\n  x = {}", "def g():\n  class A:\n    x = {}", "class A:\n  if {}: pass"]
)
def test_not_in_a_class_body(place: str) -> None:
    assert spliced(place.format("[f(v) for v in w]")).sites == ()
