"""What the scatter aspect may pull ahead from: nothing that the program could find used up."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bundlebee.aspects.analysis import Running
from bundlebee.aspects.profile import Profile
from bundlebee.aspects.scatter import WAITS, Scatter, pulls_unseen
from bundlebee.decisions.policy import Policy
from bundlebee.weaving.advice import Advice

LIST = [3, 1, 2]
HELD = iter(LIST)
HELD_TOO = zip(LIST, LIST, strict=False)


def generator() -> Iterator[int]:
    yield 1


class Own(list[int]):
    def __iter__(self) -> Iterator[int]:
        return generator()


# the results are computed apart from the asserts, since pytest keeps hold of what it sees in an assert


@pytest.mark.parametrize("container", [LIST, (1,), range(3), "ab", b"ab", {1: 2}, {1}, {1: 2}.items()])
def test_containers_and_fresh_views_of_them(container: Any) -> None:
    unseen = [
        pulls_unseen(container, False),
        pulls_unseen(enumerate(container), True),
        pulls_unseen(zip(container, enumerate(container), strict=True), True),
        pulls_unseen(enumerate(zip(container, strict=False), 5), True),
    ]
    assert unseen == [True] * 4


def test_reversed() -> None:
    unseen = [
        pulls_unseen(reversed(LIST), True),
        pulls_unseen(zip(reversed(LIST), reversed({1: 2}), strict=False), True),
    ]
    assert unseen == [True] * 2


def test_an_iterator_that_the_program_holds() -> None:
    held = iter(LIST)
    for iterator in (HELD, HELD_TOO, iter(LIST), enumerate(LIST)):
        assert not pulls_unseen(iterator, False)
    unseen = [
        pulls_unseen(enumerate(held), True),
        pulls_unseen(zip(held, held, strict=False), True),
        pulls_unseen(zip(LIST, HELD, strict=False), True),
        pulls_unseen(enumerate(HELD_TOO), True),
        pulls_unseen(enumerate(enumerate(zip(HELD, strict=False))), True),
    ]
    assert unseen == [False] * 5


@pytest.mark.parametrize("fresh", [True, False])
def test_what_runs_code_or_is_unknown(fresh: bool) -> None:
    for make in (generator, lambda: Own([1]), lambda: map(str, LIST), lambda: open(__file__), object):  # noqa: SIM115
        thing: Any = make()
        assert not pulls_unseen(thing, fresh)
        if hasattr(thing, "__iter__"):
            assert not pulls_unseen(enumerate(thing), fresh)
        if hasattr(thing, "close"):
            thing.close()


class Busy:
    """A grid whose peers are all taken."""

    def __init__(self, policy: Policy, *, for_a_moment: bool) -> None:
        self.policy = policy
        self._for_a_moment = for_a_moment
        self.told: list[str] = []

    def freight(self, _point: Any, _summary: Any) -> str:
        return "freight"

    def slots(self, _work: float | None) -> list[Any]:
        return []

    def coming(self) -> bool:
        return False

    def busy(self) -> bool:
        return self._for_a_moment

    def decided(self, _point: Any, verdict: Any, **_more: Any) -> None:
        self.told.append(verdict.why.value)


class Free:
    """Customs that let everything pass."""

    summary = SimpleNamespace(free=True)

    def clear(self, *_call: Any) -> Any:
        return self


@pytest.mark.parametrize(
    ("for_a_moment", "work", "spreads"),
    [
        (True, 2 * WAITS, True),
        (True, None, True),
        (True, WAITS / 2, False),
        (False, 2 * WAITS, False),
        (False, None, False),
    ],
)
def test_a_long_loop_waits_for_peers_that_are_busy_for_a_moment(
    for_a_moment: bool, work: float | None, spreads: bool
) -> None:
    grid = Busy(Policy.parse("auto"), for_a_moment=for_a_moment)
    scatter = Scatter(grid, Free(), Running(), lambda _function: None)  # type: ignore[arg-type]
    profile = Profile(Advice("m").make(generator))  # type: ignore[arg-type]
    found = scatter._may_spread(profile, (), lambda sample: ((sample,), {}), 1, work)
    assert found == ("freight" if spreads else None)
    assert grid.told == ([] if spreads else ["no-peer"])
