"""What nodes say to each other, and how it looks on the wire.

Multicast, one message a datagram, sealed (see `seal`), at most `MAX_MESSAGE` bytes before sealing::

    +-----+--------------------------------------------------+
    | tag | the fields of the struct, in order   (msgpack array)
    +-----+--------------------------------------------------+

    "b" Beat       I live, at this version; and this is the hash of my view of the grid
    "d" Delta      my rows changed from version `base` to the version in the pulse
    "s" State      all my rows (the answer to a hello; only if they fit)
    "h" Hello      I am new: who is there?
    "r" Relay      signs of life of nodes that you may not hear yourselves
    "g" Goodbye    I leave

Unicast, over the authenticated request sockets of `calls`: the operations ``registry.ping`` (answer:
`Pulse`), ``registry.pull`` (`PullRequest` → `RowSet` or nil) and ``registry.exchange`` (`ExchangeRequest` →
`ExchangeAnswer`).
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from bundlebee.errors import ProtocolError
from bundlebee.registry.rows import BundleRow, NodeRow, Pulse, RowSet

#: A datagram that is not fragmented on any link that a LAN is made of (VPNs and tunnels included) stays below
#: 1,280 bytes of IP; 28 are headers, 44 the seal. What does not fit is announced and pulled.
MAX_MESSAGE = 1_200


class Beat(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    pulse: Pulse
    view: int  #: see `members.view_hash`


class Delta(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    pulse: Pulse
    base: int  #: the version that this applies to
    node: NodeRow | None = None  #: set if the node row itself changed
    bundles: tuple[BundleRow, ...] = ()  #: new or changed
    dropped: tuple[str, ...] = ()  #: digests of bundles that are gone


class State(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    pulse: Pulse
    rows: RowSet
    view: int


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    id: str


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """A sign of life at second hand."""

    pulse: Pulse
    age: float  #: seconds since it was sent, as far as the teller knows; ages need no common clock
    have: int  #: version of the rows that the teller holds; 0 if none


class Relay(msgspec.Struct, frozen=True, array_like=True, tag="r"):
    id: str
    address: str  #: of the relaying node, which also answers pulls
    heard: tuple[Heard, ...]


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag="g"):
    id: str


Message = Beat | Delta | State | Hello | Relay | Goodbye


class PullRequest(msgspec.Struct, frozen=True, array_like=True):
    id: str  #: whose rows


class ExchangeRequest(msgspec.Struct, frozen=True, array_like=True):
    id: str
    address: str  #: of the asker's service socket; empty for an observer
    heard: tuple[Heard, ...]
    rows: tuple[RowSet, ...] = ()  #: what the other side wanted the last time
    push: bool = False  #: only takes; wants nothing back


class ExchangeAnswer(msgspec.Struct, frozen=True, array_like=True):
    id: str
    address: str
    heard: tuple[Heard, ...] = ()  #: newer signs of life than the asker's
    rows: tuple[RowSet, ...] = ()  #: newer rows than the asker's
    want: tuple[str, ...] = ()  #: ids of which the asker has newer rows


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)
T = TypeVar("T")


def encode(message: object) -> bytes:
    """The bytes of any struct of this module."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """A multicast message.

    Raises:
        ProtocolError: the bytes are none.
    """
    try:
        message: Message = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError("a registry message cannot be read", why=str(error)) from None
    return message


def decode_as(data: bytes, kind: type[T]) -> T:
    """A unicast body, as `kind`.

    Raises:
        ProtocolError: the bytes are none.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"a registry body cannot be read as {kind.__name__}", why=str(error)) from None


def fits(message: Message) -> bool:
    """Whether it may go into one datagram."""
    return len(_encoder.encode(message)) <= MAX_MESSAGE
