from __future__ import annotations

import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from bundlebee.calls import remote_errors
from bundlebee.errors import ProtocolError, Unshippable


def caught(function: Any, *args: Any) -> BaseException:
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError("it did not raise")


def travel(error: BaseException) -> BaseException:
    return remote_errors.unpack(remote_errors.pack(error, lambda code: False), "b", note=True)


def inner(x: int) -> float:
    return 1 / x


def outer(x: int) -> float:
    try:
        return inner(x)
    except ZeroDivisionError as error:
        error.add_note("a note of its own")
        raise LookupError("not", x) from error


def test_type_arguments_notes_cause_and_lines() -> None:
    error = caught(outer, 0)
    back = travel(error)
    assert type(back) is LookupError and back.args == ("not", 0)
    assert isinstance(back.__cause__, ZeroDivisionError) and back.__cause__.__notes__ == ["a note of its own"]
    there = "".join(traceback.format_exception(error))
    here = "".join(traceback.format_exception(back))
    assert here == there + "raised on node 'b'\n"  # every file, line, name, source text and caret


def test_a_file_that_only_the_node_has_shows_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "gone.py"
    path.write_text("def f(x):\n    return x[2]\n")
    names: dict[str, Any] = {"__name__": "gone"}
    exec(compile(path.read_text(), str(path), "exec"), names)
    data = remote_errors.pack(caught(names["f"], []), lambda code: False)
    path.unlink()
    import linecache

    linecache.clearcache()
    text = "".join(traceback.format_exception(remote_errors.unpack(data, "b")))
    assert "return x[2]" in text and "gone.py" in text


def test_groups_context_and_suppression() -> None:
    def grouped() -> None:
        errors = [caught(inner, 0), caught(outer, 0)]
        raise ExceptionGroup("several", errors)  # type: ignore[type-var]

    back = travel(caught(grouped))
    assert isinstance(back, ExceptionGroup)
    text = "".join(traceback.format_exception(back))
    assert text.count("return 1 / x") == 2

    def replaced() -> None:
        try:
            inner(0)
        except ZeroDivisionError:
            raise ValueError("v") from None

    back = travel(caught(replaced))
    assert back.__suppress_context__ and isinstance(back.__context__, ZeroDivisionError)


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), StopIteration(4), OSError(2, "no", "file")]
)
def test_unusual_ones(error: BaseException) -> None:
    def raising() -> None:
        raise error

    back = travel(caught(raising))
    assert type(back) is type(error) and back.args == error.args and str(back) == str(error)


class Needy(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__("x")


class Worded(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Late(OSError):
    def __init__(self, name: str) -> None:
        super().__init__(2, "no", name)


class Holding(Exception):
    def __init__(self) -> None:
        self.lock = threading.Lock()


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("make", [lambda: Needy(1, 2), lambda: Worded(5)])
def test_an_init_of_its_own_does_no_harm(make: Any) -> None:
    error = caught(raising, make())
    error.add_note("a note")
    back = travel(error)
    assert type(back) is type(error) and back.args == error.args and str(back) == str(error)
    assert back.__dict__ == {**error.__dict__, "__notes__": ["a note", "raised on node 'b'"]}


@pytest.mark.parametrize("make", [Holding, lambda: Late("file")])
def test_what_cannot_travel_is_said(make: Any) -> None:
    error = caught(raising, make())
    with pytest.raises(Unshippable, match=type(error).__name__):
        remote_errors.pack(error, lambda code: False)


def test_a_stand_in_says_what_it_was_and_where() -> None:
    def both() -> None:
        try:
            raising(Holding())
        except Holding as error:
            raise ValueError("v") from error

    back = remote_errors.unpack(remote_errors.pack(caught(both), lambda code: False, stand_ins=True), "b")
    assert type(back) is ValueError and type(back.__cause__) is Unshippable
    text = "".join(traceback.format_exception(back))
    assert "Holding" in text and "in raising" in text and text.endswith("ValueError: v\n")


def test_groups_in_groups() -> None:
    def grouped() -> None:
        raise ExceptionGroup("a", [ExceptionGroup("b", [caught(inner, 0), caught(outer, 0)])])  # type: ignore[list-item]

    error = caught(grouped)
    assert "".join(traceback.format_exception(travel(error))).count("return 1 / x") == 2


def test_only_who_asks_sees_the_node() -> None:
    error = caught(outer, 0)
    back = remote_errors.unpack(remote_errors.pack(error, lambda code: False), "b")
    assert traceback.format_exception(back) == traceback.format_exception(error)
    assert remote_errors.node_of(back) == "b" and remote_errors.node_of(error) is None


def test_a_long_traceback_of_a_task_is_cut_at_the_outer_end() -> None:
    def deep(n: int) -> Any:
        return deep(n - 1) if n else inner(0)

    error = caught(deep, 300)
    with pytest.raises(Unshippable, match="too long"):  # a call runs at the caller, and shows all of it
        travel(error)
    back = remote_errors.unpack(remote_errors.pack(error, lambda code: False, stand_ins=True), "b")
    entries = traceback.extract_tb(back.__traceback__)
    assert len(entries) == remote_errors.MOST_ENTRIES
    assert entries[-1].name == "inner"


def test_the_context_may_be_the_cause() -> None:
    error = caught(outer, 0)
    back = travel(error)
    assert error.__context__ is error.__cause__
    assert back.__context__ is back.__cause__ and isinstance(back.__cause__, ZeroDivisionError)


def test_what_tracebacks_guess_from_is_not_lost() -> None:
    def misspelt(path: Path) -> Any:
        return path.nam  # type: ignore[attr-defined]

    def unknown() -> Any:
        return trveal  # type: ignore[name-defined]  # noqa: F821

    for error in (caught(misspelt, Path("a")), caught(unknown)):
        try:
            back = travel(error)
        except Unshippable:
            pass  # it runs at the caller, and raises the whole of it
        else:
            assert back.name == error.name  # type: ignore[attr-defined]
            assert getattr(back, "obj", None) is getattr(error, "obj", None)
        back = remote_errors.unpack(remote_errors.pack(error, lambda code: False, stand_ins=True), "b")
        assert type(back) is type(error)
    assert travel(caught(raising, AttributeError("one of the program's own"))).args


def test_our_own_frames_are_left_out() -> None:
    me = sys._getframe().f_code.co_filename
    data = remote_errors.pack(
        caught(outer, 0), lambda code: code.co_filename == me and code.co_name == "caught"
    )
    names = [entry.name for entry in traceback.extract_tb(remote_errors.unpack(data, "b").__traceback__)]
    assert names == ["outer"]


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x93\x01\x02\x03", b"nonsense" * 10])
def test_other_bytes(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        remote_errors.unpack(data, "b")
