"""What is to be expected of a function's calls, before there is one: they ship, they stay, or it depends.

At run time each call is judged with its own arguments. Ahead of that there are two answers: for whatever may come
(`EffectAnalysis.summary`), and for *plain data*: numbers, texts, and containers of them; a method's object counts
as data if it holds nothing else. A function that is harmless with plain data only depends on its arguments: objects whose
methods do harm, functions that it calls.
"""

from __future__ import annotations

import sys
from enum import Enum
from types import FunctionType
from typing import TYPE_CHECKING, Any

import msgspec

from bundlebee.bundles import own
from bundlebee.bundles.contents import cannot_travel
from bundlebee.bundles.effects import VARARGS, VARKEYWORDS, Effect
from bundlebee.bundles.fingerprint import Unfingerprintable, state
from bundlebee.bundles.reasons import kind_of
from bundlebee.bundles.values import Reach, Shape, Walk

if TYPE_CHECKING:
    from bundlebee.bundles.effects import EffectAnalysis, Summary


class Outlook(Enum):
    """Where the calls of a function may run."""

    SHIPS = "ships"  #: anywhere, whatever plain arguments they get
    DEPENDS = "depends"  #: anywhere with plain data; with other arguments, these decide
    GUARDED = (
        "guarded"  #: elsewhere, until the guard stops one: it makes calls of which nothing is known ahead
    )
    STAYS = "stays"  #: here
    UNWOVEN = "not woven"  #: here, and nobody asks: the weaver leaves it as it is


class Judgement(msgspec.Struct, frozen=True):
    """The outlook of one function, and what decides it."""

    outlook: Outlook
    kind: str = ""  #: of the reason, see `bundlebee.bundles.reasons`; empty for SHIPS
    why: str = ""  #: the chain of calls, what happens, file and line; empty for SHIPS
    chain: bool = False  #: whether `why` begins with functions that it calls
    prints: bool = False
    writes: str = ""  #: how the first write to an argument reads, if it ships


def judge(analysis: EffectAnalysis, function: FunctionType) -> Judgement:
    """The outlook of a function of a module with facts.

    Args:
        function: as its author wrote it (`JoinPoint.plain`).
    """
    owner, kind = _owner(function)
    classes: frozenset[type] = frozenset()
    callables: tuple[Any, ...] = ()
    if owner is not None and kind is classmethod:
        callables = (owner,)
    elif owner is not None and kind is not staticmethod:
        reason = cannot_travel(owner)
        if reason is not None:
            return _stays(reason, f"{reason} ({_place(function)})")
        classes = frozenset((owner,))
    data = _with_data(analysis, function, owner if classes else None, callables)
    if data.gaps:
        return _judgement(Outlook.GUARDED, data)
    if data.level is Effect.UNSAFE:
        # the general answer can only be the same, or more far-fetched
        return _judgement(Outlook.STAYS, data)
    try:
        found = state(data.reads, modules=sys.modules)
    except Unfingerprintable as error:
        return _stays(error.what, f"{error} ({_place(function)})")
    if (told := data.comes_back(found.objects)) is not None:
        return _stays(told, f"{told} ({_place(function)})")
    general = analysis.summary(function)
    if callables:  # of a class method we know what it gets first
        walk = _walk(
            function,
            Reach(None, frozenset(), callables, itself=True),
            Reach(None, general.classes, ()),
            general.classes,
        )
        general = analysis.for_call(function, walk)
    if general.level is Effect.UNSAFE:
        return _judgement(Outlook.DEPENDS, general)
    try:
        found = state(general.reads, modules=sys.modules)
    except Unfingerprintable as error:
        why = f"{error} ({_place(function)})"
        return Judgement(Outlook.DEPENDS, kind_of(error.what), why)
    if general.compares:
        what = "compares identities, which copies of numbers do not keep"
        return Judgement(Outlook.DEPENDS, kind_of(what), f"{what} ({_place(function)})")
    if general.hashes:
        what = "looks at addresses: hashes of arguments"
        return Judgement(Outlook.DEPENDS, kind_of(what), f"{what} ({_place(function)})")
    if (told := general.comes_back(found.objects)) is not None:
        return Judgement(Outlook.DEPENDS, kind_of(told), f"{told} ({_place(function)})")
    return Judgement(Outlook.SHIPS, prints=general.level is Effect.PRINTS, writes=general.writes)


def _with_data(
    analysis: EffectAnalysis, function: FunctionType, owner: type | None, callables: tuple[Any, ...]
) -> Summary:
    """What it does with plain data. A method may also meet another object of its class, as operators do; where that does harm,
    it is asked about data alone."""
    data = Reach(None, frozenset(), ())
    if owner is None:
        first = Reach(None, frozenset(), callables, itself=bool(callables))
        walk = _walk(function, first, data)
        return analysis.with_gaps(function, walk, analysis.for_call(function, walk))
    own = Reach(owner, frozenset(), ())
    found = analysis.for_call(function, _walk(function, own, frozenset((own, data))))
    if found.level is Effect.UNSAFE:
        walk = _walk(function, own, data)
        found = analysis.with_gaps(function, walk, analysis.for_call(function, walk))
    return found


def _walk(
    function: FunctionType, first: Reach, others: Shape, classes: frozenset[type] = frozenset()
) -> Walk:
    """What `bundlebee.bundles.values.walk` would say of a call that gives every parameter something."""
    code = function.__code__
    count = code.co_argcount
    named = code.co_varnames[count : count + code.co_kwonlyargcount]
    given = [first, *[others] * (count - 1)][:count]
    rest = ([others] if count else [first]) if code.co_flags & VARARGS else []
    more = {"**": others} if code.co_flags & VARKEYWORDS else {}
    if first.kind is not None:
        classes |= {first.kind}
    return Walk([], classes, first.callables, (*given, *rest), {**dict.fromkeys(named, others), **more})


def _owner(function: FunctionType) -> tuple[type | None, type | None]:
    """The class whose method it is, and how the class holds it; None for a function of a module."""
    found: Any = sys.modules.get(function.__module__)
    *path, name = function.__code__.co_qualname.split(".")
    for part in path:
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if not path or not isinstance(found, type):
        return None, None
    return found, type(vars(found).get(own.mangled(name, path[-1])))


def _judgement(outlook: Outlook, summary: Summary) -> Judgement:
    chain = not summary.why.startswith(summary.what)
    return Judgement(outlook, kind_of(summary.what), summary.why, chain)


def _stays(what: str, why: str) -> Judgement:
    return Judgement(Outlook.STAYS, kind_of(what), why)


def _place(function: FunctionType) -> str:
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"
