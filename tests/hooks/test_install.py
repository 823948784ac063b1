"""In and out again."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundlebee.hooks.finder import Claim
from bundlebee.hooks.install import Handle, advice_of, install, points
from bundlebee.words import BundleRef

Installed = Callable[..., Handle]


def ref(name: str) -> BundleRef:
    return BundleRef(name, "0", "0" * 64, (name,))


def test_install_and_uninstall_leave_nothing_behind(bundles: Path, tmp_path: Path) -> None:
    (bundles / "bb_in.py").write_text("def f(): return 'plain'\ndef g(): return [f() for x in 'ab']\n")

    def on_join_point(point: Any) -> None:
        point.advice = lambda point, args, kwargs: "advised"
        point.arm()

    def on_scatter(advice: Any, site: Any, function: Any, iterable: Any, shape: Any, args_of: Any) -> Any:
        return [(item, lambda: "spread") for item in iterable]

    before = list(sys.meta_path)
    with install(
        {"bb_in": Claim(bundles, ref("bb_in"))},
        on_join_point=on_join_point,
        on_scatter=on_scatter,
        cache_dir=tmp_path / "cache",
        fetch=lambda name: None,
    ):
        module: Any = importlib.import_module("bb_in")
        g = module.__bee__.points[1]
        assert module.f() == "advised" and g.plain() == ["spread", "spread"]
        advice = advice_of("bb_in")
        assert advice is module.__bee__ and [point.name for point in points()] == ["bb_in:f", "bb_in:g"]
        assert advice.facts
    del sys.modules["bb_in"]
    assert sys.meta_path == before
    assert module.f() == "plain" and module.g() == ["plain", "plain"]
    assert advice_of("bb_in") is None and list(points()) == []


def test_uninstalling_twice_is_no_error(hooked: Installed) -> None:
    handle = hooked()
    handle.uninstall()
    handle.uninstall()


def test_what_was_imported_before_is_named(hooked: Installed, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        hooked("json", "bb_not_yet")
    assert "imported before the hook was there, so not woven: json" in caplog.text


def test_advice_of_modules_that_are_not_woven(hooked: Installed) -> None:
    hooked()
    assert advice_of("json") is None
