"""Sealed datagrams: who does not hold the grid key can neither read nor make one.

::

    +-----------+----------------+---------------------------------------------+
    | "BEE\\x01" | nonce, 24 bytes | XSalsa20-Poly1305 box (16 bytes longer than the message)
    +-----------+----------------+---------------------------------------------+

A recorded datagram can be sent again by anybody; the registry does not mind, since all that it says is
numbered and old numbers are ignored.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from bundlebee.loggers import get_logger

MAGIC = b"BEE\x01"
NONCE = 24
OVERHEAD = len(MAGIC) + NONCE + 16

_log = get_logger("bundlebee.registry")


class Seal:
    """Seals and opens datagrams with one key.

    Args:
        key: 32 bytes, the same on all members of the grid.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError(f"a datagram key has 32 bytes, not {len(key)}")
        self._key = key

    def seal(self, message: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return MAGIC + nonce + crypto_secretbox(message, nonce, self._key)

    def open(self, datagram: bytes) -> bytes | None:
        """The message, or None if it was not sealed with our key."""
        if len(datagram) < OVERHEAD or not datagram.startswith(MAGIC):
            return None
        start = len(MAGIC) + NONCE
        try:
            return crypto_secretbox_open(datagram[start:], datagram[len(MAGIC) : start], self._key)
        except CryptoError:
            return None


class Foreigners:
    """Counts datagrams that are not ours, and mentions each sender once; never a flood, never growing.

    Args:
        most: so many senders are mentioned; further ones are only counted.
    """

    def __init__(self, most: int = 8, level: int = logging.WARNING) -> None:
        self.count = 0
        self.level = level  #: of the mention; a guest has no need to know of other grids
        #: whether an address was not named elsewhere yet (at another door of the same node)
        self.unnamed: Callable[[str], bool] = lambda _address: True
        self._most = most
        self._seen: set[str] = set()

    def note(self, source: str, datagram: bytes) -> None:
        """A datagram from this address could not be opened."""
        self.count += 1
        if source in self._seen or len(self._seen) > self._most:
            return
        self._seen.add(source)
        if len(self._seen) > self._most:
            _log.log(
                self.level,
                "more senders of datagrams that do not belong to this grid; they are only counted now",
            )
        elif not self.unnamed(source):
            pass
        elif datagram.startswith(MAGIC):
            _log.log(self.level, "%s belongs to another grid (its key is not ours); it is ignored", source)
        else:
            _log.log(self.level, "%s sends to our multicast group what is not ours; it is ignored", source)
