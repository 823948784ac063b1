"""The cache: a hit is what was stored; everything else is a miss, and never an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from bundlebee.weaving import cache as cache_module
from bundlebee.weaving.cache import WovenCache
from bundlebee.weaving.outcomes import WovenModule
from bundlebee.weaving.weaver import weave

SOURCE = b"def f(a): return a\nasync def g(a): pass\nx = [f(b) for b in c]\ny = [f(g(b)) for b in c]\n"


@pytest.fixture
def woven() -> WovenModule:
    return weave(SOURCE, module="m", path="/a/m.py")


@pytest.fixture
def cache(tmp_path: Path) -> WovenCache:
    return WovenCache(tmp_path / "woven")


def load(cache: WovenCache, source: bytes = SOURCE, **changes: object) -> WovenModule | None:
    asked: dict[str, object] = {"module": "m", "path": "/a/m.py", "scatter": True, **changes}
    return cache.load(source, **asked)  # type: ignore[arg-type]


def test_a_hit_is_what_was_stored_but_for_the_report(cache: WovenCache, woven: WovenModule) -> None:
    assert load(cache) is None
    assert cache.store(woven, scatter=True)
    assert load(cache) == replace(woven, text=None, points=())


@pytest.mark.parametrize(
    "changes", [{"module": "n"}, {"path": "/b/m.py"}, {"scatter": False}, {"source": SOURCE + b"\n"}]
)
def test_something_else_is_a_miss(cache: WovenCache, woven: WovenModule, changes: dict[str, object]) -> None:
    cache.store(woven, scatter=True)
    assert load(cache, **changes) is None  # type: ignore[arg-type]


def test_another_weaver_is_a_miss(
    cache: WovenCache, woven: WovenModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store(woven, scatter=True)
    monkeypatch.setattr(cache_module, "_stamp", b"another")
    assert load(cache) is None


def test_an_edited_source_replaces_its_entry(cache: WovenCache, woven: WovenModule) -> None:
    cache.store(woven, scatter=True)
    edited = weave(SOURCE + b"z = 1\n", module="m", path="/a/m.py")
    cache.store(edited, scatter=True)
    assert load(cache) is None
    assert load(cache, SOURCE + b"z = 1\n") == replace(edited, text=None, points=())
    assert len(list(cache.directory.iterdir())) == 1


def test_damage_is_a_miss(cache: WovenCache, woven: WovenModule) -> None:
    cache.store(woven, scatter=True)
    (entry,) = cache.directory.iterdir()
    good = entry.read_bytes()
    flipped = good[:40] + bytes([good[40] ^ 1]) + good[41:]
    for bad in (b"", good[:10], good[:-1], flipped, bytes(len(good)), good + b"x"):
        entry.write_bytes(bad)
        assert load(cache) is None
    entry.write_bytes(good)
    assert load(cache) is not None
    entry.unlink()
    entry.mkdir()
    assert load(cache) is None and not cache.store(woven, scatter=True)
    assert list(cache.directory.iterdir()) == [entry]


def test_an_intact_entry_of_something_else_is_a_miss(cache: WovenCache, woven: WovenModule) -> None:
    import marshal

    cache.store(woven, scatter=True)
    (entry,) = cache.directory.iterdir()
    for content in (5, (), (1, 2), (1, 2, 3, 4, 5)):
        data = marshal.dumps(content)
        entry.write_bytes(cache_module._checksum(data) + data)
        assert load(cache) is None


def test_a_directory_that_cannot_be_made(tmp_path: Path, woven: WovenModule) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = WovenCache(tmp_path / "file" / "woven")
    assert not cache.store(woven, scatter=True)
    assert load(cache) is None


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_the_directory_is_its_owners(cache: WovenCache, woven: WovenModule) -> None:
    cache.store(woven, scatter=True)
    assert cache.directory.stat().st_mode & 0o077 == 0


def test_a_warm_import_needs_neither_libcst_nor_the_weaver(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_bytes(SOURCE.replace(b" in c", b" in 'c'"))
    program = (
        "import sys, pathlib\n"
        "from bundlebee.hooks.install import install\n"
        "from bundlebee.hooks.finder import Claim\n"
        "from bundlebee.words import BundleRef\n"
        "here = pathlib.Path(sys.argv[1])\n"
        "install({'m': Claim(here, BundleRef('m', '0', 'd', ('m',)))}, cache_dir=here / 'c')\n"
        "import m\n"
        "heavy = {'libcst', 'logging', 'bundlebee.weaving.weaver'}\n"
        "print(type(m.__bee__).__name__, sorted(heavy & set(sys.modules)))\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert "libcst" in said[0] and said[1] == "Advice []\n"
