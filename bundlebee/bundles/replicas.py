"""Copies of instances as they are: attribute by attribute, whatever their classes say about pickling.

Many classes pickle in a way of their own: ``__reduce__``, ``__getstate__``, ``__new__`` with arguments, slots behind a
``__setattr__``. What comes out may lack attributes (a cache that was left out), and code of the program would run where
a plain call runs none.
For a shipped call the copy must be as good as the original, so such instances are taken apart and put together by the
methods of their builtin base: ``object.__new__``, the content of a list or dict, the value of a number or text, the
attributes in the dictionary and in slots. Nothing of the class runs.

Members of enumerations are what they are on the other side: they travel by name where their values would not find them.

`TABLE` is for `pickle.Pickler.dispatch_table`. `bundlebee.bundles.contents` registers classes there when it first meets them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from bundlebee.bundles import own

TABLE: dict[type, Callable[[Any], Any]] = {}
"""Classes whose instances are copied in this way."""

_VALUE: dict[type, Callable[[Any], Any]] = {
    # methods that give an exact object of the base, for instances of subclasses, too
    int: int.__pos__,
    float: float.__pos__,
    complex: complex.__pos__,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
}
"""How the value of an immutable base is read."""


def register(kind: type, base: type) -> None:
    """From now on instances of that class are copied in this way; ``base`` is the builtin class that it is built on."""
    read = _VALUE.get(base)

    def reduce(value: Any) -> tuple[Any, ...]:
        made = (kind, base) if read is None else (kind, base, read(value))
        content: Any = None
        if base is list:
            content = list(list.__iter__(value))
        elif base is dict:
            content = dict(zip(dict.keys(value), dict.values(value), strict=True))
        return make, made, (content, own.attributes(value), dict(own.slots(value))), None, None, fill

    TABLE[kind] = reduce


def register_members(kind: type) -> None:
    """From now on members of that enumeration travel by their names."""
    TABLE[kind] = _by_name


def _by_name(value: Any) -> Any:
    kind = type(value)
    name = object.__getattribute__(value, "_name_")
    if kind.__dict__["_member_map_"].get(name) is value:
        return member, (kind, name)
    return value.__reduce_ex__(5)  # several flags together: these are no member


def member(kind: type, name: str) -> Any:
    """The member of an enumeration."""
    return kind.__dict__["_member_map_"][name]


def make(kind: type, base: type, *value: Any) -> Any:
    """An instance without content and attributes."""
    return base.__new__(kind, *value)


def fill(made: Any, state: tuple[Any, dict[str, Any] | None, dict[str, Any]]) -> None:
    """Give it what it held."""
    content, attributes, slots = state
    if isinstance(made, list):
        list.extend(made, content)
    elif isinstance(made, dict):
        dict.update(made, content)
    if attributes:
        into = object.__getattribute__(made, "__dict__")
        for name, held in attributes.items():
            into[sys.intern(name) if type(name) is str else name] = held
    for name, held in slots.items():
        object.__setattr__(made, name, held)
