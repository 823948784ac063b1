"""Methods that nobody wrote, in the analysis: those that dataclasses, named tuples and context managers get from the library."""

from __future__ import annotations

import contextlib
from types import FunctionType
from typing import Any

from bundlebee.bundles.abstract import ATOM, Given, Live, Made
from bundlebee.bundles.hashes import Hashes
from bundlebee.bundles.heap import Values
from bundlebee.bundles.specials import KEYS, Args

GENERATED = frozenset({"__eq__", "__repr__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__"})
"""Methods that a dataclass may write by itself, and that only read."""

_OF_GENERATED = {
    "__eq__": KEYS,
    "__hash__": KEYS,
    "__repr__": frozenset({"__repr__", "__str__"}),
    **{
        name: frozenset({"__lt__", "__gt__", "__le__", "__ge__", "__eq__"})
        for name in ("__lt__", "__le__", "__gt__", "__ge__")
    },
}


class Generated(Hashes):
    """What they do. Their code is made when the program runs, or says little of it."""

    def call_generated(self, function: FunctionType, args: Args) -> Values | None:
        """A method that dataclass or namedtuple wrote by themselves; None if it is none of them."""
        name = function.__name__
        qualname = function.__code__.co_qualname
        module = str(function.__globals__.get("__name__"))
        if name in GENERATED and (
            is_generated(function) or qualname.startswith(("_recursive_repr.", "recursive_repr."))
        ):
            parts: Values = set()
            for value in args.all():
                if isinstance(value, Made):
                    for held in value.attributes.values():
                        parts |= held
                elif isinstance(value, Live) and not isinstance(value.object, type):
                    for field_name in getattr(type(value.object), "__dataclass_fields__", ()):
                        parts |= self.attribute(value, field_name).values
                elif isinstance(value, Given):
                    parts.add(value)
            self.look_at(parts, 2, _OF_GENERATED.get(name, GENERATED))
            if name == "__hash__":
                self.hash_of(parts, unseen=True)
            return {ATOM}
        if module == "collections" and qualname.startswith("namedtuple.<locals>."):
            return self._call_named_tuple(name, args)
        if module == "contextlib":
            return self._call_context(function, qualname, args)
        return None

    def _call_context(self, function: FunctionType, qualname: str, args: Args) -> Values | None:
        """What `contextlib.contextmanager` makes of a generator: entered, it gives what that yields."""
        if qualname == "contextmanager.<locals>.helper":
            cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
            generator = cells["func"].cell_contents
            self.observe("cell", cells["func"], "func", generator)
            made = self.made((self.site, "context", function), contextlib._GeneratorContextManager)
            for value in self.call(self.live(generator, function.__qualname__), args):
                self.store({made}, self.next_of(value))
            return {made}
        if qualname == "_GeneratorContextManager.__enter__":
            return set().union(*(self.elements(value) for value in args.at(0)))
        if qualname == "_GeneratorContextManager.__exit__":
            return {ATOM}
        return None

    def _call_named_tuple(self, name: str, args: Args) -> Values | None:
        receiver = args.at(0)
        if name == "_asdict":
            made = self.made((self.site, name), dict)
            for value in receiver:
                self.store({made}, self.elements(value), {ATOM})
            return {made}
        if name in ("_make", "_replace"):
            results: Values = set()
            for value in receiver:
                of_class = isinstance(value, Live) and isinstance(value.object, type)
                for kind in (
                    (value.object,) if isinstance(value, Live) and of_class else self.classes_of(value)
                ):
                    copy = self.made((self.site, name, kind), kind)
                    self.store({copy}, args.behind(1))
                    for part in args.all():
                        if not isinstance(part, Live) or not isinstance(part.object, type):
                            self.store({copy}, self.elements(part) | self.next_of(part))
                    results.add(copy)
            return results
        if name in ("__repr__", "__getnewargs__"):
            parts: Values = set()
            for value in receiver:
                parts |= self.elements(value) - {value}
            self.look_at(parts, 2)
            return {ATOM}
        return None


def is_generated(function: Any) -> bool:
    """Whether a dataclass wrote that method."""
    code = getattr(function, "__code__", None)
    return (
        code is not None
        and code.co_filename == "<string>"
        and code.co_qualname.startswith("__create_fn__.<locals>.")
    )


def is_written(function: FunctionType) -> bool:
    """Whether `Generated.call_generated` knows it: no source says what it does."""
    qualname = function.__code__.co_qualname
    if is_generated(function) or qualname.startswith(("_recursive_repr.", "recursive_repr.")):
        return True
    module = function.__globals__.get("__name__")
    return (module == "collections" and qualname.startswith("namedtuple.<locals>.")) or (
        module == "contextlib"
        and qualname.startswith(("contextmanager.<locals>.", "_GeneratorContextManager."))
    )
