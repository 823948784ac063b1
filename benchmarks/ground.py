"""A virtual environment of a benchmark's own, with this checkout and other people's packages in it.

It is kept between runs, since what is fetched from PyPI does not change; this checkout is installed anew each time.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from report import ROOT

DEFAULT = Path.home() / ".cache" / "bundlebee-benchmarks"


class Ground:
    """Made or found at `place`; one for each version of Python.

    Args:
        place: directory to keep it in.
        requires: what to install from PyPI, as ``name==version``.
    """

    def __init__(self, place: Path, requires: Sequence[str]) -> None:
        self.place = place.absolute() / f"{sys.implementation.name}-{platform.python_version()}"
        self._bin = self.place / "venv" / ("Scripts" if os.name == "nt" else "bin")
        if not self._bin.exists():
            venv.create(self.place / "venv", with_pip=True)
        done = self.place / "installed.txt"
        wanted = "\n".join(requires)
        if not done.exists() or done.read_text() != wanted:
            self._pip(*requires)
            done.write_text(wanted)
        self._pip("--upgrade", "--force-reinstall", "--no-deps", str(ROOT))
        self._pip(str(ROOT))

    @property
    def python(self) -> list[str]:
        """Its interpreter."""
        return [str(self._bin / "python")]

    @property
    def bundlebee(self) -> list[str]:
        """Its ``bundlebee``."""
        return [str(self._bin / "bundlebee")]

    @property
    def exec(self) -> list[str]:
        """Its ``bundlebee exec``."""
        return [*self.bundlebee, "exec"]

    def _pip(self, *arguments: str) -> None:
        command = [*self.python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise SystemExit(f"pip failed:\n{done.stderr}")
