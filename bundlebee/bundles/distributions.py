"""Installed distributions as bundles, where they lie: what ``--weave NAME`` asks for."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bundlebee.bundles.bundle import Bundle
from bundlebee.bundles.install import Installer
from bundlebee.bundles.metadata import normal
from bundlebee.bundles.sources import Source, recorded_names
from bundlebee.bundles.standard import PREFIX, from_standard_library
from bundlebee.bundles.store import Store
from bundlebee.errors import BrokenBundle, BundleNotFound


def from_distribution(name: str, store: Store | None = None) -> Bundle:
    """The installed distribution of that name as a bundle; for ``stdlib:NAME``, that module of the standard library.

    Raises:
        BundleNotFound: it is not installed.
        BundleError: it cannot be a bundle, for example because it holds compiled code.
    """
    if name.startswith(PREFIX):
        return from_standard_library(name.removeprefix(PREFIX))
    info = _find(name)
    if info is None:
        raise BundleNotFound(
            f"no distribution {name!r} is installed for this Python",
            hint=f"pip install {name}, or leave --weave out",
        )
    names = recorded_names(info)
    site = info.parent
    present: list[str] = []
    for one in names:
        place = _place(info.parent, one)
        if place is not None and (not present or place == site):
            site = place
            present.append(one)
    if not present:
        raise BrokenBundle(
            f"the distribution {name!r} cannot be a bundle", why="it holds no Python package or module"
        )
    source = Source(site / present[0], tuple(present), info.name if site == info.parent else None)
    installer = Installer(store or Store(), info, copy=False)
    try:
        bundle = installer.install(source, *source.signature())
    except OSError as error:
        raise BrokenBundle(f"the distribution {name!r} cannot be read", why=str(error)) from error
    installer.remember({source.path.name})
    return bundle


def _find(name: str) -> Path | None:
    """The ``*.dist-info`` of a distribution. `importlib.metadata` would do, and takes 30 ms to import."""
    wanted = normal(name)
    for entry in sys.path:
        try:
            listing = os.listdir(entry or ".")
        except OSError:
            continue
        for one in sorted(listing):
            if (
                one.endswith(".dist-info")
                and normal(one.removesuffix(".dist-info").rpartition("-")[0]) == wanted
            ):
                return Path(os.path.abspath(entry or ".")) / one
    return None


def _place(site: Path, name: str) -> Path | None:
    """The directory that a top-level name is imported from; not ``site`` for an editable install."""
    if (site / name).is_dir() or (site / f"{name}.py").is_file():
        return site
    from importlib.util import find_spec

    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    origin = Path(spec.origin)
    place = origin.parent.parent if spec.submodule_search_locations is not None else origin.parent
    return place if (place / name).is_dir() or (place / f"{name}.py").is_file() else None
