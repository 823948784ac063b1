"""Items, in the analysis: what ``holder[index]`` gives, and what it runs to read or write it."""

from __future__ import annotations

from collections import defaultdict, deque

from bundlebee.bundles.abstract import ATOM, Given, Live, Made, Namespace, Text, Value
from bundlebee.bundles.classes import Classes
from bundlebee.bundles.contents import by_python
from bundlebee.bundles.heap import ANY_NAME, Harm, Values
from bundlebee.bundles.specials import INDEXING, Args

_SEQUENCES = (list, tuple, bytearray, deque)
_ITEM = frozenset({"__getitem__", "__missing__", "__hash__", "__eq__", "__index__"})


class Items(Classes):
    """Loads of items, and stores into them."""

    def get_item(self, holders: Values, indices: Values) -> Values:
        """``holder[index]``"""
        found: Values = set()
        for value in holders:
            if isinstance(value, Live):
                self._check_item(value)
            elif isinstance(value, Given):
                if self.fills:
                    self.hold(self.put_keys, indices)
                for thing in value.callables or ():
                    if isinstance(thing, type):
                        self._check_item(self.live(thing, thing.__qualname__))  # type: ignore[arg-type]
            found |= self.items(value)
        if any(isinstance(value, Made) and value.kind is slice for value in indices):
            copy = self.made((self.site, "slice"), None)
            self.store({copy}, found)
            found = {*found, copy}
        reach = self.inside(indices.union(*map(self.looked_up, holders))) | holders
        if any(self.classes_of(value) for value in reach):
            found |= self.special_calls(holders, _ITEM, indices)
            self.special_calls(reach - holders, INDEXING, reach)
        return found

    def get_slice(self, holders: Values) -> Values:
        """``holder[start:stop]``"""
        found = self.special_calls(
            holders, frozenset({"__getitem__"}), {self.made((self.site, "bounds"), slice)}
        )
        for value in holders:
            if self.may_be_array(value):
                found.add(value)  # a view
                if self.surely_array(value):
                    continue
            if value is ATOM or isinstance(value, Text):
                found.add(ATOM)
                continue
            kind = type(value.object) if isinstance(value, Live) else getattr(value, "kind", None)
            if kind is not None and by_python(kind):
                kind = None
            copy = self.made((self.site, kind), kind)
            self.store({copy}, self.items(value))
            found.add(copy)
            if isinstance(value, Given) and value.kind is None:
                found.add(ATOM)
        return found

    def _check_item(self, value: Live) -> None:
        thing = value.object
        if isinstance(thing, defaultdict) and thing.default_factory is not None:
            raise Harm(f"may fill {value.name}, a defaultdict")
        if (
            isinstance(thing, type)
            and not hasattr(type(thing), "__getitem__")
            and (thing is type or self.lookup(thing, "__class_getitem__") is not None)
        ):
            raise Harm(f"makes a generic alias of {value.name}")

    def set_item(self, holders: Values, indices: Values, values: Values | None) -> None:
        """``holder[index] = value``, or ``del holder[index]`` without a value."""
        name = "__delitem__" if values is None else "__setitem__"
        for holder in list(holders):
            own = False
            for kind in self.classes_of(holder):
                raw = self.special(kind, name)
                if raw is not None:
                    own = True
                    more = [] if values is None else [values]
                    self.call(self.live(raw, f"{kind.__qualname__}.{name}"), Args([{holder}, indices, *more]))
            if isinstance(holder, Namespace):
                self._set_in_namespace(holder, indices, values)
                continue
            if own and not (isinstance(holder, Given) and holder.inside is None):
                continue
            if self._takes_no_items(holder):
                continue  # a TypeError
            self.write({holder})
            if self.surely_array(holder):
                self.check_operands(indices | (values or set()))
                self.store({holder}, self.items_of_arrays({self.array(values or set())}))
                continue
            stored = set(values or ())
            if any(isinstance(index, Made) and index.kind is slice for index in indices):
                for value in values or ():
                    stored |= self.next_of(value)
            if values is not None:
                self.store(
                    {holder}, stored, indices if getattr(holder, "kind", None) not in _SEQUENCES else ()
                )
        reach = self.inside(indices.union(*map(self.looked_up, holders)) if indices else indices) - holders
        if any(self.classes_of(value) for value in reach):
            self.special_calls(reach, INDEXING, reach)

    def _takes_no_items(self, holder: Value) -> bool:
        """Whether it is an instance of a class that is built on no container and has no ``__setitem__``."""
        if isinstance(holder, Given) and holder.inside is None:
            return False
        kinds = self.classes_of(holder)
        return bool(kinds) and all(
            next(base for base in kind.__mro__ if not by_python(base)) is object for kind in kinds
        )

    def _set_in_namespace(self, holder: Namespace, indices: Values, values: Values | None) -> None:
        self.write({holder})
        for index in indices:
            self.put_attribute(
                holder.owner, index.text if isinstance(index, Text) else ANY_NAME, values or set()
            )
