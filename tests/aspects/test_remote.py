"""Where calls go under ``auto``, with a clock that moves only when somebody works."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from advised import advised

from bundlebee.aspects.freight import Cleared
from bundlebee.aspects.remote import CREDIT, QUESTIONS, Remote
from bundlebee.bundles.effects import Effect, Summary
from bundlebee.bundles.values import walk
from bundlebee.clock import clock
from bundlebee.decisions.features import features
from bundlebee.decisions.model import Place
from bundlebee.decisions.policy import Policy

now = 0.0


@pytest.fixture(autouse=True)
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    global now
    now = 0.0
    monkeypatch.setattr(clock, "perf_counter", lambda: now)
    yield


class Grid:
    policy = Policy.parse("auto")

    def __init__(self, speed: float) -> None:
        self.speed = speed

    def places(self, _point: Any) -> Sequence[Place]:
        return [Place("b", speed=self.speed)]

    def here(self) -> Place:
        return Place("here")

    def trials(self) -> None:
        return None


class Customs:
    """Takes so many seconds for each call that it clears."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    def clear(self, _profile: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Cleared:
        global now
        now += self.seconds
        self.asked += 1
        return Cleared(Summary(Effect.FREE, "", ()), walk(args, kwargs))


def work(n: int) -> int:
    return n


def decide(speed: float, each: float, run: float, calls: int) -> tuple[int, int]:
    """How many of the calls were asked about, and how many left."""
    customs = Customs(each)
    remote = Remote(Grid(speed), customs)  # type: ignore[arg-type]
    profile = advised().profile(work)
    marks = features((1,), {})
    profile.measured().observe(marks, run, run)
    left = sum(not remote.decide(profile, marks, (1,), {})[0].here for _ in range(calls))
    return customs.asked, left


def test_who_asks_quickly_asks_each_time() -> None:
    assert decide(0.1, 50e-6, 0.002, 1000) == (1000, 0)
    assert decide(100.0, 50e-6, 0.1, 1000) == (1000, 1000)


def test_questions_take_a_small_part_of_the_run_time() -> None:
    asked, left = decide(0.1, 0.3, 0.002, 10_000)
    assert left == 0
    assert asked * 0.3 <= 2 * 0.3 + CREDIT + QUESTIONS * 0.002 * 10_000


def test_what_takes_longer_to_look_at_than_to_run_stays() -> None:
    asked, left = decide(100.0, 0.5, 0.1, 1000)
    assert left <= 1 and asked < 20
