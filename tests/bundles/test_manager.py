from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundlebee.bundles import manager as manager_module
from bundlebee.bundles.manager import Manager
from bundlebee.bundles.repository import Bundle, Repository
from bundlebee.bundles.resolution import resolve
from bundlebee.errors import MissingDependency
from bundlebee.words import BundleRef

MakeWheel = Callable[..., Path]


class Node:
    """A manager, and what it said."""

    def __init__(self, place: Path | None, store: Path, *, polling: bool = False) -> None:
        self.repository = Repository(place, store, copy=True)
        self.manager = Manager(self.repository, self._announce, self._withdraw, polling=polling)
        self.story: list[tuple[str, str, str]] = []
        self._changed = threading.Condition()

    def _announce(self, bundle: Bundle) -> None:
        self._tell(bundle, str(bundle.state))

    def _withdraw(self, bundle: Bundle) -> None:
        self._tell(bundle, "gone")

    def _tell(self, bundle: Bundle, what: str) -> None:
        with self._changed:
            self.story.append((bundle.ref.name, bundle.ref.version, what))
            self._changed.notify_all()

    def look(self) -> None:
        """What the watcher's thread does, after everything has settled."""
        self.manager._look(settle=0.0)

    def active(self) -> dict[str, str]:
        now: dict[str, str] = {}
        for name, version, what in self.story:
            if what == "active":
                now[name] = version
            elif now.get(name) == version:
                del now[name]
        return now

    def wait(self, *entry: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: entry in self.story, 10), self.story

    def problems(self) -> list[str]:
        return [str(problem) for problem in self.manager.problems()]


@pytest.fixture
def start(store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Node]]:
    monkeypatch.setattr(manager_module, "PATIENCE", 0.0)
    nodes = []

    def make(place: Path | None, **options: bool) -> Node:
        node = Node(place, store, **options)
        nodes.append(node)
        node.manager.start()
        return node

    yield make
    for node in nodes:
        node.manager.stop()


Start = Callable[..., Node]


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No watcher: the test looks itself."""
    monkeypatch.setattr(manager_module.Watcher, "start", lambda self: None)


def test_the_states_of_a_bundle(place: Path, start: Start, still: None) -> None:
    (place / "mod.py").write_text("x = 1\n")
    node = start(place)
    (place / "mod.py").unlink()
    node.look()
    states = ["installed", "resolved", "starting", "active", "stopping", "gone"]
    assert node.story == [("mod", "0", state) for state in states]


def test_a_newer_version_replaces_without_a_gap(
    place: Path, start: Start, still: None, make_wheel: MakeWheel
) -> None:
    make_wheel(place, "thing", "1")
    node = start(place)
    make_wheel(place, "thing", "2")
    node.look()
    started = node.story.index(("thing", "2", "active"))
    assert started < node.story.index(("thing", "1", "stopping")) < node.story.index(("thing", "1", "gone"))
    (place / "thing-2-py3-none-any.whl").unlink()
    node.look()
    assert node.active() == {"thing": "1"}


def test_an_edit_replaces(place: Path, start: Start, still: None) -> None:
    (place / "mod.py").write_text("x = 1\n")
    node = start(place)
    (place / "mod.py").write_text("x = 22\n")
    node.look()
    assert [what for _name, _version, what in node.story].count("active") == 2
    node.look()
    assert len(node.story) == 10


def test_a_syntax_error_is_named_and_left_alone(
    place: Path, start: Start, still: None, caplog: pytest.LogCaptureFixture
) -> None:
    (place / "pkg").mkdir()
    (place / "pkg" / "__init__.py").write_text("")
    (place / "pkg" / "bad.py").write_text("x = 1\ndef f(:\n")
    (place / "good.py").write_text("x = 1\n")
    with caplog.at_level(logging.WARNING, "bundlebee.bundles"):
        node = start(place)
        node.look()
    assert node.active() == {"good": "0"}
    (problem,) = node.problems()
    assert f"{place / 'pkg' / 'bad.py'}:2" in problem
    assert [record.getMessage() for record in caplog.records] == [problem]
    (place / "pkg" / "bad.py").write_text("x = 1\n")
    node.look()
    assert node.active() == {"good": "0", "pkg": "0"}
    assert node.problems() == []


def test_a_newer_version_that_does_not_compile_leaves_the_older_one(
    place: Path, start: Start, still: None, make_wheel: MakeWheel
) -> None:
    make_wheel(place, "thing", "1")
    node = start(place)
    make_wheel(place, "thing", "2", {"thing/__init__.py": "def\n"})
    node.look()
    assert node.active() == {"thing": "1"}
    assert "thing-2-py3-none-any.whl/thing/__init__.py:1" in node.problems()[0]


def test_a_wheel_may_carry_files_that_do_not_compile(
    place: Path, start: Start, still: None, make_wheel: MakeWheel
) -> None:
    make_wheel(place, "thing", "1", {"thing/__init__.py": "", "thing/template.py": "class {{ name }}:\n"})
    assert start(place).active() == {"thing": "1"}


def test_a_missing_dependency_is_waited_for(
    place: Path, start: Start, still: None, make_wheel: MakeWheel
) -> None:
    make_wheel(place, "upper", "1", requires=("lower-thing>=2", "never; python_version < '3'"))
    node = start(place)
    assert node.story == [("upper", "1", "installed")]
    (problem,) = node.problems()
    assert "it requires lower-thing>=2, which is not here" in problem
    digest = node.repository.installed()[0].ref.digest
    assert isinstance(node.manager.lacking([digest]), MissingDependency)
    make_wheel(place, "lower_thing", "1.9")
    node.look()
    assert node.active() == {"lower_thing": "1.9"}
    assert "and here is 1.9" in node.problems()[0]
    newer = make_wheel(place, "lower_thing", "2.0")
    node.look()
    assert node.active() == {"lower_thing": "2.0", "upper": "1"}
    assert node.problems() == []
    assert node.manager.lacking([digest]) is None
    newer.unlink()
    node.look()
    assert node.active() == {"lower_thing": "1.9"}


def test_a_dependency_that_is_installed_meanwhile(
    place: Path, start: Start, still: None, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(place, "upper", "1", requires=("from-pip",))
    node = start(place)
    monkeypatch.setattr(
        manager_module, "installed_versions", lambda name: ["1"] if name == "from-pip" else []
    )
    node.look()
    assert node.active() == {"upper": "1"}


def test_conflicts_come_and_go(place: Path, start: Start, still: None, make_wheel: MakeWheel) -> None:
    first = make_wheel(place, "first", "1", {"shared.py": "x = 1\n"})
    node = start(place)
    make_wheel(place, "another", "1", {"shared.py": "x = 2\n"})
    node.look()
    assert node.active() == {"first": "1"}
    assert "'shared' belongs to" in node.problems()[0]
    first.unlink()
    node.look()
    assert node.active() == {"another": "1"}
    assert node.problems() == []


def test_adopted(place: Path, tmp_path: Path, start: Start, still: None, make_wheel: MakeWheel) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    make_wheel(elsewhere, "lower", "1")
    make_wheel(elsewhere, "upper", "1", requires=("lower",))
    there = Repository(elsewhere, tmp_path / "store-there")
    there.scan()
    lower, upper = there.bundles()
    node = start(place)
    node.manager.adopt(node.repository.add(upper.ref, upper.archive()))
    assert node.active() == {}
    assert node.manager.lacking([upper.ref.digest]) is not None
    node.manager.adopt(node.repository.add(lower.ref, lower.archive()))
    assert node.active() == {"lower": "1", "upper": "1"}
    node.look()
    assert node.problems() == []
    # an older version beside it: callers lease exactly the one that they have
    make_wheel(place, "lower", "0.9")
    node.look()
    assert ("lower", "0.9", "active") in node.story
    assert ("lower", "1", "gone") not in node.story


def test_the_same_code_packed_anew_goes_on(
    place: Path, start: Start, still: None, make_wheel: MakeWheel
) -> None:
    (place / "thing.py").write_text("x = 1\n")
    node = start(place)
    make_wheel(place, "thing", "1", {"thing.py": "x = 1\n"})
    node.look()
    assert node.active() == {"thing": "1"}
    assert "gone" not in {what for *_names, what in node.story}


def test_no_directory(start: Start) -> None:
    assert start(None).story == []


@pytest.mark.parametrize("polling", [False, True])
def test_the_directory_is_followed(place: Path, start: Start, make_wheel: MakeWheel, polling: bool) -> None:
    node = start(place, polling=polling)
    wheel = make_wheel(place, "thing", "1")
    node.wait("thing", "1", "active")
    (place / "mod.py").write_text("x = 1\n")
    node.wait("mod", "0", "active")
    wheel.unlink()
    node.wait("thing", "1", "gone")


def test_a_half_copied_wheel_is_waited_for(
    place: Path, tmp_path: Path, start: Start, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_wheel(tmp_path, "thing", "1").read_bytes()
    node = start(place)
    monkeypatch.setattr(manager_module, "PATIENCE", 60.0)
    (place / "thing-1-py3-none-any.whl").write_bytes(data[: len(data) // 2])
    (place / "mod.py").write_text("x = 1\n")
    node.wait("mod", "0", "active")
    assert node.problems() == []
    (place / "thing-1-py3-none-any.whl").write_bytes(data)
    node.wait("thing", "1", "active")


def test_a_wheel_that_stays_broken_is_named(
    place: Path, start: Start, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = start(place)
    monkeypatch.setattr(manager_module, "PATIENCE", 0.5)
    (place / "thing-1-py3-none-any.whl").write_bytes(b"PK, but no zip")
    (place / "mod.py").write_text("x = 1\n")
    node.wait("mod", "0", "active")
    deadline = threading.Event()
    for _ in range(100):
        if node.problems():
            break
        deadline.wait(0.05)
    assert "thing-1-py3-none-any.whl cannot be read" in node.problems()[0]


def test_nothing_is_said_after_the_end(place: Path, start: Start) -> None:
    (place / "mod.py").write_text("x = 1\n")
    node = start(place)
    node.manager.stop()
    said = len(node.story)
    (place / "more.py").write_text("x = 1\n")
    node.manager.stop()
    assert len(node.story) == said
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bundlebee-")]


def bundle(name: str, version: str, *requires: str) -> Bundle:
    ref = BundleRef(name, version, f"{name}-{version}", (name,))
    return Bundle(ref, Path(name), Path(f"{name}-{version}.whl"), requires=requires)


def test_requirements_may_go_in_circles() -> None:
    one, other = bundle("one", "1", "other"), bundle("other", "1", "one[extra]>=1")
    assert resolve([one, other], lambda name: []).chosen == (one, other)


def test_who_needs_the_version_that_lost_waits() -> None:
    old, new, user = bundle("lib", "1"), bundle("lib", "2"), bundle("user", "1", "lib<2")
    resolution = resolve([old, new, user], lambda name: [])
    assert resolution.chosen == (new,)
    assert resolution.waiting == (user,)


def test_a_chain_without_its_end_waits_as_a_whole() -> None:
    chain = [bundle(f"b{number}", "1", f"b{number + 1}") for number in range(5)]
    resolution = resolve(chain, lambda name: [])
    assert resolution.chosen == ()
    assert len(resolution.problems) == 5


def test_odd_requirements_are_no_obstacle() -> None:
    odd = bundle("odd", "2.x.y", "???", "other>=1")
    plain = bundle("other", "0")
    assert resolve([odd, plain], lambda name: []).chosen == (odd, plain)
