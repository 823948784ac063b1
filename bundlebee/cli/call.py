"""`bundlebee call`: call one function of a bundle that the grid holds."""

from __future__ import annotations

import ast
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from bundlebee.cli.options import grid_options, log_options, option
from bundlebee.errors import BundlebeeError, UsageError
from bundlebee.settings import GridOptions


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
    epilog="""\b
Examples:
  bundlebee call primefac:isprime 97
  bundlebee call statistics_of:describe '[1, 2, 3]' --digits=2
  bundlebee call notes:find "'bee'"        # a string is a literal, too""",
)
@option(
    "--bundles", variable="BUNDLES", type=click.Path(path_type=Path), help="Directory of bundles [./bundles]."
)
@option(
    "--timeout",
    variable="TIMEOUT",
    type=click.FloatRange(0.001),
    help="Seconds to wait for the result; default: no limit.",
)
@grid_options
@log_options
@click.argument("target", metavar="MODULE:FUNCTION")
@click.argument("literals", metavar="[LITERAL]... [--name=LITERAL]...", nargs=-1, type=click.UNPROCESSED)
def call(
    target: str,
    literals: tuple[str, ...],
    bundles: Path | None,
    timeout: float | None,
    where: GridOptions,
    verbosity: int,
    log_format: str,
    log_file: Path | None,
) -> None:
    """Call a function on the grid with Python literals, and print the result's repr.

    It runs on the node of this machine if there is one (which fetches the bundle if need be), else on a node that holds
    the bundle; with no node anywhere, in a worker on this machine.
    """
    from bundlebee import log
    from bundlebee.aspects.printed import replay
    from bundlebee.caller import call_once

    log.setup(verbosity=verbosity, form=log_format, path=log_file)
    module, colon, qualname = target.partition(":")
    if not colon or not module or not qualname:
        raise UsageError(
            f"{target!r} is not MODULE:FUNCTION", hint="as in bundlebee call primefac:isprime 97"
        )
    args, kwargs = parse_literals(literals)
    outcome = call_once(where, bundles, module, qualname, args, kwargs, timeout)
    replay(outcome.output)
    if outcome.error is None:
        click.echo(repr(outcome.value))
    elif isinstance(outcome.error, BundlebeeError) and outcome.refused:
        raise outcome.error
    else:
        traceback.print_exception(outcome.error)
        sys.exit(1)


def parse_literals(texts: tuple[str, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional literals and ``--name=LITERAL``.

    Raises:
        UsageError: a text is not a Python literal; it is named.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for text in texts:
        if text.startswith("--"):
            name, equals, value = text[2:].partition("=")
            name = name.replace("-", "_")
            if not equals or not name.isidentifier():
                raise UsageError(f"{text!r} is not --name=LITERAL", hint="as in --digits=2")
            if name in kwargs:
                raise UsageError(f"the argument {name} is given twice")
            kwargs[name] = literal(value)
        elif kwargs:
            raise UsageError(f"{text!r} follows a named argument", hint="positional literals come first")
        else:
            args.append(literal(text))
    return tuple(args), kwargs


def literal(text: str) -> Any:
    """The value of a Python literal.

    Raises:
        UsageError: it is none.
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        quoted = repr(text).replace("\\", "\\\\")
        raise UsageError(
            f"{text!r} is not a Python literal",
            hint=f'numbers, strings, lists, dicts, ...; a string needs quotes of its own: "{quoted}"',
        ) from None
