"""Who finds what: claimed names in their bundle, everything else untouched."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import logging
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundlebee.hooks.finder import BundleFinder, Claim, FallbackFinder
from bundlebee.hooks.install import Handle
from bundlebee.words import BundleRef

Installed = Callable[..., Handle]


def ref(name: str) -> BundleRef:
    return BundleRef(name, "0", "0" * 64, (name,))


def test_a_module(bundles: Path, hooked: Installed) -> None:
    (bundles / "bb_one.py").write_text("def f(): return __name__\n")
    hooked("bb_one")
    module = importlib.import_module("bb_one")
    assert module.f() == "bb_one" and module.__file__ == str(bundles / "bb_one.py")
    assert module.__bee__.points[0].function is module.f


def test_a_package_and_its_parts(bundles: Path, hooked: Installed) -> None:
    package = bundles / "bb_pkg"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("from .a import f\n")
    (package / "a.py").write_text("def f(): return __name__\n")
    (package / "sub" / "__init__.py").write_text("from ..a import f as g\n")
    (package / "data.txt").write_text("data")
    hooked("bb_pkg")
    sub = importlib.import_module("bb_pkg.sub")
    module = sys.modules["bb_pkg"]
    assert sub.g is module.f and module.f() == "bb_pkg.a"
    assert module.__path__ == [str(package)]
    assert importlib.resources.files("bb_pkg").joinpath("data.txt").read_text() == "data"
    assert pkgutil.get_data("bb_pkg", "data.txt") == b"data"
    assert sorted(info.name for info in pkgutil.iter_modules(module.__path__)) == ["a", "sub"]
    assert importlib.import_module("bb_pkg.a").__spec__.cached.endswith(".pyc")
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'bb_pkg\.nobody'"):
        importlib.import_module("bb_pkg.nobody")


def test_a_namespace_package(bundles: Path, hooked: Installed, tmp_path: Path) -> None:
    (bundles / "bb_ns" / "deep").mkdir(parents=True)
    (bundles / "bb_ns" / "one.py").write_text("def f(): return 1\n")
    (bundles / "bb_ns" / "deep" / "two.py").write_text("def f(): return 2\n")
    (bundles / "bb_ns" / "data.txt").write_text("data")
    elsewhere = tmp_path / "elsewhere" / "bb_ns"
    elsewhere.mkdir(parents=True)
    (elsewhere / "three.py").write_text("def f(): return 3\n")
    sys.path.append(str(elsewhere.parent))
    hooked("bb_ns")
    one, two, three = (importlib.import_module(f"bb_ns.{name}") for name in ("one", "deep.two", "three"))
    assert [module.f() for module in (one, two, three)] == [1, 2, 3]
    assert hasattr(one, "__bee__") and hasattr(two, "__bee__") and not hasattr(three, "__bee__")
    package = sys.modules["bb_ns"]
    assert list(package.__path__) == [str(bundles / "bb_ns"), str(elsewhere)]
    sys.path.append("/nowhere")
    assert list(package.__path__) == [str(bundles / "bb_ns"), str(elsewhere)]
    assert importlib.resources.files("bb_ns").joinpath("data.txt").read_text() == "data"


def test_other_directories_on_the_path_of_a_package_are_not_the_bundles(
    bundles: Path, hooked: Installed, tmp_path: Path
) -> None:
    (bundles / "bb_ext").mkdir()
    (bundles / "bb_ext" / "__init__.py").write_text(f"__path__.append({str(tmp_path / 'more')!r})\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "plug.py").write_text("def f(): pass\n")
    hooked("bb_ext")
    assert not hasattr(importlib.import_module("bb_ext.plug"), "__bee__")


def test_names_that_nobody_claims_cost_a_look_up_only() -> None:
    def fail(fullname: str, path: str) -> Any:
        raise AssertionError(fullname)

    finder = BundleFinder({}, fail)
    assert finder.find_spec("json", None) is None
    assert finder.find_spec("json.decoder", ["/somewhere"]) is None


def test_a_claim_can_be_loaded_plain(bundles: Path, hooked: Installed) -> None:
    (bundles / "bb_plain.py").write_text("def f(): return 1\n")
    hooked("bb_plain", weave=False)
    assert not hasattr(importlib.import_module("bb_plain"), "__bee__")


def test_claims_may_change_while_installed(bundles: Path, hooked: Installed) -> None:
    handle = hooked()
    (bundles / "bb_late.py").write_text("x = 1\n")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bb_late")
    handle.claims["bb_late"] = Claim(bundles, ref("bb_late"))
    assert importlib.import_module("bb_late").x == 1


def test_a_claim_wins_over_the_path(bundles: Path, hooked: Installed, tmp_path: Path) -> None:
    (tmp_path / "bb_both.py").write_text("where = 'path'\n")
    (bundles / "bb_both.py").write_text("where = 'bundle'\n")
    sys.path.insert(0, str(tmp_path))
    hooked("bb_both")
    assert importlib.import_module("bb_both").where == "bundle"


def test_metadata_of_bundles(bundles: Path, hooked: Installed) -> None:
    info = bundles / "bb_meta-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bb-meta\nVersion: 1.5\n")
    hooked("bb_meta")
    assert importlib.metadata.version("bb-meta") == "1.5"
    assert [d.version for d in importlib.metadata.distributions(name="bb-meta")] == ["1.5"]
    sys.path.append(str(bundles))
    assert [d.version for d in importlib.metadata.distributions(name="bb-meta")] == ["1.5"]


# -- names that nobody here knows -------------------------------------------------------------------------


def test_a_name_is_fetched_once_it_is_imported(bundles: Path, hooked: Installed) -> None:
    asked: list[str] = []

    def fetch(name: str) -> Claim | None:
        asked.append(name)
        if name != "bb_fetched":
            return None
        (bundles / "bb_fetched.py").write_text("def f(): return 7\n")
        return Claim(bundles, ref(name))

    handle = hooked(fetch=fetch)
    assert importlib.import_module("bb_fetched").f() == 7
    for _ in range(3):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("bb_nobody.sub")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bb_fetched.sub")
    assert asked == ["bb_fetched", "bb_nobody"]
    assert handle.fallback is not None
    handle.fallback.forget()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bb_nobody")
    assert asked == ["bb_fetched", "bb_nobody", "bb_nobody"]


def test_fetching_may_import_and_fail(hooked: Installed, caplog: pytest.LogCaptureFixture) -> None:
    def fetch(name: str) -> Claim | None:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("bb_needed_by_fetch")
        raise OSError("no network")

    hooked(fetch=fetch)
    with caplog.at_level(logging.WARNING), pytest.raises(ModuleNotFoundError, match="bb_gone"):
        importlib.import_module("bb_gone")
    assert "cannot fetch bb_gone: no network" in caplog.text


def test_absent_modules_of_the_standard_library_are_not_asked_for() -> None:
    asked: list[str] = []
    fallback = FallbackFinder(BundleFinder({}, None), asked.append)  # type: ignore[arg-type,func-returns-value]
    for name in ("_winapi", "msvcrt", "nt"):
        assert fallback.find_spec(name, None) is None
    assert asked == []


def test_what_the_standard_library_looks_for_is_not_asked_for() -> None:
    asked: list[str] = []
    fallback = FallbackFinder(BundleFinder({}, None), asked.append)  # type: ignore[arg-type,func-returns-value]
    sys.meta_path.append(fallback)
    try:
        for name, source in (
            ("copy", "try: import bb_none_1\nexcept ImportError: pass"),
            ("copy", "def f():\n try: import bb_none_2\n except ImportError: pass\nf()"),
            ("mine", "try: import bb_none_3\nexcept ImportError: pass"),
        ):
            exec(compile(source, f"{name}.py", "exec"), {"__name__": name})
    finally:
        sys.meta_path.remove(fallback)
    assert asked == ["bb_none_2", "bb_none_3"]
