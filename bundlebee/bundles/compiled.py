"""Functions that a library compiles when they are first called: what stands in for them until then says nothing of what they do.

networkx decorates nearly all of its functions with `argmap`: the decorated function first makes its own code, by ``exec``, and
from then on does what its documentation says: it passes each of the named arguments through a function, and calls the
function below with them. Whether it has been compiled yet is nothing that a program depends on. So it is taken for what it is,
here and in fingerprints.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import msgspec

from bundlebee.bundles import own

_MAKER = ("networkx.utils.decorators", "argmap")


class Mapping(msgspec.Struct, frozen=True):
    """One layer of decoration."""

    maker: Any  #: the decorator
    function: Any  #: what arguments are passed through
    arguments: tuple[Any, ...]  #: positions and names; a tuple of several goes through together
    closes: bool  #: it gives a pair: the argument, and what is called at the end


class Compiled(msgspec.Struct, frozen=True):
    """What such a function is made of."""

    layers: tuple[Mapping, ...]  #: the outer ones first
    below: Any  #: what is called at last


def compiled(function: FunctionType) -> Compiled | None:
    """What a function is made of that is compiled when it is called; None for all others."""
    if "__argmap__" not in function.__dict__:
        return None
    layers = []
    below: Any = function
    while True:
        layer: Any = below
        if not isinstance(layer, FunctionType) or "__argmap__" not in layer.__dict__:
            break
        maker, below = layer.__dict__["__argmap__"], layer.__dict__.get("__wrapped__")
        itself: Any = layer.__dict__.get("__self__")
        if not _is_maker(type(maker)) or itself is not layer or below is None:
            return None
        if layer.__globals__.get("__name__") != _MAKER[0]:
            return None
        held = own.attributes(maker) or {}
        layers.append(
            Mapping(maker, held.get("_func"), tuple(held.get("_args", ())), bool(held.get("_finally")))
        )
    return Compiled(tuple(layers), below)


def _is_maker(kind: type) -> bool:
    return (kind.__module__, kind.__qualname__) == _MAKER and own.by_name(*_MAKER) is kind


def parameters(below: Any) -> tuple[tuple[str, ...], dict[str, Any]] | None:
    """Names of the positional parameters of what is called at last, and defaults; None if they are not to be seen."""
    function = below if isinstance(below, FunctionType) else (own.attributes(below) or {}).get("__wrapped__")
    if not isinstance(function, FunctionType):
        return None
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    defaults = function.__defaults__ or ()
    return names, {
        **dict(zip(names[len(names) - len(defaults) :], defaults, strict=True)),
        **(function.__kwdefaults__ or {}),
    }
