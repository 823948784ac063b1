"""The grid key: one secret that makes a machine a member, and everything that is derived from it.

The key file holds one line of text, ``bundlebee-grid-key-1 <base64 of 32 random bytes>``, readable by its
owner only. From the secret and the grid's name come, by keyed BLAKE2b with a purpose each: the key of the
datagrams, two CURVE pairs (one for all sockets that are bound, one for all that connect) and the hash seed.
Who knows the secret can be any member; who does not cannot even finish a handshake, for the public half of
the server pair is not published anywhere.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundlebee.errors import KeyFileError, UsageError

DEFAULT_GRID = "bundlebee"  #: the grid's name where nobody gives one

_MAGIC = "bundlebee-grid-key-1"
_SECRET_BYTES = 32
_OPEN_SECRET = hashlib.blake2b(b"bundlebee: an open grid has no secret", digest_size=_SECRET_BYTES).digest()
_GRID_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LONGEST_FILE = 4096  # bytes; what is longer is some other file


@dataclass(frozen=True, slots=True)
class CurvePair:
    """A CURVE key pair, both halves in Z85 (40 bytes), the form that ZeroMQ takes."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GridKeys:
    """What is derived from a grid key for the grid of one name."""

    grid: str  #: the grid's name
    open: bool  #: whether this grid has no secret: everybody who can reach it is a member
    datagram: bytes = field(repr=False)  #: 32 bytes, the secret box of the multicast
    server: CurvePair  #: for every socket that is bound
    client: CurvePair  #: for every socket that connects
    hash_seed: int  #: ``PYTHONHASHSEED`` of the grid's programs, 1 to 4294967295
    fingerprint: str  #: 12 hex digits that may be shown: equal keys and grid name, equal fingerprint

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


@dataclass(frozen=True, slots=True)
class GridKey:
    """The secret itself."""

    secret: bytes = field(repr=False)
    open: bool = False

    @classmethod
    def load(cls, path: Path) -> GridKey:
        """Read a key file.

        Raises:
            KeyFileError: it is missing, unreadable, malformed, or readable by anyone but its owner.
        """
        return cls(_read_secret(Path(path)))

    @classmethod
    def create(cls, path: Path) -> GridKey:
        """Make a new key and write it, mode 0600, in one step: nobody ever sees half a file.

        Raises:
            KeyFileError: the file exists already, or cannot be written.
        """
        secret = secrets.token_bytes(_SECRET_BYTES)
        if not _write_new(Path(path), f"{_MAGIC} {base64.b64encode(secret).decode()}\n".encode()):
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
        return cls(
            hashlib.blake2b(check_grid_name(grid).encode(), key=_OPEN_SECRET, digest_size=32).digest(), True
        )

    def derive(self, grid: str = DEFAULT_GRID) -> GridKeys:
        """Everything the grid of that name needs.

        Raises:
            UsageError: the name is not 1 to 64 letters, digits, ``_``, ``-`` or ``.``.
        """
        check_grid_name(grid)

        def purpose(label: bytes) -> bytes:
            return self._purpose(grid, label)

        return GridKeys(
            grid=grid,
            open=self.open,
            datagram=purpose(b"datagram"),
            server=_curve_pair(purpose, b"curve server"),
            client=_curve_pair(purpose, b"curve client"),
            hash_seed=self.hash_seed(grid),
            fingerprint=purpose(b"fingerprint").hex()[:12],
        )

    def hash_seed(self, grid: str = DEFAULT_GRID) -> int:
        """``PYTHONHASHSEED`` of the grid of that name: what a program needs before anything else."""
        return int.from_bytes(self._purpose(grid, b"hash seed")[:8], "big") % 0xFFFFFFFF + 1

    def _purpose(self, grid: str, label: bytes) -> bytes:
        return hashlib.blake2b(grid.encode(), key=self.secret, person=label, digest_size=32).digest()


def default_path(grid: str = DEFAULT_GRID) -> Path:
    """Where the key of the grid of that name lies by default: in the user's configuration directory."""
    import platformdirs

    return platformdirs.user_config_path("bundlebee") / f"{check_grid_name(grid)}.key"


def check_grid_name(grid: str) -> str:
    """The name itself, if it is one.

    Raises:
        UsageError: it is not 1 to 64 letters, digits, ``_``, ``-`` or ``.``, the first a letter or digit.
    """
    if not _GRID_NAME.fullmatch(grid):
        raise UsageError(
            f"{grid!r} is not a grid's name",
            hint="use 1 to 64 letters, digits, '_', '-' or '.', and begin with a letter or digit",
        )
    return grid


def _curve_pair(purpose: Callable[[bytes], bytes], label: bytes) -> CurvePair:
    import zmq
    from zmq.utils import z85

    secret = z85.encode(purpose(label))
    return CurvePair(public=zmq.curve_public(secret), secret=secret)


def _read_secret(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a named pipe must not wait for its writer
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise KeyFileError(
            f"there is no key file {path}",
            hint="copy it from another machine of the grid, or let `bundlebee run` make one",
        ) from None
    except OSError as error:
        raise KeyFileError(f"cannot read the key file {path}", why=error.strerror) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(
                f"{path} is not a key file",
                why="it is not a regular file",
                hint="copy the key file of the grid again",
            )
        if os.name == "posix" and status.st_mode & 0o077:
            raise KeyFileError(
                f"the key file {path} is open to others",
                why=f"mode {stat.S_IMODE(status.st_mode):04o}, and who reads it can run code on every node",
                hint=f"chmod 600 {path}; if others may have read it, make a new key",
            )
        try:
            data = os.read(handle, _LONGEST_FILE + 1)
        except OSError as error:
            raise KeyFileError(f"cannot read the key file {path}", why=error.strerror) from None
    finally:
        os.close(handle)
    words = data.split()
    if len(data) > _LONGEST_FILE or len(words) != 2 or words[0] != _MAGIC.encode():
        raise KeyFileError(
            f"{path} is not a key file",
            why=f"it is not one line '{_MAGIC} <base64>'",
            hint="copy the key file of the grid again",
        )
    try:
        secret = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise KeyFileError(
            f"the key file {path} is damaged",
            why=f"its second word is not {_SECRET_BYTES} bytes in base64",
            hint="copy it again from another machine of the grid",
        )
    return secret


def _write_new(path: Path, data: bytes) -> bool:
    """Write a new file, owner only. False if there is one already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
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
