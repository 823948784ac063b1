"""When the scatter aspect spreads a loop: for somebody who could take its items."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bundlebee.aspects.analysis import Running
from bundlebee.aspects.profile import Profile
from bundlebee.aspects.scatter import WAITS, Scatter
from bundlebee.decisions.policy import Policy
from bundlebee.weaving.advice import Advice


def called(x: int) -> int:
    return x


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
    profile = Profile(Advice("m").make(called))  # type: ignore[arg-type]
    found = scatter._may_spread(profile, (), lambda sample: ((sample,), {}), 1, work)
    assert found == ("freight" if spreads else None)
    assert grid.told == ([] if spreads else ["no-peer"])
