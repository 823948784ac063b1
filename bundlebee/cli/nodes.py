"""`bundlebee nodes`: who is on the grid."""

from __future__ import annotations

import click

from bundlebee.cli.options import grid_options, json_option
from bundlebee.settings import GridOptions


@click.command(
    epilog="""\b
Examples:
  bundlebee nodes
  bundlebee nodes --json | jq '.[].name'"""
)
@grid_options
@json_option
def nodes(where: GridOptions, as_json: bool) -> None:
    """List the nodes of the grid, as the node on this machine sees them, or by asking the LAN."""
    from bundlebee.cli.tables import printed, table
    from bundlebee.guest import Guest

    with Guest(where) as guest:
        snapshot = guest.look()
        own = guest.own_node
        rows = [
            {
                "name": view.row.name,
                "address": view.row.address,
                "python": view.row.python,
                "slots": view.row.slots,
                "load": round(view.row.load, 3),
                "bundles": sorted(bundle.name for bundle in view.bundles if bundle.state == "active"),
                "self": own is not None and view.row.id == own.id,
            }
            for view in snapshot.nodes()
        ]
        silence = guest.silence() if not rows else None
    if printed(rows, as_json, silence):
        return
    table(
        ["name", "address", "python", "slots", "load", "bundles"],
        [
            [
                f"{row['name']} *" if row["self"] else row["name"],
                row["address"],
                row["python"],
                row["slots"],
                f"{view.row.load:.0%}",
                ", ".join(bundle.name for bundle in view.bundles if bundle.state == "active"),
            ]
            for row, view in zip(rows, snapshot.nodes(), strict=True)
        ],
    )
    if any(row["self"] for row in rows):
        click.echo("* this machine", err=True)
