"""The standard library's own tests of executors, run against ours. Many Pythons come without them."""

from __future__ import annotations

import unittest
from concurrent import futures
from importlib import import_module
from typing import Any

import pytest

from bundlebee import Executor

_MODULES = {  # by mixin; until 3.12 all of it is one module
    "ExecutorTest": "executor",
    "WaitTests": "test_wait",
    "AsCompletedTests": "test_as_completed",
    "ExecutorShutdownTest": "test_shutdown",
}

_NOT_OURS = {
    # these start scripts that import an executor from `concurrent.futures`
    "test_interpreter_shutdown",
    "test_submit_after_interpreter_shutdown",
    "test_hang_gh83386",
    "test_hang_issue39205",
    # it expects that a worker has begun right after `submit`; ours is in test_executor.py
    "test_cancel_futures",
}


def _mixin(name: str) -> Any:
    for module in (f"test.test_concurrent_futures.{_MODULES[name]}", "test.test_concurrent_futures"):
        try:
            found = getattr(import_module(module), name, None)
        except Exception:  # unittest.SkipTest among them
            continue
        if found is not None:
            return found
    return None


def _cases(mixin: str) -> Any:
    base = _mixin(mixin)
    if base is None:
        return pytest.mark.skip("this Python has no test.test_concurrent_futures")(
            type(f"Test{mixin}", (), {"test_it": lambda self: None})
        )

    class Cases(base, unittest.TestCase):  # type: ignore[misc]
        executor_type = Executor
        worker_count = 2

        def setUp(self) -> None:
            self.executor = Executor(self.worker_count)

        def tearDown(self) -> None:
            self.executor.shutdown()
            super().tearDown()

    for name in _NOT_OURS & set(dir(Cases)):
        setattr(Cases, name, None)
    Cases.__name__ = Cases.__qualname__ = f"Test{mixin}"
    return pytest.mark.usefixtures("alone")(Cases)


TestExecutor = _cases("ExecutorTest")
TestWait = _cases("WaitTests")
TestAsCompleted = _cases("AsCompletedTests")
TestShutdown = _cases("ExecutorShutdownTest")


def test_it_is_one() -> None:
    assert issubclass(Executor, futures.Executor)
