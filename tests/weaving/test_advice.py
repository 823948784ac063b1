"""What woven code calls. An aspect that fails must cost the program nothing but the advice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bundlebee.weaving.advice import Advice, Unrepeatable, here
from bundlebee.weaving.outcomes import ScatterSite

SITE = ScatterSite(0, "list", "f", "main", 1, 0)


def double(x: int) -> int:
    return 2 * x


def halved(x: int) -> float:
    return x / 2


def test_join_point_returns_the_same_function_and_tells_the_aspect() -> None:
    seen: list[Any] = []
    advice = Advice("m", on_join_point=seen.append)
    assert advice.join_point(double) is double  # type: ignore[arg-type]
    assert advice.points == seen and seen[0].name == "m:double" and seen[0].function is double


def test_an_aspect_that_raises_leaves_the_function_plain(caplog: pytest.LogCaptureFixture) -> None:
    def fail(point: object) -> None:
        raise RuntimeError("broken aspect")

    with caplog.at_level(logging.WARNING):
        assert Advice("m", on_join_point=fail).join_point(double) is double  # type: ignore[arg-type]
    assert double(2) == 4
    assert "m:double stays plain: RuntimeError: broken aspect" in caplog.text


def test_the_aspect_may_take_note_of_functions_itself() -> None:
    noted: list[Any] = []

    def note(function: Any) -> Any:
        noted.append(function)
        return function

    asked: list[Advice] = []
    advice = Advice("m", on_defined=lambda who: asked.append(who) or note)
    for function in (double, halved):
        assert advice.join_point(function) is function  # type: ignore[arg-type]
    assert noted == [double, halved] and asked == [advice] and not advice.points
    assert advice.make(halved).name == "m:halved"  # type: ignore[arg-type]


def test_a_join_point_is_called_what_the_compiler_called_it() -> None:
    class Case:
        def method(self) -> None: ...

    method: Any = Case.method
    method.__qualname__ = "other"
    qualname = f"{test_a_join_point_is_called_what_the_compiler_called_it.__name__}.<locals>.Case.method"
    assert Advice("m").make(method).qualname == qualname


def test_sites_are_on_only_with_an_aspect() -> None:
    assert Advice("m", [SITE]).s0 is False  # type: ignore[attr-defined]
    advice = Advice("m", [SITE], on_scatter=lambda *args: iter(()))
    assert advice.s0 is True  # type: ignore[attr-defined]
    advice.switch(0, False)
    assert advice.s0 is False  # type: ignore[attr-defined]


def test_scatter_hands_everything_to_the_aspect() -> None:
    seen: list[Any] = []

    def on_scatter(*args: Any) -> Iterator[Any]:
        seen.append(args)
        return iter([(1, double)])

    advice = Advice("m", [SITE], on_scatter=on_scatter)
    function, args_of = (lambda: double), (lambda x: Advice.args(x))
    assert list(advice.scatter(0, function, [1], None, args_of)) == [(1, double)]
    assert seen == [(advice, SITE, function, [1], None, args_of)]


def test_a_scatter_aspect_that_raises_is_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any) -> Any:
        raise RuntimeError("broken aspect")

    advice = Advice("m", [SITE], on_scatter=fail)
    with caplog.at_level(logging.WARNING):
        items = list(advice.scatter(0, lambda: double, [1, 2], None, lambda x: Advice.args(x)))
    assert items == [(1, double), (2, double)] and advice.s0 is False  # type: ignore[attr-defined]
    assert "scatter site 0 of m is off: RuntimeError" in caplog.text


def test_here_looks_the_function_up_for_each_item_only() -> None:
    def lookup() -> Any:
        raise NameError("f")

    assert list(here(lookup, [], None)) == []
    with pytest.raises(NameError):
        list(here(lookup, [1], None))


def test_here_takes_targets_from_the_shape() -> None:
    items = here(lambda: double, range(4), lambda it: ((x, -x) for x in it if x % 2))
    assert [(targets, function(2)) for targets, function in items] == [((1, -1), 4), ((3, -3), 4)]


def test_args() -> None:
    assert Advice.args(1, *(2, 3), k=4, m=5) == ((1, 2, 3), {"k": 4, "m": 5})


@pytest.mark.parametrize("value", [[1], (1,), "ab", {1: 2}, range(3), 5, None, (iter([]),)])
def test_what_can_be_looked_at_again(value: Any) -> None:
    assert Advice.again(value) is value


@pytest.mark.parametrize(
    ("value", "depth"),
    [(iter([1]), 1), ((x for x in "ab"), 1), (zip("a", "b", strict=False), 1), ((1, iter([])), 2)],
)
def test_what_cannot(value: Any, depth: int) -> None:
    with pytest.raises(Unrepeatable):
        Advice.again(value, depth)
