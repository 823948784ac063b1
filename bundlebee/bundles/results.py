"""Results, in the analysis: what may come back from a call as a copy, and what may not."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from enum import Enum
from types import CoroutineType, FunctionType, GeneratorType
from typing import Any

from bundlebee.bundles.abstract import Given, Inner, Live, Made, Namespace
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.facts import ModuleFacts
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.operations import Operations


class Results(Operations):
    """Objects that leave the call."""

    def __init__(self, given: Given, facts_of: Callable[[str], ModuleFacts | None]) -> None:
        super().__init__(given, facts_of)
        #: objects of the module state that it may return or leave in an argument, and how that reads; by identity
        self.shown: dict[int, tuple[Any, str]] = {}

    def check_result(self, values: Values, how: str) -> None:
        """Objects that exist here already must not come back as copies; and some do not travel."""
        found = set(values)
        stack = list(found)
        while stack:
            value = stack.pop()
            parts: Values = set()
            if isinstance(value, Given) and value.cached:
                raise Harm(f"{how} {value.name}")
            if isinstance(value, Inner):
                raise Harm(f"{how} a function that it makes")
            if isinstance(value, Namespace):
                raise Harm(f"{how} the __dict__ of an object itself")
            if isinstance(value, Live):
                if not self.travels_by_name(value.object):
                    if how == "raises" or not _is_noticed(value.object):
                        raise Harm(f"{how} {value.name} itself")
                    self.shown[id(value.object)] = value.object, f"{how} {value.name} itself"
                    continue
                if type(value.object) in (tuple, frozenset):
                    parts = self.elements(value)
            elif isinstance(value, Made):
                if value.kind is GeneratorType and how != "raises":
                    raise Harm(f"{how} a generator")
                if value.kind is CoroutineType and how != "raises":
                    raise Harm(f"{how} a coroutine")
                parts = self.elements(value).union(*value.attributes.values())
            for part in parts - found:
                found.add(part)
                stack.append(part)

    def travels_by_name(self, thing: Any) -> bool:
        """Whether a copy of it is it: by name, or because it cannot be written."""
        if isinstance(thing, type | FunctionType | Enum) or type(thing) in (tuple, frozenset, type(len)):
            return True
        entry = self.catalogue.type(type(thing))
        return entry is not None and entry.immutable and type(thing) is not object


def _is_noticed(thing: Any) -> bool:
    """Whether the worker knows such an object of the state when it meets it in a result (`pickling.refers`)."""
    kind = type(thing)
    return kind in (list, dict, set, deque, defaultdict, OrderedDict, Counter) or by_python(kind)
