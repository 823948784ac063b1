"""A node that has other versions of what a bundle needs: said once, as a table, and not used for that bundle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

MODULE = """
def work(turns):
    total = 0
    for i in range(turns):
        total = (total * 31 + i) % 1_000_003
    return total
"""


def wheel(directory: Path, name: str, *requires: str) -> None:
    directory.mkdir(exist_ok=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    metadata += "".join(f"Requires-Dist: {one}\n" for one in requires)
    with zipfile.ZipFile(directory / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", MODULE)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n"
        )


def site(place: Path, version: str) -> str:
    for name, requires in (("beedep", "Requires-Dist: beedeeper\n"), ("beedeeper", "")):
        info = place / f"{name}-{version if name == 'beedeeper' else '1.0'}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {info.name.split('-')[1][:3]}\n{requires}"
        (info / "METADATA").write_text(text)
        (place / f"{name}.py").write_text("")
    return str(place)


def test_a_node_with_other_versions_is_not_used_for_that_bundle(home: Any) -> None:
    wheel(home.path / "bundles", "beeneedy", "beedep")
    wheel(home.path / "bundles", "beefree")
    mine, theirs = site(home.path / "mine", "2.0"), site(home.path / "theirs", "3.0")
    log = home.path / "n1.log"
    with log.open("wb") as file:
        node = subprocess.Popen(
            [sys.executable, "-m", "bundlebee", "run", "bundles", "--name", "n1", "--workers", "1"],
            cwd=home.path,
            env={**home.env, "PYTHONPATH": theirs},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    home.running.append(node)
    end = time.monotonic() + 30
    while log.read_text().count("is active") < 2:
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.02)

    def places(module: str, path: str) -> tuple[set[str], str]:
        (home.path / "d.jsonl").unlink(missing_ok=True)
        (home.path / "p.py").write_text(
            f"import {module}\nprint([{module}.work(20_000 + x) for x in range(4)])\nprint({module}.work(50_000))\n"
        )
        done = home.bee(
            *("exec", "--policy", "remote", "--decisions", "d.jsonl", "p.py"), env={"PYTHONPATH": path}
        )
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in (home.path / "d.jsonl").read_text().splitlines()]
        return {record["where"] for record in records}, done.stderr

    where, errors = places("beeneedy", mine)
    assert where == {"here"}
    assert errors.count("n1 is not used for beeneedy 1.0: what that needs is not the same there") == 1
    lines = errors.splitlines()
    at = lines.index("  distribution  here  there")
    assert lines[at + 1] == "  beedeeper     2.0   3.0"
    assert "beedep " not in errors  # that is the same
    where, errors = places("beefree", mine)
    assert "n1" in where and not errors
    where, errors = places("beeneedy", theirs)
    assert "n1" in where and not errors
    node.terminate()
    assert node.wait(20) == 0
