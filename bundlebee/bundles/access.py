"""Attribute access, in the analysis: what reading ``value.name`` and writing it runs.

`bundlebee.bundles.attributes` says what is found under a name; here getters and setters are called.
"""

from __future__ import annotations

from bundlebee.bundles.abstract import Given, Live, Made, Super, Value
from bundlebee.bundles.generated import Generated, is_generated
from bundlebee.bundles.heap import Harm, Values
from bundlebee.bundles.specials import Args

_OF_ITS_OWN = frozenset(
    {"__class__", "__dict__", "__traceback__", "__cause__", "__context__", "__suppress_context__"}
)


class Access(Generated):
    """Loads of attributes, and stores into them."""

    def get_attribute(self, value: Value, name: str) -> Values:
        """``value.name``, its getters run."""
        found = self.attribute(value, name)
        values = found.values
        for function, receiver, *more in found.getters:
            extra: list[Values] = [set(part) for part in more]
            if isinstance(function, Live) and function.name.endswith("__getattr__"):
                extra = [{self.text(name)}]
            results = self.call(function, Args([{receiver}, *extra]))
            if found.kept:
                if isinstance(receiver, Made):
                    self.put_attribute(receiver, name, results)
                elif isinstance(receiver, Given):
                    self._put(receiver, name, results)
                else:
                    # the object here would not have it, and a later look would see a change that python does not
                    raise Harm(f"computes {name}, which the object keeps")
            values = values | results
        return values

    def set_attribute(self, targets: Values, name: str, values: Values) -> None:
        """``target.name = value``"""
        special = name.startswith("__") and name.endswith("__")
        for target in targets:
            # of an instance only these mean something to Python
            if special and (
                name in _OF_ITS_OWN
                or not isinstance(target, Made | Given)
                or not self._only_instances(target)
            ):
                if name == "__cause__" and isinstance(target, Made | Given):
                    self.write({target}, "writes __cause__ of")
                    self.put_attribute(target, name, values)
                    continue
                raise Harm(f"writes {name}")
            put = not self.classes_of(target) or (isinstance(target, Given) and target.inside is None)
            for kind in self.classes_of(target):
                setter = self.special(kind, "__setattr__")
                if setter is not None and not is_generated(setter):
                    self.call(
                        self.live(setter, f"{kind.__qualname__}.__setattr__"),
                        Args([{target}, {self.text(name)}, values]),
                    )
                    continue
                found = self.lookup(kind, name)
                raw = None if found is None else found[1]
                if isinstance(raw, property):
                    if raw.fset is not None:
                        self.call(
                            self.live(raw.fset, f"{kind.__qualname__}.{name}"), Args([{target}, values])
                        )
                elif hasattr(type(raw), "__set__") and type(raw).__module__ != "builtins":
                    label = f"{kind.__qualname__}.{name}"
                    setter = self.descriptor(raw, "__set__")
                    if setter is None:
                        raise Harm(f"uses {label}, which has a setter")
                    self.call(setter, Args([{self.live(raw, label)}, {target}, values]))
                else:
                    put = True
            if put:
                self._put(target, name, values)

    def _only_instances(self, target: Made | Given) -> bool:
        """Whether it is no function or class, and no builtin data that might hold some."""
        if isinstance(target, Made):
            return True
        return target.inside is not None or not target.callables

    def _put(self, target: Value, name: str, values: Values) -> None:
        if isinstance(target, Live) and isinstance(target.object, type):
            raise Harm(f"writes class attribute {target.object.__qualname__}.{name}")
        if isinstance(target, Given) and target.inside is None and target.kind is None and target.callables:
            raise Harm(f"may write attribute {name!r} of a function or class among its arguments")
        self.write({target}, f"writes attribute {name!r} of")
        self.put_attribute(target, name, values)

    def super_of(self, kind: type, receivers: Values) -> Value:
        """The value of ``super()``."""
        key = ("super", kind, self.site)
        value: Super | None = self._once.get(key)
        if value is None:
            value = self._once[key] = Super(kind, set())
        self.add(value.receivers, receivers)
        return value
