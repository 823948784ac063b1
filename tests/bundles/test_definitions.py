"""A script without its program."""

from __future__ import annotations

from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from bundlebee.bundles.definitions import definitions_only


def run(source: str) -> dict[str, Any]:
    made = ModuleType("__main__")
    exec(definitions_only(dedent(source).encode(), "script.py"), made.__dict__)
    return {name: value for name, value in vars(made).items() if not name.startswith("__")}


def test_an_unguarded_script_does_not_run_again() -> None:
    found = run(
        '''
        """The program."""
        from __future__ import annotations
        import math
        from collections import namedtuple
        LIMIT = 100
        SQUARES = [n * n for n in range(LIMIT)]
        WORDS = "a b c".split()
        Pair = namedtuple("Pair", "a b")
        x: int = max(1, 2)
        A, (B, C) = 1, (2, 3)
        ROOT = math.sqrt(2)
        def f(n): return n + LIMIT
        class K:
            n = 1
            def m(self): return f(self.n)
        result = f(3)
        data = open("nowhere").read()
        print(1 / 0)
        for i in range(3): print(i)
        with open("nowhere") as file: pass
        while True: pass
        LIMIT += 1
        WORDS.append("d")
        SQUARES[0] = 1
        del WORDS
        f.n = 3
        assert False
        if result > 3: print(1 / 0)
        y = (z := 3)
        LATER = result + 1
        def g(n=result): return n
        import nothing_of_that_name
        '''
    )
    assert set(found) == {
        *(
            "annotations",
            "math",
            "namedtuple",
            "LIMIT",
            "SQUARES",
            "WORDS",
            "Pair",
            "x",
            "A",
            "B",
            "C",
            "ROOT",
            "f",
            "K",
        )
    }
    assert found["K"]().m() == 101


def test_the_guard_is_left_out() -> None:
    found = run(
        "def f(): return 1\nif __name__ == '__main__':\n    N = 3\n    print(1 / 0)\nelse:\n    M = 4\n"
    )
    assert set(found) == {"f"}


def test_conditions_and_attempts_stay() -> None:
    found = run(
        """
        import sys
        try:
            import nothing_of_that_name as fast
        except ImportError:
            fast = None
            print(1 / 0)
        if sys.version_info > (3, 0):
            def f(): return 1
            print(1 / 0)
        else:
            def f(): return 2
        try:
            print(1 / 0)
        finally:
            N = 1
        """
    )
    assert (found["fast"], found["f"](), found["N"]) == (None, 1, 1)


def test_lines_and_columns_are_those_of_the_source() -> None:
    source = "print(1)\n\n\ndef f():\n    raise ValueError\n"
    made: dict[str, Any] = {}
    exec(definitions_only(source.encode(), "script.py"), made)
    assert made["f"].__code__.co_firstlineno == 4
    assert made["f"].__code__.co_filename == "script.py"
    whole: dict[str, Any] = {}
    exec(compile(source.replace("print(1)", "pass"), "script.py", "exec"), whole)
    assert list(made["f"].__code__.co_positions()) == list(whole["f"].__code__.co_positions())


def test_encoding_and_future() -> None:
    source = "# -*- coding: latin-1 -*-\nfrom __future__ import annotations\nX = 'é'\ndef f(a: Missing): pass\n".encode(
        "latin-1"
    )
    made: dict[str, Any] = {}
    exec(definitions_only(source, "script.py"), made)
    assert made["X"] == "é"
    assert made["f"].__annotations__ == {"a": "Missing"}


def test_a_broken_script_says_so() -> None:
    with pytest.raises(SyntaxError):
        definitions_only(b"def f(:", "script.py")
    assert definitions_only(b"", "script.py")
