"""Notes that running nodes leave in the user's state directory, for commands on the same machine to find them by.

A note says where a node listens, and nothing secret. It is only a hint: the node is asked, over the
authenticated connection, before anything is believed, and a note whose process is gone is removed by whoever
finds it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from bundlebee.places import user_directory
from bundlebee.platform import is_running


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """One running node."""

    id: str  #: its id in the registry
    grid: str  #: fingerprint of its grid's keys
    address: str  #: ``ip:port`` of its service socket
    pid: int
    started: float  #: wall-clock seconds since 1970
    policy: str = "auto"  #: for programs on this machine that name none


def directory() -> Path:
    """Where the notes lie."""
    return Path(user_directory("state")) / "nodes"


def leave(note: Note) -> Path | None:
    """Write a note, and remove those of nodes that were killed.

    Returns:
        its path; None where the directory cannot be written: commands then find the node by multicast.
    """
    find(note.grid)
    try:
        place = directory()
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{note.id}.json"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(msgspec.json.encode(note))
        os.replace(temporary, path)
    except OSError:
        return None
    return path


def remove(path: Path | None) -> None:
    """Take a note back."""
    if path is not None:
        path.unlink(missing_ok=True)


def find(grid: str) -> list[Note]:
    """The nodes of that grid (its keys' fingerprint) that seem to run here, the first started first."""
    notes = []
    try:
        paths = list(directory().glob("*.json"))
    except OSError:
        return []
    for path in paths:
        try:
            note = msgspec.json.decode(path.read_bytes(), type=Note)
        except (OSError, msgspec.MsgspecError):
            continue
        if not is_running(note.pid):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                pass
        elif note.grid == grid:
            notes.append(note)
    return sorted(notes, key=lambda note: note.started)
