"""Which functions of a bundle ship, which stay, and why: `bundlebee check --effects`.

The analysis looks at live modules, so the bundle has to be imported. That happens in a process of its own
(`bundlebee.surveyor`): what an import prints, patches or starts ends with it, and an import that never ends is ended.

    here    task on standard input, which stays open: the surveyor ends when we do
    there   imports each module woven, judges each function, and writes notes to a file, one JSON object a line
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

import msgspec

from bundlebee.bundles.outlook import Outlook
from bundlebee.errors import BrokenBundle, BundleError, BundleNotFound, UsageError
from bundlebee.words import BundleRef

GRACE = 10.0
"""Seconds that the surveyor may take longer than it was given: one function, and the end of a process."""


class Task(msgspec.Struct, frozen=True):
    """What the surveyor is to look at."""

    root: str  #: directory that the modules are imported from
    shown: str  #: what people call that directory, in front of file names; may be empty
    ref: BundleRef
    modules: tuple[str, ...]  #: packages before what is in them
    cache: str | None  #: for woven modules; None is the user's
    aside: bool  #: whether what lies beside the bundle may be imported, too
    seconds: float


class Importing(msgspec.Struct, frozen=True, tag=True):
    """The import of a module begins."""

    module: str


class LeftOut(msgspec.Struct, frozen=True, tag=True):
    """A module that cannot be looked at."""

    module: str
    why: str


class Finding(msgspec.Struct, frozen=True, tag=True):
    """One function."""

    function: str  #: ``module.qualname``
    file: str
    line: int
    outlook: Outlook
    kind: str = ""  #: of the reason, for counting; empty where it ships
    why: str = ""  #: the chain of calls, what happens, file and line
    prints: bool = False
    writes: str = (
        ""  #: how the first write to an argument reads, if it ships: what changes there, changes here
    )


class End(msgspec.Struct, frozen=True, tag=True):
    """All was said."""

    unseen: int  #: functions for which there was no time


Note: TypeAlias = Importing | LeftOut | Finding | End


class Survey(msgspec.Struct, frozen=True):
    """What was found in one bundle."""

    bundle: str
    version: str
    functions: tuple[Finding, ...]
    left_out: tuple[LeftOut, ...]
    unseen: int  #: functions for which there was no time

    def count(self, outlook: Outlook) -> int:
        return sum(finding.outlook is outlook for finding in self.functions)

    @property
    def woven(self) -> int:
        """How many functions are join points; of the others the analysis is never asked."""
        return len(self.functions) - self.count(Outlook.UNWOVEN)

    @property
    def leaving(self) -> float:
        """The share of the woven functions with calls that may run elsewhere, from 0 to 1; without those that are `guarded`."""
        may = self.count(Outlook.SHIPS) + self.count(Outlook.DEPENDS)
        return may / self.woven if self.woven else 0.0

    @property
    def guarded(self) -> float:
        """The share of the woven functions with calls that leave under the guard, from 0 to 1."""
        return self.count(Outlook.GUARDED) / self.woven if self.woven else 0.0

    def kinds(self, outlook: Outlook) -> list[tuple[str, int]]:
        """How many functions each kind of reason has, the most frequent first."""
        from collections import Counter

        counts = Counter(one.kind for one in self.functions if one.outlook is outlook)
        return sorted(counts.items(), key=lambda each: (-each[1], each[0].lower()))


def survey(name: str, seconds: float) -> Survey:
    """Look at a bundle.

    Args:
        name: of a package directory, a module, a wheel, a zip, or of an installed distribution.
        seconds: to take at most. What was imported but not judged by then is counted in `Survey.unseen`.

    Raises:
        UsageError: there is no such bundle, or it cannot be read.
        BrokenBundle: it cannot be imported.
    """
    with tempfile.TemporaryDirectory(prefix="bundlebee-") as scratch:
        task = _task(name, Path(scratch), seconds)
        return _summed_up(task, _run(task, Path(scratch)))


# -- what to look at ------------------------------------------------------------------------------------------


def _task(name: str, scratch: Path, seconds: float) -> Task:
    path = Path(name)
    try:
        if path.exists():
            return _of_path(path, scratch, seconds)
        return _of_distribution(name, seconds)
    except BundleNotFound:
        raise UsageError(
            f"{name} does not exist, and no distribution of that name is installed",
            hint="give a package directory, a module, a wheel, a zip, or the name of what pip installed",
        ) from None
    except BundleError as error:
        raise UsageError(error.what, why=error.why, hint=error.hint) from None


def _of_path(path: Path, scratch: Path, seconds: float) -> Task:
    from bundlebee.bundles.install import read
    from bundlebee.bundles.sources import Source

    whole = Path(os.path.abspath(path))
    if path.is_file() and path.suffix in (".whl", ".zip"):
        record, files = read(Source(whole))
        for file, data in files.items():
            target = scratch / "bundle" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        # under a directory of that name woven modules are never met again
        cache, root, shown = str(scratch / "woven"), scratch / "bundle", str(path)
    elif path.is_dir() or path.suffix == ".py":
        if not whole.stem.isidentifier() or (path.is_dir() and whole.suffix):
            hint = "name the package that lies inside" if path.is_dir() else "rename the file"
            raise UsageError(f"{path} cannot be imported", why="its name is no Python name", hint=hint)
        record, files = read(Source(whole, (whole.stem,)))
        cache, root = None, whole.parent
        shown = str(root) if path.is_absolute() else os.path.relpath(root)
    else:
        raise UsageError(f"{path} is no bundle", hint="give a package directory, a module, a wheel or a zip")
    shown = "" if shown == os.curdir else shown
    return Task(str(root), shown, record.ref, _modules(files, record.ref), cache, True, seconds)


def _of_distribution(name: str, seconds: float) -> Task:
    from bundlebee.bundles.distributions import from_distribution

    bundle = from_distribution(name)
    modules = _modules(bundle.files(), bundle.ref)
    return Task(str(bundle.path), "", bundle.ref, modules, None, False, seconds)


def _modules(files: Iterable[str], ref: BundleRef) -> tuple[str, ...]:
    """The modules of a bundle. ``__main__`` is a program: to import it is to run it."""
    found = set()
    for file in files:
        if file.endswith(".py"):
            parts = file.removesuffix(".py").removesuffix("/__init__").split("/")
            if parts[0] in ref.imports and parts[-1] != "__main__" and all(map(str.isidentifier, parts)):
                found.add(".".join(parts))
    return tuple(sorted(found))


# -- to have it looked at -------------------------------------------------------------------------------------


def _run(task: Task, scratch: Path) -> list[Note]:
    """The notes of a surveyor that has come to its end."""
    file, errors = scratch / "notes.jsonl", scratch / "errors.txt"
    with errors.open("wb") as stderr, _surveyor(file, stderr.fileno()) as process:
        assert process.stdin is not None
        with suppress(OSError):  # if it is dead already, its last words say why
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            process.stdin.flush()
        try:
            process.wait(task.seconds + GRACE)
            code: int | None = process.returncode
        except subprocess.TimeoutExpired:
            code = None
    notes = _read(file)
    if notes and isinstance(notes[-1], End):
        return notes
    last = next((note.module for note in reversed(notes) if isinstance(note, Importing)), None)
    doing = f"the import of {last}" if last is not None else "the survey"
    if code is None:
        raise BrokenBundle(
            f"{task.ref.name} cannot be looked at",
            why=f"{doing} has not come to an end in {task.seconds:g} s",
            hint="give it more with --timeout SECONDS, or see what it does when it is imported",
        )
    words = errors.read_text("utf-8", "replace").strip().splitlines()
    raise BrokenBundle(
        f"{task.ref.name} cannot be looked at",
        why=f"{doing} ended the process (exit code {code}){': ' + words[-1] if words else ''}",
        hint="see what it does when it is imported",
    )


@contextmanager
def _surveyor(notes: Path, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "bundlebee.surveyor", str(notes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env={
            "PYTHONHASHSEED": "0",
            **os.environ,
        },  # of several reasons the same one each time, as far as may be
    )
    try:
        yield process
    finally:
        process.kill()  # does nothing where it has ended
        process.wait()
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()


def _read(file: Path) -> list[Note]:
    decoder: msgspec.json.Decoder[Note] = msgspec.json.Decoder(Note)
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [decoder.decode(line) for line in lines[:-1]]  # a last line without its end was cut off


def _summed_up(task: Task, notes: list[Note]) -> Survey:
    left_out = tuple(note for note in notes if isinstance(note, LeftOut))
    tried = {note.module for note in notes if isinstance(note, Importing)}
    if tried and tried <= {note.module for note in left_out}:
        raise BrokenBundle(
            f"{task.ref.name} cannot be looked at",
            why=f"none of its modules is there to look at; {left_out[0].module}: {left_out[0].why}",
            hint="install what it needs, or name the whole package if this is a part of one",
        )
    return Survey(
        task.ref.name,
        task.ref.version,
        tuple(note for note in notes if isinstance(note, Finding)),
        left_out,
        next(note.unseen for note in notes if isinstance(note, End)),
    )
