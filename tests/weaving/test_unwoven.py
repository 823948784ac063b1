"""A function whose loops do not spread (any more) runs the very code that its author wrote."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from bundlebee.aspects.analysis import Analysis, Running
from bundlebee.weaving.advice import Advice, here
from bundlebee.weaving.loom import Loom
from bundlebee.weaving.outcomes import ADVICE_NAME
from bundlebee.weaving.weaver import EXCHANGES

SOURCE = textwrap.dedent(
    """
    import functools

    def work(x, k=0):
        return 10 * x + k

    def one(xs, k):
        total = [work(x, k) for x in xs]
        for i in range(3):
            total.append(i * k)
        return total

    def two(xs):
        return sum(work(x) for x in xs), list(map(work, xs))

    def outer(xs):
        def inner(k):
            return {work(x, k) for x in xs}
        return sorted(inner(1) | inner(2))

    class Base:
        def method(self, xs):
            return [work(x) for x in xs]

    class Derived(Base):
        factor = [x for x in range(3)]

        def method(self, xs):
            before = super().method(xs)
            return before + [work(x, self.factor[1]) for x in xs]

        @property
        def size(self):
            return max(work(x) for x in (1, 2))

        @size.setter
        def size(self, value):
            self.__dict__["sizes"] = [work(x) for x in range(value)]

    @functools.lru_cache(None)
    def cached(n):
        return tuple(work(x) for x in range(n))

    def generator(xs):
        yield from [work(x) for x in xs]

    def none(x):
        return x
    """
)


def results(space: dict[str, Any]) -> list[Any]:
    derived = space["Derived"]()
    derived.size = 3
    space["cached"].cache_clear()
    return [
        *(space["one"]([1, 2], 3), space["two"]((1, 2)), space["outer"]([1]), derived.method([5])),
        *(derived.size, derived.sizes, space["cached"](3), list(space["generator"]([4])), space["none"](1)),
    ]


def functions(space: dict[str, Any]) -> dict[str, FunctionType]:
    derived = space["Derived"]
    return {
        **{name: space[name] for name in ("work", "one", "two", "outer", "none")},
        "method": derived.method,
        "getter": derived.size.fget,
        "setter": derived.size.fset,
        "cached": space["cached"].__wrapped__,
    }


def on_scatter(
    advice: Advice, site: object, function: Any, iterable: Any, shape: Any, args_of: Any
) -> Iterator[Any]:
    return here(function, iterable, shape)


@pytest.fixture
def plain() -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "m"}
    exec(compile(SOURCE, "/m.py", "exec", dont_inherit=True), space)
    return space


@pytest.fixture
def places(tmp_path: Path) -> Path:
    return tmp_path / "woven"


def load(places: Path, aspect: Any = on_scatter) -> tuple[dict[str, Any], Advice]:
    loom = Loom(on_scatter=aspect, cache_dir=places)
    woven = loom.weave(SOURCE.encode(), module="m", path="/m.py")
    assert woven is not None
    space: dict[str, Any] = {"__name__": "m"}
    advice = loom.thread(woven, space)
    exec(woven.code, space)
    return space, advice


def mentions(code: CodeType) -> bool:
    return ADVICE_NAME in code.co_names or any(
        mentions(constant) for constant in code.co_consts if isinstance(constant, CodeType)
    )


def switch(advice: Advice, on: bool) -> None:
    for site in advice.sites:
        advice.switch(site.index, on)


def test_where_all_sites_are_off_functions_have_their_own_code(plain: dict[str, Any], places: Path) -> None:
    expected = results(plain)
    codes = {name: function.__code__ for name, function in functions(plain).items()}
    for _ in range(2):  # the second time from the cache
        space, advice = load(places)
        assert len(advice.sites) >= 9
        found = functions(space)
        before = {name: function.__code__ for name, function in found.items()}
        assert {name for name, code in before.items() if mentions(code)} == set(before) - {"work", "none"}
        assert results(space) == expected
        switch(advice, False)
        assert results(space) == expected
        if EXCHANGES:
            for name, function in found.items():
                assert function.__code__ == codes[name], name
                assert list(function.__code__.co_positions()) == list(codes[name].co_positions()), name
        else:
            assert {name: function.__code__ for name, function in found.items()} == before
        switch(advice, True)
        assert all(function.__code__ is before[name] for name, function in found.items())
        assert results(space) == expected


@pytest.mark.skipif(not EXCHANGES, reason="functions keep their code since 3.13")
def test_one_site_that_is_on_is_enough(plain: dict[str, Any], places: Path) -> None:
    space, advice = load(places)
    first, second = (site.index for site in advice.sites if site.qualname == "two")
    advice.switch(first, False)
    assert mentions(space["two"].__code__)
    advice.switch(second, False)
    assert not mentions(space["two"].__code__) and mentions(space["one"].__code__)
    advice.switch(first, True)
    assert mentions(space["two"].__code__)


@pytest.mark.skipif(not EXCHANGES, reason="functions keep their code since 3.13")
def test_without_an_aspect_no_site_was_ever_on(places: Path) -> None:
    space: dict[str, Any] = {"__name__": "m"}
    loom = Loom(on_scatter=on_scatter, cache_dir=places)
    woven = loom.weave(SOURCE.encode(), module="m", path="/m.py")
    assert woven is not None
    space[ADVICE_NAME] = Advice("m", woven.spread, unwoven=woven.unwoven)
    exec(woven.code, space)
    assert not mentions(space["one"].__code__)


@pytest.mark.skipif(not EXCHANGES, reason="functions keep their code since 3.13")
def test_an_armed_function_gets_it_when_it_is_disarmed(places: Path) -> None:
    space, advice = load(places)
    (point,) = (point for point in advice.points if point.qualname == "one")
    calls: list[Any] = []

    def seen(point: Any, args: Any, kwargs: Any) -> Any:
        calls.append(args)
        return point.plain(*args, **kwargs)

    point.advice = seen
    point.arm()
    switch(advice, False)
    assert point.armed and space["one"]([1], 2) == [12, 0, 2, 4]
    point.disarm()
    assert not mentions(space["one"].__code__)
    point.arm()
    assert point.armed and space["one"]([1], 2) == [12, 0, 2, 4] and len(calls) == 2
    switch(advice, True)
    point.disarm()
    assert space["one"].__code__ is point.original and mentions(point.original)


@pytest.mark.skipif(not EXCHANGES, reason="functions keep their code since 3.13")
def test_code_that_the_program_put_there_stays(places: Path) -> None:
    space, advice = load(places)
    own = (lambda xs, k: "own").__code__
    space["one"].__code__ = own
    switch(advice, False)
    switch(advice, True)
    assert space["one"].__code__ is own and space["one"]([], 0) == "own"


@pytest.mark.skipif(not EXCHANGES, reason="functions keep their code since 3.13")
def test_the_watch_knows_both(places: Path) -> None:
    class Grid:
        policy: Any = None

    grid: Any = Grid()
    from bundlebee.decisions.policy import Policy

    grid.policy = Policy.parse("auto")
    remote: Any = None
    analysis = Analysis(grid, remote, Running())
    loom = Loom(on_scatter=on_scatter, on_join_point=analysis.on_join_point, cache_dir=places)
    woven = loom.weave(SOURCE.encode(), module="m", path="/m.py")
    assert woven is not None
    space: dict[str, Any] = {"__name__": "m"}
    advice = loom.thread(woven, space)
    exec(woven.code, space)
    (point,) = (point for point in advice.points if point.qualname == "one")
    point.disarm()
    profile = analysis.profile_by_code(space["one"].__code__)
    assert profile is not None and profile.point is point
    switch(advice, False)
    assert not mentions(space["one"].__code__)
    assert analysis.profile_by_code(space["one"].__code__) is profile
    assert analysis.profile_of(space["one"]) is profile
