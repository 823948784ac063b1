"""Tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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
