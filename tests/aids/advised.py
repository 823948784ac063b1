"""Functions under the analysis aspect, with nobody to ship a call."""

from __future__ import annotations

from typing import Any

from bundlebee.aspects.analysis import Analysis, Running
from bundlebee.aspects.profile import Profile
from bundlebee.decisions.model import Verdict
from bundlebee.weaving.advice import Advice
from bundlebee.words import HERE, Reason


class Remote:
    """Sends nothing away."""

    def decide(self, *_: object) -> tuple[Verdict, None]:
        return Verdict(HERE, Reason.UNMEASURED), None


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
