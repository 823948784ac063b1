"""Identities, in the analysis: for which values ``is`` gives the same elsewhere, where copies stand for arguments."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from enum import Enum
from types import FunctionType, ModuleType

from bundlebee.bundles.abstract import NONE, Given, Inner, Live, Made, Value
from bundlebee.bundles.catalogue import catalogue

_MUTABLE = (list, dict, set, deque, defaultdict, Counter, OrderedDict, bytearray)


def is_named(value: Value) -> bool:
    """Whether it is the same object wherever its name is looked up."""
    if isinstance(value, Inner) or value is NONE:
        return True
    if not isinstance(value, Live):
        return False
    # Objects that exist already are no arguments: `fingerprint.State.objects` says so at the call.
    thing = value.object
    if isinstance(thing, type | FunctionType | Enum | ModuleType) or type(thing) is object:
        return True
    entry = catalogue().type(type(thing))
    return type(thing) not in (tuple, frozenset) and not (entry is not None and entry.immutable)


def is_fresh(value: Value) -> bool:
    """Whether it is an object with an identity of its own that the call made."""
    return isinstance(value, Made) and value.kind is not None and value.kind not in (tuple, frozenset)


def keeps_identity(value: Value) -> bool:
    """Whether it is surely an argument, or inside one, and an object of its own: copies of all arguments are made in one go, so
    what was one object is one object again, and what was two is two."""
    if not isinstance(value, Given) or value.cached:
        return False
    if value.inside is None:
        return value.kind in _MUTABLE
    return all(
        issubclass(kind, Enum) or not issubclass(kind, (int, float, complex, str, bytes, tuple))
        for kind in value.classes
    )
