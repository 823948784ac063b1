"""The functions of one executor's tasks, as they travel: each is pickled once, with what the worker has to know of it."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

from bundlebee.calls import lineage, logged
from bundlebee.calls.byvalue import by_name, dumps
from bundlebee.calls.pickling import blame
from bundlebee.calls.tasks import Pace
from bundlebee.calls.transport import Call
from bundlebee.errors import CallError, Unshippable
from bundlebee.hashing import sha256
from bundlebee.orders import Function
from bundlebee.words import FunctionRef, Reason

KNOWN = 1024  #: functions that are kept at hand


class Functions:
    """Of one executor.

    Args:
        look: looks what of the program's own is imported; that decides who travels by name.
    """

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._origin = lineage.PROGRAM  # the tasks that what submits belongs to
        self._settings = b""  # of loggers and warnings, when functions were last pickled
        self._named: dict[Any, Function] = {}  # functions that travel by name
        self._known: dict[str, Function] = {}  # all, by digest
        self._renamed: dict[tuple[Function, str], Function] = {}  # those of `called`

    def get(self, fn: Callable[..., Any], refused: Callable[[str, Reason, str], None]) -> Function:
        """The function as it travels.

        Args:
            refused: told of one that is not taken, for the record: its name, why, and a detail.

        Raises:
            Unshippable: it cannot.
            CallError: tasks have submitted tasks, and this one is one too many.
        """
        settings, origin = logged.current(dumps), lineage.current()
        if settings is not self._settings or origin != self._origin:
            self._settings, self._origin = settings, origin
            self._named.clear()
            self._known.clear()
        if _is_coroutine_function(fn):
            name = getattr(fn, "__qualname__", type(fn).__qualname__)
            raise Unshippable(
                f"the result of {name} cannot travel",
                why="it is a coroutine function: to call it makes a coroutine object, and runs nothing",
                hint=f"submit a function that runs it: def run(*args): return asyncio.run({name}(*args))",
            )
        is_plain = isinstance(fn, _PLAIN)
        if is_plain and (known := self._named.get(fn)) is not None:
            return known
        self._look()  # what is imported decides who travels by name
        module, name = name_of(fn)
        if origin.hops <= 0:
            chain = (*origin.chain, f"{module}:{name}")
            error = CallError(
                f"{module}:{name} is not run: tasks have submitted tasks, {len(origin.chain)} deep",
                why=lineage.shown(chain),
                hint="does it submit itself without end? if not, let one task submit more of them",
            )
            refused(f"{module}:{name}", Reason.HOP_LIMIT, lineage.shown(chain))
            raise error
        try:
            data = dumps(fn)
        except Exception as error:
            raise _blame(fn, name, error) from None
        digest = sha256(data).hexdigest()
        with self._lock:
            function = self._known.get(digest)
            if function is None:
                call = Call(
                    FunctionRef("", digest, module, name),
                    recursion_limit=sys.getrecursionlimit(),
                    int_max_str_digits=sys.get_int_max_str_digits(),
                    hops=origin.hops - 1,
                    chain=origin.chain,
                    task=True,
                    settings=settings,
                )
                function = self._known[digest] = Function(f"{module}:{name}", call, data, Pace())
                while len(self._known) > KNOWN:
                    del self._known[next(iter(self._known))]
            if is_plain and by_name(fn):
                if len(self._named) >= KNOWN:
                    self._named.clear()
                self._named[fn] = function
        return function

    def called(self, name: str, function: Function) -> Function:
        """The same function under another name, with a pace of its own."""
        key = function, name
        known = self._renamed.get(key)
        if known is None:
            if len(self._renamed) >= KNOWN:
                self._renamed.clear()
            known = self._renamed[key] = Function(name, function.call, function.data, Pace())
        return known


_CO_COROUTINE = 0x80  # as in `inspect`
_PLAIN = (FunctionType, BuiltinFunctionType, type)


def unwrapped(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Without `functools.partial`: its arguments differ from task to task, and the function is to be sent once."""
    placeholder = getattr(functools, "Placeholder", None)  # since 3.14
    inner: Any = fn
    while type(inner) is functools.partial and (placeholder is None or placeholder not in inner.args):
        args, kwargs = inner.args + args, {**inner.keywords, **kwargs}
        inner = inner.func
    return inner, args, kwargs


def name_of(fn: Any) -> tuple[str, str]:
    """The module and the qualified name by which people know a callable."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    # one that has every attribute that it is asked for has no name there
    return (
        module if module and isinstance(module, str) else str(type(fn).__module__),
        name if name and isinstance(name, str) else type(fn).__qualname__,
    )


def _is_coroutine_function(fn: Any) -> bool:
    if isinstance(fn, MethodType):
        fn = fn.__func__
    return isinstance(fn, FunctionType) and bool(fn.__code__.co_flags & _CO_COROUTINE)


def _blame(fn: Callable[..., Any], name: str, error: Exception) -> Unshippable:
    """Say which variable of a function cannot travel."""
    if isinstance(fn, FunctionType):
        cells = zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
        variables = {variable: cell.cell_contents for variable, cell in cells if cell != _EMPTY}
        variables |= {used: fn.__globals__[used] for used in fn.__code__.co_names if used in fn.__globals__}
        for variable, value in variables.items():
            try:
                dumps(value)
            except Exception as problem:
                return blame(value, problem, f"{variable}, which the function {name} uses,", dumps)
    return blame(fn, error, f"the function {name}", dumps)


_EMPTY = CellType()
