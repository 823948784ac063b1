"""Looking at objects runs nothing of theirs."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

from bundlebee.bundles import own
from bundlebee.bundles.paths import path_of
from bundlebee.bundles.values import walk


class Deaf:
    """Asked for what it has not, it would ask itself for ever."""

    __slots__ = ("held",)

    def __getattr__(self, name: str) -> Any:
        return self.todo[name]


class Open:
    def __init__(self) -> None:
        self.one = 1

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("it was asked")


def test_attributes_and_slots() -> None:
    assert own.attributes(Deaf()) is None
    assert own.attributes(Open()) == {"one": 1}
    deaf = Deaf()
    assert list(own.slots(deaf)) == [] and own.slot(deaf, "held") is own.MISSING
    deaf.held = 2
    assert list(own.slots(deaf)) == [("held", 2)]


def test_values_are_looked_at_without_asking_them() -> None:
    deaf = Deaf()
    assert walk((deaf, Open()), {}).containers
    target = object()
    deaf.held = [target]
    assert path_of((deaf,), {}, target) == "args[0].held[0]"


def test_names_are_looked_up_without_asking_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    module = types.ModuleType("lazy_one")
    exec("class A:\n class B: pass\n @staticmethod\n def s(): pass", vars(module))
    module.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy_one", module)
    assert own.by_name("lazy_one", "A.B") is module.A.B
    assert own.by_name("lazy_one", "A.s") is module.A.s
    assert own.by_name("lazy_one", "C") is None and own.by_name("lazy_one", "A.C") is None
    assert own.by_name("not_there_at_all", "A") is None
    assert asked == []
