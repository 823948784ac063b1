"""What is installed here, and how that differs from another machine, as far as a bundle needs it.

A call gives the same result elsewhere only if the code below it is the same: a bundle that requires a distribution needs
the same version of it there, and of all that this one requires in turn. Versions are compared exactly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from bundlebee.bundles.metadata import normal, parse
from bundlebee.bundles.resolution import applies
from bundlebee.hashing import blake2b

_ENDINGS = (".dist-info", ".egg-info")


class Difference(msgspec.Struct, frozen=True):
    """A distribution that is not the same on two machines."""

    name: str
    here: str | None  #: version; None: not installed
    there: str | None


def installed(path: Iterable[str] | None = None) -> dict[str, Path]:
    """Where the metadata of each installed distribution lie, by normal name. The first on ``sys.path`` counts.

    Takes a millisecond: only directories are listed.
    """
    found: dict[str, Path] = {}
    for entry in sys.path if path is None else path:
        try:
            listing = os.listdir(entry or ".")
        except OSError:
            continue
        for one in sorted(listing):
            if one.endswith(_ENDINGS):
                name = normal(one.rpartition(".")[0].partition("-")[0])
                found.setdefault(name, Path(entry or ".", one))
    return found


def versions(names: Iterable[str] | None = None, path: Iterable[str] | None = None) -> dict[str, str]:
    """Versions of what is installed, by normal name.

    Args:
        names: only of these.
    """
    wanted = None if names is None else {normal(name) for name in names}
    return {
        name: place.name.rpartition(".")[0].partition("-")[2].partition("-")[0]
        for name, place in installed(path).items()
        if wanted is None or name in wanted
    }


def digest(found: Mapping[str, str]) -> str:
    """Equal for machines on which the same versions of the same distributions are installed."""
    text = "\n".join(f"{name} {version}" for name, version in sorted(found.items()))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def needed(requires: Iterable[str], own: Iterable[str] = (), path: Iterable[str] | None = None) -> set[str]:
    """The distributions that requirements need on this machine, directly or not, by normal name.

    Args:
        requires: as in ``Requires-Dist``.
        own: distributions that are bundles, and travel.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    here, travels = installed(path), {normal(name) for name in own}
    found: set[str] = set()
    todo = [(text, "") for text in requires]
    done = set(todo)
    while todo:
        text, extra = todo.pop()
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue
        name = normal(need.name)
        if name in travels or not applies(need, extra):
            continue
        found.add(name)
        for more in _requires(here.get(name)):
            for wanted in ("", *need.extras):
                if (more, wanted) not in done:
                    done.add((more, wanted))
                    todo.append((more, wanted))
    return found


def _requires(place: Path | None) -> tuple[str, ...]:
    try:
        return () if place is None else parse((place / "METADATA").read_text("utf-8")).requires
    except (OSError, ValueError):
        return ()


def differences(names: Iterable[str], here: Mapping[str, str], there: Mapping[str, str]) -> list[Difference]:
    """What of these is not the same, in order of names."""
    return [
        Difference(name, here.get(name), there.get(name))
        for name in sorted(names)
        if here.get(name) != there.get(name)
    ]


def table(found: Iterable[Difference]) -> str:
    """Differences as lines for people."""
    rows = [("distribution", "here", "there")]
    rows += [(one.name, one.here or "-", one.there or "-") for one in found]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"  {name:<{first}}  {here:<{second}}  {there}" for name, here, there in rows)
