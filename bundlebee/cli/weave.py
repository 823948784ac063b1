"""`bundlebee weave`: what the weaver makes of a module, and of each function in it."""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from bundlebee.cli.options import json_option, option
from bundlebee.errors import BrokenBundle, UsageError, WeaveError
from bundlebee.weaving.outcomes import ScatterSite, Skipped, SkippedSite, Woven, WovenModule


@click.command(
    epilog="""\b
Examples:
  bundlebee weave mandelbrot.render
  bundlebee weave simulate.py --diff
  bundlebee weave --report networkx"""
)
@click.argument("target", metavar="MODULE|FILE")
@option(
    "--diff", variable="DIFF", is_flag=True, help="Only what differs from the original, as a unified diff."
)
@option(
    "--report",
    variable="REPORT",
    is_flag=True,
    help="Each function and loop: woven, or not and why. Packages as a whole.",
)
@option(
    "--bundles",
    variable="BUNDLES",
    type=click.Path(path_type=Path),
    help="Directory of bundles [./bundles].",
)
@json_option
def weave(target: str, diff: bool, report: bool, bundles: Path | None, as_json: bool) -> None:
    """Print a module as it is after weaving. Nothing is imported or run.

    MODULE is looked for among the bundles, in the current directory and where Python imports from.
    """
    if diff and (report or as_json):
        raise UsageError("--diff goes with neither --report nor --json")
    places = [bundles or Path("bundles"), Path.cwd(), *map(Path, sys.path)]
    sources = list(_sources(target, places))
    if report or as_json:
        outcomes = [_woven(module, file) for module, file in sources]
        if as_json:
            click.echo(json.dumps([_as_json(outcome) for outcome in outcomes], indent=2))
        else:
            _print_report([outcome for outcome in outcomes if isinstance(outcome, WovenModule)], outcomes)
        return
    module, file = sources[0]
    outcome = _woven(module, file)
    if isinstance(outcome, WeaveError):
        raise outcome
    assert outcome.text is not None
    if diff:
        before = _text(file).splitlines(keepends=True)
        after = outcome.text.splitlines(keepends=True)
        for line in difflib.unified_diff(before, after, str(file), f"{file} (woven)"):
            click.echo(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", nl=False)
    else:
        click.echo(outcome.text, nl=False)


def _sources(target: str, places: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """(module name, file) of what was named; of a package, its ``__init__`` first, then all its modules."""
    path = Path(target)
    if target.endswith(".py") or os.sep in target or path.is_dir():
        if not path.exists():
            raise UsageError(f"there is no {target}", hint="name a Python file, a directory or a module")
        yield from _modules_below(path.resolve().stem if path.is_file() else path.resolve().name, path)
        return
    found = list(places)
    for part in target.split("."):
        found = _find(part, found)
    if not found:
        raise UsageError(
            f"there is no Python source of a module {target}",
            hint="give --bundles DIR, or the path of the file instead",
        )
    for place in found:
        yield from _modules_below(target, place)


def _find(name: str, places: Sequence[Path]) -> list[Path]:
    """Where a module or package lies, in the order of Python's search, without importing what is above it."""
    portions = []
    for place in places:
        if (place / name / "__init__.py").is_file():
            return [place / name]
        if (place / f"{name}.py").is_file():
            return [place / f"{name}.py"]
        if (place / name).is_dir():
            portions.append(place / name)
    return portions


def _modules_below(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield name, path
        return
    files = sorted(path.rglob("*.py"), key=lambda file: (file != path / "__init__.py", file))
    for file in files:
        parts = file.relative_to(path).with_suffix("").parts
        yield ".".join((name, *parts)).removesuffix(".__init__"), file
    if not files:
        raise UsageError(f"there is no Python source below {path}")


def _woven(module: str, file: Path) -> WovenModule | WeaveError:
    from bundlebee.weaving.weaver import weave as weave_source

    try:
        return weave_source(file.read_bytes(), module=module, path=str(file))
    except WeaveError as error:
        return error
    except OSError as error:
        raise UsageError(f"cannot read {file}", why=error.strerror) from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{file}:{line}" if line else str(file)
        raise BrokenBundle(f"{where} is not valid Python", why=getattr(error, "msg", str(error))) from error


def _text(file: Path) -> str:
    from importlib.util import decode_source

    return decode_source(file.read_bytes())


def _print_report(modules: Sequence[WovenModule], outcomes: Sequence[WovenModule | WeaveError]) -> None:
    reasons: Counter[str] = Counter()
    for outcome in outcomes:
        if isinstance(outcome, WeaveError):
            click.echo(str(outcome))
            continue
        for point in outcome.points:
            said = "woven" if isinstance(point, Woven) else f"skipped: {point.reason}"
            click.echo(f"{outcome.path}:{point.line} {outcome.module}:{point.qualname} {said}")
            if isinstance(point, Skipped):
                reasons[point.reason] += 1
        for site in outcome.sites:
            said = "spread" if isinstance(site, ScatterSite) else f"not spread: {site.reason}"
            click.echo(f"{outcome.path}:{site.line}:{site.column + 1} {site.kind} over {site.callee} {said}")
    points = [point for module in modules for point in module.points]
    sites = [site for module in modules for site in module.sites]
    click.echo(
        f"\n{len(modules)} modules, {len(points)} functions: "
        f"{sum(isinstance(p, Woven) for p in points)} woven, "
        f"{sum(isinstance(p, Skipped) for p in points)} skipped; {len(sites)} loops: "
        f"{sum(isinstance(s, ScatterSite) for s in sites)} may spread, "
        f"{sum(isinstance(s, SkippedSite) for s in sites)} may not"
    )
    for reason, count in reasons.most_common():
        click.echo(f"  {count:5} {reason}")


def _as_json(outcome: WovenModule | WeaveError) -> dict[str, Any]:
    if isinstance(outcome, WeaveError):
        return {"error": str(outcome)}
    return {
        "module": outcome.module,
        "path": outcome.path,
        "functions": [
            {"woven": isinstance(point, Woven), **msgspec.structs.asdict(point)} for point in outcome.points
        ],
        "loops": [
            {"spread": isinstance(site, ScatterSite), **msgspec.structs.asdict(site)}
            for site in outcome.sites
        ],
    }
