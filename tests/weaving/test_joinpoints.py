"""What becomes of functions can be told without weaving, and is the same."""

from __future__ import annotations

import argparse
import ast
import asyncio.tasks
import contextlib
import dataclasses
import functools
import inspect
from pathlib import Path
from types import ModuleType

import pytest

from bundlebee.weaving.joinpoints import outcomes
from bundlebee.weaving.splice import splice

BRANCHES = """\
from typing import overload

@overload
def f(x: int) -> int: ...
def f(x):
    return x

if f:
    def g():
        yield 1
elif f(1):
    async def g(): ...
else:
    class C:
        try:
            def m(self):
                def inner(): ...
        except ValueError:
            def m(self): ...
        finally:
            def __eq__(self, other): ...
        class D:
            match 1:
                case 1:
                    def n(self): ...
while 0:
    def h(): ...
for _ in ():
    @njit
    def h(): ...
with f:
    def h(): ...
"""


@pytest.mark.parametrize("module", [argparse, asyncio.tasks, contextlib, dataclasses, functools, inspect])
def test_a_module_of_the_standard_library(module: ModuleType) -> None:
    same(Path(str(module.__file__)).read_text())


def test_functions_in_all_places() -> None:
    same(BRANCHES)
    assert len(list(outcomes(ast.parse(BRANCHES), BRANCHES.split("\n")))) == 10


def same(source: str) -> None:
    tree = ast.parse(source)
    woven = [
        point
        for point in splice(source, tree).points
        if getattr(point, "reason", "") != "only declares an overload"
    ]
    assert sorted(outcomes(tree, source.split("\n")), key=str) == sorted(woven, key=str)
