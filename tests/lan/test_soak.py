"""The soak of benchmarks/soak.py, in its short form."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from lab import unavailable

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))


@pytest.mark.slow
def test_a_lan_in_trouble(tmp_path: Path) -> None:
    reason = unavailable(loss=True)
    if reason is not None:
        pytest.skip(f"no LAN: {reason}")
    from soak import soak

    problems, figures, counts = soak(0.75, 7, tmp_path)
    assert not problems, "\n".join(problems)
    assert [figure.name for figure in figures if figure.met is False] == []
    assert len(figures) == 9
    assert counts["workers killed"] > 10 and counts["nodes restarted"] >= 3 and counts["cables pulled"] >= 2
