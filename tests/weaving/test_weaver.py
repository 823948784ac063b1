"""From bytes to code: encodings, layouts, and what is refused."""

from __future__ import annotations

import codecs
import inspect
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from bundlebee.errors import WeaveError
from bundlebee.weaving.advice import Advice
from bundlebee.weaving.cache import digest_of
from bundlebee.weaving.loom import Loom
from bundlebee.weaving.outcomes import ADVICE_NAME, WovenModule
from bundlebee.weaving.weaver import weave


def woven(source: bytes, **options: Any) -> WovenModule:
    return weave(source, module="m", path="/somewhere/m.py", **options)


def namespace_of(source: bytes) -> dict[str, Any]:
    module = woven(source)
    advice = Advice("m", module.spread)
    namespace: dict[str, Any] = {"__name__": "m", ADVICE_NAME: advice}
    exec(module.code, namespace)
    assert [point.qualname for point in advice.points] == [point.qualname for point in module.woven]
    return namespace


@pytest.mark.parametrize(
    "source",
    [
        "# coding: latin-1\nx = 'é'\ndef f(): return 'é', 2\n".encode("latin-1"),
        "#!/usr/bin/python\n# -*- coding: cp1252 -*-\ndef f(): return 'é€', 3\nx = 'é'\n".encode("cp1252"),
        codecs.BOM_UTF8 + "x = 'é'\ndef f(): return 'é', 2\n".encode(),
        "x = 'é'\r\ndef f():\r\n    return '''é\r\n''', 2\r\n".encode(),
        "x = 'é'\rdef f():\r    return 'é', 2\r".encode(),
        b"x = '\\xe9'\ndef f():\n\treturn x, 2",
        b"\x0cx = '\\xe9'\n\x0c\ndef f():\n    return x, 2\n\x0c",
        b"from __future__ import annotations\nx = '\\xe9'\ndef f(a: nobody = 1): return x, 2\n",
        b"'''Doc.'''\nfrom __future__ import annotations\nx = '\\xe9'\ndef f(): return x, 1 ; y = 2\n",
    ],
)
def test_encodings_and_layouts(source: bytes) -> None:
    plain: dict[str, Any] = {"__name__": "m"}
    exec(compile(source, "/somewhere/m.py", "exec", dont_inherit=True), plain)
    ours = namespace_of(source)
    assert ours["x"] == "é" and ours["f"]() == plain["f"]()
    assert ours["f"].__code__ == plain["f"].__code__
    assert list(ours["f"].__code__.co_positions()) == list(plain["f"].__code__.co_positions())
    assert ours.get("__doc__") == plain.get("__doc__")
    assert ours["f"].__annotations__ == plain["f"].__annotations__


def test_a_generated_module_of_20_000_lines() -> None:
    source = "".join(
        f"def f{i}(x):\n    y = x + {i}\n    for k in range(2):\n        y += k\n    return y\n"
        for i in range(4000)
    ).encode()
    plain: dict[str, Any] = {"__name__": "m"}
    exec(compile(source, "/somewhere/m.py", "exec", dont_inherit=True), plain)
    ours = namespace_of(source)
    assert len([name for name in ours if name.startswith("f")]) == 4000
    for name in ("f0", "f2000", "f3999"):
        assert ours[name](1) == plain[name](1)
        assert ours[name].__code__ == plain[name].__code__
        assert list(ours[name].__code__.co_positions()) == list(plain[name].__code__.co_positions())


def test_our_own_future_imports_are_not_inherited() -> None:
    assert namespace_of(b"def f(a: 1 + 1): pass")["f"].__annotations__ == {"a": 2}


@pytest.mark.parametrize(
    "source", [b"def f(:", b"x = (", b"return", b"x = 1\n  y", b"# coding: nothing\n", b"\xff"]
)
def test_errors_of_the_source_are_those_of_a_plain_import(source: bytes) -> None:
    with pytest.raises((SyntaxError, ValueError)) as plain:
        compile(source, "/somewhere/m.py", "exec", dont_inherit=True)
    with pytest.raises((SyntaxError, ValueError)) as ours:
        woven(source)
    assert type(ours.value) is type(plain.value) and str(ours.value) == str(plain.value)
    assert getattr(ours.value, "lineno", None) == getattr(plain.value, "lineno", None)


def test_warnings_come_once_as_in_a_plain_import() -> None:
    source = b"def f():\n    return '\\d' is 1\n"
    seen = []
    for compile_ in (lambda: compile(source, "/somewhere/m.py", "exec"), lambda: woven(source)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            compile_()
        seen.append(sorted((w.category.__name__, str(w.message), w.filename, w.lineno) for w in caught))
    assert seen[0] == seen[1] and len(seen[0]) == 2


def test_names_of_ours_in_the_source() -> None:
    with pytest.raises(WeaveError, match="names that begin with __bee_"):
        woven(b"__bee__ = 1")


def test_long_modules_stay_plain() -> None:
    with pytest.raises(WeaveError, match="3 lines, more than 2"):
        woven(b"x = 1\n" * 3, max_lines=2)


def test_deep_expressions_stay_plain_or_are_woven() -> None:
    source = ("x = " + "+".join(["1"] * 3000) + "\ndef f(): pass\n").encode()
    try:
        assert [point.qualname for point in woven(source).points] == ["f"]
    except WeaveError as error:
        assert "nested too deeply" in str(error)


def test_what_comes_out() -> None:
    source = b"def f(a): return a\nx = [f(b) for b in range(3)]\n"
    module = woven(source)
    assert (module.module, module.path, module.digest) == ("m", "/somewhere/m.py", digest_of(source))
    assert module.text is not None and module.text.startswith("@__bee__.join_point\ndef f")
    assert [site.callee for site in module.spread] == ["f"]
    assert module.code.co_filename == "/somewhere/m.py"
    assert module.facts
    assert woven(source, scatter=False).sites == ()


def test_source_and_lines_of_a_woven_file(tmp_path: Path) -> None:
    text = "import functools\n\n\n@functools.cache\n# note\ndef f(x):\n    return x\n\n\n"
    text += "class A:\n    def m(self):\n        return 1\n"
    path = tmp_path / "m.py"
    path.write_text(text)
    module = weave(text.encode(), module="m", path=str(path))
    namespace: dict[str, Any] = {"__name__": "m", ADVICE_NAME: Advice("m")}
    exec(module.code, namespace)
    assert inspect.getsource(namespace["f"].__wrapped__).startswith("@functools.cache\n# note\ndef f")
    assert inspect.getsource(namespace["A"].m) == "    def m(self):\n        return 1\n"
    assert namespace["A"].m.__code__.co_firstlineno == 11


# -- the loom ---------------------------------------------------------------------------------------------


def test_the_loom_weaves_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"def f(): pass\n"
    first = Loom(cache_dir=tmp_path).weave(source, module="m", path="m.py")
    assert first is not None and first.text is not None
    second = Loom(cache_dir=tmp_path).weave(source, module="m", path="m.py")
    assert second is not None and second.text is None and second.code == first.code


@pytest.mark.parametrize(
    "source", [b"def f(:", b"def f(): __bee__", b"def f(): \0", b"# coding: nothing\ndef f(): pass"]
)
def test_the_loom_never_raises(source: bytes, tmp_path: Path) -> None:
    assert Loom(cache_dir=tmp_path).weave(source, module="m", path="m.py") is None


def test_the_loom_says_why_a_module_runs_plain(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bundlebee.hooks"):
        Loom(cache_dir=tmp_path).weave(b"def f(): __bee__ = 1", module="m", path="m.py")
    assert "m runs plain: m cannot be woven: it uses names that begin with __bee_" in caplog.text


def test_a_weaver_that_fails_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("bundlebee.weaving.weaver.splice", fail)
    assert Loom(cache_dir=tmp_path).weave(b"def f(): pass", module="m", path="m.py") is None
    assert "m runs plain: the weaver failed" in caplog.text


def test_unthread_disarms_and_switches_off(tmp_path: Path) -> None:
    def on_join_point(point: Any) -> None:
        point.advice = lambda point, args, kwargs: "advised"
        point.arm()

    loom = Loom(on_join_point=on_join_point, on_scatter=lambda *args: iter(()), cache_dir=tmp_path)
    module = loom.weave(b"def f(): return 'plain'\ndef g(): return [f() for x in 'a']", module="m", path="m")
    assert module is not None
    namespace: dict[str, Any] = {}
    loom.thread(module, namespace)
    exec(module.code, namespace)
    assert (namespace["f"](), namespace["g"]()) == ("advised", "advised")
    assert [point.name for point in loom.points()] == ["m:f", "m:g"]
    loom.unthread()
    assert (namespace["f"](), namespace["g"]()) == ("plain", ["plain"])
