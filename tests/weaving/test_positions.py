"""Positions: woven code must show every line and column as plain code does."""

from __future__ import annotations

import ast
import sys
import sysconfig
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import astor.node_util
import pytest

from bundlebee.errors import WeaveError
from bundlebee.weaving.outcomes import ADVICE_NAME
from bundlebee.weaving.positions import is_site, restore
from bundlebee.weaving.splice import splice

LIBRARY = Path(sysconfig.get_path("stdlib"))

SAMPLE = """
argparse ast bisect calendar cmd collections/__init__ configparser contextlib copy csv dataclasses
difflib enum fractions functools heapq json/decoder random statistics string textwrap typing weakref
"""

#: Another sixty, of all sorts; with the sample, every module that people use for work that could be shipped.
OTHERS = """
_pydecimal _pyio _strptime abc asyncio/base_events asyncio/tasks base64 bdb cgitb code codecs codeop
colorsys compileall concurrent/futures/thread copyreg ctypes/util datetime dis doctest email/message
email/header filecmp fileinput fnmatch ftplib genericpath getopt getpass gettext glob graphlib gzip
hashlib hmac html/parser http/client http/cookies imaplib inspect ipaddress json/encoder keyword
linecache locale logging/__init__ lzma mailbox mimetypes modulefinder multiprocessing/pool netrc
numbers opcode operator optparse os pathlib pdb pickle pickletools pkgutil platform plistlib poplib
posixpath pprint profile pstats pyclbr queue quopri reprlib sched selectors shelve shlex shutil
signal smtplib socket socketserver sre_parse ssl stat stringprep struct subprocess symtable tabnanny
tarfile tempfile threading timeit token tokenize traceback tracemalloc types unittest/case
unittest/mock urllib/parse urllib/request uuid wave xml/dom/minidom xml/etree/ElementTree
xmlrpc/client zipfile zoneinfo/_zoneinfo
"""


def weave(source: bytes, path: str, *, scatter: bool) -> tuple[ast.Module, ast.Module]:
    """The woven tree with positions restored, and the original."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original = ast.parse(source, path)
        woven = ast.parse(splice(source.decode(), original, scatter=scatter).text, path)
    restore(woven, original)
    return woven, original


def functions(code: types.CodeType) -> Iterator[types.CodeType]:
    """All functions in some code, in order; what holds class bodies and decorators differs."""
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            if constant.co_flags & 0x2 and not constant.co_name.startswith("<generic parameters"):
                yield constant
            yield from functions(constant)


def library(name: str) -> Path:
    for path in (LIBRARY / f"{name}.py", LIBRARY / name / "__init__.py"):
        if path.exists():
            return path
    pytest.skip(f"this Python has no {name}")


def assert_equal_positions(name: str) -> None:
    path = library(name)
    source = path.read_bytes()
    woven, _ = weave(source, str(path), scatter=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = list(functions(compile(woven, str(path), "exec", dont_inherit=True)))
        plain = list(functions(compile(source, str(path), "exec", dont_inherit=True)))
    assert len(ours) == len(plain)
    for mine, its in zip(ours, plain, strict=True):
        # equal code objects have equal names, constants, lines and columns
        assert mine == its and list(mine.co_positions()) == list(its.co_positions()), its.co_qualname


@pytest.mark.parametrize("name", SAMPLE.split())
def test_standard_library_sample(name: str) -> None:
    assert_equal_positions(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS.split())
def test_standard_library(name: str) -> None:
    assert_equal_positions(name)
    test_without_the_advice_the_tree_is_the_original(name)


# -- scatter sites ----------------------------------------------------------------------------------------


class Unadvised(ast.NodeTransformer):
    """Takes the advice out of a woven tree: an independent reading of what `restore` promises."""

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        return self.visit(node.orelse) if is_site(node) else self.generic_visit(node)  # type: ignore[no-any-return]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.decorator_list = [d for d in node.decorator_list if ADVICE_NAME not in ast.unparse(d)]
        return self.generic_visit(node)


@pytest.mark.parametrize("name", ["statistics", "random", "argparse", "ast", "difflib"])
def test_without_the_advice_the_tree_is_the_original(name: str) -> None:
    path = library(name)
    woven, original = weave(path.read_bytes(), str(path), scatter=True)
    bare = Unadvised().visit(woven)
    assert astor.node_util.fast_compare(bare, original)
    assert ast.dump(bare, include_attributes=True) == ast.dump(original, include_attributes=True)


def columns(source: str, word: str) -> set[tuple[int, int, int, int]]:
    """Where the woven tree of a source has a name."""
    woven, _ = weave(dedent(source).encode(), "<module>", scatter=True)
    return {
        (node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)
        for node in ast.walk(woven)
        if isinstance(node, ast.Name) and node.id == word
    }


def test_the_spread_branch_stands_where_the_original_stands() -> None:
    source = "x = [f(arg) + rest for arg in things]"
    assert columns(source, "rest") == {(1, 14, 1, 18)}
    assert columns(source, "__bee_c") == {(1, 4, 1, len(source)), (1, 5, 1, 6)}
    assert columns(source, "things") == {(1, 30, 1, 36)}


def test_an_error_in_a_spread_item_shows_the_item() -> None:
    source = "y = [\n    f(a)\n    + a.b\n    for a in c\n]\n"
    woven, _ = weave(source.encode(), "<m>", scatter=True)

    class FakeAdvice:
        s0 = True

        def scatter(self, *args: Any) -> Any:
            return [(1, lambda a: a)]

    with pytest.raises(AttributeError) as caught:
        exec(compile(woven, "<m>", "exec"), {ADVICE_NAME: FakeAdvice(), "c": [1], "f": None})
    traceback = caught.value.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    assert traceback is not None and traceback.tb_lineno == 3


def test_the_first_line_of_a_function_is_its_first_decorator_or_its_def() -> None:
    source = "def f(): pass\n\n@d\n\n@e\ndef g(): pass\n"
    woven, _ = weave(source.encode(), "<m>", scatter=True)
    assert [code.co_firstlineno for code in functions(compile(woven, "<m>", "exec"))] == [1, 3]


# -- what is not the original plus advice is refused ------------------------------------------------------


@pytest.mark.parametrize(
    ("woven", "original"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = True"),
        ("x", "y"),
        ("x + y", "x - y"),
        ("x; y", "x"),
        ("@d\ndef f(): pass", "def f(): pass"),
        ("@__bee__.join_point('f')\n@d\ndef f(): pass", "@d\ndef f(): pass"),
        ("def f(): pass", "async def f(): pass"),
        ("1 if __bee__.s0 else x", "y"),
        ("1 if __bee__.other else x", "x"),
        ("f(a, b)", "f(a)"),
        ("global a, b", "global a, c"),
        ("'a'", "b'a'"),
    ],
)
def test_other_differences_are_refused(woven: str, original: str) -> None:
    with pytest.raises(WeaveError, match="would have changed the program"):
        restore(ast.parse(woven), ast.parse(original))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax came with 3.12")
def test_type_parameters_and_nested_f_strings() -> None:
    source = "def f[T: int](x: T) -> T:\n    return f'{x!r:>{f'{x}'}}'\ntype A[T] = list[T]\n"
    woven, original = weave(source.encode(), "<m>", scatter=True)
    assert ast.dump(Unadvised().visit(woven), include_attributes=True) == ast.dump(
        original, include_attributes=True
    )
