"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def printed(rows: Sequence[Mapping[str, object]], as_json: bool, silence: str | None) -> bool:
    """Print rows as JSON if that was asked for, or why there are none; False where a table is still to be printed."""
    import json

    import click

    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif silence is not None:
        click.echo(silence, err=True)
    else:
        return False
    return True


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table to standard output; plain where that is not a terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = Table(*headings, box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        shown.add_row(*(str(cell) for cell in row))
    console = Console(soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console = Console(width=200, highlight=False)
    console.print(shown)
