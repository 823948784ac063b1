from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from bundlebee.calls import security
from bundlebee.calls.keys import GridKey, GridKeys


@pytest.fixture(scope="session")
def keys() -> GridKeys:
    return GridKey(b"k" * 32).derive("test")


@pytest.fixture(autouse=True)
def no_strangers_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security.strangers, "_seen", set())


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)
