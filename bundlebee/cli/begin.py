"""The beginning of `bundlebee exec`, from options that are parsed to a program that is ready to run; and errors for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from bundlebee.errors import BundlebeeError, UsageError
from bundlebee.settings import GridOptions


def begin(
    kind: str,
    program: str,
    arguments: Sequence[str],
    *,
    bundles: Path | None,
    weave: tuple[str, ...],
    policy: str | None,
    decisions: Path | None,
    deadline: float | None,
    where: GridOptions,
    verbosity: int,
    log_format: str,
    log_file: Path | None,
) -> Callable[[], None]:
    """Set everything up; what is returned runs the program, and is to be called where nothing catches.

    Raises:
        BundlebeeError: an option cannot be followed.
    """
    from bundlebee import log
    from bundlebee.decisions.policy import Policy
    from bundlebee.program import Program, ProgramOptions

    log.setup(
        verbosity=verbosity,
        form=log_format,
        path=log_file,
        prefix="" if log_file else "bundlebee: ",
        apart=True,
    )
    options = ProgramOptions(
        where=where,
        directory=bundles,
        weave=weave,
        policy=None if policy is None else Policy.parse(policy),
        decisions=decisions,
        deadline=deadline,
    )
    run = Program(options)
    return lambda: run.execute(kind, program, arguments)


def report(error: BundlebeeError) -> None:
    """Print what happened, why, and the next step, each on its line, to standard error."""
    print(f"bundlebee: error: {error.what}", file=sys.stderr)
    if error.why:
        print(f"  because: {error.why}", file=sys.stderr)
    if error.hint:
        print(f"  next: {error.hint}", file=sys.stderr)


def failed(error: BundlebeeError) -> NoReturn:
    """Report, and exit: 1 it failed, 2 it was asked for wrongly."""
    report(error)
    sys.exit(2 if isinstance(error, UsageError) else 1)


def interrupted() -> NoReturn:
    """Ctrl-C, before the program began."""
    print("bundlebee: interrupted", file=sys.stderr)
    sys.exit(130)
