"""The objects of one analysis: made once each, with what they hold, and a record of all that was looked at.

`Heap.reads` names the state that the call depends on; `Heap.observed` is what the analysis found there, so that a
later change is noticed (`bundlebee.bundles.observed`).
"""

from __future__ import annotations

import functools
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable
from types import GenericAlias
from typing import Any

from bundlebee.bundles.abstract import (
    ATOM,
    NONE,
    NUMBER,
    Bound,
    BuiltinMethod,
    Given,
    Live,
    Made,
    Text,
    Value,
)
from bundlebee.bundles.catalogue import catalogue
from bundlebee.bundles.contents import ATOMS, NUMBERS, by_python
from bundlebee.bundles.observed import MISSING
from bundlebee.bundles.stdlib import replaced

Values = set[Value]

ANY_NAME = "*"
"""The attribute that stands for all of them, where a name is computed."""

MAPPINGS: tuple[type, ...] = (dict, defaultdict, OrderedDict, Counter)


class Harm(Exception):
    """The call may do, or depend on, something that only means the same here."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Heap:
    """All values of one analysis.

    Args:
        given: an argument of which nothing is known; also what an exception of the interpreter may hold.
    """

    def __init__(self, given: Given) -> None:
        self.catalogue = catalogue()
        self.reads: set[tuple[str, str]] = set()
        self.observed: list[tuple[str, Any, Any, Any]] = []  #: (kind, holder, key, what was there)
        self.version = 0  #: grows with every set that grows
        self.held = 0  #: … and this one with every set of what an object holds
        self.anything = given
        self.compares = (
            False  #: whether identities are compared of arguments, or of what they hold, whatever that is
        )
        self.hashes = False  #: whether somebody asks for a hash by name: of arguments, or of what they hold
        self.fills = False  #: whether looking up in an argument may put something into it
        self.spent = 0  #: steps that were taken since somebody last looked: how much one operation costs depends on its operands
        self.site: Any = None  #: the operation that is being looked at: names what it makes
        self._live: dict[int, Live] = {}
        self._made: dict[Any, Made] = {}
        self._once: dict[Any, Any] = {}
        self._seen: set[Any] = set()
        self._custom: dict[type, bool] = {}
        self._specials: dict[tuple[type, str], Any] = {}
        self._all_specials: dict[tuple[type, frozenset[str]], list[tuple[str, Any]]] = {}

    # -- making values -----------------------------------------------------------------------------------

    def add(self, target: Values, values: Iterable[Value]) -> None:
        """Let a set grow."""
        before = len(target)
        target.update(values)
        if len(target) != before:
            self.version += 1

    def hold(self, target: Values, values: Iterable[Value]) -> None:
        """Let the set of what some object holds grow."""
        before = len(target)
        target.update(values)
        if len(target) != before:
            self.version += 1
            self.held += 1

    def live(self, thing: Any, name: str) -> Value:
        """The value of an object that exists already; ``name`` is how the code got at it."""
        kind = type(thing)
        if kind in NUMBERS:
            return NUMBER
        if thing is None:
            return NONE
        if kind is str and may_name(thing):
            return self.text(thing)
        if kind in ATOMS:
            return ATOM
        value = self._live.get(id(thing))
        if value is None:
            value = self._live[id(thing)] = Live(thing, name)
        return value

    def made(self, key: Any, kind: type | None) -> Made:
        """The object that is made at one place in the code."""
        value = self._made.get(key)
        if value is None:
            value = self._made[key] = Made(kind)
            self.version += 1
        return value

    def bound(self, function: Value, receiver: Value) -> Value:
        """A function bound to its object."""
        key = (function, receiver)
        value: Value | None = self._once.get(key)
        if value is None:
            value = self._once[key] = Bound(function, receiver)
        return value

    def builtin_method(self, name: str, receiver: Value | None, owner: type | None) -> Value:
        """A method that the catalogue knows."""
        key = (name, receiver, owner)
        value: Value | None = self._once.get(key)
        if value is None:
            value = self._once[key] = BuiltinMethod(name, receiver, owner)
        return value

    def text(self, text: str) -> Value:
        """A text that matters."""
        key = ("text", text)
        value: Value | None = self._once.get(key)
        if value is None:
            value = self._once[key] = Text(text)
        return value

    # -- what is looked at -------------------------------------------------------------------------------

    def observe(self, kind: str, holder: Any, key: Any, found: Any) -> None:
        """Write down what was there."""
        mark = (kind, id(holder), key)
        if mark not in self._seen:
            self._seen.add(mark)
            self.observed.append((kind, holder, key, found))

    def read_class(self, kind: type) -> None:
        """The class itself, as its module holds it, is part of the state."""
        if by_python(kind):
            self.reads.add((kind.__module__, kind.__qualname__.partition(".")[0]))

    def global_value(self, module: str, holder: dict[str, Any], name: str) -> Any:
        """A module's global, or MISSING.

        Raises:
            Harm: ``sys.modules`` holds another module of that name.
        """
        real = sys.modules.get(module)
        if real is None or real.__dict__ is not holder:
            raise Harm(f"reads a global of module {module!r}, which was replaced")
        found = holder.get(name, MISSING)
        self.reads.add((module, name))
        self.observe("key", holder, name, found)
        return found

    # -- classes -----------------------------------------------------------------------------------------

    def classes_of(self, value: Value) -> tuple[type, ...]:
        """Classes that are no builtin data, of which the value may be an instance."""
        if isinstance(value, Made):
            return (value.kind,) if value.kind is not None and self._is_custom(value.kind) else ()
        if isinstance(value, Given):
            return () if value.kind is not None else tuple(value.classes)
        if isinstance(value, Live):
            kind = type(value.object)
            if not isinstance(value.object, type) and self._is_custom(kind):
                return (kind,)
        return ()

    def _is_custom(self, kind: type) -> bool:
        """Whether its special methods are a matter of its own code."""
        known = self._custom.get(kind)
        if known is None:
            plain = not by_python(kind) or kind in MAPPINGS or kind is functools.partial
            known = self._custom[kind] = not plain and self.catalogue.type(kind) is None
        return known

    def lookup(self, kind: type, name: str, after: type | None = None) -> tuple[type, Any] | None:
        """The class in the order of resolution (behind ``after``) that defines a name, and what it holds there."""
        mro = kind.__mro__
        if after is not None:
            mro = mro[mro.index(after) + 1 :]
        for owner in mro:
            raw = owner.__dict__.get(name, MISSING)
            if by_python(owner):
                self.read_class(owner)
                self.observe("class", owner, name, raw)
            if raw is not MISSING:
                if replaced(owner, raw):
                    raise Harm(f"uses {owner.__qualname__}.{name}, which was replaced")
                return owner, raw
        return None

    def special(self, kind: type, name: str) -> Any:
        """A special method that a class itself, or a base that is no builtin, defines; None if there is none."""
        key = (kind, name)
        if key not in self._specials:
            owner = next((owner for owner in kind.__mro__ if name in owner.__dict__), None)
            raw = None
            if owner is not None and by_python(owner) and self._is_custom(owner):
                raw = owner.__dict__[name]
                if name == "__hash__" and raw is object.__hash__:
                    raw = None
                if replaced(owner, raw):
                    raise Harm(f"uses {owner.__qualname__}.{name}, which was replaced")
                self.read_class(kind)
                self.observe("class", owner, name, raw)
            self._specials[key] = raw
        return self._specials[key]

    def own_names(self, kind: type) -> set[str]:
        """Names that a class itself, or a base that is no builtin, defines."""
        return {
            name
            for owner in kind.__mro__
            if by_python(owner) and self._is_custom(owner)
            for name in owner.__dict__
        }

    def specials(self, kind: type, names: frozenset[str]) -> list[tuple[str, Any]]:
        """Those of these special methods that `special` finds, by name."""
        found = self._all_specials.get((kind, names))
        if found is None:
            # looked for only where there is one, and in order: the same reason each time
            here = sorted({name for owner in kind.__mro__ for name in names.intersection(owner.__dict__)})
            raws = ((name, self.special(kind, name)) for name in here)
            found = [(name, raw) for name, raw in raws if raw is not None and not _is_generic(raw)]
            self._all_specials[kind, names] = found
        return found


def may_name(text: str) -> bool:
    """Whether a text may be the name of an attribute, and is short enough to be remembered."""
    return len(text) <= 64 and text.isidentifier()


def _is_generic(raw: object) -> bool:
    """Whether it is the ``__class_getitem__`` of most generic classes: ``C[int]`` makes an alias, and that is all."""
    return isinstance(raw, classmethod) and raw.__func__ is GenericAlias
