from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.decisions.estimators import (
    DEFAULT_BANDWIDTH,
    DEFAULT_ROUND_TRIP,
    MAX_BUCKETS,
    PeerTimes,
    RunTimes,
)
from bundlebee.decisions.features import features
from bundlebee.decisions.growth import fit
from bundlebee.decisions.running import Running


def at(*args: object) -> object:
    return features(args, {})


class TestRunning:
    def test_starts_as_a_plain_mean(self) -> None:
        running = Running(alpha=0.1)
        for value in (1.0, 2.0, 3.0):
            running.add(value)
        assert running.mean == pytest.approx(2.0)

    def test_follows_a_change(self) -> None:
        running = Running(alpha=0.2)
        for value in [1.0] * 50 + [10.0] * 20:
            running.add(value)
        assert running.mean == pytest.approx(10.0, rel=0.02)

    def test_a_value_that_is_not_finite_is_left_out(self) -> None:
        running = Running()
        for value in (1.0, math.nan, math.inf):
            running.add(value)
        assert (running.mean, running.count) == (1.0, 1)

    @given(st.lists(st.floats(min_value=-1e6, max_value=1e6), min_size=1, max_size=50))
    def test_stays_within_the_values(self, values: list[float]) -> None:
        running = Running()
        for value in values:
            running.add(value)
        assert min(values) - 1e-6 <= running.mean <= max(values) + 1e-6
        assert 0.0 <= running.deviation <= (max(values) - min(values)) + 1e-6


class TestRunTimes:
    def test_knows_nothing_of_an_unseen_shape(self) -> None:
        times = RunTimes()
        assert times.estimate(at(3)) is None
        times.observe(at(3), 1.0, 1.0)
        assert times.estimate(at("x")) is None

    def test_equal_features_are_answered_exactly(self) -> None:
        times = RunTimes()
        for n, seconds in ((10, 0.001), (35, 4.0)):
            times.observe(at(n), seconds, seconds)
        small, large = times.estimate(at(10)), times.estimate(at(35))
        assert small is not None and large is not None
        assert (small.seconds, large.seconds) == (0.001, 4.0)
        assert small.exact and small.samples == 1

    def test_cpu_seconds_count_where_the_clock_shows_any(self) -> None:
        times = RunTimes()
        times.observe(at(1), seconds=2.0, cpu_seconds=0.5)
        times.observe(at(2), seconds=2.0, cpu_seconds=0.0)
        assert times.estimate(at(1)).seconds == 0.5  # type: ignore[union-attr]
        assert times.estimate(at(2)).seconds == 2.0  # type: ignore[union-attr]

    def test_exponential_growth_is_foreseen(self) -> None:
        times = RunTimes()
        for n in range(10, 21):
            times.observe(at(n), 1e-6 * 1.618**n)
        guess = times.estimate(at(28))
        assert guess is not None and not guess.exact
        assert guess.seconds == pytest.approx(1e-6 * 1.618**28, rel=0.3)
        assert guess.spread > 0.0

    def test_linear_growth_is_foreseen(self) -> None:
        times = RunTimes()
        for n in (100, 300, 1000, 3000, 10_000):
            times.observe(at([0.0] * n), n * 1e-6)
        guess = times.estimate(at([0.0] * 100_000))
        assert guess is not None
        assert guess.seconds == pytest.approx(0.1, rel=0.3)

    def test_cubic_growth_is_foreseen(self) -> None:
        times = RunTimes()
        for n in (4, 8, 16, 32):
            times.observe(at([[0.0] * n] * n), n**3 * 1e-6)
        guess = times.estimate(at([[0.0] * 64] * 64))
        assert guess is not None
        assert guess.seconds == pytest.approx(64**3 * 1e-6, rel=0.3)

    def test_an_argument_without_influence_has_none(self) -> None:
        dice = random.Random(7)
        times = RunTimes()
        for row in range(100):
            times.observe(at(row, 640), dice.uniform(0.018, 0.022))
        guess = times.estimate(at(240, 640))
        assert guess is not None
        assert guess.seconds == pytest.approx(0.02, rel=0.15)

    def test_one_sample_gives_a_guess_that_doubts_itself(self) -> None:
        times = RunTimes()
        times.observe(at(10), 0.01)
        guess = times.estimate(at(11))
        assert guess is not None
        assert guess.seconds == pytest.approx(0.01)
        assert guess.spread >= guess.seconds / 2

    def test_extrapolation_is_bounded(self) -> None:
        times = RunTimes()
        for n in range(1, 12):
            times.observe(at(n), 1e-4 * 2.0**n)
        guess = times.estimate(at(250))
        assert guess is not None
        assert guess.seconds <= 1e-4 * 2.0**11 * 1001

    def test_memory_is_bounded(self) -> None:
        times = RunTimes()
        for n in range(10 * MAX_BUCKETS):
            times.observe(at("x" * (n % 250), n % 200), 0.1)
        assert len(times._buckets) <= MAX_BUCKETS
        assert times.observed == 10 * MAX_BUCKETS

    @pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
    def test_nonsense_is_left_out(self, bad: float) -> None:
        times = RunTimes()
        times.observe(at(1), bad)
        assert times.estimate(at(1)) is None


@given(
    st.lists(
        st.tuples(
            st.tuples(st.floats(-1e300, 1e300), st.floats(-300, 300)), st.floats(min_value=0.0, max_value=1e6)
        ),
        min_size=1,
        max_size=20,
    ),
    st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)),
)
def test_a_fit_always_predicts_a_sane_number(
    points: list[tuple[tuple[float, float], float]], sizes: tuple[float, float]
) -> None:
    model = fit(points)
    guess = model.predict(sizes)
    seconds = [value for _, value in points]
    assert 0.0 < guess <= max(max(seconds), 1e-7) * 1001
    assert guess >= max(min(seconds), 1e-7) / 1001
    assert model.distance(sizes) >= 0.0


class TestPeerTimes:
    def test_defaults_until_measured(self) -> None:
        peer = PeerTimes()
        assert peer.round_trip == DEFAULT_ROUND_TRIP
        assert peer.bandwidth == DEFAULT_BANDWIDTH
        assert peer.run_ratio("m:f") == 1.0
        assert peer.share is None
        assert not peer.measured

    def test_small_messages_give_the_round_trip_and_large_ones_the_bandwidth(self) -> None:
        peer = PeerTimes()
        for _ in range(10):
            peer.observe_transfer(0.001, 200, 200)
        for _ in range(10):
            peer.observe_transfer(0.101, 1_000_000, 9_000_000)
        assert peer.round_trip == pytest.approx(0.001)
        assert peer.bandwidth == pytest.approx(100e6)
        assert peer.measured

    def test_one_slow_reply_does_not_hide_a_fast_peer(self) -> None:
        peer = PeerTimes()
        for _ in range(20):
            peer.observe_transfer(0.001, 10, 10)
        peer.observe_transfer(5.0, 10, 10)
        assert peer.round_trip < 0.002

    def test_a_slow_link_is_believed_in_the_end(self) -> None:
        peer = PeerTimes()
        for _ in range(5):
            peer.observe_transfer(0.001, 10, 10)
        for _ in range(60):
            peer.observe_transfer(0.05, 10, 10)
        assert peer.round_trip == pytest.approx(0.05, rel=0.1)

    def test_a_functions_own_ratio_wins_over_the_general_one(self) -> None:
        peer = PeerTimes()
        for _ in range(8):
            peer.observe_run("m:f", expected=1.0, cpu_seconds=2.0, seconds=2.0)
        assert peer.run_ratio("m:f") == pytest.approx(2.0)
        assert peer.run_ratio("m:other") == pytest.approx(2.0)
        for _ in range(8):
            peer.observe_run("m:g", expected=1.0, cpu_seconds=0.5, seconds=0.5)
        assert peer.run_ratio("m:g") == pytest.approx(0.5)
        assert peer.run_ratio("m:f") == pytest.approx(2.0)

    def test_the_share_of_a_core_comes_from_long_runs(self) -> None:
        peer = PeerTimes()
        peer.observe_run("m:f", expected=0.0, cpu_seconds=0.001, seconds=0.001)
        assert peer.share is None
        for _ in range(5):
            peer.observe_run("m:f", expected=0.0, cpu_seconds=0.1, seconds=0.25)
        assert peer.share == pytest.approx(0.4)

    def test_a_clock_that_jumps_is_ignored(self) -> None:
        peer = PeerTimes()
        peer.observe_transfer(-1.0, 10, 10)
        peer.observe_transfer(math.nan, 10, 10)
        peer.observe_transfer(1e9, 10, 10)
        assert not peer.measured
