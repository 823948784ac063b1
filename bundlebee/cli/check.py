"""`bundlebee check`: where a bundle leaves the programming model; and which of its functions ship."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundlebee.cli.options import json_option, option
from bundlebee.errors import UsageError

if TYPE_CHECKING:
    from bundlebee.survey import Survey

TIMEOUT = 300.0
"""Seconds for one bundle, if nobody says otherwise; networkx with all its tests takes some 60."""

WIDEST = 60
"""Characters of a function's name; longer ones push their line to the right instead of all the others."""


@click.command(
    epilog="""\b
Examples:
  bundlebee check bundles/diary  prints
    bundles/diary/book.py:12:9 BEE101 opens a local file (open)
  bundlebee check --effects textkit  prints, among others
    textkit.count     ships
    textkit.log_line  stays    textkit.log_line → emit: opens a local file (io.open) (textkit/io.py:12)"""
)
@click.argument("bundle", nargs=-1, required=True)
@option(
    "--effects",
    variable="EFFECTS",
    is_flag=True,
    help="Which functions ship, and what keeps the others here, instead. Imports BUNDLE, in a process of its own.",
)
@option(
    "--timeout",
    variable="TIMEOUT",
    type=click.FloatRange(0.001),
    help=f"Seconds that --effects may take for one bundle [{TIMEOUT:g}].",
)
@json_option
def check(bundle: tuple[str, ...], effects: bool, timeout: float | None, as_json: bool) -> None:
    """Say where bundles leave the programming model, as linters do.

    BUNDLE is a package directory, a module, a wheel or a zip. A compliant bundle opens no files and sockets, starts no
    threads and processes, loads no classes on its own, and uses no state of the machine that it happens to run on. A
    line that ends in "# noqa: BEE101" is left out.

    With --effects: what the analysis of effects says of each function, before there is a call. It "ships" (calls may run on
    any machine), it "stays" (they never leave), or it "depends": with plain data (numbers, texts, and containers of them)
    it ships, with some other arguments it does not. A function that is "guarded" makes calls of which nothing is known ahead:
    it ships with plain data, and the guard looks at each of them before it happens; the first one that is not harmless
    is stopped, and the function stays from then on. What is "not woven" (generators, and what Python itself calls) is counted
    apart: shares are of the woven functions. BUNDLE may also be the name of an installed distribution.

    Exits with 0 if nothing was found, 1 if something was, 2 if a BUNDLE cannot be read. Effects are no violations.
    """
    if effects:
        from bundlebee.survey import survey

        surveys = [survey(name, TIMEOUT if timeout is None else timeout) for name in bundle]
        if as_json:
            click.echo(json.dumps([_as_json(found) for found in surveys], indent=2))
        else:
            for found in surveys:
                _print(found)
        return
    if timeout is not None and click.get_current_context().get_parameter_source("timeout") is _TYPED:
        raise UsageError("--timeout goes with --effects only")
    from bundlebee.bundles.compliance import check as find

    violations = find(map(Path, bundle))
    if as_json:
        click.echo(json.dumps([asdict(violation) for violation in violations]))
    else:
        for violation in violations:
            click.echo(str(violation))
    sys.exit(1 if violations else 0)


_TYPED = click.core.ParameterSource.COMMANDLINE


def _print(found: Survey) -> None:
    from bundlebee.bundles.outlook import Outlook

    because = (
        (Outlook.STAYS, "stay"),
        (Outlook.GUARDED, "guarded"),
        (Outlook.DEPENDS, "depend"),
        (Outlook.UNWOVEN, "not woven"),
    )
    width = min(max((len(one.function) for one in found.functions), default=0), WIDEST)
    for one in found.functions:
        told = [one.writes, "prints" if one.prints else ""]
        why = one.why or ", ".join(text for text in told if text)
        click.echo(f"{one.function:<{width}}  {one.outlook.value:<9}  {why}".rstrip())
    for module in found.left_out:
        click.echo(f"{module.module} is left out: {module.why}")
    total = found.woven
    guarded = more = ""
    if found.count(Outlook.GUARDED):
        guarded = f"{_part(found, Outlook.GUARDED)} guarded, "
        more = f", {100 * found.guarded:.0f} % more under the guard"
    click.echo(
        f"\n{found.bundle} {found.version}, {total} woven function{'s' * (total != 1)}: "
        f"{_part(found, Outlook.SHIPS)} ship, {_part(found, Outlook.DEPENDS)} depend on their arguments, {guarded}"
        f"{_part(found, Outlook.STAYS)} stay; {100 * found.leaving:.0f} % may leave{more}"
    )
    for outlook, title in because:
        kinds = found.kinds(outlook)
        if kinds:
            count = found.count(outlook)
            number = f"{count} more {'is' if count == 1 else 'are'} " if outlook is Outlook.UNWOVEN else ""
            click.echo(f"  {number}{title}, because of")
        for kind, count in kinds:
            click.echo(f"    {count:5} {kind}")
    if found.unseen:
        click.echo(f"  and {found.unseen} more that there was no time for; see --timeout")


def _part(found: Survey, outlook: Any) -> str:
    count = found.count(outlook)
    return f"{count} ({100 * count / found.woven:.0f} %)" if count else "0"


def _as_json(found: Survey) -> dict[str, Any]:
    import msgspec

    from bundlebee.bundles.outlook import Outlook

    functions = [msgspec.to_builtins(one) for one in found.functions]
    left_out = [msgspec.to_builtins(one) for one in found.left_out]
    for each in (*functions, *left_out):
        del each["type"]
    return {
        "bundle": found.bundle,
        "version": found.version,
        "functions": functions,
        "left_out": left_out,
        "unseen": found.unseen,
        "counts": {outlook.value: found.count(outlook) for outlook in Outlook},
        "kinds": {
            outlook.value: dict(found.kinds(outlook)) for outlook in Outlook if outlook.value != "ships"
        },
        "leaving": round(found.leaving, 4),
        "guarded": round(found.guarded, 4),
    }
