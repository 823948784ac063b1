from __future__ import annotations

import _imp
import importlib
import sys
import threading
from pathlib import Path

import pytest

from bundlebee.bundles.import_lock import importing, released


def test_a_finder_may_wait_for_a_thread_that_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bee_needed_by_the_thread.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    done: list[bool] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object, target: object = None) -> None:
            if name == "bee_looked_for":
                thread = threading.Thread(target=importlib.import_module, args=("bee_needed_by_the_thread",))
                with released():
                    thread.start()
                    thread.join(10)
                done.append(not thread.is_alive())

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bee_looked_for")
    assert done == [True]
    sys.modules.pop("bee_needed_by_the_thread")


def test_outside_of_an_import() -> None:
    with released():
        pass
    assert not _imp.lock_held()


def test_in_the_middle_of_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bee_that_asks.py").write_text(
        "from bundlebee.bundles.import_lock import importing\n"
        "import threading\nOURS = importing()\nTHEIRS = []\n"
        "one = threading.Thread(target=lambda: THEIRS.append(importing()))\none.start()\none.join()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("bee_that_asks")
    assert (module.OURS, module.THEIRS) == (True, [False])
    assert not importing()
    sys.modules.pop("bee_that_asks")
