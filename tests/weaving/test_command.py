"""`bundlebee weave`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bundlebee.cli.weave import weave
from bundlebee.errors import BrokenBundle, BundlebeeError, UsageError, WeaveError


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "bundles" / "pkg"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('nothing is imported')\ndef f(): pass\n")
    (package / "sub" / "mod.py").write_text(
        "def g(x): yield\ny = [h(x) for x in z]\nw = [h(k(x)) for x in z]\n"
    )
    (tmp_path / "script.py").write_text("def main():\n    return 1\n")
    (tmp_path / "bad.py").write_text("x = 1\ndef f(:\n")
    (tmp_path / "ours.py").write_text("__bee_x = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str) -> str:
    result: Result = CliRunner().invoke(weave, args, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_a_file(place: Path) -> None:
    assert run("script.py") == "@__bee__.join_point\ndef main():\n    return 1\n"


def test_a_module_of_a_bundle(place: Path) -> None:
    assert "@__bee__.join_point" in run("pkg")
    assert "__bee__.s0" in run("pkg.sub.mod")
    assert "__bee__.s0" in run("pkg.sub.mod", "--bundles", str(place / "bundles"))


def test_the_difference(place: Path) -> None:
    said = run("script.py", "--diff")
    assert said.startswith("--- script.py\n+++ script.py (woven)\n@@")
    assert [line for line in said.split("\n")[2:] if line[:1] in "+-"] == ["+@__bee__.join_point", ""]


def test_the_report_covers_the_whole_package(place: Path) -> None:
    path = Path("bundles", "pkg")
    lines = run("pkg", "--report").split("\n")
    assert f"{path}/__init__.py:2 pkg:f woven" in lines
    assert f"{path}/sub/mod.py:1 pkg.sub.mod:g skipped: is a generator" in lines
    assert f"{path}/sub/mod.py:2:5 list over h spread" in lines
    assert f"{path}/sub/mod.py:3:5 list over h not spread: also calls k" in lines
    assert "2 modules, 2 functions: 1 woven, 1 skipped; 2 loops: 1 may spread, 1 may not" in lines
    assert run("bundles/pkg", "--report") == run("pkg", "--report")


def test_the_report_for_programs(place: Path) -> None:
    first, second = json.loads(run("pkg", "--json"))
    assert (first["module"], second["module"]) == ("pkg", "pkg.sub.mod")
    assert first["functions"] == [{"woven": True, "qualname": "f", "line": 2}]
    assert [loop["spread"] for loop in second["loops"]] == [True, False]


@pytest.mark.parametrize(
    ("args", "kind", "says"),
    [
        (["nobody"], UsageError, "there is no Python source of a module nobody"),
        (["pkg.nobody"], UsageError, r"no Python source of a module pkg\.nobody"),
        (["nobody.py"], UsageError, r"there is no nobody\.py"),
        (["builtins"], UsageError, "no Python source of a module builtins"),
        (["math"], UsageError, "no Python source of a module math"),
        (["bad.py"], BrokenBundle, r"bad\.py:2 is not valid Python: "),
        (["ours.py"], WeaveError, "ours cannot be woven"),
        (["script.py", "--diff", "--report"], UsageError, "--diff goes with neither"),
    ],
)
def test_errors(args: list[str], kind: type[BundlebeeError], says: str, place: Path) -> None:
    with pytest.raises(kind, match=says):
        CliRunner().invoke(weave, args, catch_exceptions=False)
