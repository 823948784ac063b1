"""Customs: which analysis of a function speaks of which call."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from textwrap import dedent
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import pytest

from bundlebee.aspects.freight import Customs, Stays, check_look
from bundlebee.aspects.profile import ASKED, Profile
from bundlebee.bundles.effects import Effect, EffectAnalysis, Summary
from bundlebee.bundles.facts import ModuleFacts, collect
from bundlebee.bundles.values import Walk
from bundlebee.words import Reason

SOURCE = """
class Plain:
    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size


TOLD = []


def measure(thing):
    return len(thing)


def apply(function, thing):
    return function(thing)


def note(thing):
    TOLD.append(thing)


def joined(things):
    return ",".join(things)
"""

LATER = """
TOLD = []


class Telling:
    def __len__(self):
        TOLD.append(1)
        return 1
"""


class Grid:
    """Answers for the analysis, and counts what it was asked."""

    def __init__(self) -> None:
        self.facts: dict[str, ModuleFacts] = {}
        self.analysis = EffectAnalysis(self.facts.get)
        self.general = 0
        self.special = 0

    def load(self, source: str, name: str) -> ModuleType:
        module = ModuleType(name)
        module.__file__ = f"{name}.py"
        sys.modules[name] = module
        self.facts[name] = collect(ast.parse(dedent(source)), name)
        exec(compile(dedent(source), f"{name}.py", "exec", dont_inherit=True), module.__dict__)
        return module

    def summary(self, point: FunctionType) -> Summary:
        self.general += 1
        return self.analysis.summary(point)

    def summary_for(
        self,
        point: FunctionType,
        found: Walk,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        gaps: bool = False,
    ) -> Summary:
        self.special += 1
        return self.analysis.for_arguments(point, found, args, kwargs, gaps=gaps)


@pytest.fixture
def grid() -> Iterator[Grid]:
    made = Grid()
    yield made
    for name in made.facts:
        sys.modules.pop(name, None)


def profile(function: FunctionType) -> Any:
    """Customs never call the function, so it may stand for its join point."""
    return Profile(function)  # type: ignore[arg-type]


def test_whatever_calls_get_is_looked_into_once_there_were_some(grid: Grid) -> None:
    customs = Customs(grid)  # type: ignore[arg-type]
    asked = profile(grid.load(SOURCE, "freight_sample").joined)
    for _ in range(ASKED - 1):
        assert customs.clear(asked, (["a", "b"],), {}).summary.level is Effect.FREE
    assert grid.general == 0
    for _ in range(3):
        assert customs.clear(asked, (["a", "b"],), {}).summary.level is Effect.FREE
    assert (grid.general, grid.special) == (1, ASKED)


def test_modules_that_come_later_do_not_have_it_looked_into_each_time(grid: Grid) -> None:
    customs = Customs(grid)  # type: ignore[arg-type]
    asked = profile(grid.load(SOURCE, "freight_sample").joined)
    for number in range(8 * ASKED):
        customs.clear(asked, (["a", "b"],), {})
        grid.load("", f"freight_later_{number}")
    assert 1 <= grid.general <= 4


def test_calls_under_one_freight_are_judged_as_its_first_was(grid: Grid) -> None:
    customs = Customs(grid)  # type: ignore[arg-type]
    module = grid.load(
        """
        FACTOR = 3


        class Scaled:
            def __init__(self, value):
                self.value = value

            def __mul__(self, other):
                return self.value * other * FACTOR


        def twice(thing):
            return thing * 2
        """,
        "freight_scaled",
    )
    asked = profile(module.twice)
    summary = customs.clear(asked, (1,), {}).summary
    factor = ("freight_scaled", "FACTOR")
    assert factor not in summary.reads
    freight: Any = SimpleNamespace(summary=summary, state=frozenset(), call=SimpleNamespace(writes=False))
    for number in range(2 * ASKED):
        customs.clear(asked, (number,), {})
        customs.check(asked, freight, Effect.FREE, (number,), {})
    assert factor in asked.summary.reads  # any call may meet a Scaled
    with pytest.raises(Stays):
        customs.check(asked, freight, Effect.FREE, (module.Scaled(1),), {})


def test_a_function_among_the_arguments_is_looked_at(grid: Grid) -> None:
    customs = Customs(grid)  # type: ignore[arg-type]
    module = grid.load(SOURCE, "freight_sample")
    asked = profile(module.apply)
    assert customs.clear(asked, (module.measure, [1]), {}).summary.level is Effect.FREE
    with pytest.raises(Stays):
        customs.clear(asked, (module.note, [1]), {})


def test_a_class_that_came_later_is_looked_at(grid: Grid) -> None:
    customs = Customs(grid)  # type: ignore[arg-type]
    module = grid.load(SOURCE, "freight_sample")
    asked = profile(module.measure)
    assert customs.clear(asked, (module.Plain(3),), {}).summary.level is Effect.FREE
    telling = grid.load(LATER, "freight_later").Telling
    with pytest.raises(Stays):
        customs.clear(asked, (telling(),), {})


def test_a_set_whose_copy_iterates_otherwise_is_looked_at(grid: Grid) -> None:
    customs = Customs(grid)  # type: ignore[arg-type]
    module = grid.load(
        """
        def first(things):
            for thing in things:
                return thing
        """,
        "freight_sets",
    )
    asked = profile(module.first)
    assert customs.clear(asked, ({1, 2, 3},), {}).summary.level is Effect.FREE
    shrunk = set(range(1000))
    shrunk -= set(range(7, 990))  # its table stays large, the one of a copy is small
    items = list(shrunk)
    assert items != list(set(items))
    with pytest.raises(Stays):
        customs.clear(asked, (shrunk,), {})


ADDING = """
def add(x, y=0):
    return x + y
"""


@pytest.mark.parametrize(
    ("calls", "together"),
    [
        ([((1,), {}), ((2,), {})], True),
        ([(("a", "b"), {}), (("c", "d"), {})], True),
        ([((1,), {}), (("c",), {})], False),  # not alike
        ([((1,), {}), ((2, 3), {})], False),
        ([((1,), {}), ((2,), {"y": 3})], False),
        ([((1.0,), {}), ((float("nan"),), {})], False),
        ([((1,), {}), (([],), {})], False),
        ([((1,), {}), (((1, 2),), {})], False),
    ],
)
def test_one_look_at_many_calls(grid: Grid, calls: list[Any], together: bool) -> None:
    customs = Customs(grid)  # type: ignore[arg-type]
    asked = profile(grid.load(ADDING, "freight_adding").add)
    summary = customs.clear(asked, *calls[0]).summary
    freight: Any = SimpleNamespace(summary=summary, state=frozenset(), call=SimpleNamespace(writes=False))
    assert (customs.check_all(asked, freight, calls) is not None) is together


def test_arguments_that_take_longer_to_look_at_than_the_call() -> None:
    many = [[number] for number in range(10_000)]
    check_look(60.0, (many,), {})
    check_look(60.0, (1,), {})
    with pytest.raises(Stays) as raised:
        check_look(1e-9, (), {"many": many})
    assert raised.value.reason is Reason.CHEAPER_HERE
