"""The fixture `lan`: hosts on a switch, see lab.py.

def test_something(lan):
    a, b, c = lan(hosts=3, cpu=[1.0, 0.5, 0.5])
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # lab.py and grid.py, for the tests as for the benchmarks

from lab import Lan, unavailable

MakeLan = Callable[..., Lan]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lan)


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[MakeLan]:
    """Makes LANs, and removes them after the test. Skips where there can be none."""
    made: list[Lan] = []

    def make(hosts: int = 3, cpu: Sequence[float | None] | None = None, **options: object) -> Lan:
        reason = unavailable(shares=cpu is not None)
        if reason is not None:
            pytest.skip(f"no LAN: {reason}")
        made.append(Lan(hosts, cpu, root=tmp_path / f"lan{len(made)}", **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for network in made:
        network.close()
