"""Which function is called, and what must hold where it runs."""

from __future__ import annotations

import msgspec

from bundlebee.words import FunctionRef


class Call(msgspec.Struct, frozen=True, array_like=True):
    """Which function is to be called and what must hold there. Equal calls may share one object."""

    function: FunctionRef
    line: int = 0  #: ``co_firstlineno`` of the function's original code; 0: whatever carries the name
    reads: tuple[tuple[str, str], ...] = ()  #: (module, global name) of all state that the result depends on
    state: bytes = b""  #: fingerprint of that state at the caller; empty: not compared
    hops: int = 0  #: of a task: how many generations of tasks may follow it, see `lineage`
    chain: tuple[str, ...] = ()  #: of a task: the functions of those that led to it, outermost first
    recursion_limit: int = 1000  #: frames that the function may use
    int_max_str_digits: int = 4300  #: `sys.get_int_max_str_digits` of the caller
    task: bool = False  #: the program asked for it: effects are allowed, and the function travels as a pickle
    writes: bool = False  #: it may write its arguments: what it changed comes back
    settings: bytes = b""  #: of a task: `logged.current` at the caller
    #: calls in it that the guard looks at before they happen: `bundlebee.bundles.gaps.Gap`
    gaps: tuple[tuple[str, str, int, int, bool, int], ...] = ()
