"""One hash seed for a program and its workers: sets must iterate alike wherever a call runs.

Python takes its hash seed from ``PYTHONHASHSEED`` before it starts. So `bundlebee exec` starts itself a second
time, with the seed of the grid, unless the person has set one. That second start comes before anything is imported
that need not be: what is imported here is paid for twice, and on a host with a tenth of a core tenfold.
"""

from __future__ import annotations

import os
import sys

from bundlebee.calls import secret
from bundlebee.errors import BundlebeeError

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` would be paid for twice, too
    from collections.abc import Sequence

    from bundlebee.settings import GridOptions

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
        seed = _seed(arguments)
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
    from bundlebee.reexec import reexec

    reexec({**os.environ, "PYTHONHASHSEED": str(seed), MARK: "1"})


def _seed(arguments: Sequence[str]) -> int:
    """As `GridOptions.hash_seed`, from options that are not parsed yet.

    Raises:
        BundlebeeError: there is something wrong with the grid's name or its key.
    """
    environ = os.environ
    values = {"grid": environ.get("BUNDLEBEE_GRID", ""), "key-file": environ.get("BUNDLEBEE_KEY_FILE", "")}
    is_open = environ.get("BUNDLEBEE_OPEN", "").lower() in ("1", "true", "yes", "on", "t", "y")
    for index, token in enumerate(arguments):
        if token in ("-m", "-c", "--") or (
            not token.startswith("-") and not arguments[index - 1].startswith("--")
        ):
            break  # the program begins
        name, equals, value = token[2:].partition("=")
        if token == "--open":
            is_open = True
        elif name in values and token.startswith("--"):
            values[name] = value if equals else "".join(arguments[index + 1 : index + 2])
    grid = secret.check_grid_name(values["grid"] or "default")
    if is_open:
        return secret.hash_seed(secret.open_secret(grid), grid)
    path = values["key-file"] or secret.default_file(grid)
    if not values["key-file"] and not os.path.lexists(path):
        return 1
    return secret.hash_seed(secret.read_secret(path), grid)
