from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from bundlebee.calls.functions import find_function
from bundlebee.errors import UnknownFunction
from bundlebee.words import FunctionRef

SOURCE = """
import functools

def plain(): return "plain"

def wrap(f):
    @functools.wraps(f)
    def wrapper(*a): return "wrapped"
    return wrapper

def bare_wrap(f):
    def wrapper(*a): return "wrapped"
    wrapper.keep = None
    hidden = f
    def user(*a): return hidden(*a)
    return user

@wrap
@wrap
def twice(): return "inner"

@bare_wrap
def closure(): return "closure"

@functools.lru_cache(maxsize=None)
def cached(): return "cached"

@functools.singledispatch
def single(x): return "single"

class A:
    @property
    def p(self): return "p"
    @p.setter
    def p(self, v): return "setter"
    @staticmethod
    def s(): return "s"
    @classmethod
    @wrap
    def c(cls): return "c"
    @functools.cached_property
    def cp(self): return "cp"
    def __private(self): return "private"
    def __dunder__(self): return "dunder"
    class B:
        def deep(self): return "deep"
    class _C:
        def __deeper(self): return "deeper"
    class __D:
        def __deepest(self): return "deepest"

part = functools.partial(plain)
value = 3
"""


@pytest.fixture(scope="module")
def module() -> Iterator[types.ModuleType]:
    module = types.ModuleType("bee_functions")
    sys.modules["bee_functions"] = module
    exec(compile(SOURCE, "bee_functions.py", "exec"), module.__dict__)
    yield module
    del sys.modules["bee_functions"]


def find(qualname: str, line: int = 0) -> Any:
    return find_function(FunctionRef("b", "d", "bee_functions", qualname), line)


@pytest.mark.parametrize(
    ("qualname", "text"),
    [
        ("plain", "plain"),
        ("twice", "inner"),
        ("closure", "closure"),
        ("cached", "cached"),
        ("A.p", "p"),
        ("A.s", "s"),
        ("A.c", "c"),
        ("A.cp", "cp"),
        ("A.B.deep", "deep"),
        ("A.__private", "private"),
        ("A.__dunder__", "dunder"),
        ("A._C.__deeper", "deeper"),
        ("A.__D.__deepest", "deepest"),
    ],
)
def test_the_innermost_function_is_found(module: types.ModuleType, qualname: str, text: str) -> None:
    function = find(qualname)
    arguments = [None] * function.__code__.co_argcount
    assert function(*arguments) == text
    assert find(qualname, function.__code__.co_firstlineno) is function


def test_line_tells_getter_from_setter(module: types.ModuleType) -> None:
    prop = module.A.p
    for function in (prop.fget, prop.fset):
        assert find("A.p", function.__code__.co_firstlineno) is function


def test_a_callable_without_code_is_taken_by_name(module: types.ModuleType) -> None:
    assert isinstance(find("part"), functools.partial)


@pytest.mark.parametrize(
    ("qualname", "line"), [("nothing", 0), ("A.nothing", 0), ("plain", 99), ("value", 0)]
)
def test_what_is_not_there_is_said(module: types.ModuleType, qualname: str, line: int) -> None:
    with pytest.raises(UnknownFunction, match=r"bee_functions"):
        find(qualname, line)


def test_a_module_that_cannot_be_imported() -> None:
    with pytest.raises(UnknownFunction, match="cannot import"):
        find_function(FunctionRef("b", "d", "no_such_module_here", "f"))
