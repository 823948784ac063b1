"""A survey comes to its end, whatever the bundle does when it is imported."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bundlebee import survey as surveys
from bundlebee.errors import BrokenBundle
from bundlebee.survey import survey


def module(directory: Path, text: str) -> str:
    path = directory / "sample.py"
    path.write_text(text)
    return str(path)


def test_an_import_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveys, "GRACE", 0.0)
    began = time.monotonic()
    with pytest.raises(BrokenBundle, match=r"the import of sample has not come to an end in 2 s"):
        survey(module(tmp_path, "while True: pass\n"), 2.0)
    assert time.monotonic() - began < 20


def test_functions_that_there_is_no_time_for_are_counted(tmp_path: Path) -> None:
    found = survey(module(tmp_path, "def f(): pass\ndef g(): yield\n"), 0.001)
    assert (found.functions, found.unseen) == ((), 2)


def test_what_an_import_leaves_behind_does_not_matter(tmp_path: Path) -> None:
    text = "import atexit, threading, sys, os\nsys.stdout.close()\nos.close(1)\natexit.register(threading.Event().wait)\n"
    text += (
        "threading.Thread(target=threading.Event().wait).start()\nsys.modules.pop(__name__)\ndef f(): pass\n"
    )
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("def g(): pass\n")
    (tmp_path / "pack" / "wild.py").write_text(text)
    found = survey(str(tmp_path / "pack"), 60.0)
    assert [one.function for one in found.functions] == ["pack.g"]
    assert [one.module for one in found.left_out] == ["pack.wild"]
