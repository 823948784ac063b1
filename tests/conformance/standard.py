"""Runs CPython's own tests of a module of the standard library, and writes a JUnit file.

    python standard.py MODULE TEST REPORT [woven]        e.g. statistics test.test_statistics report.xml

With ``woven`` it fails unless MODULE is woven, else if it is.

Many such modules are loaded before any program begins. So MODULE is imported anew first, and the tests, imported
after that, get this second copy: plain under plain python, woven under `bundlebee exec --weave stdlib:MODULE`. Who
had imported the first copy keeps it.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import unittest
import xml.etree.ElementTree as ET
from typing import Any


class Recorder(unittest.TextTestResult):
    """Notes how each test and each failed subtest ended."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.outcomes: list[tuple[str, str]] = []

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self.outcomes.append((test.id(), ""))

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self.outcomes.append((test.id(), "failure"))

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self.outcomes.append((test.id(), "error"))

    def addSkip(self, test: Any, reason: str) -> None:
        super().addSkip(test, reason)
        self.outcomes.append((test.id(), "skipped"))

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self.outcomes.append((test.id(), ""))

    def addUnexpectedSuccess(self, test: Any) -> None:
        super().addUnexpectedSuccess(test)
        self.outcomes.append((test.id(), "failure"))

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.outcomes.append((subtest.id(), "failure"))


def import_anew(name: str) -> None:
    """Let the next ``import name`` find a fresh copy, and whoever has the old one keep it."""
    # once while the old one is there: to weave `collections` for the first time needs `collections`
    spec = next(found for finder in sys.meta_path if (found := finder.find_spec(name, None)) is not None)
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    for loaded in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        if not loaded.endswith(".abc"):  # collections.abc is _collections_abc, set once at start-up
            del sys.modules[loaded]
    importlib.import_module(name)


def main(module: str, test: str, report: str, woven: str = "") -> None:
    import_anew(module)
    if bool(woven) != hasattr(sys.modules[module], "__bee__"):
        raise SystemExit(f"{module} is {'not ' if woven else ''}woven")
    suite = unittest.defaultTestLoader.loadTestsFromName(test)
    start = time.monotonic()
    result = unittest.TextTestRunner(sys.stdout, verbosity=0, resultclass=Recorder).run(suite)
    print(f"{result.testsRun} tests in {time.monotonic() - start:.1f} s; {sys.modules[module]}")
    root = ET.Element("testsuite")
    for name, end in result.outcomes:  # type: ignore[attr-defined]
        place, _, last = name.rpartition(".")
        case = ET.SubElement(root, "testcase", classname=place, name=last)
        if end:
            ET.SubElement(case, end)
    ET.ElementTree(root).write(report)


if __name__ == "__main__":
    main(*sys.argv[1:])
