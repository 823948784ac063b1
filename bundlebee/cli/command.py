"""The command and its verbs; imported once it is clear that this process goes on (see `bundlebee.cli.main`).

The verbs are imported when they are asked for: `bundlebee exec` must not pay for what `bundlebee demo` needs.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from bundlebee.cli.begin import failed, interrupted
from bundlebee.errors import BundlebeeError

VERBS = {
    "run": "start a node on this machine",
    "exec": "run a program, like python, and spread its heavy calls",
    "call": "call one function of a bundle that the grid holds",
    "check": "say where a bundle breaks the programming model",
    "weave": "print a module as it is after weaving",
    "nodes": "list the nodes of the grid",
    "bundles": "list the bundles of the grid",
    "decisions": "show where calls went on this machine, and why",
    "demo": "three nodes on loopback render a fractal",
}


class Verbs(click.Group):
    """A group that imports ``bundlebee.cli.<verb>`` on demand and takes the command of that name from it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"bundlebee.cli.{'exec_' if cmd_name == 'exec' else cmd_name}")
        command: click.Command = getattr(module, cmd_name if cmd_name != "exec" else "exec_")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bundlebee", message="%(prog)s %(version)s")
def bundlebee() -> None:
    """A grid for ordinary Python code.

    Drop packages into ./bundles, start `bundlebee run` on every machine of the LAN, then run a program on one of
    them with `bundlebee exec -m PROGRAM`. The log says where each function ran, and why.

    Every option has a variable BUNDLEBEE_OPTION; an unknown one is an error.
    """


def run_command(args: Sequence[str]) -> Any:
    """Parse and do it. Errors of ours are printed without a traceback.

    Exit codes: 0 done, 1 it failed, 2 it was asked for wrongly; `exec` exits as its program does.
    """
    from bundlebee.settings import check_environment

    try:
        check_environment(os.environ)
        result = bundlebee.main(args=list(args), prog_name="bundlebee", standalone_mode=False)
    except click.exceptions.Abort:
        interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BundlebeeError as error:
        failed(error)
    # `exec` returns its program: it runs here, where nothing catches what it raises
    return result() if callable(result) else result
