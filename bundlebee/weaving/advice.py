"""What a woven module sees as ``__bee__``: the way from its source to the aspects.

Nothing here may break the program. Where an aspect fails, the function stays plain, the site stays off, and
the log says why.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any, TypeVar

from bundlebee.weaving.joinpoint import JoinPoint, stand_in
from bundlebee.weaving.outcomes import ScatterSite

F = TypeVar("F")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Function = Callable[..., Any]
Item = tuple[Any, Function]
"""The targets of one round of the comprehension, and what stands for the called function in it."""

Shape = Callable[[Iterable[Any]], Iterator[Any]]
OnJoinPoint = Callable[[JoinPoint], None]
Note = Callable[[FunctionType], FunctionType]
"""Takes note of a function and returns it. It stands in for `Advice.join_point`: imports define thousands of functions."""

OnDefined = Callable[["Advice"], Note]
"""``on_defined(advice)``, asked with the first function of a module, says who takes note of its functions; the aspect makes
their join points itself, later, with `Advice.make`."""

OnScatter = Callable[
    [
        "Advice",
        ScatterSite,
        Callable[[], Function],
        Iterable[Any],
        "Shape | None",
        Callable[[Any], Arguments],
    ],
    Iterable[Item],
]
"""``on_scatter(advice, site, function, iterable, shape, args_of)`` returns the items in order."""


class Unrepeatable(Exception):
    """An operand is an iterator: to look at it ahead would use it up. Run the item in its turn instead."""


class Advice:
    """The ``__bee__`` of one woven module.

    For each scatter site N there is an attribute ``s<N>``: while it is true the program takes the spread
    branch of the site; set it to False and the author's own comprehension runs at full speed.
    """

    module: str
    sites: tuple[ScatterSite, ...]
    points: list[JoinPoint]
    site_data: dict[int, Any]  #: free for the aspects, by site index

    def __init__(
        self,
        module: str,
        sites: Iterable[ScatterSite] = (),
        *,
        on_join_point: OnJoinPoint | None = None,
        on_defined: OnDefined | None = None,
        on_scatter: OnScatter | None = None,
        facts: Callable[[], bytes] = bytes,
        unwoven: bytes = b"",
    ) -> None:
        self.module = module
        self.sites = tuple(sites)
        self.points = []
        self._facts = facts
        self.site_data = {}
        self._on_join_point = on_join_point
        self._on_defined = on_defined
        self._on_scatter = on_scatter
        # the functions that have other code while their sites are off; of few modules, so read when one is asked for
        self._unwoven = unwoven
        self._codes: dict[tuple[str, int], CodeType] | None = None
        self._owners = frozenset([site.qualname for site in self.sites]) if unwoven else frozenset()
        for site in self.sites:
            setattr(self, f"s{site.index}", on_scatter is not None)

    def __reduce__(self) -> Any:
        """As with a `JoinPoint`: a copy of woven code finds all sites off."""
        return stand_in(bool, {f"s{site.index}": False for site in self.sites})

    @property
    def facts(self) -> bytes:
        """Of the module's source, encoded (`bundlebee.bundles.facts`); empty where there are none."""
        return self._facts()

    def switch(self, site: int, on: bool) -> None:
        """Turn a scatter site on or off. A function whose sites are all off runs the code that its author wrote."""
        setattr(self, f"s{site}", on)
        owner = self.sites[site].qualname
        if owner in self._owners:
            for point in self.points:
                if point.qualname == owner:
                    point.spread(self._is_on(owner))

    def still(self) -> None:
        """Turn all sites off, and leave the functions as they are: the program is at its end."""
        for site in self.sites:
            setattr(self, f"s{site.index}", False)

    def _is_on(self, owner: str) -> bool:
        return any(getattr(self, f"s{site.index}") for site in self.sites if site.qualname == owner)

    def _code_without_sites(self, code: CodeType) -> CodeType | None:
        if self._codes is None:
            self._codes = marshal.loads(self._unwoven)
        return self._codes.get((code.co_qualname, code.co_firstlineno))

    def join_point(self, function: FunctionType) -> FunctionType:
        """The decorator that the weaver puts innermost: makes a `JoinPoint`, now or later, and returns the same function."""
        try:
            if self._on_defined is None:
                self.make(function)
            else:
                note = self._on_defined(self)
                note(function)
                self.__dict__["join_point"] = note
        except Exception as error:
            _log_failure(f"{self.module}:{function.__code__.co_qualname} stays plain", error)
        return function

    def make(self, function: FunctionType) -> JoinPoint:
        """The join point of a function that the module has defined."""
        # what the compiler called it; the program may have given it another name
        qualname = function.__code__.co_qualname
        point = JoinPoint(function, self.module, qualname)
        if qualname in self._owners:
            point.unwoven = self._code_without_sites(point.original)
            point.spread(self._is_on(qualname))
        self.points.append(point)
        if self._on_join_point is not None:
            self._on_join_point(point)
        return point

    def scatter(
        self,
        site: int,
        function: Callable[[], Function],
        iterable: Iterable[Any],
        shape: Shape | None,
        args_of: Callable[[Any], Arguments],
    ) -> Iterable[Item]:
        """The items of a scatter site, in order: pairs of the comprehension's targets and a callable.

        Args:
            site: index of the site.
            function: gives the called function; look it up only when there is an item, as the original does.
            iterable: what the first ``for`` runs over.
            shape: turns the iterable into the targets where there are filters or several ``for``, else None.
            args_of: the arguments of the call for given targets. It may raise what the operands raise, and
                `Unrepeatable`; run that item in its turn then, so that the program meets the error itself.
        """
        if self._on_scatter is not None:
            try:
                return self._on_scatter(self, self.sites[site], function, iterable, shape, args_of)
            except Exception as error:
                from bundlebee.interrupts import let_pass

                let_pass(error)
                _log_failure(f"scatter site {site} of {self.module} is off", error)
        self.switch(site, False)
        return here(function, iterable, shape)

    def each(self, site: int, function: Callable[[], Function], iterable: Iterable[Any]) -> Iterator[Any]:
        """What ``map(function(), iterable)`` gives, at a scatter site; see `scatter`."""
        return map(_take, self.scatter(site, function, iterable, None, _only))

    @staticmethod
    def args(*args: Any, **kwargs: Any) -> Arguments:
        """The arguments as a call would bind them."""
        return args, kwargs

    @staticmethod
    def again(value: F, depth: int = 1) -> F:
        """The value itself if it can be iterated twice; else `Unrepeatable`. Looks `depth` levels down."""
        if hasattr(type(value), "__next__"):
            raise Unrepeatable(f"{type(value).__name__} can be iterated only once")
        if depth > 1 and isinstance(value, (tuple, list)):
            for item in value:
                Advice.again(item, depth - 1)
        return value


def here(function: Callable[[], Function], iterable: Iterable[Any], shape: Shape | None) -> Iterator[Item]:
    """The items of a scatter site when every call runs in its turn, right there."""
    for targets in iterable if shape is None else shape(iterable):
        yield targets, function()


def _take(item: Item) -> Any:
    try:
        return item[1](item[0])
    except BaseException as error:
        # without this frame, as `map` has none; a bare ``raise`` does not add it again
        assert error.__traceback__ is not None
        BaseException.with_traceback(error, error.__traceback__.tb_next)
        raise


def _only(argument: Any) -> Arguments:
    return (argument,), {}


def _log_failure(what: str, error: Exception) -> None:

    from bundlebee.loggers import get_logger  # a failure is rare; the import is not free

    get_logger("bundlebee.weaving").warning("%s: %s: %s", what, type(error).__name__, error, exc_info=error)
