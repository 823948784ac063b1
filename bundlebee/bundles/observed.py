"""What an analysis found where it looked, and whether it is still so: asked before every call.

An observation is a kind, a holder, a key, and what was there: ``("key", module.__dict__, "name", value)``. Objects are compared by
identity, and of containers the elements, as far as the analysis told them apart.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable
from typing import Any

from bundlebee.bundles.absent import absent
from bundlebee.bundles.contents import ATOMS

MISSING = object()
"""Found where there was nothing."""

SEQUENCES: tuple[type, ...] = (list, tuple, set, frozenset, deque)


def unchanged(observed: Iterable[tuple[str, Any, Any, Any]]) -> bool:
    """Whether all that an analysis looked at is still so."""
    for kind, holder, key, found in observed:  # asked before every call, and mostly of globals
        if kind == "key":
            if holder.get(key, MISSING) is not found:
                return False
        elif not _is_still(kind, holder, key, found):
            return False
    return True


def _is_still(kind: str, holder: Any, key: Any, found: Any) -> bool:
    if kind in ("class", "attribute"):
        return holder.__dict__.get(key, MISSING) is found
    if kind == "absent":
        return absent(key) is found
    if kind == "size":
        return len(holder) == found  # type: ignore[no-any-return]
    if kind == "own":
        return own_attribute(holder, key) is found
    if kind == "cell":
        try:
            return holder.cell_contents is found
        except ValueError:
            return found is MISSING
    if kind == "texts":
        return bool({item for item in _items(holder, key) if type(item) is str} == found)
    if kind == "members":
        items = _items(holder, key)
        kinds = set(map(type, items))
        atoms, others = found
        if kinds & ATOMS != atoms:
            return False
        rest = [] if kinds <= ATOMS else [item for item in items if type(item) not in ATOMS]
        return all(id(item) in others for item in rest) and len({id(item) for item in rest}) == len(others)
    return True


def own_attribute(thing: Any, name: str) -> Any:
    """The attribute of the instance itself, from its dictionary or slots; MISSING if it has none."""
    try:
        attributes = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        attributes = {}
    if name in attributes:
        return attributes[name]
    for owner in type(thing).__mro__:
        raw = owner.__dict__.get(name)
        if isinstance(raw, types.MemberDescriptorType):
            try:
                return raw.__get__(thing)
            except AttributeError:
                return MISSING
    return MISSING


def _items(holder: Any, part: str) -> list[Any]:
    if hasattr(holder, "keys"):
        return list(holder.keys()) if part == "keys" else list(holder.values())
    return list(base_iter(holder))


def base_iter(thing: Any) -> Iterable[Any]:
    """Iterate over a builtin container, or a subclass, by the builtin's own method."""
    for base in SEQUENCES:
        if isinstance(thing, base):
            return base.__iter__(thing)  # type: ignore[attr-defined,no-any-return]
    return ()
