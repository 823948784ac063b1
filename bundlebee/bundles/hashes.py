"""Hashes that are addresses, in the analysis: the same object has another one in another process."""

from __future__ import annotations

from bundlebee.bundles.abstract import NONE, Bound, BuiltinMethod, Inner, Live, Made, Value
from bundlebee.bundles.contents import hashed_by_address
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.known import Known


class Hashes(Known):
    """Who looks at which hash."""

    _addressed = False  #: whether the hash of an object is looked at that is an address

    def hash_of(self, values: Values, *, unseen: bool) -> None:
        """``hash(value)``: of None and of objects it may be an address. That does no harm where only a dictionary or a set of the
        call's own gets to see it (``unseen``)."""
        seen: Values = set()
        stack = list(values)
        while stack:
            value = stack.pop()
            if value in seen:
                continue
            seen.add(value)
            if isinstance(value, Made) and value.kind in (None, tuple, frozenset):
                stack.extend(value.contents)
            elif isinstance(value, Live) and isinstance(value.object, tuple | frozenset):
                stack.extend(self.elements(value))
            elif self._has_address_for_hash(value):
                self._addressed = True
        self.hashes = self.hashes or not unseen
        if self.hashes and self._addressed:
            raise Harm("looks at addresses: hashes of objects")

    def _has_address_for_hash(self, value: Value) -> bool:
        if value is NONE:
            return hashed_by_address(None)
        if isinstance(value, Live):
            return hashed_by_address(value.object)
        if isinstance(value, Made):
            return any(self.special(kind, "__hash__") is None for kind in self.classes_of(value))
        return isinstance(value, Inner | Bound | BuiltinMethod)

    def in_hash(self) -> bool:
        """Whether the code at work is a ``__hash__`` that another call runs. (Given by `bundlebee.bundles.entering.Entering`.)"""
        raise NotImplementedError
