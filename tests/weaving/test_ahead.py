"""Weaving ahead: what is expected, and who weaves it. The apprentices here are real processes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundlebee import log
from bundlebee.weaving import ahead as ahead_module
from bundlebee.weaving.ahead import Ahead
from bundlebee.weaving.cache import WovenCache
from bundlebee.weaving.loom import Loom
from bundlebee.weaving.order import expected

MODULES = {
    "__init__": "from . import first\nfrom p.sub.deep import (thing, # a name\n  other)\nimport p.last as z, os\n",
    "first": "def f():\n    import p.lazy\nif f:\n    from p import optional\n",
    "lazy": "",
    "optional": "",
    "last": "from .first import f\nimport p.nowhere\n",
    "sub/__init__": "from .. import second\nfrom . import side; import p.hidden\n",
    "sub/deep": "from ..third import x\nthing = other = 1\n",
    "sub/side": "from . import deep\nfrom .... import beyond\n",
    "second": "def g(): return 2\n",
    "hidden": "",
    "third": "import p.last\nx = [i for i in range(3)]\n",
    "not-a-name/m": "",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    top = tmp_path / "p"
    for name, source in MODULES.items():
        file = top / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    return top


@pytest.fixture
def cache(tmp_path: Path) -> WovenCache:
    return WovenCache(tmp_path / "woven")


def names(found: list[tuple[str, str, int]]) -> list[str]:
    return [name for name, _, _ in found]


def test_the_order_is_that_of_the_imports(package: Path) -> None:
    found = expected("p", str(package / "__init__.py"))
    assert names(found) == [
        *("p", "p.first", "p.sub", "p.second", "p.sub.side", "p.sub.deep", "p.third", "p.last")
    ]  # and not: p.lazy, p.optional, p.hidden
    for name, path, size in found:
        assert Path(path).read_bytes() == MODULES[Path(path).relative_to(package).as_posix()[:-3]].encode()
        assert size == os.path.getsize(path), name


def test_it_may_begin_in_the_middle(package: Path) -> None:
    assert names(expected("p.sub.deep", str(package / "sub" / "deep.py"))) == [
        *("p.sub.deep", "p.third", "p.last", "p.first"),
    ]
    assert names(expected("p.sub", str(package / "sub" / "__init__.py"))) == [
        *("p.sub", "p.second", "p.sub.side", "p.sub.deep", "p.third", "p.last", "p.first")
    ]
    assert names(expected("second", str(package / "second.py"))) == ["second"]
    assert expected("p", str(package / "gone" / "__init__.py")) == []


def modules(package: Path) -> list[tuple[str, str]]:
    return [(name, path) for name, path, _ in expected("p", str(package / "__init__.py"))]


def is_kept(cache: WovenCache, module: str, path: str) -> bool:
    found = cache.load(Path(path).read_bytes, module=module, path=path, scatter=True)
    return found is not None


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_apprentices_fill_the_cache_and_end(package: Path, cache: WovenCache) -> None:
    ahead = Ahead(modules(package), cache.directory, scatter=True, apprentices=2)
    ahead.start()
    for thread in ahead._threads:
        thread.join(60)
    assert len(ahead._processes) == 2
    assert [process.returncode for process in ahead._processes] == [0, 0]
    # those without functions and loops need no weaving
    for module, path in modules(package):
        assert is_kept(cache, module, path) == (module in ("p.first", "p.second", "p.third"))
    assert not any(ahead.take(path) for _, path in modules(package))
    ahead.close()


def test_what_the_program_takes_first_is_left_to_it(package: Path, cache: WovenCache) -> None:
    ahead = Ahead(modules(package), cache.directory, scatter=True, apprentices=1)
    for _, path in modules(package):
        assert not ahead.take(path)
    ahead.start()
    for thread in ahead._threads:
        thread.join(60)
    assert not cache.directory.exists()
    ahead.close()


def test_the_program_waits_for_what_is_under_way(package: Path, cache: WovenCache) -> None:
    module, path = modules(package)[1]
    ahead = Ahead([(module, path)], cache.directory, scatter=True, apprentices=1)
    ahead.start()
    until(lambda: not ahead._left)
    ahead.take(path)
    assert is_kept(cache, module, path)
    ahead.close()


def test_close_ends_them_and_leaves_no_scraps(package: Path, cache: WovenCache) -> None:
    big = package / "big.py"
    big.write_text("def f(): return [g(i) for i in range(3)]\n" * 3000)
    ahead = Ahead([("p.big", str(big))], cache.directory, scatter=True, apprentices=1)
    ahead.start()
    until(lambda: bool(ahead._busy))
    ahead.close()
    assert [process.poll() is not None for process in ahead._processes] == [True]
    assert not cache.directory.exists() or len(list(cache.directory.iterdir())) <= 1


def test_an_apprentice_that_cannot_start_is_no_error(
    package: Path, cache: WovenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(package / "no-python"))
    ahead = Ahead(modules(package), cache.directory, scatter=True, apprentices=1)
    ahead.start()
    for thread in ahead._threads:
        thread.join(60)
    assert not ahead.take(modules(package)[0][1])
    ahead.close()


def test_a_source_with_a_warning_is_the_programs_own(package: Path, cache: WovenCache) -> None:
    odd = package / "odd.py"
    odd.write_text("def f(): return '\\d'\n")
    ahead = Ahead([("p.odd", str(odd))], cache.directory, scatter=True, apprentices=1)
    ahead.start()
    for thread in ahead._threads:
        thread.join(60)
    assert not is_kept(cache, "p.odd", str(odd))
    ahead.close()


def test_an_apprentice_ends_with_its_program(package: Path, cache: WovenCache) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from bundlebee.weaving.ahead import Ahead\n"
        "ahead = Ahead([('p.first', sys.argv[1])] , pathlib.Path(sys.argv[2]), scatter=True, apprentices=1)\n"
        "process = ahead._start()\n"
        "print(process.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program, str(package / "first.py"), str(cache.directory)],
        capture_output=True,
        text=True,
        check=True,
    )
    pid = int(said.stdout)
    psutil: Any = pytest.importorskip("psutil")
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_only_a_large_package_gets_help_and_people_are_told(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    progress = logging.getLogger(log.PROGRESS)
    monkeypatch.setattr(progress, "disabled", False)
    monkeypatch.setattr(progress, "level", logging.INFO)
    monkeypatch.setattr(progress, "_cache", {})
    monkeypatch.setattr(progress, "handle", lambda record: told.append(record.getMessage()))
    started: list[list[tuple[str, str]]] = []

    class Noted(Ahead):
        def start(self) -> None:
            started.append([(module, path) for path, module in self._left.items()])

    monkeypatch.setattr(ahead_module, "Ahead", Noted)

    def load(loom: Loom) -> None:
        for module, path in modules(package):
            loom.begin_import()
            loom.weave_file(Path(path).read_bytes, module=module, path=path)
            loom.end_import()

    load(Loom(cache_dir=tmp_path / "one", apprentices=lambda: 3))
    assert not started and not told
    monkeypatch.setattr(ahead_module, "WORTH_HELP", 10)
    load(Loom(cache_dir=tmp_path / "two", apprentices=int))
    assert not started
    load(Loom(cache_dir=tmp_path / "three", apprentices=lambda: 3))
    assert started == [modules(package)]
    assert len(told) == 1 and told[0].startswith(
        f"weaving p for the first time ({len(modules(package))} modules)"
    )
    # with everything in the cache, nobody is needed: not for the empty modules either, which are never there
    before = threading.active_count()
    load(Loom(cache_dir=tmp_path / "three", apprentices=lambda: 3))
    assert len(started) == 1 and threading.active_count() == before
