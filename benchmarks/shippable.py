"""How many functions of other people's packages may leave?

    python benchmarks/shippable.py [PACKAGE ...] [--json FILE] [--quick] [--timeout S] [--cache DIR]

Ten packages are fetched from PyPI, in the releases of tests/conformance/packages.toml, into an environment of the benchmark's own, and
`bundlebee check --effects` judges every woven function of theirs, and of the samples. A function leaves if it *ships*, is *guarded*,
or *depends*: with plain data (numbers, texts, and containers of them) it ships. Tests that a package has inside it are left out. For
all together: the share, and by reason why the others stay.

networkx takes most of the time, a quarter of an hour.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ground import DEFAULT, Ground
from report import ROOT, SAMPLES, Figure, Report, arguments

PACKAGES = (
    *("networkx", "toolz", "more-itertools", "sortedcontainers", "pyrsistent"),
    *("boltons", "packaging", "attrs", "python-dateutil", "jsonschema"),
)
LEAVE = ("ships", "depends", "guarded")
ENOUGH = 0.6  #: of all woven functions


def survey(ground: Ground, bundle: str, timeout: float) -> dict[str, Any]:
    """What `check --effects --json` says of one bundle."""
    command = [*ground.bundlebee, "check", "--effects", "--json", "--timeout", str(timeout), bundle]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ground.place)
    try:
        (found,) = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"check --effects {bundle} failed:\n{done.stderr}") from None
    return dict(found)


def main() -> int:
    """Run it; the exit code."""
    parser = arguments(__doc__)
    parser.add_argument("package", nargs="*", metavar="PACKAGE", help="default: all ten, and the samples")
    parser.add_argument("--timeout", type=float, default=3600.0, metavar="S", help="of each package [3600]")
    parser.add_argument("--cache", type=Path, default=DEFAULT, metavar="DIR", help=f"[{DEFAULT}]")
    options = parser.parse_args()
    with (ROOT / "tests" / "conformance" / "packages.toml").open("rb") as file:
        known = tomllib.load(file)
    names = options.package or (["toolz"] if options.quick else PACKAGES)
    for name in names:
        if name not in known:
            raise SystemExit(f"{name} is none of {', '.join(PACKAGES)}")
    ground = Ground(options.cache / "shippable", [f"{name}=={known[name]['version']}" for name in PACKAGES])
    bundles = [*names, *([] if options.package else _samples())]
    report = Report("functions that may leave", bounds=not (options.quick or options.package))
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for bundle in bundles:
        found = survey(ground, bundle, options.timeout)
        if found["unseen"]:
            report.say(f"{bundle}: no time for {found['unseen']} functions; give it a longer --timeout")
        functions = [one for one in found["functions"] if "tests" not in Path(one["file"]).parts]
        own = Counter(one["outlook"] for one in functions)
        counts.update(own)
        reasons.update(one["kind"] for one in functions if one["outlook"] == "stays")
        report.add(_share(Path(bundle).stem, own))
    report.add(replace(_share("all together", counts), at_least=ENOUGH if report.bounds else None))
    report.say("why the others stay:")
    for reason, count in reasons.most_common():
        report.say(f"{count:6}  {reason}")
    return report.finish(options.json)


def _samples() -> list[str]:
    modules = [path for path in SAMPLES.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(map(str, modules))


def _share(name: str, counts: Mapping[str, int]) -> Figure:
    """The part of the woven functions that leave, and how many do so how."""
    woven = sum(count for outlook, count in counts.items() if outlook != "not woven")
    each = ", ".join(f"{counts.get(outlook, 0)} {outlook}" for outlook in (*LEAVE, "stays"))
    leave = sum(counts.get(outlook, 0) for outlook in LEAVE)
    return Figure(name, leave / woven if woven else 0.0, "", note=f"of {woven}: {each}")


if __name__ == "__main__":
    sys.exit(main())
