from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.decisions.model import Place, Work
from bundlebee.decisions.policy import Kind, Policy, Trials, decide
from bundlebee.errors import UsageError
from bundlebee.words import HERE, Reason

HOME = Place(HERE)
PEERS = [Place("b"), Place("c")]
WORK = Work(seconds=0.1)
AUTO, LOCAL, REMOTE = (Policy.parse(name) for name in ("auto", "local", "remote"))


class TestParse:
    @pytest.mark.parametrize(
        ("text", "policy"),
        [
            ("auto", Policy(Kind.AUTO)),
            ("local", Policy(Kind.LOCAL)),
            ("remote", Policy(Kind.REMOTE)),
            ("chaos:0.3", Policy(Kind.CHAOS, 0.3)),
            ("chaos:1:42", Policy(Kind.CHAOS, 1.0, 42)),
            (" chaos:0:0 ", Policy(Kind.CHAOS, 0.0, 0)),
        ],
    )
    def test_good(self, text: str, policy: Policy) -> None:
        assert Policy.parse(text) == policy
        assert Policy.parse(str(policy)) == policy

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "Auto",
            "fast",
            "chaos",
            "chaos:",
            "chaos:x",
            "chaos:2",
            "chaos:-0.1",
            "chaos:nan",
            "chaos:.5:x",
            "chaos:.5:1:2",
            "auto:1",
            "local:",
            "remote:0.5",
        ],
    )
    def test_bad(self, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            Policy.parse(text)
        assert caught.value.hint is not None and "chaos:P" in caught.value.hint

    def test_a_seed_is_drawn_once_and_can_be_named(self) -> None:
        seeded = Policy.parse("chaos:0.5").seeded()
        assert seeded.seed is not None
        assert seeded.seeded() == seeded
        assert Policy.parse(str(seeded)) == seeded
        assert AUTO.seeded() == AUTO

    def test_dice_repeat(self) -> None:
        one, two = Policy.parse("chaos:0.5:3").dice(), Policy.parse("chaos:0.5:3").dice()
        assert one is not None and two is not None
        assert [one.random() for _ in range(5)] == [two.random() for _ in range(5)]
        assert AUTO.dice() is None


class TestDecide:
    @pytest.mark.parametrize("policy", [AUTO, LOCAL, REMOTE, Policy.parse("chaos:1:1")], ids=str)
    def test_what_must_stay_stays_under_each_policy(self, policy: Policy) -> None:
        verdict = decide(policy, WORK, HOME, PEERS, blocked=(Reason.EFFECTS, "writes a file"))
        assert (verdict.where, verdict.why, verdict.detail) == (HERE, Reason.EFFECTS, "writes a file")

    @pytest.mark.parametrize("policy", [AUTO, REMOTE, Policy.parse("chaos:1:1")], ids=str)
    def test_peers_run_out(self, policy: Policy) -> None:
        assert decide(policy, WORK, HOME, []).why is Reason.NO_PEER

    def test_local(self) -> None:
        verdict = decide(LOCAL, Work(1e6), HOME, [Place("b", speed=100.0)])
        assert (verdict.where, verdict.why) == (HERE, Reason.FORCED)

    def test_remote_ships_what_does_not_pay_and_what_nobody_measured(self) -> None:
        for work in (Work(1e-6), WORK, None):
            verdict = decide(REMOTE, work, HOME, [Place("b", speed=0.5), Place("c", speed=0.7)])
            assert (verdict.where, verdict.why) == ("c", Reason.FORCED)

    def test_remote_without_a_free_slot(self) -> None:
        assert decide(REMOTE, WORK, HOME, [Place("b", free=0)]).why is Reason.PEER_BUSY

    def test_auto_asks_the_model(self) -> None:
        assert decide(AUTO, WORK, HOME, [Place("b", speed=4.0)]).why is Reason.CHEAPER_THERE
        assert decide(AUTO, None, HOME, [Place("b", speed=4.0)]).why is Reason.UNMEASURED

    def test_chaos_ships_its_share_and_uses_all_peers(self) -> None:
        policy = Policy.parse("chaos:0.3:11")
        dice = policy.dice()
        assert dice is not None
        went = Counter(decide(policy, WORK, HOME, PEERS, draw=dice.random()).where for _ in range(3000))
        assert went[HERE] == pytest.approx(2100, rel=0.1)
        assert went["b"] == pytest.approx(450, rel=0.2)
        assert went["c"] == pytest.approx(450, rel=0.2)

    @given(st.floats(0, 1), st.floats(0, 1, exclude_max=True))
    def test_chaos_never_raises(self, probability: float, draw: float) -> None:
        verdict = decide(Policy(Kind.CHAOS, probability), WORK, HOME, PEERS, draw=draw)
        assert verdict.why is Reason.FORCED
        assert (verdict.where == HERE) == (draw >= probability)


class TestExploring:
    LONG_RUN = Trials(run=1000.0)

    def test_a_peer_where_it_never_ran_is_tried(self) -> None:
        peers = [Place("b", measured=False), Place("c", measured=True)]
        verdict = decide(AUTO, WORK, HOME, peers, trials=self.LONG_RUN)
        assert (verdict.where, verdict.why) == ("b", Reason.EXPLORING)

    def test_not_beyond_the_bound(self) -> None:
        slow = [Place("b", speed=0.5, measured=False)]
        assert decide(AUTO, WORK, HOME, slow, trials=Trials(run=1000.0, spent=10.0)).here
        assert decide(AUTO, WORK, HOME, slow, trials=Trials(run=1.0)).here
        assert not decide(AUTO, WORK, HOME, slow, trials=self.LONG_RUN).here

    def test_not_for_short_calls_nor_hopeless_peers_nor_without_a_slot(self) -> None:
        assert decide(AUTO, Work(0.001), HOME, [Place("b", measured=False)], trials=self.LONG_RUN).here
        assert decide(AUTO, WORK, HOME, [Place("b", speed=0.1, measured=False)], trials=self.LONG_RUN).here
        assert decide(AUTO, WORK, HOME, [Place("b", measured=False, free=0)], trials=self.LONG_RUN).here

    def test_not_if_it_pays_anyway(self) -> None:
        verdict = decide(AUTO, WORK, HOME, [Place("b", speed=4.0, measured=False)], trials=self.LONG_RUN)
        assert verdict.why is Reason.CHEAPER_THERE
