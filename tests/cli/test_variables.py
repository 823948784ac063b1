"""Every option of every command has a variable that the check of the environment knows, and the other way round."""

from __future__ import annotations

import click
import pytest

from bundlebee.cli.command import VERBS, bundlebee
from bundlebee.errors import UsageError
from bundlebee.settings import PREFIX, VARIABLES, check_environment


def options() -> list[tuple[str, click.Parameter]]:
    found = []
    for verb in VERBS:
        command = bundlebee.get_command(click.Context(bundlebee), verb)
        assert command is not None
        found += [(verb, parameter) for parameter in command.params if isinstance(parameter, click.Option)]
    return found


def test_every_option_has_a_variable_and_every_variable_an_option() -> None:
    known = {PREFIX + name for name in VARIABLES}
    used = {PREFIX + "BUNDLES"}
    for verb, option in options():
        assert option.envvar in known, (verb, option.name)
        used.add(str(option.envvar))
        assert option.help, (verb, option.name)
    assert used == known


def test_every_verb_has_examples() -> None:
    for verb in VERBS:
        command = bundlebee.get_command(click.Context(bundlebee), verb)
        assert command is not None
        assert "bundlebee " + verb in (command.epilog or ""), verb


def test_unknown_variables_are_refused() -> None:
    check_environment({"HOME": "/", "BUNDLEBEE_NAME": "x"})
    with pytest.raises(UsageError, match="BUNDLEBEE_NAMES"):
        check_environment({"BUNDLEBEE_NAMES": "x"})
