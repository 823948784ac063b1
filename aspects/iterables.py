"""From which iterables a loop's items may be pulled ahead: nothing that the program could find used up."""

from __future__ import annotations

import sys
from typing import Any

_CONTAINERS: frozenset[type] = frozenset(
    {list, tuple, range, str, bytes, bytearray, dict, set, frozenset}
    | {type({}.keys()), type({}.values()), type({}.items())}
)
_SAMPLES: tuple[Any, ...] = (
    *([], (), range(0), range(1 << 70, 1 << 71), "", "é", b"", bytearray(), {}, set()),
    *({}.values(), {}.items()),
)
_ITERATORS: frozenset[type] = frozenset(
    {type(iter(one)) for one in _SAMPLES} | {type(reversed([])), type(reversed({}))}
)
_WRAPPERS = (enumerate, zip)


def pulls_unseen(iterable: object, fresh: bool) -> bool:
    """Whether pulling items ahead of their turn cannot be noticed: builtin containers, and builtin views of them.

    An iterator is used up by that, which shows when the loop ends early (``any``, an exception) and the program
    still holds it.

    Args:
        fresh: the iterable was made on the spot, and is not held by the program.
    """
    kind = type(iterable)
    if kind in _CONTAINERS:
        return True
    if not fresh:
        return False
    if kind in _WRAPPERS:
        alone = _ALONE[kind]
        return all(pulls_unseen(one, held <= alone) for one, held in _wrapped(iterable))
    return kind in _ITERATORS


def _wrapped(wrapper: Any) -> list[tuple[Any, int]]:
    """What an ``enumerate`` or ``zip`` runs over, each with the number of references to it."""
    inner = wrapper.__reduce__()[1]
    if type(wrapper) is enumerate:
        inner = inner[:1]
    return [(one, sys.getrefcount(one)) for one in inner]


# the references to an iterator that nobody but its wrapper holds, in this version of Python
_ALONE = {enumerate: _wrapped(enumerate([]))[0][1], zip: _wrapped(zip([]))[0][1]}
