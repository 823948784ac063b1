"""The pure state machine, event by event."""

from __future__ import annotations

import pytest

from bundlebee.registry import events as ev
from bundlebee.registry.messages import (
    Beat,
    Delta,
    ExchangeAnswer,
    ExchangeRequest,
    Goodbye,
    Heard,
    Hello,
    Relay,
    State,
)
from bundlebee.registry.rows import BundleRow, NodeRow, Pulse, RowSet
from bundlebee.registry.state import Registry


def row(id: str = "aa", name: str = "a", address: str | None = None, started: float = 0.0) -> NodeRow:
    return NodeRow(id=id, name=name, address=address or f"10.0.0.1:{int(id, 16)}", started=started)


def bundle(name: str = "b", digest: str = "d1", state: str = "active") -> BundleRow:
    return BundleRow(name=name, version="1", digest=digest, imports=(name,), state=state)


def pulse(of: NodeRow, version: int = 1, count: int = 1, load: float = 0.0) -> Pulse:
    return Pulse(of.id, of.address, version, count, load)


def state_of(of: NodeRow, version: int = 1, count: int = 1, *bundles: BundleRow) -> ev.Received:
    return ev.Received(State(pulse(of, version, count), RowSet(version, of, bundles), 0))


def node(me: NodeRow | None = None, seed: int = 1) -> Registry:
    registry = Registry(me or row(), 0.0, seed=seed)
    registry.handle(ev.Tick(), 0.0)
    return registry


def messages(effects: list[ev.Effect], kind: type) -> list[object]:
    return [e.message for e in effects if isinstance(e, ev.Multicast) and isinstance(e.message, kind)]


def of_kind(effects: list[ev.Effect], kind: type) -> list[ev.Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def run(registry: Registry, start: float, end: float) -> list[ev.Effect]:
    """All effects of the time between."""
    effects: list[ev.Effect] = []
    now = start
    while registry.next_deadline() <= end:
        now = max(now, registry.next_deadline())
        effects += registry.handle(ev.Tick(), now)
    return effects + registry.handle(ev.Tick(), end)


B, C = row("bb", "b"), row("cc", "c")


class TestJoining:
    def test_a_newcomer_says_hello_and_tells_its_rows_at_once(self) -> None:
        registry = Registry(row(), 5.0)
        assert registry.next_deadline() == 5.0
        effects = registry.handle(ev.Tick(), 5.0)
        assert messages(effects, Hello) == [Hello("aa")]
        (state,) = messages(effects, State)
        assert isinstance(state, State) and state.rows.node == row()

    def test_who_starts_long_after_it_was_made_is_not_late(self) -> None:
        registry = Registry(row(), 0.0, seed=1)
        assert registry.handle(ev.SetRow(bundle()), 7.0) == []  # nobody knows us yet: nothing to announce
        (state,) = messages(registry.handle(ev.Tick(), 9.0), State)
        assert isinstance(state, State) and state.rows.bundles == (bundle(),)
        assert registry.patience == 1.0
        assert len(messages(run(registry, 9.0, 9.2), Hello)) == 1
        assert len(messages(run(registry, 9.2, 11.0), Hello)) == 2

    def test_hello_is_repeated_until_somebody_speaks(self) -> None:
        alone = node()
        assert len(messages(run(alone, 0.0, 2.0), Hello)) == 3
        answered = node()
        answered.handle(state_of(B), 0.05)
        assert messages(run(answered, 0.05, 2.0), Hello) == []

    def test_an_observer_says_hello_and_nothing_else(self) -> None:
        observer = Registry(None, 0.0, seed=1)
        effects = run(observer, 0.0, 3.0)
        assert {type(e.message) for e in effects if isinstance(e, ev.Multicast)} == {Hello}
        assert observer.answer_ping() is None
        with pytest.raises(ValueError, match="observer"):
            observer.handle(ev.SetRow(bundle()), 3.0)

    def test_a_hello_is_answered_with_all_rows_within_milliseconds(self) -> None:
        registry = node()
        run(registry, 0.0, 1.1)
        registry.handle(ev.SetRow(bundle()), 1.1)
        registry.handle(ev.Received(Hello("bb")), 1.1)
        assert registry.next_deadline() < 1.15
        (state,) = messages(run(registry, 1.1, 1.15), State)
        assert isinstance(state, State) and state.rows.bundles == (bundle(),)

    def test_a_flood_of_hellos_is_not_answered_by_a_flood(self) -> None:
        registry = node()
        run(registry, 0.0, 1.0)
        answers = 0
        for step in range(1_000):
            registry.handle(ev.Received(Hello(f"{step:x}")), 1.0 + step / 1000)
            answers += len(messages(registry.handle(ev.Tick(), 1.0 + step / 1000), State))
        assert 1 <= answers <= 7

    def test_in_a_large_grid_only_some_answer(self) -> None:
        grid = [node(row(f"{number:x}", f"n{number}"), seed=number) for number in range(1, 101)]
        others = [row(f"{number:x}", f"n{number}") for number in range(1, 101)]
        for registry in grid:
            for other in others:
                registry.handle(state_of(other), 0.1)
            registry.handle(ev.Received(Hello("ffff")), 0.2)
        answers = sum(len(messages(registry.handle(ev.Tick(), 0.3), State)) for registry in grid)
        assert 1 <= answers <= 25

    def test_who_is_heard_first_by_its_rows_has_joined(self) -> None:
        registry = node()
        effects = registry.handle(state_of(B), 1.0)
        assert of_kind(effects, ev.Joined) == [ev.Joined(B)]
        assert [view.row.name for view in registry.snapshot().nodes()] == ["a", "b"]
        assert [view.own for view in registry.snapshot().nodes()] == [True, False]
        assert [view.row.name for view in registry.snapshot().peers()] == ["b"]

    def test_who_is_heard_without_rows_is_asked_for_them(self) -> None:
        registry = node()
        registry.handle(ev.Received(Beat(pulse(B, version=4, count=9), 0)), 1.0)
        assert registry.snapshot().peers() == []
        effects = run(registry, 1.0, 1.1)
        assert of_kind(effects, ev.Pull) == [ev.Pull(B.address, "bb")]
        effects = registry.handle(ev.PullAnswered("bb", B.address, RowSet(4, B)), 1.2)
        assert of_kind(effects, ev.Joined) == [ev.Joined(B)]

    def test_a_newcomer_that_hears_of_a_different_view_compares_notes_soon(self) -> None:
        registry = node()
        registry.handle(ev.Received(Beat(pulse(B), view=12345)), 0.01)
        exchanges = of_kind(run(registry, 0.01, 0.1), ev.Exchange)
        assert [e.address for e in exchanges if isinstance(e, ev.Exchange)] == [B.address]


class TestRows:
    def test_a_change_goes_out_at_once(self) -> None:
        registry = node()
        effects = registry.handle(ev.SetRow(bundle()), 1.0)
        (delta,) = messages(effects, Delta)
        assert isinstance(delta, Delta)
        assert (delta.base, delta.pulse.version, delta.bundles) == (1, 2, (bundle(),))
        assert registry.snapshot().nodes()[0].bundles == (bundle(),)

    def test_no_change_no_message(self) -> None:
        registry = node()
        registry.handle(ev.SetRow(bundle()), 1.0)
        assert registry.handle(ev.SetRow(bundle()), 1.0) == []
        assert registry.handle(ev.DropRow("unknown"), 1.0) == []
        assert registry.handle(ev.SetNode(row(name="other")), 1.0) == []

    def test_what_is_too_large_for_a_datagram_is_announced_and_pulled(self) -> None:
        registry = node()
        large = BundleRow(name="big", version="1", digest="d", imports=tuple(f"m{n:05}" for n in range(300)))
        effects = registry.handle(ev.SetRow(large), 1.0)
        (beat,) = messages(effects, Beat)
        assert isinstance(beat, Beat) and beat.pulse.version == 2
        rows = registry.answer_pull("aa")
        assert rows is not None and rows.bundles == (large,)

    def test_deltas_build_on_each_other(self) -> None:
        registry = node()
        registry.handle(state_of(B), 1.0)
        registry.handle(ev.Received(Delta(pulse(B, 2, 2), 1, bundles=(bundle(),))), 1.1)
        effects = registry.handle(ev.Received(Delta(pulse(B, 3, 3), 2, dropped=("d1",))), 1.2)
        assert len(of_kind(effects, ev.Changed)) == 1
        assert registry.snapshot().peers()[0].bundles == ()
        assert of_kind(run(registry, 1.2, 1.4), ev.Pull) == []

    def test_a_lost_delta_is_repaired_by_a_pull(self) -> None:
        registry = node()
        registry.handle(state_of(B), 1.0)
        registry.handle(ev.Received(Delta(pulse(B, 3, 3), 2, bundles=(bundle(),))), 1.1)
        assert registry.snapshot().peers()[0].bundles == ()
        assert of_kind(run(registry, 1.1, 1.3), ev.Pull) == [ev.Pull(B.address, "bb")]
        registry.handle(ev.PullAnswered("bb", B.address, RowSet(3, B, (bundle(),))), 1.4)
        assert registry.snapshot().peers()[0].bundles == (bundle(),)

    def test_an_overtaken_delta_still_counts(self) -> None:
        registry = node()
        registry.handle(state_of(B), 1.0)
        registry.handle(ev.Received(Delta(pulse(B, 3, 3), 2, bundles=(bundle("c", "d2"),))), 1.1)
        registry.handle(ev.Received(Delta(pulse(B, 2, 2), 1, bundles=(bundle(),))), 1.101)
        assert registry.snapshot().peers()[0].bundles == (bundle(),)

    def test_a_doubled_or_late_message_changes_nothing(self) -> None:
        registry = node()
        registry.handle(state_of(B, 5, 5, bundle()), 1.0)
        for old in (state_of(B, 4, 4), state_of(B, 5, 5, bundle()), ev.Received(Delta(pulse(B, 4, 4), 3))):
            assert registry.handle(old, 1.1) == []
        assert registry.snapshot().peers()[0].bundles == (bundle(),)

    def test_a_failed_pull_is_repeated(self) -> None:
        registry = node()
        registry.handle(ev.Received(Beat(pulse(B), 0)), 1.0)
        assert len(of_kind(run(registry, 1.0, 1.2), ev.Pull)) == 1
        assert of_kind(run(registry, 1.2, 1.6), ev.Pull) == []  # one at a time
        registry.handle(ev.PullAnswered("bb", B.address, None), 1.7)
        assert len(of_kind(run(registry, 1.7, 2.3), ev.Pull)) == 1

    def test_load_rides_on_the_beat_and_makes_no_version(self) -> None:
        registry = node()
        assert registry.handle(ev.SetLoad(0.5, 2.0, 3), 0.1) == []
        (beat, *_) = messages(run(registry, 0.1, 1.2), Beat)
        assert isinstance(beat, Beat)
        assert (beat.pulse.load, beat.pulse.busy, beat.pulse.free, beat.pulse.version) == (0.5, 2.0, 3, 1)
        registry.handle(state_of(B), 1.0)
        effects = registry.handle(ev.Received(Beat(pulse(B, 1, 2, load=0.75), 0)), 1.1)
        assert effects == []
        assert registry.snapshot().peers()[0].row.load == 0.75

    def test_our_own_messages_come_back_and_are_ignored(self) -> None:
        registry = node()
        registry.handle(ev.SetRow(bundle()), 0.5)
        for message in (Beat(pulse(row()), 0), Hello("aa"), Goodbye("aa"), Relay("aa", "x", ())):
            assert registry.handle(ev.Received(message), 1.0) == []
        assert [view.row.id for view in registry.snapshot().nodes()] == ["aa"]


class TestNames:
    def test_of_two_with_one_name_the_larger_id_gives_way(self) -> None:
        small, large = node(row("aa11", "same")), node(row("bb22", "same"))
        assert of_kind(small.handle(state_of(row("bb22", "same")), 1.0), ev.Renamed) == []
        effects = large.handle(state_of(row("aa11", "same")), 1.0)
        assert of_kind(effects, ev.Renamed) == [ev.Renamed("same", "same-bb22")]
        assert len(messages(effects, Delta)) == 1
        assert large.me is not None and large.me.name == "same-bb22"

    def test_the_new_name_is_free_too(self) -> None:
        registry = node(row("bbbbcccc", "same"))
        registry.handle(state_of(row("dd", "same-bbbb")), 1.0)
        registry.handle(state_of(row("aa", "same")), 1.0)
        assert registry.me is not None and registry.me.name == "same-bbbbcccc"

    def test_a_name_is_not_given_up_for_a_ghost(self) -> None:
        registry = node(row("bb", "same"))
        ghost = row("aa", "same", address="10.0.0.9:1")
        request = ExchangeRequest("cc", C.address, (Heard(pulse(ghost, 1, 7), 1.0, 1),), (RowSet(1, ghost),))
        _, effects = registry.answer_exchange(request, 1.0)
        assert of_kind(effects, ev.Renamed) == []
        # It gives a sign of life after all.
        effects = registry.handle(ev.Received(Beat(pulse(ghost, 1, 8), 0)), 1.5)
        assert of_kind(effects, ev.Renamed) == [ev.Renamed("same", "same-bb")]


class TestLeaving:
    def test_goodbye_is_final(self) -> None:
        registry = node()
        registry.handle(state_of(B, 1, 5), 1.0)
        effects = registry.handle(ev.Received(Goodbye("bb")), 1.1)
        assert of_kind(effects, ev.Left) == [ev.Left(B, "said good-bye")]
        registry.handle(state_of(B, 1, 99), 1.2)
        assert registry.snapshot().peers() == []

    def test_a_goodbye_that_overtakes_the_hello_is_final_too(self) -> None:
        registry = node()
        registry.handle(ev.Received(Goodbye("bb")), 1.1)
        assert registry.handle(state_of(B), 1.2) == []

    def test_we_say_goodbye_and_are_silent_then(self) -> None:
        registry = node()
        effects = registry.handle(ev.Leave(), 1.0)
        assert messages(effects, Goodbye)
        assert registry.handle(ev.Tick(), 9.0) == []
        assert registry.next_deadline() == float("inf")
        assert registry.answer_ping() is None

    def test_silence_is_doubted_then_asked_then_believed(self) -> None:
        registry = node()
        registry.handle(state_of(B), 0.0)
        effects = run(registry, 0.0, 2.9)
        assert not of_kind(effects, ev.Suspected)
        effects = run(registry, 2.9, 4.9)
        (doubt,) = of_kind(effects, ev.Suspected)
        assert isinstance(doubt, ev.Suspected) and 3.0 <= doubt.silent <= 3.6
        assert registry.snapshot().peers()[0].state == "suspect"
        probes = of_kind(effects, ev.Probe)
        assert probes[0] == ev.Probe(B.address, "bb") and len(probes) == 2
        (left,) = of_kind(run(registry, 4.9, 5.6), ev.Left)
        assert left == ev.Left(B, "silent for 5 s")
        assert registry.snapshot().peers() == []

    def test_an_answer_to_the_question_is_a_sign_of_life(self) -> None:
        registry = node()
        registry.handle(state_of(B), 0.0)
        run(registry, 0.0, 3.6)
        effects = registry.handle(ev.ProbeAnswered("bb", pulse(B, 1, 2)), 3.7)
        assert of_kind(effects, ev.Recovered) == [ev.Recovered(B)]
        assert not of_kind(run(registry, 3.7, 6.0), ev.Left)

    def test_somebody_else_at_the_address_means_that_it_started_anew(self) -> None:
        registry = node()
        registry.handle(state_of(B), 0.0)
        run(registry, 0.0, 3.6)
        effects = registry.handle(ev.ProbeAnswered("bb", Pulse("dd", B.address, 1, 1)), 3.7)
        assert of_kind(effects, ev.Left) == [ev.Left(B, "started anew")]

    def test_a_restarted_node_replaces_its_ghost_at_once(self) -> None:
        registry = node()
        registry.handle(state_of(B), 1.0)
        again = row("0b", "b", address=B.address, started=2.0)
        effects = registry.handle(state_of(again), 1.5)
        assert of_kind(effects, ev.Left) == [ev.Left(B, "started anew")]
        # Late datagrams of the dead do not bring it back, nor does the order of arrival matter.
        registry.handle(state_of(B, 1, 2), 1.6)
        assert [view.row.id for view in registry.snapshot().peers()] == ["0b"]

    def test_who_was_cut_off_comes_back_without_a_pull(self) -> None:
        registry = node()
        registry.handle(state_of(B, 3, 3, bundle()), 0.0)
        run(registry, 0.0, 6.0)
        assert registry.snapshot().peers() == []
        effects = registry.handle(ev.Received(Beat(pulse(B, 3, 9), 0)), 6.1)
        assert of_kind(effects, ev.Joined) == [ev.Joined(B)]
        assert registry.snapshot().peers()[0].bundles == (bundle(),)
        assert not of_kind(run(registry, 6.1, 6.3), ev.Pull)

    def test_old_gossip_does_not_raise_the_dead(self) -> None:
        registry = node()
        registry.handle(state_of(B, 1, 5), 0.0)
        run(registry, 0.0, 6.0)
        gossip = ExchangeRequest("cc", C.address, (Heard(pulse(B, 1, 5), 0.1, 1),), (RowSet(1, B),))
        registry.answer_exchange(gossip, 6.1)
        stale = ExchangeRequest("cc", C.address, (Heard(pulse(B, 1, 6), 5.5, 1),), (RowSet(1, B),))
        registry.answer_exchange(stale, 6.2)
        assert registry.snapshot().peers() == []

    def test_what_is_remembered_of_the_dead_is_bounded(self) -> None:
        registry = node()
        for number in range(3_000):
            registry.handle(ev.Received(Goodbye(f"{number:x}")), 1.0)
        assert len(registry._others.members._gone) <= 1_024


class TestDoubtingOneself:
    def test_who_was_not_running_blames_nobody(self) -> None:
        registry = node()
        registry.handle(state_of(B), 0.0)
        effects = registry.handle(ev.Tick(), 60.0)
        assert not of_kind(effects, ev.Suspected) and not of_kind(effects, ev.Left)
        assert messages(effects, Hello)  # and asks what became of the grid
        assert registry.patience > 1.0
        assert of_kind(run(registry, 60.0, 70.0), ev.Left) == [ev.Left(B, "silent for 8 s")]

    def test_trust_returns(self) -> None:
        registry = node()
        registry.handle(ev.Tick(), 60.0)
        assert registry.patience == 1.5
        run(registry, 60.0, 71.0)
        assert registry.patience == 1.0

    def test_time_that_runs_backwards_stands_still(self) -> None:
        registry = node()
        registry.handle(state_of(B), 10.0)
        registry.handle(ev.Tick(), 3.0)
        registry.handle(ev.Received(Beat(pulse(B, 1, 2), 0)), 3.1)
        assert registry.snapshot().peers()[0].last_seen == 10.0


class TestComparingNotes:
    def test_seeds_are_asked_every_second_and_silence_is_said_once(self) -> None:
        registry = node()
        registry.handle(ev.SetSeeds(("seed:1",)), 1.0)
        asked, said = 0, []
        now = 1.0
        while now < 31.0:
            now = max(now, registry.next_deadline())
            for effect in registry.handle(ev.Tick(), now):
                if isinstance(effect, ev.Exchange):
                    asked += 1
                    said += registry.handle(ev.ExchangeAnswered("seed:1", None), now)
        assert said == [ev.SeedSilent("seed:1")]
        assert 5 <= asked <= 9  # less and less often, down to every five seconds
        answer = ExchangeAnswer("bb", B.address, (Heard(pulse(B), 0.0, 1),), (RowSet(1, B),))
        effects = registry.handle(ev.ExchangeAnswered("seed:1", answer), now)
        assert ev.SeedHeard("seed:1") in effects and ev.Joined(B) in effects

    def test_a_seed_that_multicast_reaches_need_not_be_asked(self) -> None:
        registry = node()
        registry.handle(state_of(B), 0.1)
        run(registry, 0.1, 0.2)
        registry.handle(ev.SetSeeds((B.address, "10.0.0.1:170")), 0.2)  # the second is ourselves
        assert of_kind(registry.handle(ev.Tick(), 0.3), ev.Exchange) == []

    def test_both_sides_learn(self) -> None:
        left, right = node(row("aa", "a")), node(row("dd", "d"))
        left.handle(state_of(B, 2, 2, bundle()), 1.0)
        right.handle(state_of(C), 1.0)
        run(left, 1.0, 1.1)
        left.handle(ev.SetSeeds(("seed:1",)), 1.1)
        (exchange,) = of_kind(left.handle(ev.Tick(), 1.1), ev.Exchange)
        assert isinstance(exchange, ev.Exchange)
        answer, _ = right.answer_exchange(exchange.request, 1.1)
        effects = left.handle(ev.ExchangeAnswered("seed:1", answer), 1.1)
        (push,) = of_kind(effects, ev.Exchange)
        assert isinstance(push, ev.Exchange) and push.request.push
        answer, _ = right.answer_exchange(push.request, 1.1)
        assert answer.want == answer.rows == answer.heard == ()
        for registry in (left, right):
            assert {view.row.name for view in registry.snapshot().nodes()} == {"a", "b", "c", "d"}

    def test_what_came_from_beyond_is_relayed_to_the_lan_once(self) -> None:
        registry = node()
        far = ExchangeRequest("bb", B.address, (Heard(pulse(B), 0.0, 1), Heard(pulse(C, 1, 4), 1.5, 1)))
        _, effects = registry.answer_exchange(far, 1.0)
        (relay,) = messages(effects, Relay)
        assert isinstance(relay, Relay)
        assert [(h.pulse.id, round(h.age, 3)) for h in relay.heard] == [("bb", 0.0), ("cc", 1.5)]
        _, effects = registry.answer_exchange(far, 1.1)
        assert messages(effects, Relay) == []

    def test_what_a_neighbour_tells_is_not_relayed(self) -> None:
        registry = node()
        registry.handle(state_of(B), 0.9)
        near = ExchangeRequest("bb", B.address, (Heard(pulse(B, 1, 2), 0.0, 1), Heard(pulse(C), 0.0, 1)))
        _, effects = registry.answer_exchange(near, 1.0)
        assert messages(effects, Relay) == []

    def test_who_hears_a_relay_asks_the_node_or_the_relay_for_rows(self) -> None:
        asked = set()
        for seed in range(20):
            registry = node(seed=seed)
            registry.handle(ev.Received(Relay("bb", B.address, (Heard(pulse(C), 0.5, 1),))), 1.0)
            pulls = of_kind(run(registry, 1.0, 1.1), ev.Pull)
            asked |= {e.address for e in pulls if isinstance(e, ev.Pull) and e.node == "cc"}
        assert asked == {B.address, C.address}

    def test_views_that_keep_on_differing_are_compared(self) -> None:
        registry = node()
        registry.handle(state_of(B), 0.0)
        effects = []
        for second in range(1, 7):
            effects += run(registry, second - 1, float(second))
            effects += registry.handle(ev.Received(Beat(pulse(B, 1, 1 + second), 666)), float(second))
        assert 1 <= len(of_kind(effects, ev.Exchange)) <= 4
