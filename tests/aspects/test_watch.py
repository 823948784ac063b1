"""The watch: what glances at the stacks mean, without a thread and a clock."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bundlebee.aspects.watch import LONGEST, MEETINGS, SHORTEST, Rule, Watch


def profile(**more: Any) -> Any:
    return SimpleNamespace(point=SimpleNamespace(armed=False), pin=None, idle=False, trust=1, met=0.0, **more)


def arm(due: list[Any]) -> None:
    for one in due:
        one.trust *= 2
        one.met = 0.0


def test_a_long_call_is_armed_when_it_is_over() -> None:
    rule, slow = Rule(), profile()
    assert [rule.glance({1: slow}) for _ in range(5)] == [[]] * 5
    assert rule.glance({}) == [slow]
    assert rule.pause == SHORTEST
    assert rule.glance({}) == []


def test_what_is_met_often_is_armed_after_a_while() -> None:
    rule, quick = Rule(), profile()
    spent, key = 0.0, 0
    while True:
        key += 1
        spent += rule.pause
        if rule.glance({key: quick}):
            break
    assert MEETINGS <= spent <= MEETINGS + LONGEST


def test_the_armed_the_pinned_and_the_idle_are_left_alone() -> None:
    rule, armed, pinned, idle = Rule(), profile(), profile(), profile()
    armed.point.armed, pinned.pin, idle.idle = True, "stays", True
    for _ in range(100):
        assert rule.glance({1: armed, 2: pinned, 3: idle}) == []
    assert rule.glance({}) == []


def test_nothing_long_makes_glances_rare() -> None:
    rule = Rule()
    pauses = []
    for _ in range(30):
        pauses.append(rule.pause)
        rule.glance({})
    assert pauses == sorted(pauses)
    assert pauses[0] == SHORTEST
    assert pauses[-1] == LONGEST


@given(st.lists(st.integers(0, 2), min_size=1, max_size=400))
def test_a_function_that_stays_short_is_sampled_ever_more_rarely(addresses: list[int]) -> None:
    """Whether or not its frames share an address."""
    rule, quick = Rule(), profile()
    spent, armed = 0.0, 0
    for address in addresses:
        spent += rule.pause
        due = rule.glance({address: quick})
        armed += len(due)
        arm(due)
    # streaks of 1, 2, 4 … glances, or meetings of 0.4, 0.8, 1.6 … seconds: logarithmic either way
    assert armed <= 2 * (len(addresses) + 2).bit_length()


def test_a_long_call_counts_also_where_doubts_have_grown() -> None:
    rule, slow = Rule(), profile()
    slow.trust = 4
    for _ in range(3):
        assert rule.glance({7: slow}) == []
    assert rule.glance({}) == []
    for _ in range(6):
        assert rule.glance({7: slow}) == []
    assert rule.glance({}) == [slow]


class Looked:
    """Stands in for the analysis."""

    def __init__(self) -> None:
        self.looked = threading.Event()

    def profile_by_code(self, code: object) -> None:
        self.looked.set()

    def somebody(self) -> None:
        self.looked.set()


def test_it_looks_once_there_is_something_to_see() -> None:
    analysis: Any = Looked()
    watch = Watch(analysis)
    watch.start()
    watch.begin()
    assert analysis.looked.wait(20.0)
    watch.stop()
    assert not watch._thread.is_alive()


def test_without_anything_to_see_it_never_looks() -> None:
    analysis: Any = Looked()
    watch = Watch(analysis)
    watch.start()
    watch.stop()
    assert not watch._thread.is_alive() and not analysis.looked.is_set()
