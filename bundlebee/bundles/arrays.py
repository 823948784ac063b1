"""NumPy, in the analysis: arrays, and what its functions do with them (`numpy_catalogue`).

An array that the call makes is a `Made` of that kind. It stands for NumPy's numbers, too, since what gives one for some
arguments gives the other for others. A view is the value of what it is a view of: who writes the one writes the other.
So an array is one of its own elements here.
"""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, MethodType

from bundlebee.bundles.abstract import (
    ATOM,
    NUMBER,
    Bound,
    BuiltinMethod,
    Given,
    Inner,
    Live,
    Made,
    Text,
    Value,
)
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.descriptors import LRU, Found
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.numpy_catalogue import SETTINGS, THREADS, NumpyFunction, numpy_catalogue
from bundlebee.bundles.specials import Args, Specials

_FLAT = (list, tuple)  # their elements are what an array is made of
_PLAIN_TYPES = frozenset({int, float, complex, bool, str, bytes})
_OBJECTS = frozenset({"O", "object", "|O"})


class Arrays(Specials):
    """Does what NumPy does."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.numpy = numpy_catalogue()

    # -- which values are arrays ---------------------------------------------------------------------------

    def is_arrays(self, kind: type | None) -> bool:
        """Whether it is the type of arrays, or of numbers of NumPy's."""
        numpy = self.numpy
        return numpy is not None and kind is not None and (kind is numpy.array or numpy.is_number(kind))

    def surely_array(self, value: Value) -> bool:
        """Whether it is an array, or a number of NumPy's."""
        if isinstance(value, Made | Given):
            return self.is_arrays(value.kind)
        return isinstance(value, Live) and self.is_arrays(type(value.object))

    def may_be_array(self, value: Value) -> bool:
        """Whether it may be one."""
        if self.numpy is None:
            return False
        if isinstance(value, Given) and value.kind is None and any(map(self.is_arrays, value.classes)):
            return True
        return self.surely_array(value)

    def uses_numpy(self) -> None:
        """What it computes depends on NumPy's settings."""
        self.reads.add(("numpy", SETTINGS))

    def array(self, operands: Values, *, objects: bool = False) -> Value:
        """A new array, made of these; it may hold instances among them.

        Args:
            objects: it may be told to hold lists, too, rather than what they hold.
        """
        assert self.numpy is not None
        self.uses_numpy()
        made = self.made((self.site, "array"), self.numpy.array)
        held = {value for value in self.inside(operands) if self._may_be_held(value, lists=objects)}
        self.store({made}, {made, NUMBER, ATOM} | held)
        return made

    def _may_be_held(self, value: Value, *, lists: bool = False) -> bool:
        if value is ATOM or value is NUMBER or isinstance(value, Text) or self.surely_array(value):
            return False
        if isinstance(value, Made | Given) and value.kind is not None:
            return lists or not issubclass(value.kind, _FLAT)
        return not (isinstance(value, Live) and isinstance(value.object, (type, *_FLAT)))

    # -- what the other rooms ask --------------------------------------------------------------------------

    def members(self, value: Live) -> tuple[Values, Values]:
        if not self.surely_array(value):
            return super().members(value)
        self.uses_numpy()
        if value.object.dtype.hasobject:
            raise Harm(f"uses {value.name}, an array of objects")
        return set(), {value, NUMBER, ATOM}

    def attribute(self, value: Value, name: str) -> Found:
        numpy = self.numpy
        if numpy is not None:
            if self.surely_array(value):
                return self._of_array(value, name)
            if isinstance(value, Live) and isinstance(value.object, numpy.ufunc):
                return self._of_ufunc(value, name)
            if isinstance(value, Made) and value.kind in numpy.generators:
                if name not in numpy.draws:
                    raise Harm(f"uses {name!r} of a generator of random numbers")
                return Found({self.builtin_method(name, value, value.kind)})
        return super().attribute(value, name)

    def from_class(self, kind: type, name: str, receiver: Value, after: type | None = None) -> Found:
        if self.is_arrays(kind):
            return self._of_array(receiver, name) if hasattr(kind, name) else Found()
        return super().from_class(kind, name, receiver, after)

    def _of_array(self, value: Value, name: str) -> Found:
        assert self.numpy is not None
        word = self.numpy.attributes.get(name)
        if word == "atom":
            return Found({ATOM, NUMBER}, hidden=True)
        if word == "views":
            return Found({value, self.array({value})}, hidden=True)
        if name in self.numpy.methods:
            return Found({self.builtin_method(name, value, self.numpy.array)})
        raise Harm(f"uses {name!r} of an array")

    def _of_ufunc(self, value: Live, name: str) -> Found:
        key = ("ufunc", value, name)
        if key not in self._once:
            self._once[key] = self.live(getattr(value.object, name, None), f"{value.name}.{name}")
        return Found({self._once[key]})

    # -- operators -----------------------------------------------------------------------------------------

    def operate(self, name: str, left: Values, right: Values) -> Values:
        both = left | right
        if not any(map(self.may_be_array, both)):
            return super().operate(name, left, right)
        if not left or not right:
            return set()
        self.check_operands(both)
        if name == "matmul":
            self.reads.add(("numpy", THREADS))
        found = {self.array(both)}
        if any(not self.surely_array(value) and value is not NUMBER for value in both):
            found |= super().operate(name, left, right) | {ATOM}
        return found

    def operate_in_place(self, name: str, left: Values, right: Values) -> Values:
        arrays = {value for value in left if self.may_be_array(value)}
        if not arrays and not any(map(self.may_be_array, right)):
            return super().operate_in_place(name, left, right)
        found = self.operate(name, left, right)
        for value in arrays:
            kind = getattr(value, "kind", None)
            if self.numpy is not None and kind is not None and self.numpy.is_number(kind):
                continue
            self.write({value}, "may write (by an operator in place)")
            found.add(value)
        others = left - arrays
        return found | super().operate_in_place(name, others, right) if others else found

    # -- functions and methods -----------------------------------------------------------------------------

    def check_operands(self, values: Values) -> None:
        """NumPy asks what it is given for conversions, and calls functions: none of that is looked into.

        Raises:
            Harm: something among them is no data.
        """
        for value in self.inside(values):
            if any(by_python(kind) for kind in self.classes_of(value)):
                raise Harm("passes an instance of a class to NumPy")
            if isinstance(value, Inner | Bound | BuiltinMethod) or (
                isinstance(value, Given) and value.callables
            ):
                raise Harm("passes a function to NumPy")
            if isinstance(value, Text) and (
                value.text in _OBJECTS or value.text.lstrip("<>=|").startswith(("M8", "datetime64"))
            ):
                raise Harm(f"makes an array of {value.text!r}")
            if isinstance(value, Live):
                self._check_live(value)

    def _check_live(self, value: Live) -> None:
        assert self.numpy is not None
        thing = value.object
        if isinstance(thing, type):
            if thing not in _PLAIN_TYPES and (
                not self.numpy.is_number(thing) or thing.__name__.startswith("datetime")
            ):
                raise Harm(f"passes the class {thing.__qualname__} to NumPy")
        elif isinstance(thing, FunctionType | BuiltinFunctionType | MethodType | LRU | self.numpy.ufunc) or (
            callable(thing) and not self.surely_array(value)
        ):
            raise Harm("passes a function to NumPy")

    def apply_numpy(self, entry: NumpyFunction, args: Args, own: Values | None = None) -> Values:
        """Do what the catalogue says; ``own``: the arrays, of a method."""
        self.uses_numpy()
        if entry.threads:
            self.reads.add(("numpy", THREADS))
        operands = args.all() | (own or set())
        self.check_operands(operands)
        if entry.returns == "generator":
            return self._generator(entry, args)
        written = self._written(entry, args, own or set())
        self.write(self.inside(written))
        if entry.returns == "writes":
            return {ATOM}
        if entry.returns == "atom":
            return {ATOM, NUMBER}
        if entry.returns == "list":
            made = self.made((self.site, "list"), list)
            self.store({made}, {made, NUMBER, ATOM, *self.items_of_arrays(operands)})
            return {made, NUMBER, ATOM}
        # A text behind the first argument may be the name of a dtype.
        objects = ATOM in args.behind(1) or bool(args.double)
        found = {self.array(operands, objects=objects), *self.inside(written)}
        may_not_copy = (
            entry.copy is not None and len(args.positional) > entry.copy
        ) or not args.named.keys().isdisjoint({"copy", "subok"})
        if entry.returns == "views" or may_not_copy or args.double or (args.rest and entry.copy is not None):
            found |= {value for value in self.inside(operands) if self._may_lend(value)}
        return found

    def items_of_arrays(self, values: Values) -> Values:
        """What object arrays among them may hold."""
        return {part for value in values for part in self.elements(value) if self._may_be_held(part)}

    def _may_lend(self, value: Value) -> bool:
        """Whether an array may be made on its memory."""
        if self.surely_array(value):
            return True
        return self._may_be_held(value)

    @staticmethod
    def _written(entry: NumpyFunction, args: Args, own: Values) -> Values:
        written = args.named.get("out", set()) | args.double
        if entry.out is not None:
            for values in args.positional[entry.out : None if entry.outs else entry.out + 1]:
                written |= values
        if "overwrite_input" in args.named or (
            entry.overwrites is not None and (args.double or len(args.positional) > entry.overwrites)
        ):
            written |= args.at(0)
        if entry.writes is not None:
            written |= args.at(entry.writes)
        elif entry.returns == "writes":
            written |= own
        if args.rest and (entry.out is not None or entry.overwrites is not None or entry.writes is not None):
            written |= args.all()
        return written

    def _generator(self, entry: NumpyFunction, args: Args) -> Values:
        assert self.numpy is not None
        if not args.positional and not args.named and not args.rest:
            raise Harm(f"reads the system's randomness ({entry.name} without a seed)")
        wanted = entry.name.rpartition(".")[2]
        kinds = [kind for kind in self.numpy.generators if kind.__name__ == wanted]
        kind = kinds[0] if kinds else self.numpy.generators[0]
        return {self.made((self.site, kind), kind)}

    def numpy_method(self, name: str, receiver: Values, args: Args, owner: type | None) -> Values | None:
        """Call a method of an array or of a generator of random numbers; None if it is of neither."""
        numpy = self.numpy
        if numpy is None or owner is None:
            return None
        if owner in numpy.generators:
            if any(isinstance(value, Live) for value in receiver):
                raise Harm(f"uses the global random generator of NumPy (numpy.random.{name})")
            if name not in numpy.draws:
                raise Harm(f"calls {name}() of a {owner.__qualname__}, of which nothing is known")
            self.write(receiver)
            shuffles = NumpyFunction(f"numpy.random.{name}", "writes", writes=0)
            return self.apply_numpy(
                shuffles if numpy.draws[name] else NumpyFunction(shuffles.name, "array"), args
            )
        if not self.is_arrays(owner):
            return None
        entry = numpy.methods.get(name)
        if entry is None:
            raise Harm(f"calls {name}() of an array, of which nothing is known")
        return self.apply_numpy(entry, args, receiver)
