"""The values of the effect analysis: sets of these stand for what a variable may hold.

`ATOM` and `NUMBER` are immutable data, `NONE` is None. `Given` is whatever came with the call: an argument, and all that can be
reached from it. `Live` is an object that exists already: a function, a class, a module's table. `Made` is an object
that the call itself made, named by the place in the code that makes it. These may be written, and so may what is given:
the caller's objects are changed in the same way afterwards (copy-restore).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundlebee.bundles.frame import Frame


class Value:
    """Identity is what counts: each value exists once in an analysis."""

    __slots__ = ()


class _Atom(Value):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


ATOM: Value = _Atom("ATOM")
NUMBER: Value = _Atom("NUMBER")


class Text(Value):
    """A text whose characters matter: the name of an attribute."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


NONE: Value = Text("None")
"""None, where it is surely that: immutable data, too, of which tests say more."""


class Given(Value):
    """An argument and everything inside it; or (``cached``) what a caching function keeps for all its callers."""

    __slots__ = ("cached", "callables", "classes", "contents", "hides", "inside", "keys", "kind", "name")

    def __init__(
        self,
        name: str,
        classes: set[type],
        callables: tuple[Any, ...] | None = None,
        *,
        cached: bool = False,
        inside: Given | None = None,
        hides: frozenset[str] = frozenset(),
    ) -> None:
        self.name = name
        self.classes = classes  #: of the instances that it may be, or hold
        self.callables = callables  #: the functions and classes that it may be, or hold; None: any
        self.cached = cached
        #: where it is known to be an instance of its only class itself: all that can be reached from it
        self.inside = inside
        self.hides = hides  #: then: attributes of its own under names that its class has, too
        #: the builtin container that it is, where that is known; then its elements are known, too
        self.kind: type | None = None
        self.keys: set[Value] = set()
        self.contents: set[Value] = set()

    def may_be(self, kinds: tuple[type, ...]) -> bool:
        """Whether it may be of one of these types, or of a subclass."""
        if self.inside is not None:
            return any(issubclass(kind, kinds) for kind in self.classes)
        return self.kind is None or issubclass(self.kind, kinds)

    def __repr__(self) -> str:
        return f"Given({self.name})"


class Live(Value):
    """An object that exists already."""

    __slots__ = ("name", "object")

    def __init__(self, thing: Any, name: str) -> None:
        self.object = thing
        self.name = name  #: how the code got at it

    def __repr__(self) -> str:
        return f"Live({self.name})"


class Made(Value):
    """An object that the call makes.

    ``kind`` is a class of a bundle for an instance, else the type of a builtin container; None stands for some
    builtin data.
    """

    __slots__ = ("attributes", "contents", "keys", "kind", "named", "positions")

    def __init__(self, kind: type | None) -> None:
        self.kind = kind
        #: of what ``*args`` takes in: for each number of arguments what stands where; None where that is not known
        self.positions: dict[int, list[set[Value]]] | None = None
        #: of what ``**kwargs`` takes in, as long as nothing else was put into it
        self.named: dict[str, set[Value]] | None = None
        self.keys: set[Value] = set()  #: of mappings
        self.contents: set[Value] = set()  #: elements; of mappings, the values
        self.attributes: dict[str, set[Value]] = {}

    def __repr__(self) -> str:
        return f"Made({self.kind.__name__ if self.kind else 'data'})"


class Namespace(Value):
    """The ``__dict__`` of an object that the call made, or of an argument."""

    __slots__ = ("owner",)

    def __init__(self, owner: Made | Given) -> None:
        self.owner = owner


class Inner(Value):
    """A nested function or lambda that the call makes."""

    __slots__ = ("attributes", "frame")

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.attributes: dict[str, set[Value]] = {}


class Bound(Value):
    """A method of a bundle's class, with its object."""

    __slots__ = ("function", "receiver")

    def __init__(self, function: Value, receiver: Value) -> None:
        self.function = function
        self.receiver = receiver


class BuiltinMethod(Value):
    """A method that the catalogue describes, with its object; ``owner`` is the type that defines it where that is known."""

    __slots__ = ("name", "owner", "receiver")

    def __init__(self, name: str, receiver: Value | None, owner: type | None) -> None:
        self.name = name
        self.receiver = receiver  #: None: not bound; the first argument is the object
        self.owner = owner


class Super(Value):
    """``super()``: the classes behind ``after`` in the order of resolution."""

    __slots__ = ("after", "receivers")

    def __init__(self, after: type, receivers: set[Value]) -> None:
        self.after = after
        self.receivers = receivers
