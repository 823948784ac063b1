"""What a program imports and nobody here has is asked for in the grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bundlebee.workshop import Workshop


class Guest:
    """A grid whose nodes answer one by one."""

    own_node = None

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self._answers = [
            SimpleNamespace(find_import=lambda name, held=held: [name] if name in held else [])
            for held in answers
        ]
        self.joined = 0

    def join(self) -> None:
        self.joined += 1

    def wait_for(self, wished: Callable[[Any], object]) -> Any:
        return next((answer for answer in self._answers if wished(answer)), self._answers[-1])


def test_the_first_node_that_answers_need_not_have_it(tmp_path: Path, monkeypatch: Any) -> None:
    guest = Guest((), ("other",), ("other", "wanted"))
    asked = []

    class Carrier:
        def __init__(self, *_: Any) -> None: ...

        def get(self, bundle: Any, holders: Any) -> Any:
            asked.append(bundle)
            raise LookupError("the test ends here")

    monkeypatch.setattr("bundlebee.bundles.carrier.Carrier", Carrier)
    workshop = Workshop(tmp_path, [], guest)  # type: ignore[arg-type]
    found = SimpleNamespace(bundle="the bundle", nodes=[])
    for answer in guest._answers:
        known = answer.find_import
        answer.find_import = lambda name, known=known: [found] if known(name) else []
    try:
        workshop.fetch("wanted")
    except LookupError:
        pass
    assert asked == ["the bundle"]
    assert workshop.fetch("nobody's") is None
