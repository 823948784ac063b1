"""Imports msgspec without what it would take along for nothing. To be imported first, in each process.

msgspec takes three names from typing_extensions if that is installed, and else the same ones from `typing`; from Python
3.11 on they are the same objects. But typing_extensions imports inspect, ast, dis and tokenize: 10 ms of CPU time.
"""

from __future__ import annotations

import sys

_HEAVY = "typing_extensions"

if "msgspec" not in sys.modules and _HEAVY not in sys.modules:
    sys.modules[_HEAVY] = None  # type: ignore[assignment]
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules[_HEAVY]
