"""Wheels from PyPI that nobody touched: dropped into one node's directory, called from another host, fetched by a third."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from grid import Grid

if TYPE_CHECKING:
    from conftest import MakeLan


GRAPH = "import networkx; g = networkx.path_graph(30); print(networkx.wiener_index(g), networkx.__name__)"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheels")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            str(directory),
            "primefac",
            "networkx",
        ],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"needs PyPI, to download primefac and networkx: {done.stderr.strip()[-300:]}")
    return directory


def test_primefac_and_networkx_flow(lan: MakeLan, tmp_path: Path, wheels: Path) -> None:
    network = lan(hosts=3)
    a, b, c = network
    directories = {host.name: tmp_path / f"bundles-{host.name}" for host in network}
    for directory in directories.values():
        directory.mkdir()
    grid = Grid(network, bundles=directories)
    grid.start()
    for wheel in wheels.glob("*.whl"):
        shutil.copy(wheel, directories["a"])
    start = time.monotonic()
    tries = 0
    while True:
        answer = b.run(["bundlebee", "call", "primefac:isprime", "1000003"])
        tries += 1
        if answer.returncode == 0 or time.monotonic() > start + 30:
            break
    seconds = time.monotonic() - start
    assert answer.stdout == "True\n", answer.stderr
    print(f"callable from another host {seconds:.2f} s after the copy began, at call {tries}")
    grid.nodes["a"].wait_for("bundle networkx")
    third = c.run(["bundlebee", "call", "networkx.utils.misc:pairwise", "[1, 2, 3]"])
    # an iterator cannot travel: that is said, not a crash; the bundle is there all the same
    assert third.returncode == 1
    assert "cannot travel" in third.stderr
    assert (
        c.run(["bundlebee", "call", "networkx.utils.misc:flatten", "[1, [2, [3]]]"], check=True).stdout
        == "(1, 2, 3)\n"
    )
    grid.nodes["c"].wait_for("networkx")
    done = grid.exec(c, "-c", GRAPH)
    assert done.stdout == "4495.0 networkx\n"
    assert '"c"' in a.run(["bundlebee", "bundles", "--json"], check=True).stdout
