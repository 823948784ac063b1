"""The user's directories are those of platformdirs, whatever the environment says."""

from __future__ import annotations

from collections.abc import Callable

import platformdirs
import pytest

from bundlebee.places import user_directory

KINDS: dict[str, tuple[str, Callable[[str], str]]] = {
    "config": ("XDG_CONFIG_HOME", platformdirs.user_config_dir),
    "cache": ("XDG_CACHE_HOME", platformdirs.user_cache_dir),
    "state": ("XDG_STATE_HOME", platformdirs.user_state_dir),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("home", ["/home/someone", "/home/someone/", "/", None])
@pytest.mark.parametrize("xdg", [None, "", "/elsewhere", "/elsewhere/", "relative", "~/x"])
def test_they_are_those_of_platformdirs(
    monkeypatch: pytest.MonkeyPatch, kind: str, home: str | None, xdg: str | None
) -> None:
    variable, theirs = KINDS[kind]
    for name, value in (("HOME", home), (variable, xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert user_directory(kind) == theirs("bundlebee")
