"""One hash seed for a program and its workers: sets must iterate alike wherever a call runs.

Python takes its hash seed from ``PYTHONHASHSEED`` before it starts. So `bundlebee exec` starts itself a second
time, with the seed of the grid, unless the person has set one. That second start comes before anything is imported
that need not be: it costs some 20 ms of CPU time, and on a host with a tenth of a core that is 0.2 s.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bundlebee.errors import BundlebeeError
from bundlebee.settings import PREFIX, GridOptions

MARK = "BUNDLEBEE_HASH_SEED_SET"
"""Set for our own second start, so that the program does not find a variable that it was not given."""


def settle(arguments: Sequence[str]) -> None:
    """Start again with the grid's seed if this process has none. Returns if it has.

    Args:
        arguments: of `bundlebee exec`. Only the options that name the grid are looked for, roughly: they are
            parsed in earnest after the second start. Should this look be mistaken, the seed is another one, and
            workers with that seed are started for the program.
    """
    if _given() is not None:
        return
    try:
        seed = _where(arguments).hash_seed()
    except BundlebeeError:
        return  # said after the options are parsed
    _again(seed)


def in_force(where: GridOptions) -> int:
    """The seed of this process; it starts again if it has none.

    Raises:
        KeyFileError: the grid's key cannot be read.
    """
    given = _given()
    if given is None:
        _again(where.hash_seed())
        raise AssertionError("unreachable")
    if os.environ.pop(MARK, None):
        del os.environ["PYTHONHASHSEED"]
    return given


def _given() -> int | None:
    text = os.environ.get("PYTHONHASHSEED", "")
    return int(text) if text.isdigit() and not sys.flags.ignore_environment else None


def _again(seed: int) -> None:
    from bundlebee.platform import reexec

    reexec({**os.environ, "PYTHONHASHSEED": str(seed), MARK: "1"})


def _where(arguments: Sequence[str]) -> GridOptions:
    from pathlib import Path

    found = {"grid": os.environ.get(PREFIX + "GRID", ""), "key-file": os.environ.get(PREFIX + "KEY_FILE", "")}
    is_open = os.environ.get(PREFIX + "OPEN", "").lower() in ("1", "true", "yes", "on", "t", "y")
    for index, token in enumerate(arguments):
        if token in ("-m", "-c", "--") or (
            not token.startswith("-") and not arguments[index - 1].startswith("--")
        ):
            break  # the program begins
        name, equals, value = token[2:].partition("=")
        if token == "--open":
            is_open = True
        elif name in found and token.startswith("--"):
            found[name] = value if equals else "".join(arguments[index + 1 : index + 2])
    key_file = Path(found["key-file"]) if found["key-file"] else None
    return GridOptions(grid=found["grid"] or "default", key_file=key_file, open=is_open)
