from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from bundlebee.observers import followed, profiled

monitoring: Any = getattr(sys, "monitoring", None)

pytestmark = pytest.mark.skipif(followed() or profiled(), reason="somebody follows these tests")
since_3_12 = pytest.mark.skipif(monitoring is None, reason="sys.monitoring came with Python 3.12")


def test_a_trace_function_is_seen() -> None:
    assert not followed()
    sys.settrace(lambda *_: None)
    try:
        assert followed()
    finally:
        sys.settrace(None)
    assert not followed()


def test_a_profile_function_is_seen() -> None:
    assert not profiled()
    sys.setprofile(lambda *_: None)
    try:
        assert profiled() and not followed()
    finally:
        sys.setprofile(None)
    assert not profiled()


@since_3_12
@pytest.mark.parametrize(
    ("tool", "watches"), [("DEBUGGER_ID", followed), ("COVERAGE_ID", followed), ("PROFILER_ID", profiled)]
)
def test_a_tool_that_monitors_is_seen(tool: str, watches: Callable[[], bool]) -> None:
    number = getattr(monitoring, tool)
    monitoring.use_tool_id(number, "a test")
    try:
        assert watches()
    finally:
        monitoring.free_tool_id(number)
    assert not watches()
