"""`bundlebee bundles`: what the grid holds."""

from __future__ import annotations

import click

from bundlebee.cli.options import grid_options, json_option
from bundlebee.settings import GridOptions


@click.command(
    epilog="""\b
Examples:
  bundlebee bundles
  bundlebee bundles --json"""
)
@grid_options
@json_option
def bundles(where: GridOptions, as_json: bool) -> None:
    """List the bundles of the grid, with the nodes that hold each."""
    from bundlebee.cli.tables import printed, table
    from bundlebee.guest import Guest

    with Guest(where) as guest:
        snapshot = guest.look()
        silence = guest.silence() if not snapshot.nodes() else None
    holders: dict[tuple[str, str, str, str], list[str]] = {}
    for view in snapshot.nodes():
        for bundle in view.bundles:
            key = (bundle.name, bundle.version, bundle.digest, bundle.state)
            holders.setdefault(key, []).append(view.row.name)
    rows = [
        {"name": name, "version": version, "digest": digest, "state": state, "nodes": sorted(names)}
        for (name, version, digest, state), names in sorted(holders.items())
    ]
    if printed(rows, as_json, silence):
        return
    table(
        ["name", "version", "digest", "state", "nodes"],
        [
            [row["name"], row["version"], str(row["digest"])[:12], row["state"], ", ".join(row["nodes"])]
            for row in rows
        ],
    )
