from __future__ import annotations

import sys
from typing import Any

import pytest

from bundlebee.observers import observed

monitoring: Any = getattr(sys, "monitoring", None)


@pytest.mark.skipif(observed(), reason="a debugger or coverage follows these tests")
def test_a_trace_function_is_an_observer() -> None:
    assert not observed()
    sys.settrace(lambda *_: None)
    try:
        assert observed()
    finally:
        sys.settrace(None)
    assert not observed()


@pytest.mark.skipif(monitoring is None, reason="sys.monitoring came with Python 3.12")
@pytest.mark.skipif(observed(), reason="a debugger or coverage follows these tests")
@pytest.mark.parametrize("tool", ["DEBUGGER_ID", "COVERAGE_ID"])
def test_a_tool_that_monitors_is_an_observer(tool: str) -> None:
    number = getattr(monitoring, tool)
    monitoring.use_tool_id(number, "a test")
    try:
        assert observed()
    finally:
        monitoring.free_tool_id(number)
    assert not observed()


@pytest.mark.skipif(monitoring is None, reason="sys.monitoring came with Python 3.12")
@pytest.mark.skipif(observed(), reason="a debugger or coverage follows these tests")
def test_a_profiler_is_none() -> None:
    monitoring.use_tool_id(monitoring.PROFILER_ID, "a test")
    try:
        assert not observed()
    finally:
        monitoring.free_tool_id(monitoring.PROFILER_ID)
