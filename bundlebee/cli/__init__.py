"""The `bundlebee` command, a file a verb."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # this process may be about to start again, see `bundlebee.hash_seed`
    from collections.abc import Sequence
    from typing import Any


def main(args: Sequence[str] | None = None) -> Any:
    """The entry point of the console script; see `bundlebee.cli.command.run_command`."""
    arguments = sys.argv[1:] if args is None else args
    if arguments[:1] == ["exec"]:
        from bundlebee.hash_seed import settle

        settle(arguments[1:])
    from bundlebee import light as _light  # noqa: F401  first of all

    if arguments[:1] == ["exec"]:
        import gc

        gc.disable()  # until the program runs (see `Program.execute`): nothing of ours is garbage
        from bundlebee.cli.quick import prepare

        run = prepare(arguments[1:])
        if run is not None:
            return run()  # here, where nothing catches what it raises
    from bundlebee.cli.command import run_command

    return run_command(arguments)
