"""`bundlebee exec`: run a program as python would, with its heavy calls spread over the grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from bundlebee.calls import transports
from bundlebee.cli.begin import begin
from bundlebee.cli.options import grid_options, log_options, option, policy_option
from bundlebee.errors import UsageError
from bundlebee.settings import GridOptions


class LikePython(click.Command):
    """Options end where python's would: at ``-m MODULE``, ``-c CODE`` or the script. The rest is the program's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, kind, program, rest = self._split(args)
        ctx.obj = (kind, program, rest)
        return super().parse_args(ctx, ours)

    def _split(self, args: list[str]) -> tuple[list[str], str | None, str | None, list[str]]:
        takes_value = {
            name
            for parameter in self.params
            if isinstance(parameter, click.Option) and not parameter.is_flag and not parameter.count
            for name in parameter.opts
        }
        index = 0
        while index < len(args):
            token = args[index]
            if token[:2] in ("-m", "-c") and not token.startswith("--"):
                value = token[2:]
                if value:
                    return args[:index], token[1], value, args[index + 1 :]
                if index + 1 == len(args):
                    raise UsageError(f"{token} needs a value", hint="see bundlebee exec --help")
                return args[:index], token[1], args[index + 1], args[index + 2 :]
            if token == "--":
                rest = args[index + 1 :]
                return args[:index], "script" if rest else None, rest[0] if rest else None, rest[1:]
            if token == "-" or not token.startswith("-"):
                return args[:index], "script", token, args[index + 1 :]
            index += 2 if token in takes_value else 1
        return args, None, None, []


@click.command(
    "exec",
    cls=LikePython,
    options_metavar="[OPTIONS]",
    epilog="""\b
Examples:
  bundlebee exec -m mandelbrot --width 1280 --out m.png
  bundlebee exec --policy local simulate.py 100
  bundlebee exec --weave networkx --decisions d.jsonl analyse.py""",
)
@option(
    "--bundles", variable="BUNDLES", type=click.Path(path_type=Path), help="Directory of bundles [./bundles]."
)
@option(
    "--weave",
    variable="WEAVE",
    multiple=True,
    metavar="DISTRIBUTION",
    help="Treat an installed distribution as a bundle, or stdlib:MODULE. May be given several times.",
)
@policy_option
@option(
    "--decisions",
    variable="DECISIONS",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a record of each decision to this file, one JSON object a line.",
)
@option(
    "--deadline",
    variable="DEADLINE",
    type=click.FloatRange(0.0, 1e300, min_open=True),
    metavar="SECONDS",
    help="A shipped call that takes longer counts as lost, and runs here. Without it, one whose peer is alive is waited for.",
)
@option(
    "--transport",
    variable="TRANSPORT",
    type=click.Choice(transports.KINDS),
    default=transports.NETWORK,
    show_default=True,
    help="in-process: what is shipped runs in threads of the program itself, without a grid. For tests and debugging.",
)
@grid_options
@log_options
@click.pass_context
def exec_(
    ctx: click.Context,
    bundles: Path | None,
    weave: tuple[str, ...],
    policy: str | None,
    decisions: Path | None,
    deadline: float | None,
    transport: str,
    where: GridOptions,
    verbosity: int,
    log_format: str,
    log_file: Path | None,
) -> Any:
    """Run a program: (-m MODULE | SCRIPT | -c CODE) [ARGS]..., as python does with the same arguments.

    Same output, exit code, sys.argv, stdin and signals. Uses the grid if there is one; with no node anywhere, this
    machine's cores.
    """
    kind, program, arguments = ctx.obj
    if kind is None:
        raise UsageError("no program given", hint="bundlebee exec (-m MODULE | SCRIPT | -c CODE) [ARGS]...")
    # run by `main`, where nothing catches the program's own exceptions
    return begin(
        kind,
        program,
        arguments,
        bundles=bundles,
        weave=weave,
        policy=policy,
        decisions=decisions,
        deadline=deadline,
        where=msgspec.structs.replace(where, transport=transport),
        verbosity=verbosity,
        log_format=log_format,
        log_file=log_file,
    )
