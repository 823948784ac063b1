"""What a caller and a node say to each other about worker slots and bundles: bodies of operations of `calls.rpc`.

``lease``          LeaseRequest → LeaseAnswer
``distributions``  names → versions of those that are installed there
``fate``           the lease's token → `calls.fate.Fate` of its worker, or nil
``release``        the lease's token → nothing (a caller that dies need not say it: its worker notices)
``bundle.offer``   BundleOffer and a piece of the archive → nothing (the last piece installs it)
``bundle.fetch``   BundlePiece → the total size in bytes as text, and the piece
"""

from __future__ import annotations

import msgspec

from bundlebee.calls.request import LeaseRequest as LeaseRequest
from bundlebee.words import BundleRef

PIECE = 1 << 20
"""Bytes of an archive in one message. Small enough that a node's memory does not notice, large enough for a gigabit."""


class LeaseAnswer(msgspec.Struct, frozen=True):
    """Either a lease (token and address), or ``missing``: digests that the node asks the caller to offer."""

    token: str = ""
    address: str = ""  #: ``ip:port`` of the worker
    missing: tuple[str, ...] = ()
    local: str = ""  #: where callers on the worker's own host find it, see `local`


class BundleOffer(msgspec.Struct, frozen=True):
    """A piece of a bundle's archive, from a caller that holds it."""

    ref: BundleRef
    offset: int
    total: int


class BundlePiece(msgspec.Struct, frozen=True):
    """Which piece of which bundle's archive is wanted."""

    digest: str
    offset: int
