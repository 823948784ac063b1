"""Errors of the program's signal handlers pass through where ours are caught; others do not."""

from __future__ import annotations

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bundlebee.interrupts import held, let_pass, waiting, wrap_handlers

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
    # what stands for the default handler is a member of an enumeration, and these are found by code, too
    let_pass(caught(lambda: signal.Handlers(77)))


@pytest.fixture
def wrapped() -> Iterator[None]:
    undo = wrap_handlers()
    yield
    undo()


def test_while_our_code_runs_a_handler_is_put_off(wrapped: None) -> None:
    told: list[Any] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: told.append((number, frame is not None)))
    with held():
        with held():
            signal.raise_signal(signal.SIGUSR1)
        assert told == []
    assert told == [(signal.SIGUSR1, True)]
    signal.raise_signal(signal.SIGUSR1)
    assert len(told) == 2


def test_what_it_raises_comes_when_our_code_is_done(wrapped: None) -> None:
    signal.signal(signal.SIGUSR1, ring)
    done = False
    with pytest.raises(TimeoutError), held():
        signal.raise_signal(signal.SIGUSR1)
        done = True
    assert done
    with held():
        pass


def test_while_we_wait_it_runs_at_once(wrapped: None) -> None:
    signal.signal(signal.SIGUSR1, ring)
    with held():
        with pytest.raises(TimeoutError), waiting():
            signal.raise_signal(signal.SIGUSR1)
            raise AssertionError("not reached")
        # one that came before is not left waiting with us
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(TimeoutError), waiting():
            raise AssertionError("not reached")
        signal.raise_signal(signal.SIGUSR1)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        with pytest.raises(TimeoutError), waiting():
            pass


def test_ctrl_c_is_put_off_too(wrapped: None) -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt), held():
        signal.raise_signal(signal.SIGINT)


def test_the_program_sees_its_own_handlers(wrapped: None) -> None:
    assert signal.signal(signal.SIGUSR1, ring) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGUSR1) is ring
    assert signal.signal(signal.SIGUSR1, signal.SIG_IGN) is ring
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    with pytest.raises(TypeError):
        signal.signal(signal.SIGUSR1, "none")  # type: ignore[arg-type]


def test_a_traceback_has_no_frame_of_ours(wrapped: None) -> None:
    signal.signal(signal.SIGUSR1, ring)
    error = caught(lambda: signal.raise_signal(signal.SIGUSR1))
    names = []
    entry = error.__traceback__
    while entry is not None:
        names.append(entry.tb_frame.f_code.co_name)
        entry = entry.tb_next
    assert names == ["caught", "<lambda>", "ring"]


def test_other_threads_do_not_hold(wrapped: None) -> None:
    told: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
    entered, leave = threading.Event(), threading.Event()

    def hold_here() -> None:
        with held():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold_here)
    thread.start()
    entered.wait(10)
    signal.raise_signal(signal.SIGUSR1)
    assert told == [signal.SIGUSR1]
    leave.set()
    thread.join()


def test_undone_all_is_as_before() -> None:
    before = signal.signal, signal.getsignal, signal.getsignal(signal.SIGINT)
    wrap_handlers()()
    assert (signal.signal, signal.getsignal, signal.getsignal(signal.SIGINT)) == before
