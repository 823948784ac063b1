"""Our frames leave a traceback; nobody else's do."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest

import bundlebee
from bundlebee.errors import WeaveError
from bundlebee.hooks.tracebacks import boundary, clean_uncaught, strip_frames
from bundlebee.weaving.joinpoint import JoinPoint

INSIDE = str(Path(bundlebee.__file__).parent / "calls" / "somewhere.py")
SAMPLE = str(Path(bundlebee.__file__).parent / "samples" / "primes.py")


def function(name: str, body: str, file: str) -> Any:
    namespace: dict[str, Any] = {}
    exec(compile(f"def {name}(*a):\n    {body}", file, "exec"), namespace)
    return namespace[name]


def caught(call: Any, *args: Any) -> BaseException:
    try:
        call(*args)
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


def names(error: BaseException) -> list[str]:
    return [entry.name for entry in traceback.extract_tb(error.__traceback__)]


def program(x: int) -> int:
    return 1 // x


def test_frames_of_ours_are_removed() -> None:
    ours = function("ours", "return a[0](*a[1:])", INSIDE)
    error = caught(ours, program, 0)
    assert names(error) == ["caught", "ours", "program"]
    assert strip_frames(error) is error
    assert names(error) == ["caught", "program"]


def test_samples_are_programs() -> None:
    sample = function("sample", "return a[0](*a[1:])", SAMPLE)
    assert names(strip_frames(caught(sample, program, 0))) == ["caught", "sample", "program"]


def test_dispatchers_are_removed_wherever_they_stand() -> None:
    def f(x: int) -> int:
        return 1 // x

    point = JoinPoint(f, __name__, "f")
    point.advice = function("advice", "return a[0].plain(*a[1], **a[2])", INSIDE)
    point.arm()
    assert names(strip_frames(caught(f, 0))) == ["caught", "f"]


def test_all_above_the_start_of_the_program_is_removed() -> None:
    start = function("start", "return a[0](*a[1:])", "/elsewhere/start.py")
    boundary(start.__code__)
    assert names(strip_frames(caught(start, program, 0))) == ["program"]


def test_causes_contexts_and_groups() -> None:
    ours = function("ours", "return a[0](*a[1:])", INSIDE)

    def many() -> None:
        errors = [caught(ours, program, 0), caught(ours, program, 0)]
        try:
            ours(program, 0)
        except ZeroDivisionError as error:
            raise ExceptionGroup("many", errors) from error  # type: ignore[type-var]

    group = caught(ours, many)
    strip_frames(group)
    assert isinstance(group, ExceptionGroup)
    assert names(group) == ["caught", "many"]
    assert group.__cause__ is not None and names(group.__cause__) == ["many", "program"]
    assert [names(error) for error in group.exceptions] == [["caught", "program"]] * 2


def test_a_circle_of_causes() -> None:
    first, second = ValueError(1), ValueError(2)
    first.__context__, second.__context__ = second, first
    strip_frames(first)


def test_errors_of_ours_keep_their_frames() -> None:
    def fail() -> None:
        raise WeaveError("x")

    ours = function("ours", "return a[0](*a[1:])", INSIDE)
    assert names(strip_frames(caught(ours, fail))) == ["caught", "ours", "fail"]


def test_clean_uncaught_works_below_the_programs_own_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("sys.excepthook", lambda *details: shown.append(details))
    clean_uncaught()
    import sys

    error = caught(function("ours", "return a[0](*a[1:])", INSIDE), program, 0)
    sys.excepthook(type(error), error, error.__traceback__)
    ((kind, value, entries),) = shown
    assert (kind, value) == (ZeroDivisionError, error) and entries is error.__traceback__
    assert names(error) == ["caught", "program"]
