"""Where the log goes, and what is shown without being asked for."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundlebee import log
from bundlebee.loggers import ROOT, get_logger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, progress = get_logger(ROOT), get_logger(log.PROGRESS)
    kept = root.handlers[:], root.level, root.propagate, progress.level
    yield
    root.handlers[:], root.level, root.propagate = kept[:3]
    root.setLevel(kept[1])
    progress.setLevel(kept[3])


@pytest.mark.parametrize(
    ("terminal", "verbosity", "shown"), [(True, 0, True), (False, 0, False), (True, -1, False)]
)
def test_progress_is_shown_at_a_terminal(
    terminal: bool, verbosity: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr("sys.__stderr__", stream)
    log.setup(verbosity=verbosity, prefix="bundlebee: ")
    get_logger(log.PROGRESS).info("weaving it")
    get_logger("bundlebee.calls").info("not this")
    assert stream.getvalue().endswith("progress  weaving it\n") is shown
    assert "not this" not in stream.getvalue()


def test_a_file_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log.setup(verbosity=1, form="json", path=path)
    get_logger("bundlebee.calls").info("worker %d", 1)
    line = json.loads(path.read_text())
    assert (line["room"], line["level"], line["text"]) == ("calls", "info", "worker 1")
