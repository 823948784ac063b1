"""The schedule: which worker gets how many of the waiting tasks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bundlebee.calls.tasks import CHUNKS, LONG, MOST_TASKS, TURN, Hand, Pace, Schedule


class Task:
    def __init__(self, pace: Pace, name: int = 0) -> None:
        self.pace = pace
        self.name = name


def schedule(workers: int, tasks: int, pace: Pace) -> Schedule[Task]:
    schedule: Schedule[Task] = Schedule()
    schedule.hands = [Hand() for _ in range(workers)]
    schedule.put(Task(pace, name) for name in range(tasks))
    return schedule


def test_an_unknown_function_is_tried_with_one_task() -> None:
    tasks = schedule(2, 100, Pace())
    assert [task.name for task in tasks.take(tasks.hands[0])] == [0]


def test_quick_tasks_go_in_large_chunks() -> None:
    pace = Pace()
    for _ in range(10):
        pace.ran(10, 1e-5)
    assert pace.chunk() == MOST_TASKS
    tasks = schedule(2, 100_000, pace)
    assert len(tasks.take(tasks.hands[0])) == MOST_TASKS


def test_the_last_tasks_are_shared() -> None:
    pace = Pace()
    for _ in range(10):
        pace.ran(10, 1e-5)
    tasks = schedule(4, 80, pace)
    assert len(tasks.take(tasks.hands[0])) == 80 / (4 * CHUNKS)


def test_one_waits_behind_a_task_of_a_turn_until_few_are_left() -> None:
    pace = Pace()
    pace.ran(1, 2 * TURN)
    tasks = schedule(2, 5, pace)
    hand, other = tasks.hands
    tasks.given(hand, 1, tasks.take(hand))
    tasks.given(other, 2, tasks.take(other))
    assert tasks.has_room(hand)
    tasks.given(hand, 3, tasks.take(hand))
    assert hand.load == 2
    assert not tasks.has_room(other)  # who is free first takes one of the last two
    tasks.answered(other, 2)
    assert tasks.has_room(other)


def test_long_tasks_go_one_by_one_and_wait_nowhere() -> None:
    pace = Pace()
    pace.ran(1, 2 * LONG)
    tasks = schedule(2, 10, pace)
    hand = tasks.hands[0]
    tasks.given(hand, 1, tasks.take(hand))
    assert hand.load == 1
    assert not tasks.has_room(hand) and tasks.take(hand) == []


def test_a_chunk_is_of_one_function() -> None:
    one, other = Pace(8), Pace(8)
    tasks: Schedule[Task] = Schedule()
    tasks.hands = [Hand()]
    tasks.put([Task(one), Task(one), Task(other), Task(one), Task(one), Task(one), Task(one)])
    assert len(tasks.take(tasks.hands[0])) == 2


def test_what_was_cancelled_is_dropped() -> None:
    tasks = schedule(1, 10, Pace(10))
    assert [task.name for task in tasks.take(tasks.hands[0], lambda task: task.name > 2)] == [3, 4, 5, 6, 7]


def test_what_is_handed_back_comes_next_and_elsewhere() -> None:
    tasks = schedule(2, 40, Pace(10))
    busy, free = tasks.hands
    tasks.given(busy, 1, tasks.take(busy))
    assert tasks.answered(busy, 1).name == 0
    back = tasks.handed_back(busy, 1, 8)
    tasks.back(back)
    assert [task.name for task in back] == list(range(2, 10))
    assert not tasks.has_room(busy)
    assert tasks.take(free)[0].name == 2
    assert tasks.answered(busy, 1).name == 1
    assert tasks.has_room(busy)


Events = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(0, 1)), max_size=200)


@given(Events)
def test_no_task_is_lost_or_begun_twice(events: list[tuple[int, int, float]]) -> None:
    paces = [Pace(), Pace(4)]
    tasks: Schedule[Task] = Schedule()
    tasks.hands = [Hand() for _ in range(3)]
    put, done, ticket = 0, [], 0
    for kind, which, amount in events:
        hand = tasks.hands[which % len(tasks.hands)]
        if kind == 0:
            count = int(amount * 100)
            tasks.put([Task(paces[which % 2], put + i) for i in range(count)])
            put += count
        elif kind in (1, 2):
            chunk = tasks.take(hand)
            assert len(chunk) <= MOST_TASKS
            if chunk:
                ticket += 1
                tasks.given(hand, ticket, chunk)
        elif hand.away:
            first = next(iter(hand.away))
            if kind == 3:
                count = max(1, int(amount * len(hand.away[first])))
                tasks.back(tasks.handed_back(hand, first, count))
            elif kind == 4:
                task = tasks.answered(hand, first)
                task.pace.ran(1, amount)
                done.append(task.name)
            else:
                done += [task.name for task in tasks.lost(hand)]
                tasks.hands.append(Hand())
        assert all(len(hand.away) <= CHUNKS for hand in tasks.hands)
    away = [task.name for hand in tasks.hands for chunk in hand.away.values() for task in chunk]
    assert sorted(done + away + [task.name for task in tasks.waiting]) == list(range(put))
    # and whatever happened, the rest is done by who is left
    for _ in range(put + 1):
        for hand in tasks.hands:
            for number in list(hand.away):
                while number in hand.away:
                    done.append(tasks.answered(hand, number).name)
            chunk = tasks.take(hand)
            if chunk:
                ticket += 1
                tasks.given(hand, ticket, chunk)
        if not tasks.waiting and not any(hand.away for hand in tasks.hands):
            break
    assert sorted(done) == list(range(put))
