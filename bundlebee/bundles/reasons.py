"""What keeps calls here, sorted: the analysis says it in a clause that names things; people want to count kinds.

The clauses are written where the harm is found. So the kinds are found by their words, in one table, and a test
holds it against every clause that the analysis can say.
"""

from __future__ import annotations

import re

OTHER = "something else"

_KINDS = (
    ("seen by other tasks", r", and other tasks may "),
    ("generator", r"^is an? (asynchronous )?generator|^(returns|raises|leaves in an argument) a generator"),
    ("generator", r"^(calls|makes) .*\ban asynchronous generator$"),
    ("event loop", r"^waits for the event loop|^calls __a\w+__\(\) of something"),
    ("coroutine", r"^(returns|leaves in an argument|drives) a coroutine|^awaits|^calls .*, a coroutine$"),
    ("looks at its caller's frame", r"^looks at its caller's frame|^looks up the stack"),
    ("called by Python itself", r"^is called by the machinery"),
    ("compiled by a decorator", r"^is compiled by its decorator"),
    ("calls its argument", r"^calls its argument "),
    (
        "writes an argument",
        r"^(writes|may write|deletes) .*(its argument |among its arguments$)|^computes .*which the object keeps$",
    ),
    ("attribute by a computed name", r"whose name is computed$|by a name that is computed$|by its name$"),
    ("cache", r"^fills the cache of |what the cache of .* holds"),
    ("writes module state", r"^writes |^may write |^deletes module global |^may fill "),
    (
        "I/O",
        r"^opens a local file|^waits for input|^uses an open file|^uses a socket|^logs|^warns|^prints to ",
    ),
    ("clock", r"^reads the clock|^sleeps"),
    ("randomness", r"^uses the global random|^reads the system's randomness|^uses a generator of random"),
    ("environment", r"^reads the environment|^depends on the decimal context|^reads a context variable"),
    ("threads and locks", r"^uses a (lock|thread) "),
    ("the interpreter", r"^changes the interpreter|^stops in the debugger|^re-raises its caller's"),
    ("unknown call", r", of which nothing is known$"),
    (
        "code made at run time",
        r"^runs code made|^makes a class at|^defines class|^looks at variables|^imports ",
    ),
    (
        "identity",
        r"^compares identities|^looks at addresses|^uses a weak reference|^(returns|raises|leaves in an argument) .* itself$",
    ),
    (
        "identity",
        r"^(returns|raises|leaves in an argument) a function that it makes$|^may iterate over a set in ",
    ),
    ("given to NumPy", r"^passes .* to NumPy$"),
    ("object cannot travel", r" cannot travel|^its class .* cannot be found by that name$"),
    ("state cannot be compared", r" cannot be compared with the worker's"),
    (
        "source not understood",
        r"nothing is known about its source|several functions on one line|was replaced$",
    ),
    ("source not understood", r"not that of its source$|not understood|super\(\) in "),
    ("too much to analyse", r"too much code|nested too deeply|too many objects|too large to look at"),
    ("the analysis failed", r"^the analysis failed"),
    ("class not analysable", r"^(uses|looks at|makes|asks|formats|copies|deletes|matches|may call) |^calls "),
)
"""Kind, and how its clauses read. The first that fits counts: the last ones take what is left."""

_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _KINDS)


def kind_of(what: str) -> str:
    """The kind of a harm, from the clause that says what happens (`Summary.what`)."""
    return next((kind for kind, pattern in _PATTERNS if pattern.search(what)), OTHER)
