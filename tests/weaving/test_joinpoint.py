"""The swap of code: an armed function must be the same function to everybody but its caller's clock."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
import re
import subprocess
import sys
import textwrap
import traceback
import typing
from collections.abc import Callable
from typing import Any

import cloudpickle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundlebee.weaving.advice import Advice
from bundlebee.weaving.joinpoint import JoinPoint, is_dispatcher, join_point_in, original_code
from bundlebee.weaving.outcomes import ScatterSite


def armed(function: Any, advice: Callable[..., Any] | None = None) -> JoinPoint:
    point = JoinPoint(function, function.__module__, function.__qualname__)
    point.advice = advice or (lambda point, args, kwargs: point.plain(*args, **kwargs))
    point.arm()
    assert point.armed
    return point


def module_level(a: int, b: int = 2, *, c: str = "c") -> tuple[int, int, str]:
    """Its own text."""
    return a, b, c


@pytest.fixture(autouse=True)
def clean() -> Any:
    code = module_level.__code__
    yield
    module_level.__code__ = code


# -- every shape of signature ------------------------------------------------------------------------------


def shapes() -> list[str]:
    parts: list[list[str]] = [
        ["", "p, /", "p, q=7, /"],
        ["", "a", "a=1", "a=1, b=2"],
        ["", "*", "*rest"],
        ["", "k", "k=3", "k, m=4"],
        ["", "**more"],
    ]
    found = []
    for chosen in itertools.product(*parts):
        if (chosen[2] == "*") != bool(chosen[3] and chosen[2] != "*rest"):
            continue
        text = ", ".join(part for part in chosen if part)
        try:
            compile(f"def f({text}): pass", "<shape>", "exec")
        except SyntaxError:
            continue
        found.append(text)
    return found


@pytest.mark.parametrize("parameters", shapes())
def test_binds_as_the_original(parameters: str) -> None:
    names = re.findall(r"[a-z]+", parameters)
    namespace: dict[str, Any] = {}
    body = f"return ({''.join(f'{name}, ' for name in names)})"
    exec(f"def f({parameters}): {body}\ndef g({parameters}): {body}", namespace)
    f, g = namespace["f"], namespace["g"]
    point = armed(f)
    assert inspect.signature(f) == inspect.signature(g)
    for args in ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4, 5)):
        for kwargs in ({}, {"k": 8}, {"k": 8, "m": 9}, {"a": 5}, {"z": 0}, {"p": 1}, {"k": 1, "z": 2}):
            assert outcome(f, args, kwargs) == outcome(g, args, kwargs)
    point.disarm()
    assert f.__code__ is point.original


def outcome(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        return str(error).replace("f()", "g()")


def test_advice_sees_positional_and_keyword_arguments_apart() -> None:
    seen: list[Any] = []

    def f(p: int, /, a: int, b: int = 5, *rest: int, k: int, **more: int) -> None: ...

    point = armed(f, lambda point, args, kwargs: seen.append((point, args, kwargs)))
    f(1, 2, k=3)
    f(1, 2, 3, 4, k=5, z=6)
    assert seen == [(point, (1, 2, 5), {"k": 3}), (point, (1, 2, 3, 4), {"k": 5, "z": 6})]


def test_the_dict_of_keywords_is_the_calls_own() -> None:
    def f(**more: int) -> dict[str, int]:
        return more

    armed(f, lambda point, args, kwargs: kwargs.setdefault("x", len(kwargs)))
    given_ = {"a": 1}
    assert f(**given_) == 1
    assert given_ == {"a": 1}
    assert f() == 0 and f() == 0


def test_defaults_belong_to_the_function_object() -> None:
    def f(a: int = 1) -> int:
        return a

    armed(f)
    f.__defaults__ = (9,)
    assert f() == 9


@given(st.lists(st.integers()), st.dictionaries(st.text(min_size=1), st.integers()))
def test_any_arguments_arrive(args: list[int], kwargs: dict[str, int]) -> None:
    def f(*args: int, **kwargs: int) -> Any:
        return args, kwargs

    armed(f)
    assert f(*args, **kwargs) == (tuple(args), kwargs)


# -- free variables, cells, classes -----------------------------------------------------------------------


class Base:
    def greet(self, name: str, *, end: str = ".") -> str:
        return f"hello {name}{end}"


class Child(Base):
    def greet(self, name: str, *, end: str = "!") -> str:
        return super().greet(name.upper(), end=end)

    def which(self) -> type:
        return __class__  # type: ignore[name-defined,no-any-return]

    def captured(self, x: int) -> list[int]:
        return [y + x for y in range(3) if (lambda: x)()]

    def __mangled(self, __x: int, *, __k: int = 1) -> int:
        return __x + __k


def test_super_and_class_cells() -> None:
    points = [armed(vars(Child)[name]) for name in ("greet", "which", "captured", "_Child__mangled")]
    child = Child()
    try:
        assert child.greet("ann") == "hello ANN!"
        assert child.which() is Child
        assert child.captured(2) == [2, 3, 4]
        assert child._Child__mangled(1) == 2  # type: ignore[attr-defined]
        assert Child.greet.__code__.co_freevars == ("__class__",)
    finally:
        for point in points:
            point.disarm()


def test_many_free_variables_keep_their_order() -> None:
    namespace: dict[str, Any] = {}
    names = [f"v{i}" for i in range(30)]
    exec(
        f"def outer({', '.join(names)}):\n def f(): return [{', '.join(reversed(names))}]\n return f",
        namespace,
    )
    f = namespace["outer"](*range(30))
    armed(f)
    assert f.__code__.co_freevars == tuple(sorted(names))
    assert f() == list(reversed(range(30)))


def test_locals_of_a_dispatcher_can_be_read() -> None:
    class A:
        def f(self, x: int) -> Any:
            return __class__, x  # type: ignore[name-defined]

    frames: list[Any] = []
    armed(A.f, lambda point, args, kwargs: frames.append(sys._getframe(1).f_locals))
    A().f(3)
    assert frames[0]["x"] == 3 and frames[0]["__class__"] is A


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type parameters came with 3.12")
def test_type_parameters() -> None:
    namespace: dict[str, Any] = {}
    exec("def f[T](x: T, n: int = 2) -> list[T]:\n    return [x] * n if T else []", namespace)
    f = namespace["f"]
    armed(f)
    assert f("a") == ["a", "a"]
    assert [parameter.__name__ for parameter in f.__type_params__] == ["T"]


def test_closure_cells_are_shared_with_the_twin() -> None:
    def make() -> tuple[Any, Any]:
        total = 0

        def add(x: int) -> int:
            nonlocal total
            total += x
            return total

        return add, lambda: total

    add, total = make()
    armed(add)
    assert (add(2), add(3), total()) == (2, 5, 5)


# -- it stays the same function ---------------------------------------------------------------------------


def test_everything_people_look_at_is_the_same_when_armed() -> None:
    def look() -> tuple[Any, ...]:
        code = module_level.__code__
        return (
            inspect.signature(module_level),
            inspect.getsource(module_level),
            inspect.getdoc(module_level),
            typing.get_type_hints(module_level),
            pickle.dumps(module_level),
            pickle.loads(pickle.dumps(module_level)) is module_level,
            copy.deepcopy(module_level) is module_level,
            module_level.__name__,
            module_level.__qualname__,
            code.co_name,
            code.co_qualname,
            code.co_filename,
            code.co_firstlineno,
            code.co_argcount,
            code.co_kwonlyargcount,
            code.co_posonlyargcount,
            code.co_flags & ~0x4000000,
            code.co_varnames,
        )

    plain = look()
    armed(module_level)
    assert look() == plain


def test_original_code_of_armed_and_of_any_function() -> None:
    code = module_level.__code__
    assert original_code(module_level) is code
    point = armed(module_level)
    assert module_level.__code__ is not code
    assert original_code(module_level) is code
    assert join_point_in(module_level.__code__) is point
    assert is_dispatcher(module_level.__code__) and not is_dispatcher(code)


def test_a_dispatcher_stands_on_the_first_line_of_its_function() -> None:
    def f() -> None:
        raise ValueError

    armed(f)
    assert {line for _, _, line in f.__code__.co_lines()} == {f.__code__.co_firstlineno}
    assert {position[2:] for position in f.__code__.co_positions()} == {(None, None)}
    with pytest.raises(ValueError) as caught:
        f()
    # the advice stands in this file, not among the aspects, so it stays; the dispatcher is gone
    assert [entry.name for entry in traceback.extract_tb(caught.tb)] == [
        "test_a_dispatcher_stands_on_the_first_line_of_its_function",
        "<lambda>",
        "f",
    ]


# -- arming ------------------------------------------------------------------------------------------------


def test_arm_and_disarm_are_idempotent() -> None:
    point = armed(module_level)
    dispatcher = module_level.__code__
    point.arm()
    assert module_level.__code__ is dispatcher
    point.disarm()
    point.disarm()
    assert not point.armed and module_level(1) == (1, 2, "c")
    point.arm()
    assert module_level.__code__ is dispatcher


def test_without_advice_nothing_is_armed() -> None:
    point = JoinPoint(module_level, __name__, "module_level")
    point.arm()
    assert not point.armed


def test_code_that_the_program_replaced_is_left_alone() -> None:
    def f() -> int:
        return 1

    def other() -> int:
        return 2

    point = JoinPoint(f, __name__, "f")
    point.advice = lambda point, args, kwargs: 3
    f.__code__ = other.__code__
    point.arm()
    assert f() == 2 and point.blocked == "the program replaced its code"

    def g() -> int:
        return 1

    point = armed(g, lambda point, args, kwargs: 3)
    g.__code__ = other.__code__
    point.disarm()
    assert g() == 2 and not point.armed


def test_a_call_under_way_ends_as_it_began() -> None:
    def f(n: int) -> str:
        point.disarm()
        return "advised" if n else f(1)

    point = armed(f, lambda point, args, kwargs: f"<{point.plain(*args)}>")
    assert f(0) == "<advised>"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(): yield 1", "is a generator"),
        ("async def f(): yield 1", "is an asynchronous generator"),
    ],
)
def test_what_cannot_be_advised(source: str, reason: str) -> None:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    point = JoinPoint(namespace["f"], "m", "f")
    point.advice = lambda point, args, kwargs: None
    point.arm()
    assert point.blocked == reason and not point.armed


def test_static_class_methods_and_properties() -> None:
    class C:
        @staticmethod
        def s(x: int) -> int:
            return x

        @classmethod
        def c(cls, x: int) -> tuple[type, int]:
            return cls, x

        @property
        def p(self) -> int:
            return 4

    for function in (C.s, C.c.__func__, C.p.fget):  # type: ignore[attr-defined]
        armed(function)
    assert (C.s(1), C().s(1), C.c(2), C().p) == (1, 1, (C, 2), 4)


# -- what the program sees of an error --------------------------------------------------------------------


def as_an_aspect(advice: str) -> Any:
    """A function that seems to come from one of the aspects."""
    return eval(advice, {"__name__": "bundlebee.aspects.fake"})


def failing(depth: int) -> int:
    try:
        return 1 // depth if depth < 1 else failing(depth - 1)
    except ZeroDivisionError as error:
        raise ValueError(depth) from error


def seen_traceback(function: Any, *args: Any) -> list[tuple[str, int | None]]:
    try:
        function(*args)
    except Exception as error:
        entries: list[tuple[str, int | None]] = []
        current: BaseException | None = error
        while current is not None:
            entries += [(entry.name, entry.lineno) for entry in traceback.extract_tb(current.__traceback__)]
            current = current.__cause__
        return entries
    raise AssertionError("it did not fail")


def test_the_program_sees_the_traceback_that_it_would_see_without_us() -> None:
    plain = seen_traceback(failing, 3)
    point = armed(failing, as_an_aspect("lambda point, args, kwargs: point.plain(*args, **kwargs)"))
    try:
        assert seen_traceback(failing, 3) == plain
    finally:
        point.disarm()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_every_kind_of_exception_passes(error: type[BaseException]) -> None:
    raised = error("this one")

    def f() -> None:
        raise raised

    armed(f)
    with pytest.raises(error) as caught:
        f()
    assert caught.value is raised and caught.value.__context__ is None


@pytest.mark.parametrize("flag", ["VARARGS", "VARKEYWORDS", "GENERATOR", "COROUTINE", "ASYNC_GENERATOR"])
def test_the_flags_of_code_objects_are_those_of_inspect(flag: str) -> None:
    from bundlebee.weaving import joinpoint

    assert getattr(joinpoint, f"_CO_{flag}") == getattr(inspect, f"CO_{flag}")


def warns() -> None:
    import warnings

    warnings.warn("old", DeprecationWarning, stacklevel=2)


def tells() -> None:
    import logging

    logging.getLogger("x").info("text", stacklevel=2)


def looks() -> str:
    return sys._getframe(1).f_code.co_name


def inspects() -> str:
    return inspect.stack()[1].function


def searches(self: Any) -> Any:
    return self.stack.pop()


def test_what_looks_at_its_caller_is_not_advised() -> None:
    for function in (warns, tells, looks, inspects):
        point = JoinPoint(function, function.__module__, function.__qualname__)
        point.advice = lambda point, args, kwargs: None
        point.arm()
        assert not point.armed and point.blocked == "looks at its caller's frame"
    assert armed(searches).blocked is None


@pytest.mark.parametrize("module", ["contextlib", "threading", "threading_tools", "bundlebee.hooks"])
def test_entries_of_the_function_itself_stay_wherever_it_lives(module: str) -> None:
    namespace: dict[str, Any] = {"__name__": module}
    source = "def outer(deep):\n    return inner(deep)\ndef inner(deep):\n    return 1 // deep\n"
    exec(compile(source, "<there>", "exec"), namespace)
    aspect: dict[str, Any] = {"__name__": "bundlebee.aspects.some"}
    exec("def advice(point, args, kwargs): return point.plain(*args, **kwargs)", aspect)
    armed(namespace["outer"], aspect["advice"])
    armed(namespace["inner"], aspect["advice"])
    with pytest.raises(ZeroDivisionError) as caught:
        namespace["outer"](0)
    assert [entry.name for entry in caught.traceback][1:] == ["outer", "inner"]


def test_who_pickles_by_value_gets_the_authors_code() -> None:
    """As cloudpickle does with functions of the program; the copy is run where there is no bundlebee."""
    source = """
        import functools
        OFFSET = 3
        def add(a, /, b=2, *rest, c=1): return a + b + c + sum(rest) + OFFSET
        def factorial(n): return 1 if n < 2 else n * factorial(n - 1)
        class Box:
            def __init__(self, x): self.x = x
            def plus(self, n): return super().__getattribute__("x") + n
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(textwrap.dedent(source), names)
    for function in (names["add"], names["factorial"], names["Box"].plus):
        armed(function)
    data = cloudpickle.dumps((names["add"], names["factorial"], names["Box"], names["Box"](4)))
    there = (
        "import pickle, sys\n"
        "add, factorial, Box, box = pickle.load(sys.stdin.buffer)\n"
        "print(add(1), add(1, 2, 3, c=4), factorial(5), Box(1).plus(2), box.plus(2))\n"
        "print([name for name in sys.modules if name.startswith('bundlebee')])\n"
    )
    done = subprocess.run([sys.executable, "-c", there], input=data, capture_output=True, check=True)
    assert done.stdout.decode().split("\n")[:2] == ["7 13 120 3 6", "[]"]
    assert names["add"](1) == 7 and names["factorial"](5) == 120


def test_a_copy_of_an_advice_has_its_sites_off() -> None:
    site = ScatterSite(0, "list", "f", "g", 1, 0)
    advice = Advice("m", [site], on_scatter=lambda *_: iter(()))
    copied = pickle.loads(pickle.dumps(advice))
    assert advice.s0 and not copied.s0  # type: ignore[attr-defined]
