"""The dice of chaos, call by call of one function."""

from __future__ import annotations

import math
import random

import pytest

from bundlebee.aspects.profile import DRAWN, Profile


def chosen(calls: int, probability: float, seed: int) -> list[int]:
    """Which of so many calls the dice take."""
    profile = Profile(None)  # type: ignore[arg-type]
    dice = random.Random(seed)
    return [i for i in range(calls) if profile.chosen(dice.random(), probability) is not None]


@pytest.mark.parametrize("probability", [0.0, 0.02, 0.5])
def test_at_first_calls_are_taken_with_the_probability_that_was_asked_for(probability: float) -> None:
    calls = int(DRAWN / probability / 2) if probability else 10_000
    taken = chosen(calls, probability, seed=7)
    assert len(taken) == pytest.approx(calls * probability, rel=0.2)


@pytest.mark.parametrize("probability", [0.02, 0.5])
def test_of_very_many_calls_ever_fewer_are_taken_but_never_none(probability: float) -> None:
    calls = int(30 * DRAWN / probability)
    taken = chosen(calls, probability, seed=11)
    assert len(taken) == pytest.approx(DRAWN * (1 + math.log(calls * probability / DRAWN)), rel=0.1)
    assert taken[-1] > calls * 0.8


def test_where_all_are_asked_for_all_are_taken() -> None:
    assert len(chosen(5 * DRAWN, 1.0, seed=3)) == 5 * DRAWN


def test_what_is_left_of_a_draw_is_spread_over_the_probability() -> None:
    profile = Profile(None)  # type: ignore[arg-type]
    dice = random.Random(5)
    draws = [d for _ in range(400_000) if (d := profile.chosen(dice.random(), 0.5)) is not None]
    late = draws[DRAWN:]
    assert max(late) < 0.5
    assert sum(late) / len(late) == pytest.approx(0.25, abs=0.015)
