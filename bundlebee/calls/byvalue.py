"""Pickling what has no name at the other end: functions of the program's script, lambdas, closures, their classes.

cloudpickle does it, but for what `functools` makes of a function (`lru_cache`, `cached_property`). Two things it cannot know:

- Under `bundlebee exec` the code of a function may be our dispatcher. What travels is what its author wrote.
- A class that went out by value comes home as itself. cloudpickle would find the caller's class, too, but then
  overwrite its methods with copies of copies; so a worker names such a class by the number it came with.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import weakref
from collections.abc import Iterable
from types import FunctionType
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as inner

from bundlebee.errors import Unshippable


class Outbound(cloudpickle.Pickler):  # type: ignore[misc]
    """At the caller: functions and arguments."""

    def reducer_override(self, value: Any) -> Any:
        weaving = sys.modules.get("bundlebee.weaving.joinpoint")
        if weaving is not None:  # only a program under `exec` has join points
            if type(value) is FunctionType:
                point = weaving.join_point_in(value.__code__)
                if point is not None and not by_name(value):
                    value = _as_written(value, point)
            elif type(value).__module__ == "bundlebee.weaving.advice":
                return type(value), (value.module, value.sites)  # without aspects: loops stay as they are
        if type(value) in _FUNCTOOLS and (reduced := _made_of(value)) is not None:
            return reduced
        return super().reducer_override(value)


class Homebound(cloudpickle.Pickler):  # type: ignore[misc]
    """In a worker: results and exceptions."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type) and value not in _made_here:
            number = inner._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(value)
            if number is not None:
                return _class_of_yours, (number, value.__qualname__)
            if not by_name(value):
                _made_here.add(value)
        if type(value) in _FUNCTOOLS and (reduced := _made_of(value)) is not None:
            return reduced
        return super().reducer_override(value)


_LruCache: Any = type(functools.lru_cache(len))
_FUNCTOOLS = frozenset({_LruCache, functools.cached_property})


def _made_of(value: Any) -> tuple[Any, ...] | None:
    """What such an object is made of, where pickle knows it only by a name that is nowhere, or not at all."""
    if type(value) is not _LruCache:
        # it has a lock until Python 3.12
        return _cached_property, (value.func, value.attrname, value.__doc__)
    attributes = dict(vars(value))
    function = attributes.pop("__wrapped__", None)
    if function is None or by_name(value):
        return None
    options = value.cache_parameters()
    return _lru_cache, (function, options["maxsize"], options["typed"]), attributes or None


def _cached_property(function: Any, name: str | None, doc: str | None) -> Any:
    made: Any = functools.cached_property(function)
    made.attrname, made.__doc__ = name, doc
    return made


def _lru_cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


class _Familiar(pickle.Unpickler):
    """Reads what was pickled in this very process."""

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        return _keep_class if found is inner._class_setstate else found


def dumps(value: Any) -> bytes:
    """Pickle a function, or what else goes to a worker."""
    stream = io.BytesIO()
    Outbound(stream, 5).dump(value)
    return stream.getvalue()


def loads_here(data: Any, *, buffers: Iterable[Any] | None = None) -> Any:
    """As `pickle.loads`, for what was pickled in this very process: classes that came by value are here, and stay as they are."""
    return _Familiar(io.BytesIO(data), buffers=buffers).load()


def _keep_class(kind: type, state: tuple[dict[str, Any], Any]) -> type:
    """Fill in a class by what it lacks: all, where the one that was pickled has gone."""
    attributes, slots = state
    lacking = {name: value for name, value in attributes.items() if name not in vars(kind)}
    if lacking.keys() - {"_abc_impl"}:
        inner._class_setstate(kind, (lacking, slots))
    return kind


_made_here: weakref.WeakSet[type] = weakref.WeakSet()


def _class_of_yours(number: str, name: str) -> type:
    found: type | None = inner._DYNAMIC_CLASS_TRACKER_BY_ID.get(number)
    if found is None:
        raise Unshippable(f"the class {name} of a result is not here any more")
    return found


def by_name(value: Any) -> bool:
    """Whether a function or class is found by its name, in a module that is not the program's script."""
    name = getattr(value, "__module__", None)
    found: Any = sys.modules.get(name) if isinstance(name, str) else None
    if found is None or name == "__main__" or inner._is_registered_pickle_by_value(found):
        return False
    for part in getattr(value, "__qualname__", "").split("."):
        found = getattr(found, part, None)
    return found is value


def _as_written(function: FunctionType, point: Any) -> FunctionType:
    plain = FunctionType(
        point.original,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    plain.__kwdefaults__ = function.__kwdefaults__
    plain.__dict__.update(function.__dict__)
    plain.__doc__, plain.__module__ = function.__doc__, function.__module__
    plain.__qualname__ = function.__qualname__
    return plain
