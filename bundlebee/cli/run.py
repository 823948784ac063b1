"""`bundlebee run`: start a node."""

from __future__ import annotations

from pathlib import Path

import click

from bundlebee.cli.options import grid_options, log_options, option, policy_option
from bundlebee.settings import GridOptions


@click.command(
    epilog="""\b
Examples:
  bundlebee run                       # ./bundles, all cores, your LAN
  bundlebee run ~/grid --name attic --workers 2
  bundlebee run --peer 192.168.7.20:7766   # a LAN without multicast"""
)
@click.argument("bundles", required=False, type=click.Path(path_type=Path), envvar="BUNDLEBEE_BUNDLES")
@option("--name", variable="NAME", help="Name of the node. Default: the host's name.")
@option(
    "--workers", variable="WORKERS", type=click.IntRange(1, 4096), help="Worker processes. Default: cores."
)
@option(
    "--port",
    variable="PORT",
    type=click.IntRange(1, 65535),
    help="TCP port of the node. Default: 7766, or a free one where that is taken.",
)
@grid_options
@policy_option
@log_options
def run(
    bundles: Path | None,
    name: str | None,
    workers: int | None,
    port: int | None,
    where: GridOptions,
    policy: str | None,
    verbosity: int,
    log_format: str,
    log_file: Path | None,
) -> None:
    """Start a node on this machine, serving the packages in BUNDLES (./bundles).

    The first node makes the grid's key file; copy it to the other machines. Stop with Ctrl-C.
    """
    from bundlebee import log
    from bundlebee.decisions.policy import Policy
    from bundlebee.node import Node, NodeOptions

    log.setup(verbosity=verbosity + 1 if verbosity >= 0 else verbosity, form=log_format, path=log_file)
    options = NodeOptions(
        where=where,
        directory=bundles,
        name=name,
        workers=workers,
        port=port,
        policy=str(Policy.parse(policy or "auto")),
    )
    Node(options).run()
