"""The `bundlebee` command, a file a verb."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def main(args: Sequence[str] | None = None) -> Any:
    """The entry point of the console script; see `bundlebee.cli.command.run_command`."""
    arguments = sys.argv[1:] if args is None else args
    if arguments[:1] == ["exec"]:
        from bundlebee.hash_seed import settle

        settle(arguments[1:])
    from bundlebee.cli.command import run_command

    return run_command(arguments)
