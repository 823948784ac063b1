"""Programs under our start behave as under python: the two are run side by side and compared.

Each comparison starts two interpreters, so each covers as much as it can. The output includes what the program
sees of itself; addresses and the frames of runpy (which plain ``-m`` shows) are left out of it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from bundlebee.hooks import program

#: Stands for `bundlebee exec`: every function is armed, and its advice seems to come from our own package.
RUNNER = """
import sys
from pathlib import Path
import bundlebee.hooks
from bundlebee.hooks import install, program

inside = str(Path(bundlebee.hooks.__file__).parent / "advice.py")
run = eval(compile("lambda point, args, kwargs: point.plain(*args, **kwargs)", inside, "eval"))

def on_join_point(point):
    point.advice = run
    point.arm()

def on_scatter(advice, site, function, iterable, shape, args_of):
    return [(item, function()) for item in (iterable if shape is None else shape(iterable))]

kind, cache, target, *arguments = sys.argv[1:]
handle = install.install({}, on_join_point=on_join_point, on_scatter=on_scatter, cache_dir=Path(cache))
getattr(program, f"run_{kind}")(target, arguments, handle=handle)
"""

LOOK = """\
"doc"
import atexit, pickle, sys, threading
def f(x): return [g(y) for y in range(x)]
def g(y): return y + 1
class A:
    def m(self): return super().__repr__().partition(" ")[0]
print(__name__, sys.argv, sys.path[0], f(3), A().m(), f, type(__builtins__).__name__)
print(sorted((k, repr(v)) for k, v in globals().items() if k not in ("__bee__", "__builtins__")))
print(sys.modules["__main__"].f is f, f.__module__, pickle.loads(pickle.dumps(f)) is f, len(sys.stdin.read()))
thread = threading.Thread(target=lambda: print("in a thread"))
thread.start()
thread.join()
atexit.register(lambda: print("good-bye", __name__, flush=True))
"""

FAIL = """\
def g(x):
    if x: raise ValueError("x")
class A:
    def m(self, k, *, j=1):
        try:
            return g(k)
        except ValueError as e:
            raise RuntimeError("deep") from e
    @staticmethod
    def s(x): return [A().m(y) for y in x]
def many():
    errors = []
    for i in range(2):
        try: A.s([0, i, 2])
        except RuntimeError as e: errors.append(e)
    raise ExceptionGroup("many", errors)
many()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    (place / "sub").mkdir(parents=True)
    (place / "pkg").mkdir()
    (place / "bad").mkdir()
    (place / "empty").mkdir()
    (place / "runner.py").write_text(RUNNER)
    (place / "look.py").write_text(LOOK)
    (place / "fail.py").write_text(FAIL)
    (place / "syntax.py").write_text("def f(:\n")
    (place / "pkg" / "__init__.py").write_text("print('init', __name__)\n")
    (place / "pkg" / "__main__.py").write_text(LOOK)
    (place / "pkg" / "fail.py").write_text(FAIL)
    (place / "bad" / "__init__.py").write_text("1 / 0\n")
    (place / "latin.py").write_bytes(
        "# coding: latin-1\nprint(ascii('é'), __file__[-8:])\n".encode("latin-1")
    )
    with zipfile.ZipFile(place / "zipped.zip", "w") as archive:
        archive.writestr("__main__.py", LOOK)
    return place


def both(place: Path, plain: Sequence[str], kind: str, target: str, stdin: str = "") -> tuple[str, str]:
    """What python and our start make of a program: output, errors and exit status."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "BUNDLEBEE"))}
    environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", "")
    said = []
    for command in ([*plain], [str(place / "runner.py"), kind, str(place / "cache"), target]):
        done = subprocess.run(
            [sys.executable, *command, "a", "-b"],
            cwd=place,
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        text = f"{done.stdout}\n{done.stderr}\nstatus {done.returncode}"
        text = re.sub(r"0x[0-9a-f]+", "0x", text)
        said.append("\n".join(line for line in text.split("\n") if "<frozen runpy>" not in line))
    return said[0], said[1]


def assert_same(place: Path, plain: Sequence[str], kind: str, target: str, stdin: str = "") -> str:
    python, ours = both(place, plain, kind, target, stdin)
    assert ours == python
    return ours


@pytest.mark.parametrize(
    "target", ["look.py", "./look.py", "sub/../latin.py", "zipped.zip", "pkg", "fail.py"]
)
def test_scripts(target: str, place: Path) -> None:
    assert_same(place, [target], "script", target, "input")


@pytest.mark.parametrize(("target", "status"), [("nobody.py", 2), ("empty", 1), ("syntax.py", 1), ("bad", 1)])
def test_scripts_that_do_not_run(target: str, status: int, place: Path) -> None:
    assert f"status {status}" in assert_same(place, [target], "script", target)


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_a_linked_script_has_the_path_of_the_real_one(place: Path) -> None:
    (place / "link.py").symlink_to(place / "pkg" / "__main__.py")
    said = assert_same(place, ["link.py"], "script", "link.py")
    assert str(place / "pkg") in said


def test_bytecode(place: Path) -> None:
    import py_compile

    py_compile.compile(str(place / "look.py"), str(place / "compiled.pyc"), "look.py")
    assert_same(place, ["compiled.pyc"], "script", "compiled.pyc")


@pytest.mark.parametrize("target", ["look", "pkg", "pkg.fail"])
def test_modules(target: str, place: Path) -> None:
    assert_same(place, ["-m", target], "module", target, "input")


@pytest.mark.parametrize("target", ["nobody", "empty", "pkg.nobody", "syntax", "bad", ".relative"])
def test_modules_that_do_not_run(target: str, place: Path) -> None:
    assert "status 1" in assert_same(place, ["-m", target], "module", target)


@pytest.mark.parametrize(
    "code", [LOOK, "def f(): return 1 / 0\nf()", "raise SystemExit(7)", "print('\\u00e9'"]
)
def test_code(code: str, place: Path) -> None:
    assert_same(place, ["-c", code], "code", code, "input")


@pytest.mark.parametrize(
    "code", ["import sys\nsys.exit('a message')", "import sys\nsys.stdout.close()\nsys.exit(3)"]
)
def test_exits(code: str, place: Path) -> None:
    (place / "ends.py").write_text(code)
    assert_same(place, ["ends.py"], "script", "ends.py")


@pytest.mark.parametrize("code", [LOOK, FAIL])
def test_standard_input(code: str, place: Path) -> None:
    assert_same(place, ["-"], "script", "-", code)


def test_a_hook_of_the_program_sees_no_frames_of_ours(place: Path) -> None:
    (place / "hook.py").write_text(
        textwrap.dedent(
            """
            import sys, traceback
            def show(kind, error, tb):
                print("hook", [f.name for f in traceback.extract_tb(tb)])
            sys.excepthook = show
            def f(): raise KeyError(1)
            f()
            """
        )
    )
    assert "hook ['<module>', 'f']" in assert_same(place, ["hook.py"], "script", "hook.py")


@pytest.mark.skipif(os.name != "posix", reason="death by a signal")
def test_an_interrupt_ends_it_by_the_signal(place: Path) -> None:
    said = assert_same(
        place,
        ["-c", "def f(): raise KeyboardInterrupt\nf()"],
        "code",
        "def f(): raise KeyboardInterrupt\nf()",
    )
    assert f"status {-signal.SIGINT}" in said


# -- what is known before it runs -------------------------------------------------------------------------


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.usefixtures("untouched")
def test_the_main_program_is_known_before_it_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    known = program.prepare_script("look.py", ["x"]).main
    assert known == program.MainProgram(LOOK.encode(), str(place / "look.py"), None)
    assert sys.argv == ["look.py", "x"] and sys.path[0] == str(place)

    known = program.prepare_module("json.tool", ["x"]).main
    assert known is not None and known.module_name == "json.tool" and known.path.endswith("tool.py")
    assert sys.argv == [known.path, "x"] and sys.path[0] == str(place)

    known = program.prepare_code("x = 1", ["x"]).main
    assert known == program.MainProgram(b"x = 1\n", "<string>", None)
    assert sys.argv == ["-c", "x"] and sys.path[0] == ""

    known = program.prepare_script("zipped.zip").main
    assert known is not None and known.source == LOOK.encode() and known.module_name is None
