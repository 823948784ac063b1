"""Options that several verbs share, each with its ``BUNDLEBEE_*`` variable."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bundlebee.settings import PREFIX, GridOptions, parse_peers

Command = Callable[..., Any]


def option(*names: str, variable: str, **settings: Any) -> Callable[[Command], Command]:
    """`click.option` with the variable named, and shown in the help."""
    return click.option(*names, envvar=PREFIX + variable, show_envvar=True, **settings)


def grid_options(command: Command) -> Command:
    """Add ``--interface --peer --grid --key-file --open``; the command gets them as ``where: GridOptions``."""

    @functools.wraps(command)
    def with_grid(
        *args: Any,
        interface: str | None,
        peer: tuple[str, ...],
        grid: str,
        key_file: Path | None,
        open_: bool,
        **kwargs: Any,
    ) -> Any:
        where = GridOptions(interface, parse_peers(peer), grid, key_file, open_)
        return command(*args, where=where, **kwargs)

    for decorate in (
        option(
            "--open",
            "open_",
            is_flag=True,
            variable="OPEN",
            help="A grid without a key: every machine on the LAN is a member. For trusted rooms only.",
        ),
        option(
            "--key-file",
            variable="KEY_FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            help="The grid's key. Default: GRID.key in your configuration directory.",
        ),
        option("--grid", variable="GRID", default="default", show_default=True, help="Name of the grid."),
        option(
            "--peer",
            variable="PEER",
            multiple=True,
            metavar="HOST:PORT",
            help="A node that multicast does not reach. May be given several times.",
        ),
        option(
            "--interface", variable="INTERFACE", metavar="IF|IP", help="Network interface, or its address."
        ),
    ):
        command_ = decorate(with_grid)
    return command_


def log_options(command: Command) -> Command:
    """Add ``--log-format --log-file -v -q``; the command gets ``verbosity``, ``log_format``, ``log_file``."""

    @functools.wraps(command)
    def with_log(*args: Any, verbose: int, quiet: bool, **kwargs: Any) -> Any:
        return command(*args, verbosity=-1 if quiet else verbose, **kwargs)

    for decorate in (
        option("-q", "--quiet", is_flag=True, variable="QUIET", help="Errors only."),
        option("-v", "--verbose", count=True, variable="VERBOSE", help="Say more; twice: each decision."),
        option(
            "--log-file",
            variable="LOG_FILE",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Append the log to this file instead of standard error.",
        ),
        option(
            "--log-format",
            variable="LOG_FORMAT",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="Lines for people or one JSON object a line.",
        ),
    ):
        command_ = decorate(with_log)
    return command_


def policy_option(command: Command) -> Command:
    """Add ``--policy``."""
    return option(
        "--policy",
        variable="POLICY",
        metavar="P",
        help="auto, local, remote (ship all that can be shipped) or chaos:P[:SEED]. A node's policy is the default of "
        "the programs on its machine; theirs is auto.",
    )(command)


json_option = option(
    "--json", "as_json", variable="JSON", is_flag=True, help="JSON for programs instead of a table."
)
