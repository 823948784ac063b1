"""A woven module must be a module like any other to everything that looks at modules."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import linecache
import logging
import marshal
import os
import pickle
import runpy
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundlebee.hooks.install import Handle, advice_of, install, points

Installed = Callable[..., Handle]

SOURCE = '''\
"""Doc."""

def f(x):
    """Of f."""
    return [g(y) for y in range(x)]


def g(y):
    return y + 1
'''


def arm(point: Any) -> None:
    point.advice = lambda point, args, kwargs: point.plain(*args, **kwargs)
    point.arm()


def test_it_looks_like_a_plain_module(bundles: Path, hooked: Installed) -> None:
    path = bundles / "bb_look.py"
    path.write_text(SOURCE)
    hooked("bb_look", on_join_point=arm)
    module = importlib.import_module("bb_look")
    assert inspect.getsource(module) == SOURCE
    assert (
        inspect.getsource(module.f)
        == SOURCE[SOURCE.index("def f") : SOURCE.index("\n\ndef g")].rstrip() + "\n"
    )
    assert linecache.getline(module.__file__ or "", 3) == "def f(x):\n"
    assert module.__loader__.get_source("bb_look") == SOURCE  # type: ignore[union-attr]
    assert module.__doc__ == "Doc." and inspect.getdoc(module.f) == "Of f."
    assert pickle.loads(pickle.dumps(module.f)) is module.f
    assert module.__cached__ == importlib.util.cache_from_source(str(path))
    assert module.f(3) == [1, 2, 3]


def test_what_others_load_is_plain(bundles: Path, hooked: Installed) -> None:
    path = bundles / "bb_run.py"
    path.write_text(SOURCE + "\nx = f(2)\n")
    hooked("bb_run", on_join_point=arm)
    module = importlib.import_module("bb_run")
    assert not os.path.exists(module.__cached__)
    assert runpy.run_module("bb_run")["x"] == [1, 2]
    cached = Path(module.__cached__)
    if cached.exists():  # Python itself put the plain code there
        assert "__bee__" not in marshal.loads(cached.read_bytes()[16:]).co_names
    code = module.__loader__.get_code("bb_run")  # type: ignore[union-attr]
    assert code is not None and "__bee__" not in code.co_names


def test_reload(bundles: Path, hooked: Installed) -> None:
    path = bundles / "bb_reload.py"
    path.write_text("def f(): return 1\n")
    hooked("bb_reload", on_join_point=arm)
    module = importlib.import_module("bb_reload")
    first, advice = module.f, advice_of("bb_reload")
    path.write_text("def f(): return 2222\n")
    assert importlib.reload(module) is module
    assert (first(), module.f()) == (1, 2222)
    assert advice_of("bb_reload") is not advice
    assert [point.function for point in points()] == [module.f]


def test_a_module_that_cannot_be_woven_is_plain(
    bundles: Path, hooked: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    (bundles / "bb_odd.py").write_text("def f(): return 1\n__bee_x = 1\n")
    hooked("bb_odd")
    with caplog.at_level(logging.INFO, "bundlebee.hooks"):
        module = importlib.import_module("bb_odd")
    assert module.f() == 1 and not hasattr(module, "__bee__")
    assert "bb_odd runs plain" in caplog.text


@pytest.mark.parametrize(
    "text", ["def f(:\n", "import bb_nobody_there\n", "\nraise ValueError(1)\n", "def f():\n    1 / 0\nf()\n"]
)
def test_a_module_that_fails_shows_the_traceback_of_a_plain_one(
    text: str, bundles: Path, hooked: Installed, tmp_path: Path
) -> None:
    (bundles / "bb_fails.py").write_text(text)

    def failure() -> list[Any]:
        try:
            exec("import bb_fails")
        except BaseException as error:
            return traceback.format_exception(error)
        raise AssertionError("it did not fail")

    sys.path.insert(0, str(bundles))
    plain = failure()
    with install({}, cache_dir=tmp_path / "cache"):
        hooked("bb_fails")
        assert failure() == plain
    assert "bb_fails" not in sys.modules


def test_modules_that_replace_themselves(bundles: Path, hooked: Installed) -> None:
    (bundles / "bb_self.py").write_text(
        "import sys\nclass M:\n    def f(self): return 5\nsys.modules[__name__] = M()\n"
    )
    hooked("bb_self", on_join_point=arm)
    assert importlib.import_module("bb_self").f() == 5


def test_module_getattr_and_circular_imports(bundles: Path, hooked: Installed) -> None:
    (bundles / "bb_a.py").write_text("def f(): return 1\nimport bb_b\ndef __getattr__(name): return name\n")
    (bundles / "bb_b.py").write_text("from bb_a import f\ny = f()\n")
    hooked("bb_a", "bb_b", on_join_point=arm)
    a: Any = importlib.import_module("bb_a")
    assert a.anything == "anything" and sys.modules["bb_b"].y == 1
    assert sys.modules["bb_b"].f is a.f
