"""What an object holds, and what a name stands for, without running any code of the program.

``getattr``, ``hasattr`` and ``vars`` ask the object: its class may have a ``__getattr__``, a module a ``__getattr__`` that
imports, a metaclass anything. Looking at a program must not start that.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

MISSING: Final = object()


def attributes(value: Any) -> dict[str, Any] | None:
    """The dictionary of its attributes, itself; None if it has none."""
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found


def slot(value: Any, name: str) -> Any:
    """What lies in a slot; `MISSING` if it is empty."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return MISSING


def slot_names(kind: type) -> Sequence[str]:
    """The slots of a class and of those above it."""
    names: Sequence[str] = copyreg._slotnames(kind)  # type: ignore[attr-defined]
    return names


def slots(value: Any) -> Iterator[tuple[str, Any]]:
    """Its slots that hold something, by name."""
    for name in slot_names(type(value)):
        held = slot(value, name)
        if held is not MISSING:
            yield name, held


def mangled(name: str, owner: str | None) -> str:
    """The attribute that a name is in the body of a class: ``__x`` in ``C`` is ``_C__x``."""
    if owner is None or not name.startswith("__") or name.endswith("__") or "." in name:
        return name
    owner = owner.lstrip("_")
    return f"_{owner}{name}" if owner else name


def by_name(module: str, qualname: str) -> Any:
    """What a module has under a dotted name, through classes; None if there is no such thing."""
    found: Any = sys.modules.get(module)
    around: str | None = None
    for written in qualname.split("."):
        part = written
        if isinstance(found, type):
            part = mangled(written, around)
            found = next((base.__dict__[part] for base in found.__mro__ if part in base.__dict__), None)
            if isinstance(found, staticmethod):
                found = found.__func__
        else:
            found = (attributes(found) or {}).get(part)
        around = written
    return found
