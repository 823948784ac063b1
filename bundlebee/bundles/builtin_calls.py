"""Builtin functions and types, in the analysis: those that need more than a line of the catalogue.

A method ``b_name`` stands for the builtin of that name.
"""

from __future__ import annotations

from types import GeneratorType

from bundlebee.bundles.abstract import ATOM, NONE, NUMBER, Given, Live, Made, Text
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.items import Items
from bundlebee.bundles.specials import INTEGERS, ORDER, TEXTS, Args

_CHECKS = frozenset({"__instancecheck__", "__subclasscheck__"})


class Builtins(Items):
    """Calls of builtins."""

    prints = False  #: whether something was printed

    def b_print(self, args: Args) -> Values:
        if "file" in args.named or args.double:
            raise Harm("prints to something of its own choice")
        self.prints = True
        self.look_at(args.all(), 2, TEXTS)
        return {ATOM}

    def b_str(self, args: Args) -> Values:
        self.look_at(args.all(), 2, TEXTS)
        return {ATOM}

    b_repr = b_ascii = b_format = b_str

    def b_hash(self, args: Args) -> Values:
        self.look_at(args.all(), 2, frozenset({"__hash__"}))
        self.hash_of(args.all(), unseen=self.in_hash())
        return {NUMBER}

    def b_int(self, args: Args) -> Values:
        self.look_at(args.all(), 1, INTEGERS)
        return {NUMBER}

    b_float = b_complex = b_int

    def b_bool(self, args: Args) -> Values:
        self.look_at(args.all(), 1, frozenset({"__bool__", "__len__"}))
        return {NUMBER}

    def b_range(self, args: Args) -> Values:
        self.look_at(args.all(), 1, frozenset({"__index__"}))
        made = self.made((self.site, "range"), range)
        self.store({made}, {NUMBER})
        return {made}

    def b_list(self, args: Args) -> Values:
        made = self.made((self.site, "list"), list)
        for value in args.all():
            self.store({made}, self.next_of(value))
        return {made}

    def b_max(self, args: Args) -> Values:
        keys = args.named.get("key", set())
        operands = args.all() - keys
        elements: Values = set()
        for value in operands:
            elements |= self.next_of(value)
        compared = operands | elements
        if keys:
            compared = compared | self.call_any(keys - {ATOM}, compared)
        self.look_at(compared, 2, ORDER)
        if len(args.positional) == 1 and not args.rest:
            return elements | args.named.get("default", set())
        return operands | elements if args.rest else operands

    b_min = b_max

    def b_sum(self, args: Args) -> Values:
        elements: Values = set()
        for value in args.at(0):
            elements |= self.next_of(value)
        start = args.behind(1) | {NUMBER}
        found = start | self.operate("add", start | elements, elements)
        return found | self.operate("add", found, elements)

    def b_iter(self, args: Args) -> Values:
        if len(args.positional) > 1 or args.rest:
            function = self.catalogue.function("builtins", "iter")
            assert function is not None
            return self.apply(function, args)
        made = self.made((self.site, "iter"), GeneratorType)
        results: Values = {made}
        for value in args.all():
            if isinstance(value, Made) and (value.kind in (None, GeneratorType) or self.classes_of(value)):
                results.add(value)  # an iterator gives itself
            results |= self.special_calls({value}, frozenset({"__iter__"}), set())
            self.store({made}, self.next_of(value))
        return results

    def b_next(self, args: Args) -> Values:
        found = args.behind(1)
        for value in args.at(0):
            found |= self.special_calls({value}, frozenset({"__next__"}), set())
            if isinstance(value, Live) and self.classes_of(value):
                continue
            if isinstance(value, Given) and not value.cached:
                found.add(value)
                continue  # arguments are never iterators of the interpreter's own: these do not travel
            self.write({value})
            found |= self.keys(value)
        return found

    def b_type(self, args: Args) -> Values:
        if len(args.positional) != 1 or args.rest or args.named:
            raise Harm("makes a class at run time")
        return set().union(*(self.class_of(value) for value in args.positional[0]))

    def b_isinstance(self, args: Args) -> Values:
        for value in self.inside(args.at(1)):
            if isinstance(value, Live) and isinstance(value.object, type):
                self._ask_class(value)
            self.special_calls({value}, _CHECKS, args.at(0))
        return {NUMBER}

    b_issubclass = b_isinstance

    def _ask_class(self, value: Live) -> None:
        """What an isinstance check runs."""
        for owner in type(value.object).__mro__:
            if owner in (type, object) or owner.__module__ in ("abc", "enum", "typing"):
                continue
            if any(name in owner.__dict__ for name in ("__instancecheck__", "__subclasscheck__")):
                raise Harm(f"asks the metaclass of {value.name}")
        hook = self.lookup(value.object, "__subclasshook__")
        if hook is not None and by_python(hook[0]) and self.has_facts(hook[0]):
            raise Harm(f"asks {value.name}.__subclasshook__")

    def b_getattr(self, args: Args) -> Values:
        if (
            args.rest
            or len(args.positional) < 2
            or not all(isinstance(name, Text) for name in args.positional[1])
        ):
            raise Harm("looks at an attribute whose name is computed")
        found = args.behind(2)
        for name in args.positional[1]:
            for value in list(args.positional[0]):
                if isinstance(name, Text) and name is not NONE:
                    found |= self.get_attribute(value, name.text)
        return found

    def b_vars(self, args: Args) -> Values:
        if len(args.positional) != 1 or args.rest or args.named or args.double:
            raise Harm("looks at variables by name (builtins.vars)")
        return set().union(*(self.get_attribute(value, "__dict__") for value in list(args.positional[0])))

    def b_hasattr(self, args: Args) -> Values:
        self.b_getattr(args)
        return {NUMBER}

    def b_setattr(self, args: Args) -> Values:
        if (
            args.rest
            or len(args.positional) != 3
            or not all(isinstance(name, Text) for name in args.positional[1])
        ):
            raise Harm("writes an attribute whose name is computed")
        for name in args.positional[1]:
            if isinstance(name, Text) and name is not NONE:
                self.set_attribute(args.positional[0], name.text, args.positional[2])
        return {ATOM}

    def b_delattr(self, args: Args) -> Values:
        self.write(args.at(0))
        raise Harm("deletes an attribute by its name")

    def b_super(self, args: Args) -> Values:
        kinds = args.at(0)
        if len(args.positional) != 2 or not all(
            isinstance(kind, Live) and isinstance(kind.object, type) for kind in kinds
        ):
            raise Harm("uses super() in an unusual way")
        return {self.super_of(kind.object, args.positional[1]) for kind in kinds if isinstance(kind, Live)}
