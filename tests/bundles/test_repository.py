from __future__ import annotations

import importlib.metadata
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bundlebee.bundles.repository import Bundle, Repository, State, from_distribution
from bundlebee.bundles.store import Store
from bundlebee.errors import (
    BrokenBundle,
    BundleConflict,
    BundleError,
    BundleNotFound,
    DigestMismatch,
)
from bundlebee.words import BundleRef

MakeWheel = Callable[..., Path]


def scanned(place: Path | None, store: Path, *, copy: bool = False) -> Repository:
    repository = Repository(place, store, copy=copy)
    repository.scan()
    return repository


def test_every_form_of_a_bundle(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    make_wheel(
        place, "wheely", "1.2", headers="Requires-Python: >=3.8\n", requires=("nothing; extra == 'x'",)
    )
    (place / "pkg").mkdir()
    (place / "pkg" / "__init__.py").write_text("x = 1\n")
    (place / "mod.py").write_text("y = 2\n")
    repository = scanned(place, store)
    assert repository.problems() == []
    found = {bundle.ref.name: bundle for bundle in repository.bundles()}
    assert {name: bundle.ref.version for name, bundle in found.items()} == {
        "wheely": "1.2",
        "pkg": "0",
        "mod": "0",
    }
    assert found["pkg"].path == found["mod"].path == place
    assert (found["wheely"].path / "wheely" / "__init__.py").is_file()
    assert found["wheely"].requires == ("nothing; extra == 'x'",)
    assert found["wheely"].state is State.INSTALLED
    assert repository.get(found["mod"].ref.digest) is found["mod"]
    assert repository.find_import("wheely") is found["wheely"]
    assert repository.get("0" * 64) is repository.find_import("nobody") is None


def test_the_metadata_of_a_wheel_is_found_beside_its_code(
    place: Path, store: Path, make_wheel: MakeWheel
) -> None:
    make_wheel(place, "wheely", "1.2")
    (bundle,) = scanned(place, store).bundles()
    (found,) = importlib.metadata.distributions(name="wheely", path=[str(bundle.path)])
    assert found.version == "1.2"


def test_a_wheel_is_read_once(
    place: Path,
    store: Path,
    make_wheel: MakeWheel,
    age: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_wheel(place, "wheely", "1.2")
    monkeypatch.setattr("bundlebee.bundles.install._FRESH", -1.0)
    (first,) = scanned(place, store).bundles()

    def no(*_arguments: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("bundlebee.bundles.install.read", no)
    (second,) = scanned(place, store).bundles()
    assert (second.ref, second.path, second.requires) == (first.ref, first.path, first.requires)


def test_a_fresh_file_is_not_remembered(place: Path, store: Path) -> None:
    # an edit within the same tick of the clock would go unnoticed
    (place / "mod.py").write_text("x = 1\n")
    (first,) = scanned(place, store).bundles()
    times = (place / "mod.py").stat()
    (place / "mod.py").write_text("x = 2\n")
    os.utime(place / "mod.py", ns=(times.st_atime_ns, times.st_mtime_ns))
    (second,) = scanned(place, store).bundles()
    assert second.ref.digest != first.ref.digest


@pytest.mark.parametrize("damage", ["missing", "short", "note"])
def test_a_damaged_store_is_mended(place: Path, store: Path, make_wheel: MakeWheel, damage: str) -> None:
    make_wheel(place, "wheely", "1.2")
    (bundle,) = scanned(place, store).bundles()
    code = bundle.path / "wheely" / "__init__.py"
    whole = code.read_text()
    if damage == "missing":
        code.unlink()
    elif damage == "short":
        code.write_text("")
    else:
        (bundle.path / ".bundlebee.json").write_text("{")
    (again,) = scanned(place, store).bundles()
    assert again.path == bundle.path
    assert code.read_text() == whole


def test_a_store_that_cannot_be_written_is_named(place: Path, tmp_path: Path, make_wheel: MakeWheel) -> None:
    make_wheel(place, "wheely", "1.2")
    (place / "mod.py").write_text("x = 1\n")
    (tmp_path / "file").write_text("")
    repository = scanned(place, tmp_path / "file" / "store")
    assert [bundle.ref.name for bundle in repository.bundles()] == ["mod"]
    (problem,) = repository.problems()
    assert "cannot be unpacked" in str(problem)


def broken(place: Path, store: Path) -> BundleError:
    (place / "good.py").write_text("x = 1\n")
    repository = scanned(place, store)
    assert [bundle.ref.name for bundle in repository.bundles()] == ["good"]
    (problem,) = repository.problems()
    return problem


def test_a_broken_wheel(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    path = make_wheel(place, "wheely", "1.2")
    path.write_bytes(path.read_bytes()[:-40])
    problem = broken(place, store)
    assert isinstance(problem, BrokenBundle)
    assert str(path) in str(problem)


def test_compiled_code(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    make_wheel(
        place, "fast", "1", {"fast/__init__.py": "", "fast/_core.cpython-311-x86_64-linux-gnu.so": "ELF"}
    )
    assert "fast/_core.cpython-311-x86_64-linux-gnu.so is compiled code" in str(broken(place, store))


def test_a_wheel_for_another_python(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    make_wheel(place, "old", "1", headers="Requires-Python: <3\n")
    assert "needs Python <3" in str(broken(place, store))


def test_an_archive_without_code(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    make_wheel(place, "empty", "1", {"README.md": ""})
    assert "no Python package" in str(broken(place, store))


def test_a_name_of_the_standard_library(place: Path, store: Path) -> None:
    (place / "json.py").write_text("")
    problem = broken(place, store)
    assert isinstance(problem, BundleConflict)
    assert "standard library" in str(problem)


def test_a_directory_that_is_gone(place: Path, store: Path) -> None:
    (place / "mod.py").write_text("")
    repository = scanned(place, store)
    (place / "mod.py").unlink()
    place.rmdir()
    repository.scan()
    assert repository.bundles() == []
    assert "cannot be read" in str(repository.problems()[0])


def test_the_newest_version_wins(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    for version in ("1.9", "1.10", "1.10rc1"):
        make_wheel(place, "thing", version)
    repository = scanned(place, store)
    assert [bundle.ref.version for bundle in repository.bundles()] == ["1.10"]
    assert repository.problems() == []
    assert len(repository.installed()) == 3


def test_two_claims_on_one_import_name(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    make_wheel(place, "zeta", "1", {"shared/__init__.py": "x = 1\n"})
    repository = scanned(place, store)
    make_wheel(place, "alpha", "1", {"shared/__init__.py": "x = 2\n"})
    repository.scan()
    assert [bundle.ref.name for bundle in repository.bundles()] == ["zeta"]
    (problem,) = repository.problems()
    assert isinstance(problem, BundleConflict)
    assert "alpha-1" in problem.what
    assert "zeta-1" in str(problem.why)


def test_the_same_code_twice_is_no_conflict(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    make_wheel(place, "thing", "1", {"thing.py": "x = 1\n"})
    (place / "thing.py").write_text("x = 1\n")
    repository = scanned(place, store)
    assert [bundle.ref.version for bundle in repository.bundles()] == ["1"]
    assert repository.problems() == []


def test_the_same_version_with_other_code_is_a_conflict(
    place: Path, store: Path, make_wheel: MakeWheel
) -> None:
    make_wheel(place, "thing", "0", {"thing.py": "x = 1\n"})
    (place / "thing.py").write_text("x = 2\n")
    repository = scanned(place, store)
    assert len(repository.bundles()) == 1
    (problem,) = repository.problems()
    assert isinstance(problem, BundleConflict)


def test_copies_stay_what_they_are(place: Path, store: Path) -> None:
    (place / "mod.py").write_text("x = 1\n")
    repository = scanned(place, store, copy=True)
    (bundle,) = repository.bundles()
    (place / "mod.py").write_text("x = 22\n")
    assert (bundle.path / "mod.py").read_text() == "x = 1\n"
    repository.scan()
    (after,) = repository.bundles()
    assert (after.path / "mod.py").read_text() == "x = 22\n"
    assert repository.changes == 2


def test_archives_travel(place: Path, store: Path, tmp_path: Path, make_wheel: MakeWheel) -> None:
    make_wheel(place, "thing", "1.5", {"thing/__init__.py": "", "thing/data.txt": "å", "other.py": ""})
    here = scanned(place, store)
    (bundle,) = here.bundles()
    there = Repository(None, tmp_path / "there")
    data = here.archive(bundle.ref.digest)
    assert here.archive(bundle.ref.digest) is data
    arrived = there.add(bundle.ref, data)
    assert there.get(bundle.ref.digest) is arrived is there.add(bundle.ref, data)
    assert arrived.ref == bundle.ref
    assert arrived.files() == bundle.files()
    assert there.archive(bundle.ref.digest) == data
    # the next process on that machine finds it without asking anybody, but does not offer it of its own accord
    later = Repository(None, tmp_path / "there")
    assert later.get(bundle.ref.digest) is None
    assert later.bundles() == []
    recalled = later.recall(bundle.ref)
    assert recalled is not None
    assert later.get(bundle.ref.digest) is recalled
    assert later.recall(BundleRef("thing", "1.6", bundle.ref.digest, bundle.ref.imports)) is None


def test_wrong_bytes_are_thrown_away(place: Path, store: Path, tmp_path: Path) -> None:
    (place / "mod.py").write_text("x = 1\n")
    here = scanned(place, store)
    (bundle,) = here.bundles()
    there = Repository(None, tmp_path / "there")
    (place / "mod.py").write_text("x = 2\n")
    with pytest.raises(DigestMismatch):
        there.add(bundle.ref, bundle.archive())
    with pytest.raises(BrokenBundle):
        there.add(bundle.ref, b"PK nonsense")
    lie = BundleRef("mod", "0", bundle.ref.digest, ("json",))
    (place / "mod.py").write_text("x = 1\n")
    with pytest.raises(DigestMismatch):
        there.add(lie, bundle.archive())
    assert there.bundles() == []
    assert not list((tmp_path / "there").glob("*/*.py"))


def test_an_archive_of_nothing(store: Path) -> None:
    with pytest.raises(BundleNotFound):
        Repository(None, store).archive("0" * 64)


def test_a_name_cannot_lead_out_of_the_store(store: Path) -> None:
    ref = BundleRef("../../x", "/1", "ab" * 32, ("x",))
    assert Store(store).place(ref).parent == store


def test_many_threads_unpack_one_wheel(place: Path, store: Path, make_wheel: MakeWheel) -> None:
    files = {f"thing/m{number}.py": f"x = {number}\n" for number in range(30)}
    make_wheel(place, "thing", "1", files)
    gate = threading.Barrier(4)
    found: list[list[Bundle]] = []

    def go() -> None:
        gate.wait()
        found.append(scanned(place, store).bundles())

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(len(bundles[0].files()) == 31 for bundles in found)
    assert [path.name for path in store.iterdir() if path.name.startswith(".")] == []


def test_old_bundles_are_pruned(
    place: Path, store: Path, make_wheel: MakeWheel, age: Callable[[Path], None]
) -> None:
    make_wheel(place, "thing", "1")
    (bundle,) = scanned(place, store).bundles()
    Store(store).prune()
    assert bundle.path.exists()
    os.utime(bundle.path / ".bundlebee.json", (0, 0))
    Store(store).prune()
    assert not bundle.path.exists()


def test_installed_with_pip_target(place: Path, store: Path) -> None:
    (place / "one.py").write_text("x = 1\n")
    info = place / "thing-3.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: thing\nVersion: 3.1\nRequires-Dist: one-more\n")
    (info / "RECORD").write_text("one.py,,\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nthing = one:main\n")
    (bundle,) = scanned(place, store).bundles()
    assert (bundle.ref.name, bundle.ref.version, bundle.ref.imports) == ("thing", "3.1", ("one",))
    assert bundle.requires == ("one-more",)
    assert [tuple(point) for point in bundle.entry_points] == [("console_scripts", "thing", "one:main")]
    assert set(bundle.files()) == {
        "one.py",
        "thing-3.1.dist-info/METADATA",
        "thing-3.1.dist-info/entry_points.txt",
    }


def test_an_installed_distribution(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    info = site / "Some_Thing-1.0.dist-info"
    (site / "thing").mkdir(parents=True)
    info.mkdir()
    (site / "thing" / "__init__.py").write_text("x = 1\n")
    (site / "thing-else.txt").write_text("")
    (info / "METADATA").write_text("Name: Some.Thing\nVersion: 1.0\n")
    (info / "RECORD").write_text("thing/__init__.py,,\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    bundle = from_distribution("some-thing", Store(store))
    assert (bundle.ref.name, bundle.ref.version, bundle.ref.imports) == ("Some.Thing", "1.0", ("thing",))
    assert bundle.path == site
    assert Repository(None, store).add(bundle.ref, bundle.archive()).ref == bundle.ref
    assert from_distribution("Some.Thing", Store(store)).ref == bundle.ref


def test_a_distribution_that_is_not_installed(store: Path) -> None:
    with pytest.raises(BundleNotFound, match="pip install"):
        from_distribution("no-such-thing-here", Store(store))


def test_a_distribution_with_compiled_code(store: Path) -> None:
    with pytest.raises(BrokenBundle, match="compiled code"):
        from_distribution("pyzmq", Store(store))
