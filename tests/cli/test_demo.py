"""The README's first command: the demo, run in a checkout, where ./bundlebee is not the package that was installed."""

from __future__ import annotations

import sys
from typing import Any


def test_the_demo_runs_beside_another_bundlebee(home: Any) -> None:
    package = home.path / "bundlebee"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('this is the checkout')\n")
    command = [sys.executable, "-P", "-m", "bundlebee", "demo"]  # as the installed script finds it
    done = home.run([*command, "--width", "48", "--height", "32", "--out", "small.png"])
    assert done.returncode == 0, done.stderr
    assert "byte for byte the picture" in done.stdout + done.stderr
    assert (home.path / "small.png").stat().st_size > 100
