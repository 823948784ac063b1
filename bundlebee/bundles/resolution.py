"""Which of the bundles that are here may run: pure, and run again at every change.

Of one distribution the newest version that has what it needs; where two distributions claim one import name,
the one that was there first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.bundles.metadata import normal
from bundlebee.errors import BundleConflict, BundleError, MissingDependency

if TYPE_CHECKING:
    from bundlebee.bundles.bundle import Bundle

Environment = Callable[[str], Sequence[str]]
"""Gives the versions of a distribution that are here apart from the bundles in question."""


class Resolution(msgspec.Struct, frozen=True):
    """What `resolve` decided."""

    chosen: tuple[Bundle, ...]  #: to run, in the order in which they came
    waiting: tuple[Bundle, ...] = ()  #: for a dependency
    problems: tuple[BundleError, ...] = ()
    lacks: Mapping[str, MissingDependency] = {}  #: by digest


def resolve(bundles: Sequence[Bundle], environment: Environment | None = None) -> Resolution:
    """Choose.

    Args:
        bundles: those that came first, first.
        environment: None leaves dependencies out of account.
    """
    if environment is None:
        chosen, problems = _contest(bundles)
        return Resolution(tuple(chosen), (), tuple(problems))
    ready, lacks = _with_needs(bundles, environment)
    while True:
        chosen, problems = _contest(ready)
        # who lost the contest may have been what another one needs
        still, more = _with_needs(chosen, environment)
        if len(still) == len(chosen):
            break
        lacks |= more
        ready = [bundle for bundle in ready if bundle.ref.digest not in more]
    newest = {bundle.ref.digest for bundle in _contest(bundles)[0]}
    waiting = [bundle for bundle in bundles if bundle.ref.digest in lacks and bundle.ref.digest in newest]
    told = tuple(lacks[bundle.ref.digest] for bundle in waiting)
    return Resolution(tuple(chosen), tuple(waiting), (*problems, *told), lacks)


def lack(bundle: Bundle, others: Iterable[Bundle], environment: Environment) -> MissingDependency | None:
    """What a bundle requires and nobody has; None where all is there."""
    if not bundle.requires:
        return None
    from packaging.requirements import InvalidRequirement, Requirement

    versions: dict[str, list[str]] = {}
    for other in others:
        versions.setdefault(normal(other.ref.name), []).append(other.ref.version)
    for text in bundle.requires:
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue  # old wheels; pip cannot do anything with it either
        if not applies(need):
            continue
        here = [*versions.get(normal(need.name), ()), *environment(need.name)]
        if any(_fits(need, version) for version in here):
            continue
        have = f", and here is {' and '.join(sorted(here))}" if here else ", which is not here"
        return MissingDependency(
            f"bundle {bundle.ref.name} {bundle.ref.version} waits",
            why=f"it requires {need.name}{need.specifier}{have}",
            hint=f"drop a wheel of {need.name} in, or: pip install '{need.name}{need.specifier}'",
        )
    return None


def installed_versions(name: str) -> list[str]:
    """The environment of this interpreter, which is that of its workers too."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return [version(name)]
    except (PackageNotFoundError, ValueError):
        return []


def applies(need: Any, extra: str = "") -> bool:
    """Whether a requirement is meant for this machine. One whose condition makes no sense is not."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
    from packaging.version import InvalidVersion

    try:
        return need.marker is None or bool(need.marker.evaluate({"extra": extra}))
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
        return False


def _fits(need: Any, version: str) -> bool:
    from packaging.version import InvalidVersion

    # a package that was dropped in without metadata has no version to be wrong
    if version == "0":
        return True
    try:
        return bool(need.specifier.contains(version, prereleases=True))
    except InvalidVersion:
        return not need.specifier


def _with_needs(
    bundles: Sequence[Bundle], environment: Environment
) -> tuple[list[Bundle], dict[str, MissingDependency]]:
    """Those whose needs are met by each other and by the environment, and what the rest lacks, by digest."""
    ready, lacks = list(bundles), dict[str, MissingDependency]()
    while True:
        found = {bundle.ref.digest: lack(bundle, ready, environment) for bundle in ready}
        missing = {digest: problem for digest, problem in found.items() if problem is not None}
        if not missing:
            return ready, lacks
        lacks |= missing
        ready = [bundle for bundle in ready if bundle.ref.digest not in missing]


def _contest(bundles: Sequence[Bundle]) -> tuple[list[Bundle], list[BundleError]]:
    """The newest of each distribution; then no two with one import name."""
    versions: dict[str, list[Bundle]] = {}
    for bundle in bundles:
        versions.setdefault(normal(bundle.ref.name), []).append(bundle)
    chosen: list[Bundle] = []
    problems: list[BundleError] = []
    owners: dict[str, Bundle] = {}
    for group in versions.values():
        bundle = group[0] if len(group) == 1 else max(group, key=lambda one: version_key(one.ref.version))
        rivals = [owners[name] for name in bundle.ref.imports if name in owners]
        if any(rival.ref.digest == bundle.ref.digest for rival in rivals):
            continue  # the same code under another name
        if rivals:
            name = next(name for name in bundle.ref.imports if name in owners)
            problems.append(
                BundleConflict(
                    f"{bundle.source} is left alone",
                    why=f"the import name {name!r} belongs to {rivals[0].source}, which was there first",
                    hint="take one of the two away",
                )
            )
            continue
        chosen.append(bundle)
        owners |= dict.fromkeys(bundle.ref.imports, bundle)
        # the same distribution, version and all, but not the same code: nobody can say which is meant
        for other in group:
            if (
                other is not bundle
                and other.ref.version == bundle.ref.version
                and other.ref.digest != bundle.ref.digest
            ):
                problems.append(
                    BundleConflict(
                        f"{other.source} is left alone",
                        why=f"{bundle.source} is {bundle.ref.name} {bundle.ref.version} too, and came first",
                        hint="take one of the two away",
                    )
                )
    return chosen, problems


def version_key(text: str) -> tuple[bool, Any]:
    """Orders versions; those that follow no rule come first, as text."""
    from packaging.version import InvalidVersion, Version

    try:
        return True, Version(text)
    except InvalidVersion:
        return False, text
