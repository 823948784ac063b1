"""`bundlebee decisions`: where calls went, and why."""

from __future__ import annotations

import sys

import click

from bundlebee.cli.options import grid_options, option
from bundlebee.errors import ConfigurationError
from bundlebee.settings import GridOptions


@click.command(
    epilog="""\b
Examples:
  bundlebee decisions
  bundlebee decisions --follow --json | jq 'select(.where != "here")'"""
)
@option(
    "--follow",
    variable="FOLLOW",
    is_flag=True,
    help="Go on printing as decisions are made; stop with Ctrl-C.",
)
@option("--json", "as_json", variable="JSON", is_flag=True, help="One JSON object a line.")
@grid_options
def decisions(follow: bool, as_json: bool, where: GridOptions) -> None:
    """Show the decisions that the node on this machine has heard of: those of the programs that ran on it."""
    from bundlebee.decisions.records import Decision, text
    from bundlebee.guest import Guest

    with Guest(where) as guest:
        own = guest.own_node
        if own is None:
            raise ConfigurationError(
                "there is no node on this machine to ask",
                why="decisions are kept by the node of the machine where the program ran",
                hint="start one with `bundlebee run`, or use `bundlebee exec --decisions FILE`",
            )
        after = 0
        while True:
            after, records = guest.decisions(own, after=after, wait=5.0 if follow else 0.0, kind=Decision)
            for record in records:
                click.echo(record.to_json() if as_json else text(record))
            sys.stdout.flush()
            if not follow and not records:
                return
