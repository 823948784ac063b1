"""Functions under the analysis aspect, with nobody to ship a call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bundlebee.aspects import stopwatch
from bundlebee.aspects.analysis import Analysis, Running
from bundlebee.aspects.profile import Profile
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.policy import Policy
from bundlebee.weaving.advice import Advice
from bundlebee.weaving.joinpoint import JoinPoint
from bundlebee.words import HERE, Reason


class Remote:
    """Sends nothing away."""

    def decide(self, *_: object) -> tuple[Verdict, None]:
        return Verdict(HERE, Reason.UNMEASURED), None


class Grid:
    """Peers, if they are ``there``, that get nothing."""

    def __init__(self, policy: str, *, there: bool) -> None:
        self.policy = Policy.parse(policy)
        self.there = there
        self.decisions: list[tuple[str, Reason, float | None]] = []

    def anybody(self) -> bool:
        return self.there

    def coming(self) -> bool:
        return False

    def busy(self) -> bool:
        return False

    def draw(self) -> float:
        return 0.5

    def decided(self, point: JoinPoint, verdict: Verdict, *, seconds: float | None) -> None:
        self.decisions.append((point.qualname, verdict.why, seconds))


class Advised:
    """An analysis, and a woven module."""

    def __init__(self, grid: Any) -> None:
        self.grid = grid
        self.analysis = Analysis(grid, Remote(), Running())  # type: ignore[arg-type]
        self.advice = Advice("m", on_join_point=self.analysis.on_join_point)

    def profile(self, function: Any) -> Profile:
        self.advice.make(function)
        profile = self.analysis.profile_of(function)
        assert profile is not None
        return profile


def advised(policy: str = "auto", *, there: bool = False) -> Advised:
    return Advised(Grid(policy, there=there))


def either_way(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> Iterator[Advised]:
    """For a fixture with the parameters ``swap`` and ``stopwatch``: both ways to find out how long calls take."""
    if request.param == "stopwatch" and not stopwatch.AVAILABLE:
        pytest.skip("the stopwatch came with 3.13")
    monkeypatch.setattr(stopwatch, "AVAILABLE", request.param == "stopwatch")
    made = advised(there=there)
    yield made
    made.analysis.close()
