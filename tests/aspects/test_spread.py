"""The queue of a spread loop, with a simulated peer in place of the feeder: whatever the peer does, the program must see
the plain loop."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlebee.aspects.item import Item
from bundlebee.aspects.spread import Spread


class Peer:
    """Takes chunks and answers, gives back, declines or loses items, as its dice say."""

    place = "b"

    def __init__(self, spread: Spread, seed: int) -> None:
        self.spread = spread
        self.random = random.Random(seed)
        self.held: list[Item] = []
        self.seconds: float | None = 0.001
        spread.supplies.append(self)  # type: ignore[arg-type]
        self.rang = threading.Event()
        spread.wake = self.rang.set
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def load(self) -> int:
        return len(self.held)

    def rate(self) -> float:
        return 1000.0

    def expected(self, now: float) -> Iterator[tuple[Item, float]]:
        for item in list(self.held):
            yield item, self.random.random() * 0.01

    def run(self) -> None:
        while not self.spread.closed:
            self.held += self.spread.chunk(self)  # type: ignore[arg-type]
            if not self.held:
                self.rang.wait(0.05)
                self.rang.clear()
                continue
            what = self.random.random()
            item = self.held.pop(0)
            if what < 0.3:
                # several results that came together, up to the first that is none
                several = [item]
                while self.held and self.random.random() < 0.9:
                    several.append(self.held.pop(0))
                good = list(takewhile(lambda one: one.args != (13,), several))
                self.spread.settle_all(good, [function(*one.args) for one in good])
                for one in several[len(good) :]:
                    self.spread.ours(one)
            elif what < 0.6:
                try:
                    self.spread.settle(item, function(*item.args))
                except ValueError:
                    self.spread.ours(item)
            elif what < 0.75:
                self.spread.ours(item)
            elif what < 0.95:
                held, self.held = [item, *self.held], []
                self.spread.back(held)
            else:
                held, self.held = [item, *self.held], []
                self.spread.give_up(RuntimeError("the dice said so"))
                self.spread.back(held)


def function(number: int) -> int:
    if number == 13:
        raise ValueError(number)
    return number * number


def loop(numbers: list[int], seed: int, *, here: bool) -> tuple[list[tuple[int, int]], str | None]:
    spread = Spread(
        iter(numbers),
        lambda n: ((n,), {}),
        function,
        here=here,
        seconds=0.0005,
        on_here=lambda _seconds: None,
    )
    peer = Peer(spread, seed)
    results: list[tuple[int, int]] = []
    error = None
    turns = spread.turns()
    try:
        for target, call in turns:
            results.append((target, call(target)))
    except ValueError as raised:
        error = str(raised)
    finally:
        turns.close()  # type: ignore[attr-defined]
        peer.thread.join(10)
    assert not peer.thread.is_alive()
    return results, error


def plainly(numbers: list[int]) -> tuple[list[tuple[int, int]], str | None]:
    results = []
    for number in numbers:
        try:
            results.append((number, function(number)))
        except ValueError as error:
            return results, str(error)
    return results, None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=200), st.integers(0, 1 << 30), st.booleans())
def test_whatever_the_peer_does_the_loop_is_the_plain_loop(numbers: list[int], seed: int, here: bool) -> None:
    assert loop(numbers, seed, here=here) == plainly(numbers)


def test_what_is_packed_no_sooner_than_run_goes_on_here() -> None:
    for here, stays in ((True, True), (False, False)):
        spread = Spread(
            iter(range(10)), lambda n: ((n,), {}), function, here=here, seconds=0.01, on_here=lambda _s: None
        )
        spread.expecting = 1
        spread._fill()
        peer = type("Peer", (), {"seconds": 0.01, "load": lambda self: 0, "place": "b"})()
        assert spread.chunk(peer)
        spread.check_packing(0.015, 1)  # the first one loads what packs
        assert spread.chunk(peer)
        spread.check_packing(0.5, 10)
        assert (spread.chunk(peer) == []) is stays
        assert not stays or [call(n) for n, call in spread.turns()] == [n * n for n in range(10)]


def test_without_peers_everything_runs_here() -> None:
    spread = Spread(
        iter(range(100)), lambda n: ((n,), {}), function, here=False, seconds=None, on_here=lambda _s: None
    )
    assert [call(n) for n, call in spread.turns() if n != 13] == [n * n for n in range(100) if n != 13]


def test_an_argument_that_cannot_be_made_ahead_is_left_to_the_program() -> None:
    def args_of(number: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if number == 3:
            raise KeyError(number)
        return (number,), {}

    spread = Spread(iter(range(6)), args_of, function, here=True, seconds=None, on_here=lambda _s: None)
    assert [(n, call is function) for n, call in spread.turns()][3] == (3, True)


def test_an_error_of_the_iterable_comes_after_the_turns_before_it() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("no more")

    spread = Spread(
        numbers(), lambda n: ((n,), {}), function, here=True, seconds=None, on_here=lambda _s: None
    )
    seen = []
    with pytest.raises(LookupError, match="no more"):
        for target, call in spread.turns():
            seen.append(call(target))
    assert seen == [1, 4]


def test_a_loop_that_is_left_early_closes_the_queue() -> None:
    spread = Spread(
        iter(range(100)), lambda n: ((n,), {}), function, here=True, seconds=None, on_here=lambda _s: None
    )
    turns = spread.turns()
    next(turns)
    turns.close()  # type: ignore[attr-defined]
    assert spread.closed
