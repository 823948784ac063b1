from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.decisions.model import (
    Place,
    Work,
    choose,
    here_seconds,
    rate,
    shipping_seconds,
    there_seconds,
)
from bundlebee.words import HERE, Reason

HOME = Place(HERE)


def peer(name: str = "b", **changes: float) -> Place:
    return Place(name, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cores", "busy", "expected"),
    [
        (1.0, 0.0, 1.0),
        (8.0, 0.0, 1.0),  # a call is one thread
        (8.0, 7.0, 1.0),
        (8.0, 8.0, 8 / 9),  # all busy: a fair part of what is there
        (2.0, 2.0, 2 / 3),
        (1.0, 3.0, 0.25),
        (0.4, 0.0, 0.4),  # throttled
        (0.4, 0.4, 0.4 / 1.4),
        (1.0, -5.0, 1.0),  # nonsense does no harm
        (0.0, 0.0, 0.01),
    ],
)
def test_rate(cores: float, busy: float, expected: float) -> None:
    assert rate(cores, busy) == pytest.approx(expected)


@given(st.floats(0.05, 64), st.floats(0, 64), st.floats(0, 8))
def test_more_load_never_makes_a_host_faster(cores: float, busy: float, more: float) -> None:
    assert rate(cores, busy + more) <= rate(cores, busy) + 1e-12
    assert 0.0 < rate(cores, busy) <= 1.0


def test_costs_add_up() -> None:
    work = Work(seconds=1.0, bytes_out=50_000_000, bytes_back=50_000_000)
    far = peer(speed=2.0, cores=0.5, round_trip=0.1, bandwidth=100e6)
    assert here_seconds(work, HOME) == pytest.approx(1.0)
    # pickling 0.5 s, wire 1 s, round trip 0.1 s, run 1 s on a core twice as fast of which half may be used
    assert there_seconds(work, HOME, far) == pytest.approx(0.5 + 1.0 + 0.1 + 1.0, rel=0.01)


def test_a_throttled_caller_ships_slowly_too() -> None:
    work = Work(seconds=1.0)
    assert shipping_seconds(work, Place(HERE, cores=0.1)) == pytest.approx(10 * shipping_seconds(work, HOME))


class TestChoose:
    def test_unmeasured(self) -> None:
        assert choose(None, HOME, [peer()]).why is Reason.UNMEASURED

    def test_nobody_there(self) -> None:
        verdict = choose(Work(1.0), HOME, [])
        assert (verdict.where, verdict.why) == (HERE, Reason.NO_PEER)
        assert verdict.estimates == {HERE: 1.0}

    def test_a_faster_peer_gets_long_work(self) -> None:
        verdict = choose(Work(1.0), HOME, [peer("b", speed=2.0), peer("c", speed=4.0)])
        assert (verdict.where, verdict.why) == ("c", Reason.CHEAPER_THERE)
        assert set(verdict.estimates) == {HERE, "b", "c"}
        assert not verdict.here

    def test_equal_machines_keep_it_at_home(self) -> None:
        assert choose(Work(1.0), HOME, [peer()]).why is Reason.CHEAPER_HERE

    def test_a_busy_home_sends_it_away(self) -> None:
        assert choose(Work(1.0), Place(HERE, busy=1.0), [peer()]).where == "b"

    def test_a_slow_home_sends_it_away(self) -> None:
        assert choose(Work(0.1), Place(HERE, cores=0.1), [peer()]).where == "b"

    def test_short_work_stays_whatever_the_load(self) -> None:
        verdict = choose(Work(20e-6), Place(HERE, busy=3.0), [peer(speed=10.0)])
        assert (verdict.where, verdict.why) == (HERE, Reason.TOO_SHORT)

    def test_large_arguments_stay_at_home(self) -> None:
        work = Work(seconds=0.5, bytes_out=200_000_000)
        assert choose(work, HOME, [peer(speed=10.0)]).why is Reason.CHEAPER_HERE

    def test_no_free_slot(self) -> None:
        verdict = choose(Work(1.0), HOME, [peer(speed=4.0, free=0)])
        assert (verdict.where, verdict.why) == (HERE, Reason.PEER_BUSY)

    def test_the_second_best_if_the_best_has_no_slot(self) -> None:
        assert choose(Work(1.0), HOME, [peer("b", speed=8.0, free=0), peer("c", speed=4.0)]).where == "c"

    def test_a_tie_is_broken_by_name(self) -> None:
        places = [peer("c", speed=3.0), peer("b", speed=3.0)]
        assert choose(Work(1.0), HOME, places).where == "b"
        assert choose(Work(1.0), HOME, places[::-1]).where == "b"

    def test_a_peer_that_broke_its_promise_is_avoided(self) -> None:
        assert choose(Work(1.0), HOME, [peer(speed=4.0, run_ratio=8.0)]).here


places = st.builds(
    Place,
    name=st.sampled_from("bcdef"),
    speed=st.floats(0.1, 10),
    cores=st.floats(0.1, 32),
    busy=st.floats(0, 40),
    free=st.integers(0, 4),
    round_trip=st.floats(0, 1),
    bandwidth=st.floats(1e3, 1e10),
    run_ratio=st.floats(0.05, 20),
)
works = st.builds(
    Work, seconds=st.floats(0, 1000), bytes_out=st.integers(0, 10**9), bytes_back=st.integers(0, 10**9)
)


@given(
    works,
    st.floats(0.1, 8),
    st.floats(0, 8),
    st.lists(places, max_size=5, unique_by=lambda place: place.name),
)
def test_a_verdict_is_never_worse_than_staying(
    work: Work, cores: float, busy: float, peers: list[Place]
) -> None:
    home = Place(HERE, cores=cores, busy=busy)
    verdict = choose(work, home, peers)
    assert verdict.estimates[verdict.where] <= verdict.estimates[HERE]
    if not verdict.here:
        chosen = next(place for place in peers if place.name == verdict.where)
        assert chosen.free > 0
        assert all(
            verdict.estimates[chosen.name] <= verdict.estimates[place.name]
            for place in peers
            if place.free > 0
        )
