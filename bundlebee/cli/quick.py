"""The options of `bundlebee exec` where they are plain, without click: its import takes 20 ms of CPU time, a tenth of a second
where a tenth of a core is all there is.

Whatever is not plain (an error, ``--help``, a flag in a variable) is left to click, which has the last word. What both
understand they understand alike; a test sees to that.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bundlebee.calls import transports
from bundlebee.errors import BundlebeeError
from bundlebee.settings import PREFIX, GridOptions, check_environment, parse_peers

_TEXTS = {
    "policy": "POLICY",
    "interface": "INTERFACE",
    "grid": "GRID",
    "log-format": "LOG_FORMAT",
    "deadline": "DEADLINE",
    "transport": "TRANSPORT",
}
_FILES = {"decisions": "DECISIONS", "key-file": "KEY_FILE", "log-file": "LOG_FILE"}
_LISTS = {"peer": "PEER", "weave": "WEAVE"}
_VALUES = {**_TEXTS, **_FILES, **_LISTS, "bundles": "BUNDLES"}
_FLAGS = {
    "-q": "quiet",
    "--quiet": "quiet",
    "-v": "verbose",
    "-vv": "verbose",
    "--verbose": "verbose",
    "--open": "open",
}


def prepare(arguments: Sequence[str]) -> Callable[[], None] | None:
    """What runs the program; None if click is to parse the arguments of `exec`. Exits where an option cannot be followed."""
    found = parse(arguments, os.environ)
    if found is None:
        return None
    from bundlebee.cli.begin import begin, failed, interrupted

    try:
        check_environment(os.environ)
        peers = parse_peers(found.pop("peer"))
        where = GridOptions(
            found.pop("interface"),
            peers,
            found.pop("grid"),
            found.pop("key_file"),
            found.pop("open"),
            found.pop("transport"),
        )
        return begin(**found, where=where)
    except KeyboardInterrupt:
        interrupted()
    except BundlebeeError as error:
        failed(error)


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any] | None:
    """The values of all options by name, and ``kind``, ``program`` and ``arguments``; None where they are not plain."""
    if any(environ.get(PREFIX + name) for name in ("OPEN", "QUIET", "VERBOSE")):
        return None
    given: dict[str, list[str]] = {}
    flags = {"quiet": 0, "verbose": 0, "open": 0}
    rest = list(arguments)
    while rest:
        token = rest.pop(0)
        if token in ("-m", "-c"):
            if not rest:
                return None
            kind, program = token[1], rest.pop(0)
            break
        if not token.startswith("-"):
            kind, program = "script", token
            break
        if token in _FLAGS:
            flags[_FLAGS[token]] += token.count("v") if token.startswith("-v") else 1
            continue
        name, equals, value = token[2:].partition("=")
        if not token.startswith("--") or name not in _VALUES:
            return None
        if not equals:
            if not rest or rest[0].startswith("-"):
                return None
            value = rest.pop(0)
        given.setdefault(name, []).append(value)
    else:
        return None
    found: dict[str, Any] = {"kind": kind, "program": program, "arguments": rest}
    for name, variable in _VALUES.items():
        values, text = given.get(name, []), environ.get(PREFIX + variable, "")
        key = name.replace("-", "_")
        if name in _LISTS:
            found[key] = tuple(values or text.split())
            continue
        last = values[-1] if values else text or None
        found[key] = last
        if last is not None and name not in _TEXTS:
            if os.path.exists(last) and (
                not os.access(last, os.R_OK) or (name in _FILES and os.path.isdir(last))
            ):
                return None
            found[key] = Path(last)
    if found["deadline"] is not None:
        try:
            found["deadline"] = float(found["deadline"])
        except ValueError:
            return None
        if not 0.0 < found["deadline"] < math.inf:
            return None
    if found["log_format"] not in (None, "text", "json"):
        return None
    found["log_format"] = found["log_format"] or "text"
    found["transport"] = found["transport"] or transports.NETWORK
    if found["transport"] not in transports.KINDS:
        return None
    if found["grid"] is None:
        found["grid"] = "default"
    found["open"] = bool(flags["open"])
    found["verbosity"] = -1 if flags["quiet"] else flags["verbose"]
    return found
