"""Branches, in the analysis: which values a variable may still have where a test has come out in a certain way."""

from __future__ import annotations

import builtins
import functools
from collections import Counter, OrderedDict, defaultdict, deque
from types import FunctionType, GeneratorType, ModuleType
from typing import Any

from bundlebee.bundles.abstract import (
    ATOM,
    NONE,
    NUMBER,
    Bound,
    BuiltinMethod,
    Given,
    Inner,
    Live,
    Made,
    Namespace,
    Text,
    Value,
)
from bundlebee.bundles.calling import Calls
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.heap import Values

_MUTABLE: tuple[type, ...] = (list, dict, set, deque, bytearray, defaultdict, OrderedDict, Counter)
#: what immutable data never is; a tuple it may be
_NEVER_DATA: frozenset[type] = frozenset({type, FunctionType, ModuleType, *_MUTABLE})
#: of these the analysis makes stand-ins for other objects, too
_INEXACT: tuple[type, ...] = (GeneratorType, functools.partial, BaseException)


class Narrowing(Calls):
    """Filters for values."""

    def may_be_none(self, value: Value) -> bool:
        if value is ATOM or value is NONE:
            return True
        if isinstance(value, Given):
            return value.kind is None and value.inside is None
        return isinstance(value, Made) and value.kind is None

    def may_be_one_of(self, value: Value, others: Values) -> bool:
        """Whether a value may be one of the objects that exist already. (`is_named` says yes to all of these.)"""
        if isinstance(value, Given):
            return value.kind is None
        return value in others

    def are_instances(self, values: Values, parts: list[Values]) -> dict[Value, bool | None]:
        """What ``isinstance(value, (part, …))`` gives; None where that is not sure."""
        kinds: list[tuple[type, ...]] = [()]  # the classes that come together, for each case
        for part in parts:
            cases: list[tuple[type, ...]] = []
            for value in part:
                found = self._class_info(value)
                if found is None:
                    return dict.fromkeys(values)
                cases += found
            if len(kinds) * len(cases) > 64:
                return dict.fromkeys(values)
            kinds = [(*some, *more) for some in kinds for more in cases]
        return {value: self._is_instance(value, kinds) for value in values}

    def _class_info(self, value: Value) -> list[tuple[type, ...]] | None:
        """Of the second argument of isinstance: the classes, each of which may be the only one; those that come together, together."""
        if isinstance(value, Live):
            flat = _flat(value.object)
            return None if flat is None else [flat]
        if isinstance(value, Made) and value.kind is tuple:
            found: list[tuple[type, ...]] = []
            for part in value.contents:
                inside = self._class_info(part)
                if inside is None:
                    return None
                found += inside
            return found or None
        return None

    def _is_instance(self, value: Value, kinds: list[tuple[type, ...]]) -> bool | None:
        answers = set()
        for together in kinds:
            each = {self._is_one(value, kind) for kind in together}
            answers.add(True if True in each else None if None in each else False)
        return answers.pop() if len(answers) == 1 else None

    def _is_one(self, value: Value, kind: type) -> bool | None:
        if kind is object:
            return True
        exact = self._exact_class(value)
        if exact is kind:
            return True  # then nobody's __instancecheck__ is asked
        if not _asks_nobody(type(kind)):
            return None
        if exact is not None:
            if kind in exact.__mro__:
                return True
            return None if _tells_another_class(exact) else False
        if isinstance(value, Bound | BuiltinMethod | Inner | Namespace):
            return False if kind is type else None
        if isinstance(value, Made):
            return False if kind is type or kind is ModuleType else None
        if value is NONE:
            return kind is type(None)
        if (
            value is ATOM or value is NUMBER or isinstance(value, Text)
        ):  # a pair of numbers counts as a number
            return False if kind in _NEVER_DATA or self._is_of_a_program(kind) else None
        return None

    def _is_of_a_program(self, kind: type) -> bool:
        """Whether a class statement made it, of nothing but ``object``, so that no data is an instance of it."""
        if not by_python(kind) or self.catalogue.type(kind) is not None:
            return False
        return all(base is object or by_python(base) for base in kind.__mro__)

    def _exact_class(self, value: Value) -> type | None:
        """Its class, where that is sure."""
        kind: type | None = None
        if isinstance(value, Live):
            return type(value.object)
        if isinstance(value, Given):
            kind = value.kind
            if value.inside is not None:
                (kind,) = value.classes
            return kind
        if isinstance(value, Made):
            kind = value.kind
        elif isinstance(value, Inner):
            return FunctionType
        return None if kind is None or issubclass(kind, _INEXACT) else kind

    def is_the_builtin(self, function: Values, name: str) -> bool:
        """Whether a name surely means the builtin."""
        return len(function) == 1 and all(
            isinstance(value, Live) and value.object is getattr(builtins, name) for value in function
        )


def _flat(thing: Any) -> tuple[type, ...] | None:
    if isinstance(thing, type):
        return (thing,)
    if type(thing) is not tuple:
        return None
    found: tuple[type, ...] = ()
    for part in thing:
        inside = _flat(part)
        if inside is None:
            return None
        found += inside
    return found


def _asks_nobody(meta: type) -> bool:
    """Whether isinstance with a class of that metaclass is about its bases, and nothing else."""
    return next(base for base in meta.__mro__ if "__instancecheck__" in base.__dict__) is type


def _tells_another_class(kind: type) -> bool:
    """Whether its instances may say that they are of another class."""
    return any(
        base is not object and ("__class__" in base.__dict__ or "__getattribute__" in base.__dict__)
        for base in kind.__mro__
        if by_python(base)
    )
