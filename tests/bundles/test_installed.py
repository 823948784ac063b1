from __future__ import annotations

from pathlib import Path

import pytest

from bundlebee.bundles import installed
from bundlebee.bundles.installed import Difference


def put(site: Path, name: str, version: str, *requires: str) -> None:
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {one}" for one in requires)]
    (info / "METADATA").write_text("Metadata-Version: 2.1\n" + "\n".join(lines) + "\n")


@pytest.fixture
def path(tmp_path: Path) -> list[str]:
    put(
        tmp_path / "a",
        "Some_Thing",
        "1.0",
        "other>=2",
        "colours; extra == 'pretty'",
        "never; python_version < '3'",
    )
    put(tmp_path / "a", "other", "2.1", "some-thing")  # in a circle
    put(tmp_path / "b", "other", "1.0")  # hidden by the first
    put(tmp_path / "b", "colours", "0.1+local.2")
    (tmp_path / "b" / "old-3.0-py3.11.egg-info").write_text("")
    return [str(tmp_path / "a"), str(tmp_path / "nowhere"), str(tmp_path / "b")]


def test_versions(path: list[str]) -> None:
    assert installed.versions(path=path) == {
        "some-thing": "1.0",
        "other": "2.1",
        "colours": "0.1+local.2",
        "old": "3.0",
    }
    assert installed.versions(["Some.Thing", "none"], path) == {"some-thing": "1.0"}


def test_what_is_needed(path: list[str]) -> None:
    assert installed.needed(["some.thing"], path=path) == {"some-thing", "other"}
    assert installed.needed(["some-thing[pretty]"], path=path) == {"some-thing", "other", "colours"}
    assert installed.needed(["some-thing"], own=["Other"], path=path) == {"some-thing"}
    assert installed.needed(["not-here", "of nonsense !"], path=path) == {"not-here"}


def test_differences_and_their_table() -> None:
    found = installed.differences(
        {"b", "a", "c", "d"}, {"a": "1", "b": "2"}, {"a": "1", "b": "10.0", "c": "3"}
    )
    assert found == [Difference("b", "2", "10.0"), Difference("c", None, "3")]
    assert installed.table(found).splitlines() == [
        "  distribution  here  there",
        "  b             2     10.0",
        "  c             -     3",
    ]


def test_the_digest_is_of_names_and_versions() -> None:
    one = installed.digest({"a": "1", "b": "2"})
    assert one == installed.digest({"b": "2", "a": "1"}) != installed.digest({"a": "1", "b": "3"})
