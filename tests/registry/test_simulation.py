"""Many nodes in bad weather. Each run is the same again for its seed, which pytest shows as the parameter."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bundlebee.registry import events as ev
from bundlebee.registry.rows import BundleRow
from bundlebee.registry.simulation import SimulatedNode, Simulation

STORM = {"loss": 0.2, "duplication": 0.1, "delay": (0.0, 0.2), "skew": 1000.0}


def bundle(number: int, state: str = "active") -> BundleRow:
    return BundleRow(
        name=f"b{number}", version="1", digest=f"{number:064x}", imports=(f"b{number}",), state=state
    )


def grown(size: int, seed: int = 0, **weather: object) -> Simulation:
    """A grid whose nodes start within a second, each with a bundle or two, and that has agreed."""
    lan = Simulation(seed, **weather)  # type: ignore[arg-type]
    for number in range(size):
        node = lan.start()
        node.call(ev.SetRow(bundle(number)))
        node.call(ev.SetRow(bundle(0)))
        lan.run(1.0 / size)
    assert lan.run_until(lan.agreed, 15.0)
    return lan


def changes(lan: Simulation, kind: type) -> list[tuple[float, ev.Change]]:
    return [(at, change) for node in lan.nodes for at, change in node.changes if isinstance(change, kind)]


def seconds_until_agreed(lan: Simulation, limit: float = 20.0) -> float:
    start = lan.now
    assert lan.run_until(lan.agreed, limit), f"not agreed after {limit} s"
    return lan.now - start


def test_a_newcomer_knows_a_small_grid_at_once_and_the_grid_knows_it() -> None:
    lan = grown(5)
    lan.start()
    assert seconds_until_agreed(lan) <= 0.1


@pytest.mark.parametrize("size", [1, 5, 100])
def test_a_guest_knows_the_grid_within_a_tenth_of_a_second(size: int) -> None:
    lan = grown(size)
    lan.run(3.0)
    guest = lan.start(observer=True)
    assert lan.run_until(lambda: len(guest.snapshot().nodes()) == size, 0.1, step=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_a_hundred_nodes_agree_in_a_storm(seed: int) -> None:
    lan = grown(100, seed, **STORM)
    lan.nodes[7].call(ev.SetRow(bundle(777)))
    assert seconds_until_agreed(lan) <= 6.0
    lan.nodes[8].call(ev.DropRow(bundle(0).digest))
    assert seconds_until_agreed(lan) <= 6.0
    assert changes(lan, ev.Left) == []


def test_a_quiet_grid_costs_one_datagram_a_node_a_second_and_no_requests() -> None:
    lan = grown(50)
    lan.run(3.0)
    sent, requests = lan.sent, lan.requests
    lan.run(20.0)
    assert 0.9 <= (lan.sent - sent) / (20 * 50) <= 1.1
    assert lan.requests == requests


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_death_is_noticed_in_seconds_and_the_living_are_left_in_peace(loss: float) -> None:
    lan = grown(30, 1, loss=loss)
    lan.nodes[3].kill()
    assert seconds_until_agreed(lan) <= 6.5
    lan.run(20.0)
    assert lan.agreed()
    assert {change.node.name for _, change in changes(lan, ev.Left)} == {"node4"}


def test_a_goodbye_is_noticed_at_once() -> None:
    lan = grown(30)
    lan.nodes[3].stop()
    assert seconds_until_agreed(lan) <= 0.1


def test_a_partition_splits_the_grid_and_healing_joins_it() -> None:
    lan = grown(40)
    requests = lan.requests
    lan.partition(lan.nodes[:25], lan.nodes[25:])
    assert seconds_until_agreed(lan) <= 6.5
    lan.nodes[0].call(ev.SetRow(bundle(1000)))
    lan.nodes[39].call(ev.DropRow(bundle(39).digest))
    lan.run(30.0)
    lan.heal()
    assert seconds_until_agreed(lan) <= 3.0
    # Rows that did not change while the cable was out are not fetched again, and nobody is probed for long.
    assert lan.requests - requests < 40 * 40 * 3


def test_who_stopped_for_a_while_blames_nobody_and_is_taken_back() -> None:
    lan = grown(10)
    sleeper = lan.nodes[0]
    sleeper.pause()
    assert seconds_until_agreed(lan) <= 6.5
    lan.nodes[1].kill()
    lan.run(60.0)
    before = len(sleeper.changes)
    sleeper.resume()
    lan.run(2.5)
    left = {c.node.name for _, c in sleeper.changes[before:] if isinstance(c, ev.Left)}
    assert left <= {"node2"}
    assert seconds_until_agreed(lan) <= 12.0


def test_a_starved_node_does_not_see_the_others_die() -> None:
    lan = grown(10)
    slow = lan.nodes[0]
    for _ in range(10):
        slow.pause()
        lan.run(2.2)
        slow.resume()
        lan.run(0.1)
    assert changes(lan, ev.Left) == []


def test_a_restart_under_the_same_name_and_address_keeps_the_name() -> None:
    lan = grown(5)
    old = lan.nodes[2]
    address = old.address
    old.kill()
    lan.run(0.5)
    new = lan.start("node3", address=address)
    assert seconds_until_agreed(lan) <= 0.5
    assert new.registry.me is not None and new.registry.me.name == "node3"


def test_equal_names_become_different_ones() -> None:
    lan = Simulation(5, loss=0.1)
    for _ in range(12):
        lan.start("same")
    seconds_until_agreed(lan)
    lan.run(5.0)
    assert lan.agreed()
    names = [node.registry.me.name for node in lan.nodes if node.registry.me is not None]
    assert len(set(names)) == 12
    assert names.count("same") == 1


class TestBeyondMulticast:
    def test_two_lans_joined_by_one_seed_are_one_grid(self) -> None:
        lan = Simulation(3)
        here = [lan.start(segment="here") for _ in range(5)]
        lan.start(segment="there", seeds=(here[0].address,))
        there = [lan.start(segment="there") for _ in range(4)]
        assert seconds_until_agreed(lan) <= 3.0
        lan.run(30.0)
        assert changes(lan, ev.Left) == []
        there[0].call(ev.SetRow(bundle(1)))
        assert seconds_until_agreed(lan) <= 3.0
        here[4].kill()
        assert seconds_until_agreed(lan) <= 9.0

    def test_nodes_without_any_multicast_meet_at_a_seed(self) -> None:
        lan = Simulation(4)
        seed = lan.start(segment="0")
        for number in range(1, 8):
            lan.start(segment=str(number), seeds=(seed.address,))
        assert seconds_until_agreed(lan) <= 4.0
        lan.run(30.0)
        assert lan.agreed() and changes(lan, ev.Left) == []

    def test_an_observer_with_a_seed_sees_the_grid(self) -> None:
        lan = grown(5)
        guest = lan.start(observer=True, segment="elsewhere", seeds=(lan.nodes[0].address,))
        assert lan.run_until(lan.agreed, 1.0)
        lan.run(20.0)
        assert len(guest.snapshot().nodes()) == 5
        assert not [change for _, change in guest.changes if isinstance(change, ev.Left)]

    def test_a_seed_that_starts_later_is_found(self) -> None:
        lan = Simulation(5)
        early = lan.start(segment="a", seeds=("10.9.9.9:1",))
        lan.run(30.0)
        assert [type(change) for _, change in early.changes] == [ev.SeedSilent]
        lan.start(segment="b", address="10.9.9.9:1")
        assert seconds_until_agreed(lan) <= 7.0
        assert ev.SeedHeard in [type(change) for _, change in early.changes]

    def test_who_is_heard_by_some_only_is_known_to_all(self) -> None:
        # One cable lets no multicast through, in either direction, but requests pass.
        lan = grown(6)
        lan.nodes[0].segment = "behind a bad switch"
        lan.run(30.0)
        assert lan.agreed() and changes(lan, ev.Left) == []


def test_the_same_seed_gives_the_same_run() -> None:
    stories = []
    for _ in range(2):
        lan = Simulation(11, **STORM)  # type: ignore[arg-type]
        for _ in range(10):
            lan.start()
            lan.run(0.2)
        lan.nodes[4].kill()
        lan.run(20.0)
        stories.append((lan.sent, lan.requests, [node.changes for node in lan.nodes]))
    assert stories[0] == stories[1]


class Weather(RuleBasedStateMachine):
    """Anything may happen, in any order; when it stops, the living agree within seconds."""

    @initialize(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.1, 0.4]))
    def begin(self, seed: int, loss: float) -> None:
        self.lan = Simulation(seed, loss=loss, duplication=0.1, delay=(0.0, 0.3), skew=500.0)
        for _ in range(3):
            self.lan.start("node")

    def pick(self, number: int) -> SimulatedNode:
        running = [node for node in self.lan.nodes if node.running]
        return running[number % len(running)]

    @precondition(lambda self: len([node for node in self.lan.nodes if node.running]) < 8)
    @rule(observer=st.booleans())
    def start(self, observer: bool) -> None:
        self.lan.start("node", observer=observer)

    @precondition(lambda self: len([node for node in self.lan.nodes if node.running]) > 2)
    @rule(number=st.integers(0, 7), word=st.booleans())
    def end(self, number: int, word: bool) -> None:
        node = self.pick(number)
        node.stop() if word and not node.paused else node.kill()

    @rule(number=st.integers(0, 7), which=st.integers(0, 3), held=st.booleans())
    def change(self, number: int, which: int, held: bool) -> None:
        node = self.pick(number)
        if node.registry.me is not None and not node.paused:
            node.call(ev.SetRow(bundle(which)) if held else ev.DropRow(bundle(which).digest))

    @rule(number=st.integers(0, 7))
    def pause_or_resume(self, number: int) -> None:
        node = self.pick(number)
        node.resume() if node.paused else node.pause()

    @rule(sides=st.lists(st.integers(0, 1), min_size=8, max_size=8))
    def cut(self, sides: list[int]) -> None:
        split: tuple[list[SimulatedNode], list[SimulatedNode]] = ([], [])
        for node, side in zip(self.lan.nodes, sides, strict=False):
            split[side].append(node)
        self.lan.partition(*split)

    @rule()
    def heal(self) -> None:
        self.lan.heal()

    @rule(seconds=st.floats(0.01, 8.0))
    def wait(self, seconds: float) -> None:
        self.lan.run(seconds)

    def teardown(self) -> None:
        if not hasattr(self, "lan"):
            return
        self.lan.heal()
        self.lan.loss = 0.0
        for node in self.lan.nodes:
            if node.running and node.paused:
                node.resume()
        # A dead node's time-out with all patience that a node can have takes 15 s; then come the last beats.
        assert self.lan.run_until(lambda: self.lan.agreed() and self.names_differ(), 25.0, step=0.25)

    def names_differ(self) -> bool:
        names = [node.registry.me.name for node in self.lan.running() if node.registry.me is not None]
        return len(set(names)) == len(names)


TestWeather = Weather.TestCase
TestWeather.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.slow
def test_a_thousand_nodes_agree() -> None:
    lan = Simulation(1, loss=0.05)
    for number in range(1_000):
        lan.start().call(ev.SetRow(bundle(number)))
        lan.run(0.003)
    assert seconds_until_agreed(lan, 30.0) <= 10.0
    guest = lan.start(observer=True)
    assert lan.run_until(lambda: len(guest.snapshot().nodes()) == 1_000, 1.0)
    lan.nodes[500].kill()
    assert seconds_until_agreed(lan) <= 7.0
    assert {change.node.name for _, change in changes(lan, ev.Left)} == {"node501"}
