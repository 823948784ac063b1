"""The plan names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_file_that_the_plan_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"(?<![\w/.])((?:[a-z_]+/)+[a-z_]+\.(?:py|toml))\b", text))
    assert len(named) > 50
    places = (ROOT, ROOT / "bundlebee", ROOT / "benchmarks")
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []
