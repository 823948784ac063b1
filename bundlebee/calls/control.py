"""The pipes between a pool and its workers: one JSON object a line, each way.

A worker gets its configuration and its keys as the first line (never on a command line, never in the
environment, where others could read them), then leases. When the pipe ends the worker exits, whatever it is
doing: no worker outlives its node.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from bundlebee.calls.request import BundlePath as BundlePath
from bundlebee.calls.request import MainSource as MainSource


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """First line: who the worker is."""

    keys: dict[str, Any]
    ip: str
    name: str
    where: dict[str, Any] | None = (
        None  #: `settings.GridOptions` for what tasks submit themselves; None: as variables say
    )


class Lease(msgspec.Struct, frozen=True, tag="lease"):
    """From now on serve the caller that shows this token."""

    token: str
    bundles: list[BundlePath]
    main: MainSource | None = None


class End(msgspec.Struct, frozen=True, tag="end"):
    """Take the lease back. With ``idle``: only if its caller has asked for nothing for so many seconds. With
    ``yielding``: as soon as the chunk at work is done; what of it is not begun is handed back."""

    token: str
    idle: float | None = None
    yielding: bool = False


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker listens."""

    port: int
    local: str = ""  #: the name of its socket for callers on this host, see `local`; empty if it has none
    inherited: int = 0  #: bytes of its peak memory that are not its own, see `platform.inherited_peak`


class Given(msgspec.Struct, frozen=True, tag="given"):
    """The lease has arrived: its caller may come."""

    token: str


class Claimed(msgspec.Struct, frozen=True, tag="claimed"):
    """The caller with this token has come."""

    token: str


class Over(msgspec.Struct, frozen=True, tag="over"):
    """The lease is over."""

    token: str
    why: str
    leaving: bool = (
        False  #: the worker was in the middle of a call, and exits as soon as that has been stopped
    )


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """The answer to an `End` with ``idle``: the caller is at work."""

    token: str


class Stranger(msgspec.Struct, frozen=True, tag="stranger"):
    """Somebody without our key was at the worker's door."""

    address: str


ToWorker = Setup | Lease | End
FromWorker = Ready | Given | Claimed | Over | Kept | Stranger


def _text(path: Path) -> str:
    # a name need not be text: each character is a byte of it
    return os.fsencode(path).decode("latin-1")


def path_of(kind: type[Path], text: str) -> Path:
    """A path that came as one of these texts; for `msgspec`."""
    return kind(os.fsdecode(text.encode("latin-1")))


_encoder = msgspec.json.Encoder(enc_hook=_text)
to_worker: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(Setup | Lease | End, dec_hook=path_of)
from_worker: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(
    Ready | Given | Claimed | Over | Kept | Stranger
)


def line(message: ToWorker | FromWorker) -> bytes:
    """A message as one line."""
    return _encoder.encode(message) + b"\n"
