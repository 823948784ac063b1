"""The secret of a grid: its file, and what is derived from it before anything else is known.

Apart from `calls.keys` because `bundlebee exec` reads it twice (see `bundlebee.hash_seed`), the first time in a process that
lives for some milliseconds: this imports next to nothing.
"""

from __future__ import annotations

import binascii
import os
import stat

from bundlebee.errors import KeyFileError, UsageError
from bundlebee.hashing import blake2b
from bundlebee.places import user_directory

MAGIC = "bundlebee-grid-key-1"
SECRET_BYTES = 32
_LONGEST_FILE = 4096  # bytes; what is longer is some other file
_LONGEST_NAME = 64


def derive(secret: bytes, grid: str, label: bytes) -> bytes:
    """32 bytes for one purpose, by keyed BLAKE2b."""
    return blake2b(grid.encode(), key=secret, person=label, digest_size=32).digest()


def open_secret(grid: str) -> bytes:
    """What stands for the secret of an open grid: everybody knows it, but a grid of one name still sees only itself.

    Raises:
        UsageError: as `check_grid_name`.
    """
    nobodys = blake2b(b"bundlebee: an open grid has no secret", digest_size=SECRET_BYTES).digest()
    return blake2b(check_grid_name(grid).encode(), key=nobodys, digest_size=SECRET_BYTES).digest()


def hash_seed(secret: bytes, grid: str) -> int:
    """``PYTHONHASHSEED`` of the programs of the grid of that name: 1 to 4294967295."""
    return int.from_bytes(derive(secret, grid, b"hash seed")[:8], "big") % 0xFFFFFFFF + 1


def default_file(grid: str) -> str:
    """Where the key of the grid of that name lies by default: in the user's configuration directory.

    Raises:
        UsageError: as `check_grid_name`.
    """
    return os.path.join(user_directory("config"), f"{check_grid_name(grid)}.key")


def check_grid_name(grid: str) -> str:
    """The name itself, if it is one.

    Raises:
        UsageError: it is not 1 to 64 letters, digits, ``_``, ``-`` or ``.``, the first a letter or digit.
    """
    plain = grid.isascii() and all(char.isalnum() or char in "_.-" for char in grid)
    if not plain or not 0 < len(grid) <= _LONGEST_NAME or not grid[0].isalnum():
        raise UsageError(
            f"{grid!r} is not a grid's name",
            hint="use 1 to 64 letters, digits, '_', '-' or '.', and begin with a letter or digit",
        )
    return grid


def read_secret(path: str | os.PathLike[str]) -> bytes:
    """The secret in a key file.

    Raises:
        KeyFileError: it is missing, unreadable, malformed, or readable by anyone but its owner.
    """
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
    if len(data) > _LONGEST_FILE or len(words) != 2 or words[0] != MAGIC.encode():
        raise KeyFileError(
            f"{path} is not a key file",
            why=f"it is not one line '{MAGIC} <base64>'",
            hint="copy the key file of the grid again",
        )
    try:
        secret = binascii.a2b_base64(words[1], strict_mode=True)
    except binascii.Error:
        secret = b""
    if len(secret) != SECRET_BYTES:
        raise KeyFileError(
            f"the key file {path} is damaged",
            why=f"its second word is not {SECRET_BYTES} bytes in base64",
            hint="copy it again from another machine of the grid",
        )
    return secret
