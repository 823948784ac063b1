"""Options and where they come from: the command line first, then ``BUNDLEBEE_*`` variables, then defaults.

Every option of every command has one variable; a variable that no option knows is an error, because a typing
mistake in a variable is otherwise never found.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from bundlebee.calls import transports
from bundlebee.errors import UsageError
from bundlebee.places import user_directory

if TYPE_CHECKING:
    from bundlebee.calls.keys import GridKey, GridKeys
    from bundlebee.decisions.log import DecisionLog

PREFIX = "BUNDLEBEE_"

VARIABLES: Mapping[str, str] = {
    "BUNDLES": "directory of bundles",
    "NAME": "name of the node",
    "WORKERS": "number of worker processes",
    "INTERFACE": "network interface or its address",
    "PORT": "port of the node's service socket",
    "PEER": "HOST:PORT of known nodes, separated by spaces",
    "GRID": "name of the grid",
    "KEY_FILE": "file with the grid key",
    "OPEN": "1: a grid without a key",
    "POLICY": "auto, local, remote or chaos:P[:SEED]",
    "LOG_FORMAT": "text or json",
    "LOG_FILE": "file for the log instead of standard error",
    "VERBOSE": "1 or 2: as -v, -vv",
    "QUIET": "1: as -q",
    "WEAVE": "installed distributions to treat as bundles, separated by spaces",
    "TRANSPORT": "network, or in-process: calls and tasks run in threads of the program itself",
    "DEADLINE": "seconds that a shipped call may take, before it runs here",
    "DECISIONS": "file for decision records, one JSON object a line",
    "TIMEOUT": "seconds to wait for the result of a call, or of a look at the effects of a bundle",
    "FOLLOW": "1: go on printing decisions",
    "JSON": "1: JSON instead of tables",
    "EFFECTS": "1: check says which functions ship",
    "DIFF": "1: print what weaving changes only",
    "REPORT": "1: list what is woven, and what is not and why",
    "WIDTH": "pixels of the demo's picture",
    "HEIGHT": "pixels of the demo's picture",
    "OUT": "file of the demo's picture",
}
"""Option variables without their prefix, with what they set."""

INTERNAL = frozenset({"BUNDLEBEE_HASH_SEED_SET"})
"""Variables that bundlebee sets for its own second start (see `bundlebee.hash_seed`)."""

DISCOVERY = 0.8
"""Seconds after its start in which a guest still expects answers from the grid.

A node answers a greeting within some 10 ms on an idle LAN; 0.8 s lets a node with a tenth of a processor
answer too, and is still short beside the work that is worth shipping.
"""


def cache_directory() -> Path:
    """Where things lie that can be made again: woven modules, fetched bundles, this machine's speed."""
    return Path(user_directory("cache"))


def check_environment(environ: Mapping[str, str]) -> None:
    """Raise `UsageError` for the first ``BUNDLEBEE_*`` variable that no option knows."""
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in INTERNAL or name.removeprefix(PREFIX) in VARIABLES:
            continue
        import difflib

        close = difflib.get_close_matches(name.removeprefix(PREFIX), VARIABLES, n=1)
        known = ", ".join(PREFIX + known for known in VARIABLES)
        hint = f"did you mean {PREFIX}{close[0]}?" if close else f"known are {known}"
        raise UsageError(f"unknown environment variable {name}", hint=hint)


class GridOptions(msgspec.Struct, frozen=True):
    """Which grid, and how to reach it; the options that all commands share."""

    interface: str | None = None  #: name or address; None chooses one
    peers: tuple[str, ...] = ()  #: "HOST:PORT" of nodes that multicast may not reach
    grid: str = "default"  #: the grid's name
    key_file: Path | None = None  #: None is the default path of the grid's name
    open: bool = False  #: no key: whoever is on the LAN is a member
    transport: str = transports.NETWORK  #: what carries calls, one of `transports.KINDS`

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """What the ``BUNDLEBEE_*`` variables say.

        Raises:
            UsageError: there is one that no option knows, or one with a wrong value.
        """
        check_environment(environ)
        values = {name: environ.get(PREFIX + name, "") for name in VARIABLES}
        return cls(
            values["INTERFACE"] or None,
            parse_peers(tuple(values["PEER"].split())),
            values["GRID"] or "default",
            Path(values["KEY_FILE"]) if values["KEY_FILE"] else None,
            values["OPEN"].lower() in ("1", "true", "yes", "on", "t", "y"),
            parse_transport(values["TRANSPORT"] or transports.NETWORK),
        )

    @property
    def key_path(self) -> Path:
        """Where the key is or would be."""
        from bundlebee.calls.keys import default_path

        return self.key_file if self.key_file is not None else default_path(self.grid)

    def load_keys(self, *, create: bool) -> GridKeys | None:
        """Derive the grid's keys.

        Args:
            create: make a new key file where there is none (what a node does). A guest gets None instead:
                without a key there is no grid to join.

        Raises:
            KeyFileError: the file cannot be read, is malformed, or others may read it.
        """
        key = self.load_key(create=create)
        return None if key is None else key.derive(self.grid)

    def hash_seed(self) -> int:
        """The grid's hash seed; 1 where there is no grid.

        Raises:
            KeyFileError: as `load_keys`.
        """
        key = self.load_key(create=False)
        return 1 if key is None else key.hash_seed(self.grid)

    def load_key(self, *, create: bool) -> GridKey | None:
        """The key itself, as for `load_keys`; what needs ZeroMQ is derived from it later.

        Raises:
            KeyFileError: as `load_keys`.
        """
        from bundlebee.calls.keys import GridKey

        if self.open:
            return GridKey.open_grid(self.grid)
        path = self.key_path
        if not create and self.key_file is None and not os.path.lexists(path):
            return None
        return GridKey.load_or_create(path)[0] if create else GridKey.load(path)


of_program: GridOptions | None = None
"""Those that this program was started with, if `bundlebee exec` started it; in a worker those of its node."""

decisions: DecisionLog | None = None
"""Where this program's decisions go, if `bundlebee exec` started it."""

in_worker = False
"""This process is a worker. What its tasks submit must not wait for itself: a worker has no pool of its own, and lends a hand."""


def parse_transport(text: str) -> str:
    """Check the name of a transport.

    Raises:
        UsageError: there is none of that name.
    """
    if text not in transports.KINDS:
        raise UsageError(f"there is no transport {text!r}", hint=f"known are {', '.join(transports.KINDS)}")
    return text


def parse_peers(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Check ``HOST:PORT`` texts.

    Raises:
        UsageError: one of them is not of that form.
    """
    for text in texts:
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise UsageError(f"{text!r} is not HOST:PORT", hint="as in --peer 192.168.1.20:7766")
    return texts
