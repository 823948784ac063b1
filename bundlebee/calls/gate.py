"""The gate: a worker's guard over calls of which the analysis could not tell ahead what they run.

A function with gaps (`bundlebee.bundles.gaps`) runs as code in which those calls come here (`bundlebee.bundles.gated`).
Before one happens, the effects of what is really called are analysed, with its real arguments; what is not shown to be
harmless is stopped (`bundlebee.calls.guard`), and nothing has happened. When it comes back, the gate sees to it that it
brought nothing that the analysis of its caller did not allow for. Whatever of this fails stops the call, too.

What was let through reads state that the caller could not compare ahead. So its fingerprint goes back with the answer
(`Gate.met`), and the caller believes the answer only if its own is the same (`disagreement`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.bundles import own
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.effects import Effect, EffectAnalysis
from bundlebee.bundles.fingerprint import Remembered, state
from bundlebee.bundles.values import Walk, walk
from bundlebee.calls import fields
from bundlebee.calls.exchange import Exchange, Source
from bundlebee.errors import BundlebeeError, Unshippable

if TYPE_CHECKING:
    from bundlebee.bundles.gaps import Gap
    from bundlebee.calls.guard import Guard

Met = tuple[list[tuple[str, str]], bytes]
"""State that was read, and its digest."""

MORE = 1000
"""Frames that the gate itself may use on top of what the call was given."""

_SETATTR: Any = object.__setattr__
_SLOT_OF_OBJECT: Any = type(object().__setattr__)
_NOTHING = Walk([], frozenset(), (), (), {})


class _Level(msgspec.Struct):
    """A call that was let through, or the shipped one: what its gaps may bring in."""

    classes: frozenset[type]


class Gate:
    """Of one worker.

    Args:
        guard: of the thread where calls run.
        source: of the modules that there may be gaps in.
    """

    def __init__(self, guard: Guard, source: Source) -> None:
        self._guard = guard
        self._exchange = Exchange(source, self)
        self._analysis = EffectAnalysis(self._exchange.facts)
        self._levels: list[_Level] = []
        self._states: dict[tuple[tuple[str, str], ...], Remembered] = {}
        #: of the call that came last: what was met
        self.met: list[Met] = []

    def guarding(
        self, function: Callable[..., Any], gaps: Sequence[Gap], tell: Callable[[list[Met]], None]
    ) -> Callable[..., Any]:
        """The function as one whose gaps are guarded.

        Args:
            tell: is told what each call meets in them.
        """

        def run(*args: Any, **kwargs: Any) -> Any:
            with self._open(gaps, args, kwargs):
                tell(self.met)
                return function(*args, **kwargs)

        return run

    @contextmanager
    def _open(self, gaps: Sequence[Gap], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
        guard = self._guard
        self.met = []
        limit = sys.getrecursionlimit()
        active, guard.active = guard.active, False
        try:
            try:
                self._states.clear()
                found = walk(args, kwargs)
                self._exchange.put_in_place(gaps)
                self._levels.append(_Level(found.classes))
            except Exception as error:
                guard.active = active
                guard.stop(f"cannot be guarded: {error}")
                raise
            sys.setrecursionlimit(limit + 1)  # the frame of `run` is not the program's
            guard.active = active
            yield
        finally:
            guard.active = False
            self._levels.clear()
            self._exchange.take_away()
            sys.setrecursionlimit(limit)
            guard.active = active

    # -- what gated code calls -----------------------------------------------------------------------------

    def call(self, number: int, callee: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call in a gap."""
        return self._call(number, callee, args, kwargs)

    def _call(self, number: int, callee: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        guard = self._guard
        if not self._levels or not guard.active:  # by our own hands
            return callee(*args, **kwargs)
        if guard.tripped is not None:  # the program goes on as if nothing had been
            guard.stop(guard.tripped)
        guard.active = False
        try:
            limit = sys.getrecursionlimit()
            depth = len(self._levels)
            sys.setrecursionlimit(limit + MORE)
        except RecursionError:  # a call takes less than this
            if guard.tripped is None:
                guard.tripped = "is nested too deeply to be guarded"
            raise
        try:
            before, passed = self._ask(number, callee, args, kwargs)
            self._levels.append(_Level(before.classes))
            sys.setrecursionlimit(limit + 2)  # this frame and the one below are not the program's
            guard.active = True
            try:
                result = callee(*args, **kwargs)
            except BaseException as error:
                guard.active = False
                del self._levels[depth:]
                sys.setrecursionlimit(limit + MORE)
                if guard.tripped is None:
                    self._check_error(error, before, passed)
                raise
            guard.active = False
            del self._levels[depth:]
            sys.setrecursionlimit(limit + MORE)
            if passed is not None:
                self._check((result,), before, passed)
            return result
        finally:
            del self._levels[depth:]
            sys.setrecursionlimit(limit)
            guard.active = True

    def spread(
        self,
        number: int,
        callee: Any,
        args: tuple[Any, ...],
        star: Any,
        words: tuple[str, ...],
        values: tuple[Any, ...],
        double: Any,
        /,
    ) -> Any:
        """The same with ``*star`` and ``**double``."""
        if type(star) not in (tuple, list) or type(double) is not dict:
            self._stop("unpacks something unusual")
        if not all(type(word) is str for word in double) or not double.keys().isdisjoint(words):
            self._stop("unpacks something unusual")
        named = dict(zip(words, values, strict=True)) | double
        return self._call(number, callee, (*args, *star), named)

    # -- before -----------------------------------------------------------------------------------------------

    def _ask(
        self, number: int, callee: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Walk, tuple[Any, ...] | None]:
        """The call may happen: what there is among the arguments, and these. Without them, nothing can come of it that is not
        known already. Raises GuardStop if it may not happen."""
        try:
            if callee is getattr or callee is hasattr:
                functions = callee is hasattr or self._exchange.gap(number)[4]
                self._meet(fields.read(functions, *args, **kwargs), _NOTHING)
                return _NOTHING, None
            if callee is setattr or callee is _SETATTR:
                self._meet(fields.written(callee is setattr, *args, **kwargs), _NOTHING)
                return walk(args, {}), args
            if type(callee) is _SLOT_OF_OBJECT and callee.__objclass__ is object:  # super().__setattr__
                if callee.__name__ != "__setattr__":
                    raise Unshippable(f"calls {_name(callee)}, of which nothing is known")
                args = (callee.__self__, *args)
                self._meet(fields.written(False, *args, **kwargs), _NOTHING)
                return walk(args, {}), args
            return self._may_run(callee, args, kwargs)
        except BundlebeeError as error:
            self._stop(str(error))
        except Exception as error:  # also a RecursionError
            self._stop(f"makes a call that cannot be analysed: {type(error).__name__}: {error}")
        raise AssertionError("the guard has let a call pass")

    def _may_run(
        self, callee: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Walk, tuple[Any, ...]]:
        function = callee
        if type(callee) is MethodType:
            function, args = callee.__func__, (callee.__self__, *args)
        if type(function) is not FunctionType:
            raise Unshippable(f"calls {_name(callee)}, of which nothing is known")
        module, qualname = str(function.__globals__.get("__name__")), function.__code__.co_qualname
        if fields.by_name(module, qualname) is not function:
            raise Unshippable(f"calls {module}.{qualname}, which cannot be found by that name")
        found = walk(args, kwargs)
        summary = self._analysis.for_arguments(function, found, args, kwargs, gaps=True)
        if summary.level is Effect.UNSAFE:
            raise Unshippable(summary.why)
        if summary.shown:
            raise Unshippable(summary.shown[0][1])
        if summary.compares:  # copies of numbers that came with different arguments are different objects
            raise Unshippable("compares identities")
        if summary.hashes:
            raise Unshippable("looks at hashes of what it is given")
        self._meet(summary.reads, found)
        if summary.gaps:
            self._exchange.put_in_place(summary.gaps)
        return found, (*args, *kwargs.values())

    def _meet(self, reads: tuple[tuple[str, str], ...], found: Walk) -> None:
        """The call depends on that state."""
        if not reads:
            return
        remembered = self._states.get(reads)
        if remembered is None:
            remembered = self._states[reads] = Remembered(reads)
            self.met.append((list(reads), remembered.state().digest))
        if found.containers and not remembered.state().objects.isdisjoint(map(id, found.containers)):
            raise Unshippable("calls a function that reads what it is given as module state, too")

    # -- afterwards -------------------------------------------------------------------------------------------

    def _check(self, brought: tuple[Any, ...], before: Walk, passed: tuple[Any, ...]) -> None:
        """Whether that may come out of the gap; and what was passed may hold what it holds now."""
        try:
            after = walk((*brought, *passed), {})
            allowed = self._levels[-1].classes
            known = set(map(id, before.callables))
            if not all(id(value) in known for value in after.callables):
                raise Unshippable("gets a function or a class from a call of which nothing is known")
            if after.fills - before.fills or (after.fragile and not before.fragile):
                raise Unshippable("gets a container from a call of which nothing is known")
            if new := after.classes - allowed:
                there = {id(value) for value in before.containers}
                for value in after.containers:
                    if type(value) in new and id(value) not in there:
                        raise Unshippable(
                            f"gets a {type(value).__qualname__} from a call of which nothing is known"
                        )
                if any(issubclass(kind, Enum) and kind not in before.classes for kind in new):
                    raise Unshippable("gets a member of an enumeration from a call of which nothing is known")
            objects = set(map(id, after.containers))
            if any(
                not remembered.state().objects.isdisjoint(objects) for remembered in self._states.values()
            ):
                raise Unshippable("gets an object of a module from a call of which nothing is known")
        except BundlebeeError as error:
            self._stop(str(error))
        except Exception as error:
            self._stop(f"gets what cannot be looked at: {type(error).__name__}: {error}")

    def _check_error(self, error: BaseException, before: Walk, passed: tuple[Any, ...] | None) -> None:
        """The same, if it raised."""
        if isinstance(error, MemoryError | RecursionError):  # that depends on how much the gate itself needs
            self._stop(f"raised {type(error).__name__}")
        kind = type(error)
        if by_python(kind) or own.attributes(error):
            self._stop(f"meets a {kind.__qualname__} from a call of which nothing is known")
        if passed is not None:
            self._check(error.args, before, passed)

    def _stop(self, what: str) -> None:
        """Stop the call, and say where."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename == __file__:
            frame = frame.f_back
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        self._guard.active = True
        self._guard.stop(f"{what} (in {frame.f_code.co_qualname}, {place})")


def disagreement(met: Sequence[Met], found: Walk) -> str | None:
    """Why an answer must not be believed: what was met there is not the same here, or an argument is part of it. None if all is well.

    Args:
        found: what there was among the arguments of the call.
    """
    objects = set(map(id, found.containers))
    for reads, digest in met:
        try:
            here = state([(module, name) for module, name in reads], modules=sys.modules)
        except BundlebeeError as error:
            return str(error)
        if here.digest != digest:
            return "it met state there that is not the same here"
        if not here.objects.isdisjoint(objects):
            return "an argument is part of state that it met there"
    return None


def _name(callee: Any) -> str:
    name = getattr(callee, "__qualname__", None)
    if type(name) is not str:
        return f"a {type(callee).__module__}.{type(callee).__qualname__}"
    module = getattr(callee, "__module__", None)
    return f"{module}.{name}" if type(module) is str else name
