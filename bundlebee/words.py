"""The words that every room shares: reasons, places, references. Pure data, nothing below it but errors."""

from __future__ import annotations

from enum import StrEnum

import msgspec

HERE = "here"
"""The value of ``where`` in a decision record for a call that ran in the caller's own process."""

OWN = "own-cores"
"""The place of a guest's own pool, in the log and in records."""


class Reason(StrEnum):
    """Why a call went where it went. The text is what people and programs read in the log."""

    CHEAPER_HERE = "cheaper-here"  #: the model expects it to be done sooner here
    CHEAPER_THERE = "cheaper-there"  #: the model expects it to be done sooner on that peer
    NO_PEER = "no-peer"  #: no peer is known, or none that may run this
    TOO_SHORT = "too-short"  #: it is over before a message could be on its way
    UNMEASURED = "unmeasured"  #: nobody knows yet how long it takes, so it runs here
    EXPLORING = "exploring"  #: sent to learn what that peer needs for it
    EFFECTS = "effects"  #: it does something that only means the same here
    STATE = "state"  #: it reads state that is not the same there
    UNPICKLABLE = "unpicklable"  #: an argument or the result cannot travel
    OBSERVED = "observed"  #: a debugger, coverage or a profiler would not see it elsewhere
    FORCED = "forced"  #: the policy says so
    NO_LOOP = "no-loop"  #: no event loop of asyncio awaits it
    HOP_LIMIT = "hop-limit"  #: tasks have submitted tasks so often that this one may not be
    PEER_BUSY = "peer-busy"  #: no free slot there
    PEER_LOST = "peer-lost"  #: the peer went away, so it ran here
    DEADLINE = "deadline"  #: no answer from the peer within the deadline, so it ran here
    GUARD = "guard"  #: the effect guard of the worker stopped it before anything happened
    ENVIRONMENT = "environment"  #: the peer lacks the Python or the distributions it needs
    FAILED = "failed"  #: our own machinery failed; the plain call ran here


class BundleRef(msgspec.Struct, frozen=True):
    """One version of one bundle, exactly."""

    name: str  #: distribution name, or the import name where there is no metadata
    version: str  #: as its metadata says; ``"0"`` where nothing says
    digest: str  #: lower-case hex of the content digest
    imports: tuple[str, ...]  #: the top-level import names it owns


class FunctionRef(msgspec.Struct, frozen=True):
    """A function of a bundle, by name."""

    bundle: str  #: the bundle's name
    digest: str  #: the bundle's digest
    module: str  #: dotted module name; ``__main__`` for the program's own script
    qualname: str  #: ``Class.method`` or ``function``

    @property
    def name(self) -> str:
        """``module:qualname``, the form of the log and of `bundlebee call`."""
        return f"{self.module}:{self.qualname}"
