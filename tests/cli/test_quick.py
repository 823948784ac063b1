"""Options of `bundlebee exec` that are parsed without click come out as click would have them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundlebee.cli import command, quick

HERE = str(Path(__file__).parent)
WORDS = [
    "x",
    "",
    "auto",
    "json",
    "a b",
    "-m",
    "-c",
    "-",
    "--",
    "-v",
    "10.0.0.1:1",
    HERE,
    __file__,
    "/no/such/file",
    "in-process",
]
OPTIONS = [
    *("--bundles", "--weave", "--policy", "--decisions", "--interface", "--peer", "--grid", "--key-file"),
    *(
        "--log-file",
        "--log-format",
        "--open",
        "-q",
        "--quiet",
        "-v",
        "-vv",
        "--verbose",
        "--nope",
        "--deadline",
        "--transport",
        "-h",
        "-qv",
    ),
]
VARIABLES = [
    "BUNDLES",
    "WEAVE",
    "POLICY",
    "DECISIONS",
    "PEER",
    "GRID",
    "LOG_FORMAT",
    "LOG_FILE",
    "OPEN",
    "QUIET",
    "VERBOSE",
    "TRANSPORT",
    "DEADLINE",
]


class Begun(Exception):
    pass


def outcome(parse: Any, patch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """What `begin` is called with, or how the command ended before."""

    def begin(kind: str, program: str, arguments: list[str], **options: Any) -> None:
        raise Begun(kind, program, list(arguments), options)

    patch.setattr("bundlebee.cli.begin.begin", begin)
    patch.setattr("bundlebee.cli.exec_.begin", begin)
    try:
        return ("not plain",) if parse() is None else ("ran",)
    except Begun as begun:
        return begun.args
    except SystemExit as error:
        return ("exit", error.code)


def both(arguments: list[str], variables: dict[str, str]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:

    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("BUNDLEBEE_"):
                patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(f"BUNDLEBEE_{name}", value)
        quickly = outcome(lambda: quick.prepare(arguments), patch)
        return quickly, outcome(lambda: command.run_command(["exec", *arguments]), patch)


tokens = st.one_of(
    st.sampled_from(OPTIONS),
    st.sampled_from(WORDS),
    st.builds("{}={}".format, st.sampled_from(OPTIONS), st.sampled_from(WORDS)),
)


@settings(deadline=None, max_examples=400)
@given(
    st.lists(tokens, max_size=6),
    st.dictionaries(
        st.sampled_from(VARIABLES), st.sampled_from(["", "1", "x", "a b", "json", HERE]), max_size=3
    ),
)
def test_what_is_plain_is_what_click_makes_of_it(arguments: list[str], variables: dict[str, str]) -> None:
    quickly, properly = both(arguments, variables)
    assert quickly == ("not plain",) or quickly == properly


@pytest.mark.parametrize(
    "line",
    [
        "-m mandelbrot --width 16",
        "--deadline 2.5 -m mandelbrot",
        "--bundles d --policy remote -vv script.py -m x",
        "--policy=local --peer 10.0.0.1:7766 --peer=h:1 --interface lo -c pass --open",
        "--grid g --key-file /no/k --log-format json --log-file l --decisions d --weave a --weave b -q --open s",
    ],
)
def test_the_usual_is_plain(line: str) -> None:
    quickly, properly = both(line.split(), {"WEAVE": "networkx numpy", "INTERFACE": "lo"})
    assert quickly == properly and len(quickly) == 4


def test_an_error_is_an_error() -> None:
    assert both(["--peer", "nonsense", "x.py"], {})[0] == ("exit", 2)
    assert both(["--peer", "nonsense", "x.py"], {})[1] == ("exit", 2)
