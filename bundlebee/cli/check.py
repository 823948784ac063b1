"""`bundlebee check`: where a bundle leaves the programming model."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from bundlebee.cli.options import json_option


@click.command(
    epilog="Example: bundlebee check bundles/diary  prints  bundles/diary/book.py:12:9 BEE101 opens a local file (open)"
)
@click.argument("bundle", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def check(bundle: tuple[Path, ...], as_json: bool) -> None:
    """Say where bundles leave the programming model, as linters do.

    BUNDLE is a package directory, a module, a wheel or a zip. A compliant bundle opens no files and sockets, starts no
    threads and processes, loads no classes on its own, and uses no state of the machine that it happens to run on. A
    line that ends in "# noqa: BEE101" is left out.

    Exits with 0 if nothing was found, 1 if something was, 2 if a BUNDLE cannot be read.
    """
    from bundlebee.bundles.compliance import check as find

    violations = find(bundle)
    if as_json:
        click.echo(json.dumps([asdict(violation) for violation in violations]))
    else:
        for violation in violations:
            click.echo(str(violation))
    sys.exit(1 if violations else 0)
