"""What the scatter aspect may pull ahead from: nothing that the program could find used up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bundlebee.aspects.iterables import pulls_unseen

LIST = [3, 1, 2]
HELD = iter(LIST)
HELD_TOO = zip(LIST, LIST, strict=False)


def generator() -> Iterator[int]:
    yield 1


class Own(list[int]):
    def __iter__(self) -> Iterator[int]:
        return generator()


# the results are computed apart from the asserts, since pytest keeps hold of what it sees in an assert


@pytest.mark.parametrize("container", [LIST, (1,), range(3), "ab", b"ab", {1: 2}, {1}, {1: 2}.items()])
def test_containers_and_fresh_views_of_them(container: Any) -> None:
    unseen = [
        pulls_unseen(container, False),
        pulls_unseen(enumerate(container), True),
        pulls_unseen(zip(container, enumerate(container), strict=True), True),
        pulls_unseen(enumerate(zip(container, strict=False), 5), True),
    ]
    assert unseen == [True] * 4


def test_reversed() -> None:
    unseen = [
        pulls_unseen(reversed(LIST), True),
        pulls_unseen(zip(reversed(LIST), reversed({1: 2}), strict=False), True),
    ]
    assert unseen == [True] * 2


def test_an_iterator_that_the_program_holds() -> None:
    held = iter(LIST)
    for iterator in (HELD, HELD_TOO, iter(LIST), enumerate(LIST)):
        assert not pulls_unseen(iterator, False)
    unseen = [
        pulls_unseen(enumerate(held), True),
        pulls_unseen(zip(held, held, strict=False), True),
        pulls_unseen(zip(LIST, HELD, strict=False), True),
        pulls_unseen(enumerate(HELD_TOO), True),
        pulls_unseen(enumerate(enumerate(zip(HELD, strict=False))), True),
    ]
    assert unseen == [False] * 5


@pytest.mark.parametrize("fresh", [True, False])
def test_what_runs_code_or_is_unknown(fresh: bool) -> None:
    for make in (generator, lambda: Own([1]), lambda: map(str, LIST), lambda: open(__file__), object):  # noqa: SIM115
        thing: Any = make()
        assert not pulls_unseen(thing, fresh)
        if hasattr(thing, "__iter__"):
            assert not pulls_unseen(enumerate(thing), fresh)
        if hasattr(thing, "close"):
            thing.close()
