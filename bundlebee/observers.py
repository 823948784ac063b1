"""Is somebody following this thread line by line: a debugger, a measurement of coverage?

They would not see what happens in another process: a breakpoint would not be met, a line that ran would count as missed.
Profilers are no observers in this sense: that a call took its time elsewhere is what they ought to show.
"""

from __future__ import annotations

import sys
from typing import Any

OBSERVED = "a debugger or coverage follows this thread"
"""Why such a call stays, for people."""

_gettrace = sys.gettrace
_monitoring: Any = getattr(sys, "monitoring", None)  # since 3.12


def observed() -> bool:
    """Whether a trace function is set in this thread, or a debugger or coverage uses `sys.monitoring`."""
    if _gettrace() is not None:
        return True
    return _monitoring is not None and (
        _monitoring.get_tool(_monitoring.DEBUGGER_ID) is not None
        or _monitoring.get_tool(_monitoring.COVERAGE_ID) is not None
    )
