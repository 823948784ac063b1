"""A module of the standard library as a bundle, where it lies: what ``--weave stdlib:NAME`` asks for.

Such a bundle never travels: no node takes a bundle with a name of the standard library. Its calls go to this
machine's own cores, whose workers load the same file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bundlebee.bundles.bundle import Bundle
from bundlebee.bundles.digest import content, digest
from bundlebee.bundles.sources import Source
from bundlebee.errors import BrokenBundle, BundleNotFound
from bundlebee.words import BundleRef

PREFIX = "stdlib:"


def from_standard_library(name: str) -> Bundle:
    """The module or package of that top-level name as a bundle.

    Raises:
        BundleNotFound: the standard library has no module of that name that is written in Python.
        BrokenBundle: its files cannot be read.
    """
    # `os` is loaded from there; `sysconfig` would say it, and takes long to import
    site = Path(os.path.abspath(os.__file__)).parent
    module = site / f"{name}.py"
    place = module if module.is_file() else site / name
    if name not in sys.stdlib_module_names or not (module.is_file() or (place / "__init__.py").is_file()):
        raise BundleNotFound(f"the standard library has no module {name!r} that is written in Python")
    source = Source(place, (name,))
    try:
        names, code = content(source.tree().read(str(place)))
    except OSError as error:
        raise BrokenBundle(f"{place} cannot be read", why=str(error)) from error
    version = ".".join(map(str, sys.version_info[:3]))
    return Bundle(BundleRef(PREFIX + name, version, digest(code), names), site, place)
