"""What a distribution says about itself: the few fields of its ``*.dist-info`` that a bundle needs."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

#: The files of a ``*.dist-info`` that travel with a bundle: `importlib.metadata` finds them everywhere.
INFO_FILES = ("METADATA", "entry_points.txt", "top_level.txt", "WHEEL")


class EntryPoint(NamedTuple):
    """Something that the distribution offers by name."""

    group: str
    name: str
    value: str  #: ``module:attribute``


class Metadata(msgspec.Struct, frozen=True):
    """Name, version, needs and offers of a distribution."""

    name: str
    version: str = "0"  #: ``"0"`` where nothing says
    requires: tuple[str, ...] = ()  #: requirements as in ``Requires-Dist``
    requires_python: str | None = None
    entry_points: tuple[EntryPoint, ...] = ()


def normal(name: str) -> str:
    """The form of a distribution's name in which equal names are equal."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(metadata: str, entry_points: str = "") -> Metadata:
    """Read the text of ``METADATA`` and of ``entry_points.txt``.

    Raises:
        ValueError: there is no name or no version.
    """
    from email.parser import HeaderParser  # 10 ms, and known bundles need it no more

    headers = HeaderParser().parsestr(metadata)
    name, version = headers.get("Name", "").strip(), headers.get("Version", "").strip()
    if not name or not version:
        raise ValueError("METADATA names no " + ("version" if name else "distribution"))
    return Metadata(
        name,
        version,
        tuple(text.strip() for text in headers.get_all("Requires-Dist", [])),
        headers.get("Requires-Python"),
        _entry_points(entry_points),
    )


def _entry_points(text: str) -> tuple[EntryPoint, ...]:
    found, group = [], ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and line[0] not in "#;" and "=" in line:
            name, _, value = line.partition("=")
            found.append(EntryPoint(group, name.strip(), value.strip()))
    return tuple(found)
