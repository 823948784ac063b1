"""Is somebody told of each line or each call of this thread: a debugger, coverage, a profiler?

They would not see what happens in another process: a breakpoint would not be met, a line that ran would count as missed, a
function would not be in the profile.
"""

from __future__ import annotations

import sys
from typing import Any

FOLLOWED = "a debugger or coverage follows this thread"
PROFILED = "a profiler counts the calls of this thread"
"""Why such a call stays, for people."""

_gettrace, _getprofile = sys.gettrace, sys.getprofile
_monitoring: Any = getattr(sys, "monitoring", None)  # since 3.12


def followed() -> bool:
    """Whether a trace function is set in this thread, or a debugger or coverage uses `sys.monitoring`."""
    return _gettrace() is not None or _uses("DEBUGGER_ID") or _uses("COVERAGE_ID")


def profiled() -> bool:
    """Whether a profile function is set in this thread, or a profiler uses `sys.monitoring`."""
    return _getprofile() is not None or _uses("PROFILER_ID")


def _uses(tool: str) -> bool:
    return _monitoring is not None and _monitoring.get_tool(getattr(_monitoring, tool)) is not None
