"""The process that imports a bundle and judges its functions, `python -m bundlebee.surveyor`. Only a survey starts one."""

from __future__ import annotations

import ast
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import decode_source
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bundlebee import light as _light  # noqa: F401  before anybody imports msgspec

# isort: split
import msgspec

from bundlebee.bundles.effects import EffectAnalysis
from bundlebee.bundles.facts import ModuleFacts, decode
from bundlebee.bundles.outlook import Outlook, judge
from bundlebee.bundles.reasons import kind_of
from bundlebee.errors import WeaveError
from bundlebee.hooks.finder import Claim
from bundlebee.hooks.install import advice_of, install
from bundlebee.survey import End, Finding, Importing, LeftOut, Note, Task
from bundlebee.weaving.advice import here
from bundlebee.weaving.joinpoints import outcomes
from bundlebee.weaving.outcomes import Skipped

if TYPE_CHECKING:
    from bundlebee.weaving.joinpoint import JoinPoint

LONGEST = 300
"""Characters of an error that are told."""


def main() -> None:
    """Take the task from standard input, write the notes, and end."""
    began = time.monotonic()
    pipe = _take_pipe()
    task = msgspec.json.decode(pipe.readline(), type=Task)
    threading.Thread(target=_until_it_closes, args=(pipe,), name="bundlebee-control", daemon=True).start()
    path, sys.argv = sys.argv[1], [""]
    with open(path, "wb", buffering=0) as file:

        def tell(note: Note) -> None:
            file.write(msgspec.json.encode(note) + b"\n")

        Surveyor(task, began + task.seconds, tell).run()
    os._exit(0)  # whatever threads and exit handlers the imports have left


class Surveyor:
    """One look at one bundle.

    Args:
        deadline: by `time.monotonic`; functions that are not judged by then are counted.
        tell: takes the notes.
    """

    def __init__(self, task: Task, deadline: float, tell: Callable[[Note], None]) -> None:
        self._task = task
        self._deadline = deadline
        self._tell = tell
        self._facts: dict[str, ModuleFacts | None] = {}
        self._analysis = EffectAnalysis(self._facts_of)

    def run(self) -> None:
        """Import everything first: the analysis asks which classes there are."""
        task = self._task
        if task.aside:
            sys.path.append(task.root)
        claim = Claim(Path(task.root), task.ref)
        install(
            dict.fromkeys(task.ref.imports, claim),
            # sites are woven as `exec` does, so that both use the same cache
            on_scatter=lambda advice, site, function, iterable, shape, args_of: here(
                function, iterable, shape
            ),
            cache_dir=None if task.cache is None else Path(task.cache),
        )
        loaded = list(self._import_all())
        self._tell(End(sum(self._judge_all(name) for name in loaded)))

    def _import_all(self) -> Iterator[str]:
        failed: list[str] = []
        for name in self._task.modules:
            if any(name.startswith(f"{package}.") for package in failed):
                continue
            self._tell(Importing(name))
            try:
                importlib.import_module(name)
            except BaseException as error:  # a module may well end the program
                failed.append(name)
                below = sum(other.startswith(f"{name}.") for other in self._task.modules)
                more = f" (with {below} more below it)" if below else ""
                self._tell(LeftOut(name, _told(error) + more))
            else:
                yield name

    def _judge_all(self, name: str) -> int:
        """Judge each function of a module; how many there was no time for."""
        source = _source(sys.modules.get(name))
        advice = advice_of(name)
        if source is None:
            return 0
        data, path = source
        functions = list(outcomes(ast.parse(data), decode_source(data).split("\n")))
        if advice is None:
            if functions:
                self._tell(LeftOut(name, _why_plain(data, name, path)))
            return 0
        findings: list[tuple[int, Callable[[], Finding]]] = [
            (point.original.co_firstlineno, lambda point=point: self._point(point, path))  # type: ignore[misc]
            for point in advice.points
        ]
        findings += [
            (one.line, lambda one=one: self._unwoven(name, one.qualname, path, one.line, one.reason))  # type: ignore[misc]
            for one in functions
            if isinstance(one, Skipped)
        ]
        unseen = 0
        for _line, find in sorted(findings, key=lambda each: each[0]):
            if time.monotonic() > self._deadline:
                unseen += 1
            else:
                self._tell(find())
        return unseen

    def _point(self, point: JoinPoint, path: str) -> Finding:
        line = point.original.co_firstlineno
        if point.blocked is not None:
            return self._unwoven(point.module, point.qualname, path, line, point.blocked)
        name = f"{point.module}.{point.qualname}"
        try:
            found = judge(self._analysis, point.plain)
        except Exception as error:  # one function less, and the others are told
            return self._stays(
                point.module, point.qualname, path, line, f"the analysis failed: {_told(error)}"
            )
        why = f"{name} → {found.why}" if found.chain else found.why
        shown = self._shown(path)
        return Finding(
            name, shown, line, found.outlook, found.kind, self._shown(why), found.prints, found.writes
        )

    def _stays(self, module: str, qualname: str, path: str, line: int, reason: str) -> Finding:
        return self._finding(Outlook.STAYS, module, qualname, path, line, reason)

    def _unwoven(self, module: str, qualname: str, path: str, line: int, reason: str) -> Finding:
        return self._finding(Outlook.UNWOVEN, module, qualname, path, line, reason)

    def _finding(
        self, outlook: Outlook, module: str, qualname: str, path: str, line: int, reason: str
    ) -> Finding:
        shown = self._shown(path)
        why = f"{reason} ({shown}:{line})"
        return Finding(f"{module}.{qualname}", shown, line, outlook, kind_of(reason), why)

    def _shown(self, text: str) -> str:
        """File names as people call them."""
        shown = self._task.shown
        return text.replace(self._task.root + os.sep, shown + os.sep if shown else "")

    def _facts_of(self, module: str) -> ModuleFacts | None:
        if module not in self._facts:
            advice = advice_of(module)
            if advice is None:
                return None
            self._facts[module] = decode(advice.facts) if advice.facts else None
        return self._facts[module]


def _source(module: Any) -> tuple[bytes, str] | None:
    path = getattr(getattr(module, "__spec__", None), "origin", None)
    if not isinstance(path, str) or not path.endswith(".py"):
        return None
    return Path(path).read_bytes(), path


def _why_plain(data: bytes, module: str, path: str) -> str:
    from bundlebee.weaving.weaver import weave

    try:
        weave(data, module=module, path=path)
    except WeaveError as error:
        return str(error)
    return "it was not imported by its own name"


def _told(error: BaseException) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _take_pipe() -> BinaryIO:
    """Move standard input out of the way of what is imported."""
    pipe = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return os.fdopen(pipe, "rb")


def _until_it_closes(pipe: BinaryIO) -> None:
    pipe.read()
    os._exit(1)


if __name__ == "__main__":
    main()
