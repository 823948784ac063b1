"""What the caller of a lease asks for."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bundlebee.words import BundleRef


class BundlePath(msgspec.Struct, frozen=True):
    """A bundle, and the directory to put on the search path for it."""

    ref: BundleRef
    path: Path


class MainSource(msgspec.Struct, frozen=True):
    """The program's own script, from which a worker builds a ``__main__`` of definitions only."""

    source: bytes
    path: str  #: as the caller shows it in tracebacks
    digest: str
    package: str | None = None  #: ``__package__``, for a ``python -m`` program's relative imports


class LeaseRequest(msgspec.Struct, frozen=True):
    """Ask for a worker slot."""

    caller: str  #: for the node's log
    python: str  #: ``"3.11"``: calls go between equal minor versions only
    hash_seed: int  #: the caller's ``PYTHONHASHSEED``; sets must iterate alike
    bundles: tuple[BundleRef, ...]  #: what the worker must be able to import, exactly these versions
    main: MainSource | None = None
    tasks: str = (
        ""  #: who sends tasks, which may change the worker's state; empty for calls that only compute
    )
    optimize: int = 0  #: how often the caller was given ``-O``: whether assertions run
