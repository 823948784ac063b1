"""The join point: one advised function, and the swap of its code.

A wrapper would be a second object: another identity, another pickle, a cost on every call for ever. So the
function object stays and its ``__code__`` is exchanged. *Armed*, it runs a dispatcher with the same
signature, whose constant is the join point; *disarmed*, it runs the code that its author wrote, at its
author's speed.

A dispatcher for ``def f(a, b=1, /, *rest, c, **more)`` reads

    try:
        return JOIN_POINT.advice(JOIN_POINT, (a, b, *rest), {"c": c, **more})
    except:
        JOIN_POINT.clean()
        raise

where `clean` takes our own frames out of the traceback (a bare ``raise`` does not add its frame again), so
that what the program sees of an error is what it would see without us.

That of a coroutine function is one, too: ``async def``, and ``return await JOIN_POINT.advice(…)``. So calling it makes a
coroutine object with the author's name and place and does nothing more; the advice is asked in its first step, when plain
code would begin to run, and says what to await.

Defaults and closure belong to the function object, so they keep working. The template for each *shape* of
signature is compiled once; a dispatcher is that template with names and constants replaced (about 2 µs).
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable
from types import CellType, CodeType, FrameType, FunctionType
from typing import Any

from bundlebee.frames import NODE

Advised = Callable[["JoinPoint", tuple[Any, ...], dict[str, Any]], Any]
"""What a dispatcher calls: ``advice(join_point, args, kwargs)``; its result is the result of the call, or for a coroutine
function what is to be awaited for it."""

_MARK = "<join point>"  # stands for the join point in a template; no parameter can be called that

# as in `inspect`, which imports ast, dis and tokenize
_CO_VARARGS, _CO_VARKEYWORDS, _CO_GENERATOR, _CO_COROUTINE, _CO_ASYNC_GENERATOR = 0x4, 0x8, 0x20, 0x80, 0x200

_BLOCKERS = (
    (_CO_ASYNC_GENERATOR, "is an asynchronous generator"),
    (_CO_GENERATOR, "is a generator"),
)

_BLOCKING = _CO_ASYNC_GENERATOR | _CO_GENERATOR

# names of what finds a frame up the stack; ``warn`` does with a ``stacklevel``
_LOOKING_UP = frozenset({"_getframe", "_getframemodulename", "currentframe", "getouterframes", "warn"})

_BETWEEN = frozenset({"bundlebee", "zmq", "threading", "contextlib"})
"""Packages that run between a dispatcher and the program's code: its function, or a signal handler while we wait."""

_HAS_DOCSTRING = 0x4000000  # since 3.14: the first constant is the docstring; not so in a dispatcher


def _run_plain(point: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return point.plain(*args, **kwargs)


def _keep() -> None:
    return None


def copied(point: JoinPoint, frame: FrameType) -> FunctionType | None:
    """What the frame of a dispatcher runs if the program gave a copy of it other globals (`types.FunctionType`): the author's code
    with these. None if it is the function itself."""
    if frame.f_globals is point.function.__globals__:
        return None
    code = point.unwoven or point.original
    held = frame.f_locals if code.co_freevars else {}
    cells = tuple(CellType(held[name]) if name in held else CellType() for name in code.co_freevars)
    return FunctionType(code, frame.f_globals, code.co_name, None, cells)


def stand_in(call: Callable[..., Any], parts: dict[str, Any]) -> tuple[Any, ...]:
    """For ``__reduce__``: something hashable with these attributes, of the standard library only."""
    return functools.partial, (call,), (call, (), {}, parts)


def _of_a_program(function: Any) -> FunctionType:
    """A copy that is pickled by value, too: nobody finds it by its name."""
    copy = FunctionType(function.__code__, {"__builtins__": builtins}, function.__name__)
    copy.__module__ = "__main__"
    return copy


class JoinPoint:
    """One advised function.

    The advice gets all positional arguments as a tuple (defaults filled in) and keyword-only ones with
    ``**kw`` as a fresh dict, so ``join_point.plain(*args, **kwargs)`` is the plain call.
    """

    __slots__ = (
        "_dispatcher",
        "_rests",
        "advice",
        "blocked",
        "data",
        "function",
        "module",
        "original",
        "plain",
        "qualname",
        "unwoven",
    )

    function: Any  #: the author's function object
    module: str
    qualname: str
    original: CodeType  #: the code that its author wrote, with the scatter sites in it
    unwoven: CodeType | None  #: the same without sites, if it has some and may have other code
    plain: Any  #: twin with the original code, globals and closure; run it to run the call here
    advice: Advised | None  #: called by the dispatcher; set it before `arm`
    data: Any  #: free for the aspects
    blocked: str | None  #: why it can never be advised, or None

    def __init__(self, function: FunctionType, module: str, qualname: str) -> None:
        code = function.__code__
        self.function = function
        self.module = module
        self.qualname = qualname
        self.original = self._rests = code
        self.unwoven = None
        self.advice = None
        self.data = None
        self._dispatcher: CodeType | None = None

    def __getattr__(self, name: str) -> Any:
        # most functions of most programs are never advised: these are made when somebody asks for them
        if name == "blocked":
            self.blocked = _obstacle(self.original)
            return self.blocked
        if name != "plain":
            raise AttributeError(name)
        function = self.function
        plain = FunctionType(
            self.original,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        plain.__kwdefaults__ = function.__kwdefaults__
        self.plain = plain
        return plain

    def __reduce__(self) -> Any:
        """Who pickles functions by value, as cloudpickle does, finds this among the constants of their code. The copy runs the
        author's code, wherever it is: there need not be a bundlebee."""
        plain = self.plain
        if self.unwoven is not None:
            plain = FunctionType(
                self.unwoven, plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
            )
            plain.__kwdefaults__ = self.plain.__kwdefaults__
        run, nothing = _of_a_program(_run_plain), _of_a_program(_keep)
        return stand_in(run, {"plain": plain, "advice": run, "clean": nothing})

    def __repr__(self) -> str:
        return f"<JoinPoint {self.name} {'armed' if self.armed else 'disarmed'}>"

    @property
    def name(self) -> str:
        """``module:qualname``."""
        return f"{self.module}:{self.qualname}"

    @property
    def awaited(self) -> bool:
        """Whether it is a coroutine function: calls of it run when they are awaited."""
        return bool(self.original.co_flags & _CO_COROUTINE)

    @property
    def armed(self) -> bool:
        """Whether a call of the function reaches the advice now."""
        return self._dispatcher is not None and self.function.__code__ is self._dispatcher

    def arm(self) -> None:
        """Let calls reach `advice`. Does nothing where `blocked` is set or there is no advice."""
        if self.blocked is not None or self.advice is None or self.armed:
            return
        if self.function.__code__ is not self._rests:
            self.blocked = "the program replaced its code"
            return
        if self._dispatcher is None:
            self._dispatcher = _dispatcher(self)
        self.function.__code__ = self._dispatcher

    def disarm(self) -> None:
        """Put the original code back. Calls that are under way go on as they began."""
        # code that the program itself put there is not ours to remove
        if self.armed:
            self.function.__code__ = self._rests

    def spread(self, on: bool) -> None:
        """Whether some scatter site in it is on. If not, it runs its author's code without sites while it is disarmed."""
        before = self._rests
        self._rests = self.original if on or self.unwoven is None else self.unwoven
        if before is not self._rests and self.function.__code__ is before:
            self.function.__code__ = self._rests

    def retire(self) -> None:
        """Disarm for good. The dispatcher knows the join point, and code is not garbage-collected: as long as the join
        point knows its dispatcher, too, both live for ever, and with them the function's module."""
        self.disarm()
        self.blocked = "retired"
        self._dispatcher = None

    def clean(self) -> None:
        """Take the dispatcher's and the advice's entries out of the traceback of the current exception."""
        error = sys.exc_info()[1]
        assert error is not None and error.__traceback__ is not None
        entry = error.__traceback__.tb_next  # the first is the dispatcher's
        while entry is not None and self._is_between(entry.tb_frame):
            entry = entry.tb_next
        # not as an attribute: a frozen dataclass has none that can be set
        BaseException.with_traceback(error, entry)

    def _is_between(self, frame: FrameType) -> bool:
        # the function itself may be one of such a package, here or on another node
        if frame.f_code is self.original or frame.f_code is self.unwoven or NODE in frame.f_globals:
            return False
        return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _BETWEEN


def _obstacle(code: CodeType) -> str | None:
    if code.co_flags & _BLOCKING:
        return next(reason for flag, reason in _BLOCKERS if code.co_flags & flag)
    return "looks at its caller's frame" if _sees_its_caller(code) else None


def _sees_its_caller(code: CodeType) -> bool:
    """Whether a function looks up the stack, where our frames would be. None of those could be shipped."""
    names = code.co_names
    if not _LOOKING_UP.isdisjoint(names) or ("stack" in names and "inspect" in names):
        return True
    return any(type(constant) is tuple and "stacklevel" in constant for constant in code.co_consts)


def original_code(function: FunctionType) -> CodeType:
    """The code that the author of a function wrote, whether it is armed or not."""
    code = function.__code__
    point = join_point_in(code)
    return code if point is None else point.original


def is_dispatcher(code: CodeType) -> bool:
    """Whether this is the code of an armed join point, so that a traceback may leave it out."""
    return join_point_in(code) is not None


def join_point_in(code: CodeType) -> JoinPoint | None:
    """The join point whose dispatcher this code is, or None."""
    # walked, not indexed: where a compiler puts a constant is its own affair
    for constant in code.co_consts:
        if type(constant) is JoinPoint:
            return constant
    return None


def _dispatcher(point: JoinPoint) -> CodeType:
    code = point.original
    shape = (
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_flags & (_CO_VARARGS | _CO_VARKEYWORDS | _CO_COROUTINE),
        len(code.co_freevars),
    )
    template = _templates.get(shape)
    if template is None:
        template = _templates[shape] = _Template(*shape)
    return template.filled(point, code)


class _Template:
    """The dispatcher of one shape of signature. Filling it in is what arming a function costs: it has to be quick."""

    __slots__ = ("_after", "_before", "_code", "_keywords", "_size")

    def __init__(self, positional: int, positional_only: int, keyword: int, flags: int, free: int) -> None:
        rest, more = bool(flags & _CO_VARARGS), bool(flags & _CO_VARKEYWORDS)
        awaited = bool(flags & _CO_COROUTINE)
        code = self._code = _template(positional, positional_only, keyword, rest, more, free, awaited)
        place = code.co_consts.index(_MARK)
        self._before, self._after = code.co_consts[:place], code.co_consts[place + 1 :]
        self._size = len(code.co_varnames)
        self._keywords = bool(keyword)

    def filled(self, point: JoinPoint, code: CodeType) -> CodeType:
        names = code.co_varnames[: self._size]
        before, after = self._before, self._after
        if self._keywords:
            by = dict(zip(self._code.co_varnames, names, strict=True))
            before = tuple([_replaced(constant, by) for constant in before])
            after = tuple([_replaced(constant, by) for constant in after])
        return self._code.replace(
            co_name=code.co_name,
            co_qualname=code.co_qualname,
            co_filename=code.co_filename,
            co_firstlineno=code.co_firstlineno,
            co_flags=code.co_flags & ~_HAS_DOCSTRING,
            co_varnames=names,
            co_freevars=code.co_freevars,
            co_consts=(*before, point, *after),
        )


_templates: dict[tuple[int, int, int, int, int], _Template] = {}


def _replaced(constant: Any, by: dict[Any, Any]) -> Any:
    if type(constant) is tuple:  # the keys of the keyword dict come as one constant, or one by one
        return tuple(_replaced(item, by) for item in constant)
    return by.get(constant, constant) if type(constant) is str else constant


def _template(
    positional: int, positional_only: int, keyword: int, rest: bool, more: bool, free: int, awaited: bool
) -> CodeType:
    places = [f"p{i}" for i in range(positional)]
    keywords = [f"k{i}" for i in range(keyword)]
    cells = [f"free{i:04}" for i in range(free)]  # the compiler sorts them by name

    parameters = list(places)
    if positional_only:
        parameters.insert(positional_only, "/")
    if rest:
        parameters.append("*rest")
    elif keyword:
        parameters.append("*")
    parameters += keywords
    if more:
        parameters.append("**more")

    args = "".join(f"{name}, " for name in places) + ("*rest, " if rest else "")
    kwargs = "".join(f"{name!r}: {name}, " for name in keywords) + ("**more" if more else "")
    call = f"{_MARK!r}.advice({_MARK!r}, ({args}), {{{kwargs}}})"
    # never taken and not even compiled, but it makes the names free variables as in the original
    body = f"{call} if 1 else ({', '.join(cells)},)" if cells else call
    if awaited:
        body = f"await ({body})"
    source = (
        f"def outer({', '.join(cells)}):\n"
        f" {'async ' * awaited}def inner({', '.join(parameters)}):\n"
        f"  try: return {body}\n"
        f"  except:\n"
        f"   {_MARK!r}.clean()\n"
        f"   raise\n"
        f" return inner"
    )
    namespace: dict[str, Any] = {}
    exec(compile(source, "<dispatcher>", "exec", dont_inherit=True), namespace)
    code: CodeType = namespace["outer"](*cells).__code__
    return code.replace(co_linetable=_one_line(len(code.co_code) // 2))


def _one_line(units: int) -> bytes:
    """A line table: all code units are on the first line, and no columns (form 13, delta 0)."""
    table = bytearray()
    while units > 0:
        length = min(units, 8)
        table += bytes((0x80 | 13 << 3 | length - 1, 0))
        units -= length
    return bytes(table)
