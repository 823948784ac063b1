"""What tests of several rooms share lies in aids/."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "aids"))
