"""The cache: a hit is what was stored; everything else is a miss, and never an error."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bundlebee.weaving import cache as cache_module
from bundlebee.weaving.cache import SETTLED, WovenCache, status_of
from bundlebee.weaving.loom import Loom
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
    return cache.load(lambda: source, **asked)  # type: ignore[arg-type]


def facts(cache: WovenCache, woven: WovenModule) -> bytes:
    return cache.facts(woven.digest, module="m", path="/a/m.py", scatter=True)


def from_cache(woven: WovenModule) -> WovenModule:
    return replace(woven, text=None, points=(), facts=None)


def test_a_hit_is_what_was_stored_but_for_the_report(cache: WovenCache, woven: WovenModule) -> None:
    assert load(cache) is None
    assert cache.store(woven, scatter=True)
    assert load(cache) == from_cache(woven)
    assert woven.facts and facts(cache, woven) == woven.facts


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
    assert load(cache, SOURCE + b"z = 1\n") == from_cache(edited)
    assert facts(cache, edited) == edited.facts and facts(cache, woven) == b""
    assert len(list(cache.directory.iterdir())) == 1


def test_damage_is_a_miss(cache: WovenCache, woven: WovenModule) -> None:
    cache.store(woven, scatter=True)
    (entry,) = cache.directory.iterdir()
    good = entry.read_bytes()
    flipped = good[:40] + bytes([good[40] ^ 1]) + good[41:]
    for bad in (b"", good[:6], good[:10], good[:60], flipped, bytes(len(good)), b"\xff" * 100):
        entry.write_bytes(bad)
        assert load(cache) is None and facts(cache, woven) == b""
    for bad in (good[:-1], good + b"x"):
        entry.write_bytes(bad)
        assert load(cache) is not None and facts(cache, woven) == b""
    entry.write_bytes(good)
    assert load(cache) is not None and facts(cache, woven) == woven.facts
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
        head = len(data).to_bytes(4) + data
        entry.write_bytes(cache_module._checksum(head) + head + cache_module._checksum(b""))
        assert load(cache) is None and facts(cache, weave(SOURCE, module="m", path="/a/m.py")) == b""


STATUS = (len(SOURCE), 1, 2, 3)


def never() -> bytes:
    raise AssertionError("the source was read")


def test_a_source_whose_file_looks_the_same_is_not_read(cache: WovenCache, woven: WovenModule) -> None:
    cache.store(woven, scatter=True, status=STATUS)
    found = cache.load(never, module="m", path="/a/m.py", scatter=True, status=STATUS)
    assert found == from_cache(woven)


@pytest.mark.parametrize("place", range(4))
def test_any_other_look_of_the_file_has_its_source_compared(
    cache: WovenCache, woven: WovenModule, place: int
) -> None:
    cache.store(woven, scatter=True, status=STATUS)
    other = (*STATUS[:place], 77, *STATUS[place + 1 :])
    assert load(cache, SOURCE.replace(b"f", b"h"), status=other) is None
    assert load(cache, status=None) is not None
    # the same source under another look: the new look is noted, once
    assert load(cache, status=other) == from_cache(woven)
    assert cache.load(never, module="m", path="/a/m.py", scatter=True, status=other) == from_cache(woven)
    assert facts(cache, woven) == woven.facts


def test_a_file_that_has_just_changed_has_no_status(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_bytes(SOURCE)
    assert status_of(str(file)) is None
    assert status_of(str(tmp_path / "none.py")) is None and status_of("<string>\0") is None
    file.touch()
    later = file.stat().st_ctime + SETTLED + 0.01
    wait_until(lambda: time.time() > later)
    status = status_of(str(file))
    assert status is not None and status == status_of(str(file))
    # times that a program sets say nothing of when it did so
    os.utime(file, (1, 1))
    assert status_of(str(file)) is None


def test_a_file_put_in_anothers_place_with_size_and_times_kept_is_noticed(tmp_path: Path) -> None:
    first, second = tmp_path / "m.py", tmp_path / "n.py"
    first.write_bytes(b"def f(): return 1\n")
    second.write_bytes(b"def f(): return 2\n")
    for file in (first, second):
        os.utime(file, (10**9, 10**9))
    later = time.time() + SETTLED + 0.01
    wait_until(lambda: time.time() > later)

    def result() -> int:
        loom = Loom(cache_dir=tmp_path / "woven")
        woven = loom.weave_file(first.read_bytes, module="m", path=str(first))
        assert woven is not None
        namespace: dict[str, Any] = {}
        loom.thread(woven, namespace)
        exec(woven.code, namespace)
        return int(namespace["f"]())

    assert (result(), result()) == (1, 1)
    os.replace(second, first)
    assert (result(), result()) == (2, 2)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
