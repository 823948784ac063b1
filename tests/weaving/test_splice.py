"""Before/after pairs: where the decorator line goes, and which functions stay as they are."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from bundlebee.errors import WeaveError
from bundlebee.weaving.outcomes import Skipped, Woven
from bundlebee.weaving.splice import Spliced, splice


def spliced(source: str) -> Spliced:
    text = dedent(source)
    return splice(text, ast.parse(text))


def assert_woven(before: str, after: str) -> None:
    assert spliced(before).text == dedent(after)


def test_a_function() -> None:
    assert_woven(
        """
        # above
        def f(x):  # beside
            return x
        """,
        """
        # above
        @__bee__.join_point
        def f(x):  # beside
            return x
        """,
    )


def test_the_advice_is_the_innermost_decorator() -> None:
    assert_woven(
        """
        @outer
        # between
        @inner(1)

        # below
        def f(): pass
        """,
        """
        @outer
        # between
        @inner(1)
        @__bee__.join_point

        # below
        def f(): pass
        """,
    )


def test_methods_of_nested_classes() -> None:
    assert_woven(
        """
        class A:
            '''Doc.'''
            def m(self): pass
            class B(A):
                @staticmethod
                def s(): pass
                @classmethod
                def c(cls): pass
                @property
                def p(self): pass
                @p.setter
                def p(self, value): pass
        """,
        """
        class A:
            '''Doc.'''
            @__bee__.join_point
            def m(self): pass
            class B(A):
                @staticmethod
                @__bee__.join_point
                def s(): pass
                @classmethod
                @__bee__.join_point
                def c(cls): pass
                @property
                @__bee__.join_point
                def p(self): pass
                @p.setter
                @__bee__.join_point
                def p(self, value): pass
        """,
    )


def test_functions_below_statements_of_the_module() -> None:
    assert_woven(
        """
        if a:
            def f(): pass
        elif b:
            def g(): pass
        else:
            def h(): pass
        try:
            def i(): pass
        except E: pass
        except F:
            def j(): pass
        else:
            def k(): pass
        finally:
            def l(): pass
        for x in y:
            def m(): pass
        else:
            def n(): pass
        while a:
            def o(): pass
        with a as b, c:
            def p(): pass
        match a:
            case 1:
                def q(): pass
        try:
            pass
        except* E:
            def r(): pass
        """,
        """
        if a:
            @__bee__.join_point
            def f(): pass
        elif b:
            @__bee__.join_point
            def g(): pass
        else:
            @__bee__.join_point
            def h(): pass
        try:
            @__bee__.join_point
            def i(): pass
        except E: pass
        except F:
            @__bee__.join_point
            def j(): pass
        else:
            @__bee__.join_point
            def k(): pass
        finally:
            @__bee__.join_point
            def l(): pass
        for x in y:
            @__bee__.join_point
            def m(): pass
        else:
            @__bee__.join_point
            def n(): pass
        while a:
            @__bee__.join_point
            def o(): pass
        with a as b, c:
            @__bee__.join_point
            def p(): pass
        match a:
            case 1:
                @__bee__.join_point
                def q(): pass
        try:
            pass
        except* E:
            @__bee__.join_point
            def r(): pass
        """,
    )


@pytest.mark.parametrize(
    "unchanged",
    [
        "x = 1; y = lambda: 2\n",
        "class A: x = 1\n",
        "async def f(): yield\n",
        "def f():\n    yield 1\n",
        "def f():\n    x = yield from g()\n",
        "class A:\n    def __eq__(self, other): pass\n    def __reduce__(self): pass\n",
        "@overload\ndef f(x): ...\n",
        "@typing.overload\ndef f(x): ...\n",
        "@numba.njit(cache=True)\ndef f(x): ...\n",
        "",
        "# nothing",
    ],
)
def test_what_stays_as_it_is(unchanged: str) -> None:
    assert spliced(unchanged).text == unchanged


def test_nested_functions_are_no_join_points() -> None:
    assert_woven(
        """
        def f():
            def g(): pass
            class C:
                def m(self): pass
            return g
        """,
        """
        @__bee__.join_point
        def f():
            def g(): pass
            class C:
                def m(self): pass
            return g
        """,
    )


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n\treturn 1\n",
        "def f(): return 1",
        "\x0cdef f():\n    return 1\n\x0c\ndef g(): pass\n",
        "if 1:\n\x0c    def f(): pass\n",
        "def f(a,\n  b): return \\\n   a\n",
        "class A:\n  def f(self): pass\n    # odd comment\n  def g(self): pass\n",
    ],
)
def test_odd_layouts(text: str) -> None:
    woven = spliced(text).text
    # libcst drops a form feed before the first token of a line; Python ignores it there
    kept = [line.lstrip("\x0c") for line in woven.split("\n") if "@__bee__" not in line]
    assert kept == [line.lstrip("\x0c") for line in text.split("\n")]
    assert woven.count("@__bee__") == text.count("def ")
    ast.parse(woven)


def test_outcomes_are_values_in_the_order_of_the_source() -> None:
    points = spliced(
        """
        def f(): pass
        async def g(): pass
        async def h(): yield
        class A:
            def m(self): (yield)
            def __hash__(self): return "yield"
        def inner_yield():
            return lambda: (yield)
        def nested_yield():
            def g(): yield
            return g
        """
    ).points
    assert points == (
        Woven("f", 2),
        Woven("g", 3),
        Skipped("h", 4, "is an asynchronous generator"),
        Skipped("A.m", 6, "is a generator"),
        Skipped("A.__hash__", 7, "is called by the machinery of pickling and attribute access"),
        Woven("inner_yield", 8),
        Woven("nested_yield", 10),
    )


def test_what_libcst_cannot_read() -> None:
    with pytest.raises(WeaveError, match="libcst cannot read"):
        splice("def f(:", ast.parse(""))


def test_trees_that_do_not_match() -> None:
    with pytest.raises(WeaveError, match="differently"):
        splice("x = 1\n", ast.parse("x = 1\ny = 2\n"))
    with pytest.raises(WeaveError, match="differently"):
        splice("if x:\n  y\n", ast.parse(""))
