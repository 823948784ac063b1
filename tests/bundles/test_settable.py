"""What a program may set in the standard library counts as state of the catalogued functions that look at it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from bundlebee.bundles.catalogue import catalogue
from bundlebee.bundles.fingerprint import fingerprint
from bundlebee.bundles.settable import settable


def catalogued() -> Iterator[tuple[str, FunctionType]]:
    """The functions of the catalogue that are written in Python."""
    for name in sorted(catalogue()._functions):
        module, _, rest = name.rpartition(".")
        while module:
            try:
                thing: Any = importlib.import_module(module)
            except ImportError:
                module, _, last = module.rpartition(".")
                rest = f"{last}.{rest}"
                continue
            for part in rest.split("."):
                thing = getattr(thing, part, None)
            if isinstance(thing, FunctionType):
                yield name, thing
            break


def prints() -> dict[str, str]:
    """The fingerprint of each one's state."""
    return {
        name: fingerprint(sorted(settable(function)), modules=sys.modules).hex()
        for name, function in catalogued()
        if not name.startswith(("asyncio.", "os.", "secrets.", "uuid."))  # these do not only compute
    }


USE = """import base64, collections, copy, difflib, fnmatch, html, json, re, statistics, textwrap, urllib.parse
re.search("a+", "BAA", re.I | re.M | re.S), re.sub("(a)", r"\\1", "a"), re.compile("x", re.X | re.A)
json.dumps({"a": [1.5, "x"]}), json.loads("[1, {}]"), textwrap.wrap("a b c " * 30), textwrap.dedent(" a")
list(difflib.ndiff(["a"], ["b"])), difflib.get_close_matches("appel", ["apple"]), html.unescape("&amp;&#65;")
copy.deepcopy([{1: (2,)}]), collections.namedtuple("P", "x y"), urllib.parse.quote("a b"), base64.b85decode(b"VPaz")
base64.b32decode(b"MFRGG==="), statistics.stdev([1, 2.5]), statistics.mode("aab"), fnmatch.fnmatch("a", "*")
"""


def test_each_is_comparable_and_the_same_in_another_process_that_has_used_them() -> None:
    place = os.path.dirname(__file__)
    found = []
    for first in ("", USE):
        code = f"{first}\nimport json, sys; sys.path.insert(0, {place!r})\n"
        code += "from test_settable import prints; json.dump(prints(), sys.stdout)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "1"},  # a grid has one, too
        )
        found.append(json.loads(done.stdout))
    there, here = found
    assert {name for name in here if here[name] != there[name]} == set()
    assert "json.dumps" in here and len(here) > 50


def digest(function: FunctionType) -> bytes:
    return fingerprint(sorted(settable(function)), modules=sys.modules)


@pytest.mark.parametrize(
    ("function", "place", "attribute", "value"),
    [
        (json.dumps, "json:_default_encoder", "indent", 2),
        (json.dumps, "json:JSONEncoder", "default", lambda self, thing: str(thing)),
        (json.dumps, "json.encoder:", "encode_basestring_ascii", repr),
        (json.loads, "json:_default_decoder", "strict", False),
        (textwrap.wrap, "textwrap:TextWrapper", "wordsep_re", None),
        (textwrap.wrap, "textwrap:TextWrapper", "_split", lambda self, text: [text]),
        (textwrap.dedent, "textwrap:", "_whitespace_only_re", None),
    ],
)
def test_what_is_set_is_seen(
    monkeypatch: pytest.MonkeyPatch, function: Any, place: str, attribute: str, value: Any
) -> None:
    module, _, name = place.partition(":")
    before = digest(function)
    holder: Any = sys.modules[module]
    monkeypatch.setattr(getattr(holder, name) if name else holder, attribute, value)
    assert digest(function) != before
    monkeypatch.undo()
    assert digest(function) == before
