"""What the weaver adds to a function is not taken for its author's."""

from __future__ import annotations

from types import CodeType

import pytest

from bundlebee.bundles.originals import names_and_texts, used_names
from bundlebee.weaving.weaver import weave


@pytest.mark.parametrize(
    "body",
    [
        "[g(x) for x in xs]",
        "{g(x, 1) for x in xs if x}",
        "{k: g(v) for k, v in xs}",
        "sum(g(x) for x in xs)",
        "list(map(g, xs))",
        "[g(x, y) for x in range(3) for y in range(x)]",
        "[g(a, b) for (a, b), c in xs]",
        "[g(x.a) + 1.5 for x in enumerate(xs)]",
    ],
)
def test_names_of_woven_code(body: str) -> None:
    source = f"def g(*a): return a\ndef f(xs):\n    return {body}\n"
    woven = weave(source.encode(), module="m", path="m.py")
    assert woven.spread
    plain = _function(compile(source, "m.py", "exec"), "f")
    spread = _function(woven.code, "f")
    assert used_names(spread) == used_names(plain)
    assert names_and_texts(spread) == names_and_texts(plain)


def _function(module: CodeType, name: str) -> CodeType:
    return next(one for one in module.co_consts if isinstance(one, CodeType) and one.co_name == name)
