"""Runs a program as ``python`` runs it: same ``__main__``, ``sys.argv``, ``sys.path``, errors and exit codes.

Two steps. *Prepare* sets ``sys.argv`` and ``sys.path`` and finds the program; then its source is known
(`Program.main`) and may become a bundle. *Run* executes it in a fresh ``__main__``. Both let exceptions pass
to the top of the interpreter, so that exit codes and death by signal are Python's own; the traceback that is
printed there has none of our frames. Call them where nothing catches: not inside a click command.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import BuiltinImporter, ModuleSpec, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType
from typing import Any, NoReturn

import msgspec

from bundlebee.frames import getframe
from bundlebee.hooks.install import Handle
from bundlebee.hooks.tracebacks import boundary, clean_uncaught, strip_frames

MAIN = "__main__"


class MainProgram(msgspec.Struct, frozen=True):
    """The source of a program's ``__main__``."""

    source: bytes
    path: str  #: what tracebacks show; ``<string>`` for ``-c``, ``<stdin>`` for ``-``
    module_name: str | None  #: the module that was asked for with ``-m``, such as ``package.__main__``


class Program:
    """A program that was found and is ready to run."""

    def __init__(
        self,
        main: MainProgram | None,
        attributes: dict[str, Any],
        code: Callable[[], CodeType],
    ) -> None:
        self.main = main  #: None where there is only bytecode
        self._attributes = attributes
        self._code = code

    def run(self, handle: Handle | None = None) -> None:
        """Execute it.

        Args:
            handle: weave ``__main__`` with its aspects; None runs it plain.
        """
        try:
            module = self._module()
            woven = None
            if handle is not None and self.main is not None:
                woven = handle.loom.weave(self.main.source, module=MAIN, path=self.main.path)
            if woven is None:
                code = self._code()
            else:
                assert handle is not None
                handle.loom.thread(woven, module.__dict__)
                code = woven.code
            # the program may go as deep as without us
            sys.setrecursionlimit(sys.getrecursionlimit() + _depth())
            exec(code, module.__dict__)
        except SystemExit:
            raise
        except BaseException:
            clean_uncaught()
            raise

    def _module(self) -> ModuleType:
        module = ModuleType(MAIN)
        if sys.version_info < (3, 14):
            module.__annotations__ = {}
        module.__dict__.update(self._attributes, __builtins__=builtins)
        # the one that ran our command must outlive its running frames
        self._former = sys.modules.get(MAIN)
        sys.modules[MAIN] = module
        return module


def prepare_script(path: str, argv: Sequence[str] = ()) -> Program:
    """A source file, a ``.pyc``, a directory or zip file with a ``__main__``, or ``-`` for standard input."""
    if path == "-":
        source = sys.stdin.buffer.read()
        return _prepare_text(source, "<stdin>", "-", argv, __file__="<stdin>", __cached__=None)
    sys.argv = [path, *argv]
    place = _absolute(path)
    try:
        found = _importer(place)
        if found is not None:
            _set_first_path(place)
            return _located(lambda runpy: runpy._get_main_module_details(runpy._Error), module_name=None)
    except BaseException as error:
        _let_pass(error)
    _set_first_path(os.path.dirname(os.path.realpath(place)))
    attributes: dict[str, Any] = {"__file__": place, "__cached__": None}
    if path.endswith(".pyc"):
        sourceless = SourcelessFileLoader(MAIN, place)
        return Program(None, {**attributes, "__loader__": sourceless}, lambda: _bytecode(sourceless))
    try:
        with open(place, "rb") as file:
            source = file.read()
    except OSError as error:
        _fail(f"can't open file {place!r}: [Errno {error.errno}] {error.strerror}", 2)
    attributes["__loader__"] = SourceFileLoader(MAIN, place)
    return _from_source(MainProgram(source, place, None), attributes)


def prepare_module(name: str, argv: Sequence[str] = ()) -> Program:
    """``-m name``: a module, or a package with a ``__main__`` module."""
    sys.argv = ["-m", *argv]
    _set_first_path(os.getcwd())
    try:
        program = _located(lambda runpy: runpy._get_module_details(name, runpy._Error), module_name=name)
    except BaseException as error:
        _let_pass(error)
    sys.argv[0] = program._attributes["__file__"]
    return program


def prepare_code(code: str, argv: Sequence[str] = ()) -> Program:
    """``-c code``."""
    if sys.version_info >= (3, 14):
        import textwrap

        code = textwrap.dedent(code)
    source = f"{code}\n".encode("utf-8", "surrogateescape")
    if sys.version_info >= (3, 13):  # since then tracebacks show these lines too
        import linecache

        linecache.cache["<string>"] = (len(source), None, f"{code}\n".splitlines(True), "<string>")
    return _prepare_text(source, "<string>", "-c", argv)


def run_script(path: str, argv: Sequence[str] = (), *, handle: Handle | None = None) -> None:
    """Prepare and run a script, directory, zip file or standard input."""
    prepare_script(path, argv).run(handle)


def run_module(name: str, argv: Sequence[str] = (), *, handle: Handle | None = None) -> None:
    """Prepare and run a module."""
    prepare_module(name, argv).run(handle)


def run_code(code: str, argv: Sequence[str] = (), *, handle: Handle | None = None) -> None:
    """Prepare and run the code of ``-c``."""
    prepare_code(code, argv).run(handle)


# -- the parts ----------------------------------------------------------------------------------------------


def _depth() -> int:
    """Frames below the program's first that are ours. Until 3.12, functions of C count, too: ``exec``, for one."""
    frame, count = getframe(1), 1 if sys.version_info >= (3, 12) else 3
    while frame.f_back is not None:
        frame = frame.f_back
        count += 1
    return count


def _prepare_text(source: bytes, path: str, name: str, argv: Sequence[str], **attributes: Any) -> Program:
    sys.argv = [name, *argv]
    _set_first_path("")
    return _from_source(MainProgram(source, path, None), {"__loader__": BuiltinImporter, **attributes})


def _from_source(main: MainProgram, attributes: dict[str, Any]) -> Program:
    return Program(main, attributes, lambda: compile(main.source, main.path, "exec", dont_inherit=True))


def _located(locate: Callable[[Any], tuple[str, ModuleSpec, CodeType]], module_name: str | None) -> Program:
    """A program that the import system finds. runpy says exactly what this Python says where it fails."""
    import runpy

    try:
        name, spec, code = locate(runpy)
    except runpy._Error as error:  # type: ignore[attr-defined]
        _fail(str(error), 1)
    main = None
    if spec.origin is not None and spec.origin.endswith(".py"):
        try:
            source = spec.loader.get_data(spec.origin)  # type: ignore[union-attr]
            main = MainProgram(source, spec.origin, None if module_name is None else name)
        except (AttributeError, OSError):
            pass  # an unusual loader: it runs, it is only not woven
    attributes = {
        "__file__": spec.origin,
        "__cached__": spec.cached,
        "__loader__": spec.loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }
    return Program(main, attributes, lambda: code)


def _importer(place: str) -> object | None:
    from pkgutil import get_importer

    return get_importer(place)


def _bytecode(loader: SourcelessFileLoader) -> CodeType:
    code = loader.get_code(MAIN)
    assert code is not None
    return code


def _absolute(path: str) -> str:
    """As Python makes the name of a script absolute: not normalised."""
    return os.path.join(os.getcwd(), path)


def _set_first_path(entry: str) -> None:
    """Put the program's own place where Python put that of our command."""
    if not sys.flags.safe_path:
        sys.path[:1] = [entry]


def _let_pass(error: BaseException) -> NoReturn:
    if not isinstance(error, SystemExit):
        clean_uncaught()
    raise error


def _fail(message: str, status: int) -> NoReturn:
    print(f"{sys.executable}: {message}", file=sys.stderr)
    raise SystemExit(status)


for _function in (Program.run, _located, prepare_script, prepare_module):
    boundary(_function.__code__)

__all__ = [
    "MainProgram",
    "Program",
    "prepare_code",
    "prepare_module",
    "prepare_script",
    "run_code",
    "run_module",
    "run_script",
    "strip_frames",
]
