"""Where in the arguments of a call a value is: ``args[0].table['k']``. Slow; for messages."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import Any

from bundlebee.bundles import own
from bundlebee.bundles.contents import ATOMS, by_python


def path_of(args: tuple[Any, ...], kwargs: dict[str, Any], target: Any) -> str:
    """Where in the arguments a value is. Slow; for messages."""
    queue: list[tuple[str, Any]] = [(f"args[{number}]", value) for number, value in enumerate(args)]
    queue += list(kwargs.items())
    seen: set[int] = set()
    for path, value in queue:
        if value is target:
            return path
        if id(value) in seen or type(value) in ATOMS or len(queue) > 1_000_000:
            continue
        seen.add(id(value))
        queue.extend(_labelled(path, value))
    return "args"


def _labelled(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in dict.keys(value):
            yield f"a key of {path}", key
        for key, item in dict.items(value):
            shown = repr(key) if type(key) in ATOMS else "…"
            yield f"{path}[{shown[:40]}]", item
    elif isinstance(value, list | tuple | deque):
        names = getattr(value, "_fields", None) if isinstance(value, tuple) else None
        for number, item in enumerate(value):
            yield f"{path}.{names[number]}" if names else f"{path}[{number}]", item
    elif isinstance(value, set | frozenset):
        for item in value:
            yield f"an element of {path}", item
    if by_python(type(value)) and not isinstance(value, type | Enum):
        for name, item in (own.attributes(value) or {}).items():
            yield f"{path}.{name}", item
        for slot, item in own.slots(value):
            yield f"{path}.{slot}", item
