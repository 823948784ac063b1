"""Tasks as the dispatcher has them, and to whom their outcomes go: a future, or an iteration of `map`."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any, Generic, TypeVar

from bundlebee.calls.tasks import Pace
from bundlebee.calls.transport import Call
from bundlebee.clock import clock
from bundlebee.loggers import get_logger

T = TypeVar("T")

log = get_logger("bundlebee.executor")


class Function:
    """A function as it travels, and how long its calls take."""

    __slots__ = ("call", "data", "name", "pace")

    def __init__(self, name: str, call: Call, data: bytes, pace: Pace) -> None:
        self.name = name
        self.call = call
        self.data = data
        self.pace = pace


class Task:
    """One call that was submitted."""

    __slots__ = ("args", "begun", "function", "future", "kwargs", "pace")

    def __init__(
        self, future: Future[Any], function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.future = future
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.pace = function.pace
        self.begun = False  #: it was sent once; it may have been handed back since

    def begin(self) -> bool:
        """It is about to be sent; False if it was cancelled. From now on it cannot be."""
        if not self.begun:
            try:
                self.begun = self.future.set_running_or_notify_cancel()
            except Exception:
                pass  # the program has set a result, or says itself that it runs: it is the program's then
        return self.begun

    def cancel(self) -> None:
        """Cancel it, if it was not sent."""
        self.future.cancel()

    def succeed(self, value: Any) -> None:
        """Its result has come."""
        try:
            self.future.set_result(value)
        except InvalidStateError:
            pass  # the program has set it
        except BaseException:  # `SystemExit`, for example; the thread is needed for the other tasks
            log.exception("a callback of %s raised", self.function.name)

    def fail(self, error: BaseException) -> None:
        """It raised, or something came in between."""
        try:
            self.future.set_exception(error)
        except InvalidStateError:
            pass
        except BaseException:
            log.exception("a callback of %s raised", self.function.name)


class Item:
    """One call of `map`, the same for the dispatcher."""

    __slots__ = ("_state", "args", "index", "round")

    def __init__(self, round: Round[Any], index: int, args: tuple[Any, ...]) -> None:
        self.round = round
        self.index = index
        self.args = args
        self._state = 0  # 1: it was sent once; 2: it was cancelled

    @property
    def function(self) -> Function:
        return self.round.function

    @property
    def kwargs(self) -> dict[str, Any]:
        return self.round.kwargs

    @property
    def pace(self) -> Pace:
        return self.round.function.pace

    def begin(self) -> bool:
        round = self.round
        with round.changed:
            if not self._state:
                self._state = 2 if round.closed else 1
            return self._state == 1

    def cancel(self) -> None:
        with self.round.changed:
            if not self._state:
                self._state = 2
                self.fail(CancelledError())
                self.round.changed.notify_all()

    def succeed(self, value: Any) -> None:
        """Its result has come. Whoever brings it announces it, for many at once."""
        self.round.outcomes[self.index] = value

    def fail(self, error: BaseException) -> None:
        self.round.outcomes[self.index] = _Failure(error)
        self.round.announce()


class _Failure:
    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


class Round(Generic[T]):
    """The outcomes of one `map`. A future for each would cost as much as all the rest of a small task.

    Attributes:
        closed: the program wants no more of it: what has not been sent is not sent.
    """

    def __init__(self, function: Function, kwargs: dict[str, Any]) -> None:
        self.function = function
        self.kwargs = kwargs
        self.outcomes: dict[int, Any] = {}  #: by index, until the program has them
        self.closed = False
        self.changed = threading.Condition()
        self._wanted = -1

    def announce(self) -> None:
        """Outcomes have come: wake who waits for one of them."""
        if self._wanted in self.outcomes:
            with self.changed:
                self.changed.notify_all()

    def result(self, index: int, deadline: float | None) -> T:
        """An outcome, once.

        Raises:
            TimeoutError: it has not come by then (`time.monotonic`).
            BaseException: what the call raised.
        """
        outcomes = self.outcomes
        if index not in outcomes:
            with self.changed:
                self._wanted = index  # before the look, so that whoever stores it announces it
                while index not in outcomes:
                    left = None if deadline is None else deadline - clock.monotonic()
                    if left is not None and left <= 0:
                        raise TimeoutError
                    self.changed.wait(left)
                self._wanted = -1
        outcome = outcomes.pop(index)
        if type(outcome) is _Failure:
            try:
                raise outcome.error
            finally:
                del outcome  # the error knows this frame
        found: T = outcome
        return found


Order = Task | Item
