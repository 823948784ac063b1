"""Errors of the program's signal handlers pass through where ours are caught; others do not."""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bundlebee.interrupts import let_pass

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs POSIX signals")


def ring(*_args: Any) -> None:
    raise TimeoutError


class Bell:
    def ring(self, *_args: Any) -> None:
        raise TimeoutError

    def __call__(self, *_args: Any) -> None:
        raise TimeoutError


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def caught(action: Callable[[], object]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "handler", [ring, Bell().ring, Bell(), functools.partial(ring, 1), lambda *_: ring(), lambda *_: {}[1]]
)
def test_of_a_handler(handler: Any) -> None:
    signal.signal(signal.SIGUSR1, handler)
    error = caught(lambda: signal.raise_signal(signal.SIGUSR1))
    with pytest.raises(type(error)) as raised:
        let_pass(error)
    assert raised.value is error


def test_of_others() -> None:
    signal.signal(signal.SIGUSR1, Bell().ring)
    let_pass(caught(ring))
    let_pass(caught(lambda: {}[1]))
    let_pass(ValueError("never raised"))
