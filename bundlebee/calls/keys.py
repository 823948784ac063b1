"""The grid key: one secret that makes a machine a member, and everything that is derived from it.

The key file holds one line of text, ``bundlebee-grid-key-1 <base64 of 32 random bytes>``, readable by its
owner only. From the secret and the grid's name come, by keyed BLAKE2b with a purpose each: the key of the
datagrams, two CURVE pairs (one for all sockets that are bound, one for all that connect) and the hash seed.
Who knows the secret can be any member; who does not cannot even finish a handshake, for the public half of
the server pair is not published anywhere.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from bundlebee.calls.secret import (
    MAGIC,
    SECRET_BYTES,
    check_grid_name,
    default_file,
    derive,
    hash_seed,
    open_secret,
    read_secret,
)
from bundlebee.errors import KeyFileError

DEFAULT_GRID = "bundlebee"  #: the grid's name where nobody gives one


class CurvePair(msgspec.Struct, frozen=True):
    """A CURVE key pair, both halves in Z85 (40 bytes), the form that ZeroMQ takes."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"CurvePair(public={self.public!r})"


class GridKeys(msgspec.Struct, frozen=True):
    """What is derived from a grid key for the grid of one name."""

    grid: str  #: the grid's name
    open: bool  #: whether this grid has no secret: everybody who can reach it is a member
    datagram: bytes  #: 32 bytes, the secret box of the multicast
    server: CurvePair  #: for every socket that is bound
    client: CurvePair  #: for every socket that connects
    hash_seed: int  #: ``PYTHONHASHSEED`` of the grid's programs, 1 to 4294967295
    fingerprint: str  #: 12 hex digits that may be shown: equal keys and grid name, equal fingerprint

    def __repr__(self) -> str:
        return f"GridKeys(grid={self.grid!r}, open={self.open}, fingerprint={self.fingerprint!r})"

    def dump(self) -> dict[str, object]:
        """All fields as plain data, for a worker's control pipe. Never for a log or a command line."""
        return {
            "grid": self.grid,
            "open": self.open,
            "datagram": self.datagram.hex(),
            "server": [self.server.public.decode(), self.server.secret.decode()],
            "client": [self.client.public.decode(), self.client.secret.decode()],
            "hash_seed": self.hash_seed,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def restore(cls, data: dict[str, object]) -> GridKeys:
        """The inverse of :meth:`dump`."""
        values: dict[str, Any] = dict(data)
        values["datagram"] = bytes.fromhex(values["datagram"])
        for name in ("server", "client"):
            public, secret = values[name]
            values[name] = CurvePair(public.encode(), secret.encode())
        return cls(**values)


class GridKey(msgspec.Struct, frozen=True):
    """The secret itself."""

    secret: bytes
    open: bool = False

    def __repr__(self) -> str:
        return f"GridKey(open={self.open})"

    @classmethod
    def load(cls, path: Path) -> GridKey:
        """Read a key file.

        Raises:
            KeyFileError: it is missing, unreadable, malformed, or readable by anyone but its owner.
        """
        return cls(read_secret(path))

    @classmethod
    def create(cls, path: Path) -> GridKey:
        """Make a new key and write it, mode 0600, in one step: nobody ever sees half a file.

        Raises:
            KeyFileError: the file exists already, or cannot be written.
        """
        import base64

        secret = os.urandom(SECRET_BYTES)
        if not _write_new(Path(path), f"{MAGIC} {base64.b64encode(secret).decode()}\n".encode()):
            raise KeyFileError(
                f"the key file {path} exists already", hint="use it, or move it away and make a new grid"
            )
        return cls(secret)

    @classmethod
    def load_or_create(cls, path: Path) -> tuple[GridKey, bool]:
        """The key at ``path``; made if there is none. Of several processes that race for it, one makes it.

        Returns:
            the key, and whether it was made just now.

        Raises:
            KeyFileError: as :meth:`load` and :meth:`create`.
        """
        path = Path(path)
        if not path.exists():
            try:
                return cls.create(path), True
            except KeyFileError:
                if not path.exists():
                    raise
        return cls.load(path), False

    @classmethod
    def open_grid(cls, grid: str = DEFAULT_GRID) -> GridKey:
        """The key that everybody knows, for ``--open``: a grid of one name still sees only itself."""
        return cls(open_secret(grid), True)

    def derive(self, grid: str = DEFAULT_GRID) -> GridKeys:
        """Everything the grid of that name needs.

        Raises:
            UsageError: the name is not 1 to 64 letters, digits, ``_``, ``-`` or ``.``.
        """
        check_grid_name(grid)

        def purpose(label: bytes) -> bytes:
            return derive(self.secret, grid, label)

        return GridKeys(
            grid=grid,
            open=self.open,
            datagram=purpose(b"datagram"),
            server=_curve_pair(purpose, b"curve server"),
            client=_curve_pair(purpose, b"curve client"),
            hash_seed=self.hash_seed(grid),
            fingerprint=self.fingerprint(grid),
        )

    def hash_seed(self, grid: str = DEFAULT_GRID) -> int:
        """``PYTHONHASHSEED`` of the grid of that name: what a program needs before anything else."""
        return hash_seed(self.secret, grid)

    def fingerprint(self, grid: str = DEFAULT_GRID) -> str:
        """As `GridKeys.fingerprint`."""
        return derive(self.secret, grid, b"fingerprint").hex()[:12]


def default_path(grid: str = DEFAULT_GRID) -> Path:
    """Where the key of the grid of that name lies by default: in the user's configuration directory."""
    return Path(default_file(grid))


def _curve_pair(purpose: Callable[[bytes], bytes], label: bytes) -> CurvePair:
    import zmq
    from zmq.utils import z85

    secret = z85.encode(purpose(label))
    return CurvePair(public=zmq.curve_public(secret), secret=secret)


def _write_new(path: Path, data: bytes) -> bool:
    """Write a new file, owner only. False if there is one already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        try:
            os.link(temporary, path)  # unlike a rename, fails if somebody was faster
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            if path.exists():
                return False
            os.rename(temporary, path)
        return True
    except OSError as error:
        raise KeyFileError(f"cannot write the key file {path}", why=error.strerror) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
