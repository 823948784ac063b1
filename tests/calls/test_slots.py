from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bundlebee.calls.slots import CLAIM_SECONDS, Assign, Need, Recall, Slots, SlotState, Start, Withdraw

SEED = 7


def ready(count: int) -> Slots:
    slots = Slots(count, SEED)
    assert len(slots.fill()) == count
    for slot in slots.slots:
        assert slots.ready(slot, 0.0) == []
    return slots


def test_a_warm_worker_is_preferred() -> None:
    slots = ready(3)
    first, effects = slots.lease("a", Need(SEED, {"x": "1"}), 0.0)
    assert first is not None and effects == [Assign(first)]
    slots.over(first, "a")
    again, _ = slots.lease("b", Need(SEED, {"x": "1"}), 1.0)
    assert again is first
    other, _ = slots.lease("c", Need(SEED, {"y": "1"}), 1.0)
    assert other is not first


def test_a_worker_of_a_program_that_skips_assertions_serves_no_other() -> None:
    slots = ready(1)
    for optimize in (1, 1, 0, 2):
        slot, effects = slots.lease("a", Need(SEED, {}, optimize=optimize), 0.0)
        assert slot is not None and slot.optimize == optimize
        if Start(slot) in effects:
            slots.ready(slot, 0.0)
        slots.over(slot, "a")
    assert slots.slots[0].run == 4


def test_a_program_that_loaded_nothing_takes_a_clean_worker() -> None:
    slots = ready(2)
    first, _ = slots.lease("a", Need(SEED, {"x": "1"}), 0.0)
    assert first is not None
    slots.over(first, "a")
    second, _ = slots.lease("b", Need(SEED, {"y": "1"}), 0.0)
    assert second is not first


def test_a_worker_that_has_run_tasks_serves_only_who_sent_them() -> None:
    slots = ready(2)
    first, effects = slots.lease("a", Need(SEED, {}, tasks="x"), 0.0)
    assert first is not None and effects == [Assign(first)]
    slots.over(first, "a")
    again, effects = slots.lease("b", Need(SEED, {}, tasks="x"), 0.0)
    assert again is first and effects == [Assign(first)]
    slots.over(first, "b")
    second, effects = slots.lease("c", Need(SEED, {}), 0.0)
    assert second is not first and len(effects) == 1
    third, effects = slots.lease("d", Need(SEED, {}, tasks="y"), 0.0)
    assert third is first and effects == [Start(first)] and first.tasks == "y"


def test_what_does_not_fit_is_replaced() -> None:
    for need in (Need(SEED, {"x": "2"}), Need(8, {"x": "1"}), Need(SEED, {}, main="n")):
        slots = ready(1)
        slot, _ = slots.lease("a", Need(SEED, {"x": "1"}, main="m"), 0.0)
        assert slot is not None
        run = slot.run
        slots.over(slot, "a")
        got, effects = slots.lease("b", need, 1.0)
        assert got is slot and effects == [Start(slot)] and slot.run == run + 1
        assert slots.ready(slot, 2.0) == [Assign(slot)]
        assert slot.loads == need.loads and slot.main == need.main


def test_busy_when_all_are_leased() -> None:
    slots = ready(1)
    slots.lease("a", Need(SEED, {}), 0.0)
    assert slots.lease("b", Need(SEED, {}), 1.0) == (None, [])
    assert slots.free() == 0


def test_a_lease_that_nobody_comes_for_is_taken_back() -> None:
    slots = ready(1)
    slot, _ = slots.lease("a", Need(SEED, {}), 0.0)
    assert slot is not None
    got, effects = slots.lease("b", Need(SEED, {}), CLAIM_SECONDS + 1)
    assert got is slot and effects == [Withdraw(slot, "a"), Assign(slot)]
    slots.claimed(slot, "b")
    assert slots.lease("c", Need(SEED, {}), 3 * CLAIM_SECONDS)[0] is None


def test_late_news_of_an_old_lease_changes_nothing() -> None:
    slots = ready(1)
    slot, _ = slots.lease("a", Need(SEED, {}), 0.0)
    assert slot is not None
    slots.release("a")
    slots.lease("b", Need(SEED, {}), 0.0)
    assert not slots.over(slot, "a")
    slots.claimed(slot, "a")
    assert slot.token == "b" and not slot.claimed


class Machine(RuleBasedStateMachine):
    """Any order of events: no token twice, never a lease that does not fit, and effects that make sense."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(3, SEED)
        self.now = 0.0
        self.count = 0
        self.needs: dict[str, Need] = {}
        self.slots.fill()

    @rule(name=st.sampled_from("xy"), digest=st.sampled_from("12"), seed=st.sampled_from([7, 8]))
    def lease(self, name: str, digest: str, seed: int) -> None:
        self.count += 1
        need = Need(seed, {name: digest})
        free = self.slots.free()
        slot, effects = self.slots.lease(str(self.count), need, self.now)
        assert (slot is not None) == (free + sum(isinstance(e, Withdraw) for e in effects) > 0)
        if slot is not None:
            self.needs[str(self.count)] = need
            assert slot.fits(need)

    @rule(number=st.integers(0, 2))
    def ready(self, number: int) -> None:
        slot = self.slots.slots[number]
        if slot.state is SlotState.STARTING:
            effects = self.slots.ready(slot, self.now)
            assert bool(effects) == (slot.token is not None)

    @rule(number=st.integers(0, 2))
    def over(self, number: int) -> None:
        slot = self.slots.slots[number]
        if slot.token is not None:
            self.slots.over(slot, slot.token)

    @rule(number=st.integers(0, 2))
    def died(self, number: int) -> None:
        self.slots.died(self.slots.slots[number])
        self.slots.fill()

    @rule(number=st.integers(0, 2))
    def released(self, number: int) -> None:
        token = self.slots.slots[number].token
        if token is not None:
            self.slots.release(token)

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def leases_fit(self) -> None:
        tokens = [slot.token for slot in self.slots.slots if slot.token is not None]
        assert len(tokens) == len(set(tokens))
        for slot in self.slots.slots:
            if slot.token is not None:
                assert slot.fits(self.needs[slot.token])
                assert slot.state in (SlotState.STARTING, SlotState.LEASED)
            else:
                assert slot.state is not SlotState.LEASED


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def caller(name: str) -> Need:
    return Need(SEED, {}, caller=name)


def leased(slots: Slots, name: str, now: float) -> tuple[str | None, list[Recall]]:
    """Ask for a lease; its token, and what is asked back from others."""
    token = f"{name}-{now}"
    slot, effects = slots.lease(token, caller(name), now)
    return None if slot is None else token, [one for one in effects if isinstance(one, Recall)]


def test_who_has_most_gives_to_who_has_none() -> None:
    slots = ready(3)
    for now in (0.0, 0.1, 0.2):
        token, _ = leased(slots, "a", now)
        assert token is not None
    token, recalled = leased(slots, "b", 1.0)
    assert token is None and len(recalled) == 1
    assert leased(slots, "b", 1.2) == (None, [])  # it is on its way
    slots.over(recalled[0].slot, recalled[0].token)
    assert leased(slots, "a", 1.3) == (None, [])  # it is kept
    token, recalled = leased(slots, "b", 1.4)
    assert token is not None and not recalled
    assert leased(slots, "b", 1.5) == (None, [])  # two and one is fair


def test_one_slot_goes_round() -> None:
    slots = ready(1)
    assert leased(slots, "a", 0.0)[0] is not None
    assert leased(slots, "b", 1.0) == (None, [])
    token, recalled = leased(slots, "b", 2.1)
    assert token is None and len(recalled) == 1
    slots.over(recalled[0].slot, recalled[0].token)
    assert leased(slots, "b", 2.4)[0] is not None


def test_who_asks_no_more_keeps_nobody_waiting() -> None:
    slots = ready(2)
    assert leased(slots, "a", 0.0)[0] and leased(slots, "a", 0.0)[0]
    _, recalled = leased(slots, "b", 1.0)
    slots.over(recalled[0].slot, recalled[0].token)
    assert leased(slots, "a", 2.0)[0] is None
    assert leased(slots, "a", 2.6)[0] is not None


@settings(max_examples=200)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ask", "end"])), max_size=60),
)
def test_nobody_starves_and_nothing_is_given_twice(count: int, events: list[tuple[str, str]]) -> None:
    slots = ready(count)
    now = 0.0
    for name, what in events:
        now += 0.3
        if what == "ask":
            slot, effects = slots.lease(f"{name}{now}", caller(name), now)
            for one in effects:
                if isinstance(one, Recall):
                    assert one.slot.caller != name and one.slot.token == one.token
                    slots.over(one.slot, one.token)
            held = [slot for slot in slots.slots if slot.token is not None]
            assert len({slot.token for slot in held}) == len(held)
        else:
            for slot in slots.slots:
                if slot.caller == name and slot.token is not None:
                    slots.over(slot, slot.token)
                    break
    # whoever goes on asking, gets one
    for _ in range(20):
        now += 0.3
        slot, effects = slots.lease(f"z{now}", caller("z"), now)
        if slot is not None:
            break
        for one in effects:
            if isinstance(one, Recall):
                slots.over(one.slot, one.token)
    assert slot is not None
