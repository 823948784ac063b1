"""`bundlebee check --effects`: which functions ship, and what keeps the others here."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Home

Write = Callable[[dict[str, str]], Path]

TEXTKIT = {
    "textkit/__init__.py": "import sys\nprint('hello')\nprint('hello', file=sys.stderr)\nfrom textkit.io import emit\n",
    "textkit/io.py": "def emit(text):\n    with open('log', 'a') as file:\n        file.write(text)\n",
    "textkit/text.py": """\
from textkit.io import emit

LINES = []

def count(text):
    return len(text.split())

def show(text):
    print(text)

def log_line(text):
    emit(text + '\\n')

def keep(text):
    LINES.append(text)

def each(function, texts):
    return [function(text) for text in texts]

def words(text):
    yield from text.split()

class Page:
    def __init__(self, text):
        self.text = text

    async def load(self):
        pass

    def size(self):
        return len(self.text)
""",
    "textkit/extra.py": "import nothing_like_it\n\ndef f():\n    pass\n",
    "textkit/leaves/__init__.py": "raise SystemExit(3)\n",
    "textkit/leaves/below.py": "",
    "textkit/__main__.py": "raise AssertionError('was run')\n",
}

SAID = """\
textkit.io.emit           stays    opens a local file (io.open) ({0}/io.py:2)
textkit.text.count        ships
textkit.text.show         ships    prints
textkit.text.log_line     stays    textkit.text.log_line → emit: opens a local file (io.open) ({0}/io.py:2)
textkit.text.keep         stays    writes module global 'LINES' ({0}/text.py:15)
textkit.text.each         depends  calls its argument 'function', whatever that may be ({0}/text.py:18)
textkit.text.words        not woven  is a generator ({0}/text.py:20)
textkit.text.Page.__init__  ships    writes attribute 'text' of its argument 'self'
textkit.text.Page.load    ships
textkit.text.Page.size    ships
textkit.extra is left out: ModuleNotFoundError: No module named 'nothing_like_it'
textkit.leaves is left out: SystemExit: 3 (with 1 more below it)

textkit 0, 9 woven functions: 5 (56 %) ship, 1 (11 %) depend on their arguments, 3 (33 %) stay; 67 % may leave
  stay, because of
        2 I/O
        1 writes module state
  depend, because of
        1 calls its argument
  1 more is not woven, because of
        1 generator
"""


def squeezed(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_package(home: Home, bundles: Write) -> None:
    bundles(TEXTKIT)
    done = home.bee("check", "--effects", "bundles/textkit")
    assert (done.returncode, done.stderr) == (0, "")
    assert squeezed(done.stdout) == squeezed(SAID.format("bundles/textkit"))
    assert not (home.path / "log").exists()


def test_a_wheel_says_the_same(home: Home, bundles: Write) -> None:
    wheel = home.path / "textkit-2.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in TEXTKIT.items():
            archive.writestr(name, text)
        archive.writestr(
            "textkit-2.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: textkit\nVersion: 2.1\n"
        )
    done = home.bee("check", "--effects", wheel.name)
    assert (done.returncode, done.stderr) == (0, "")
    said = SAID.format(f"{wheel.name}/textkit").replace("textkit 0", "textkit 2.1")
    assert squeezed(done.stdout) == squeezed(said)


def test_json_of_a_module_and_of_a_distribution(home: Home, bundles: Write) -> None:
    bundles({"notes.py": "def f(x):\n    return 2 * x\n\n\ndef g(x):\n    return open(x)\n"})
    done = home.bee("check", "--effects", "--json", "bundles/notes.py", "pypng")
    assert (done.returncode, done.stderr) == (0, "")
    notes, png = json.loads(done.stdout)
    assert notes["counts"] == {"ships": 1, "depends": 0, "guarded": 0, "stays": 1, "not woven": 0}
    assert notes["leaving"] == 0.5
    assert notes["kinds"] == {"depends": {}, "guarded": {}, "stays": {"I/O": 1}, "not woven": {}}
    assert notes["left_out"] == [] and notes["unseen"] == 0
    assert notes["functions"][1] == {
        "function": "notes.g",
        "file": "bundles/notes.py",
        "line": 5,
        "outlook": "stays",
        "kind": "I/O",
        "why": "opens a local file (io.open) (bundles/notes.py:6)",
        "prints": False,
        "writes": "",
    }
    assert png["bundle"] == "pypng"
    assert sum(png["counts"].values()) == len(png["functions"]) > 20
    assert {one["file"] for one in png["functions"]} == {"png.py"}


def test_what_lies_beside_it_can_be_imported(home: Home, bundles: Write) -> None:
    bundles({"one.py": "import two\n\ndef f():\n    pass\n", "two.py": "def g():\n    pass\n"})
    done = home.bee("check", "--effects", "bundles/one.py")
    assert done.stdout.startswith("one.f  ships\n\none 0, 1 woven function: 1 (100 %) ship")


@pytest.mark.parametrize(
    ("name", "text", "code", "words"),
    [
        ("nosuchthing", None, 2, "no distribution of that name is installed"),
        ("torn.whl", "no zip", 2, "torn.whl cannot be read"),
        ("text.txt", "x", 2, "is no bundle"),
        ("two-words.py", "x = 1", 2, "no Python name"),
        ("wrong.py", "def f(:\n", 1, "wrong: SyntaxError"),
        ("needy.py", "import nothing_like_it", 1, "nothing_like_it"),
        ("quits.py", "import os\nos._exit(7)", 1, "the import of quits ended the process (exit code 7)"),
    ],
)
def test_errors(home: Home, name: str, text: str | None, code: int, words: str) -> None:
    if text is not None:
        (home.path / name).write_text(text)
    done = home.bee("check", "--effects", name)
    assert done.returncode == code
    assert done.stdout == ""
    assert words in done.stderr
    assert "next: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_timeout_is_for_effects(home: Home) -> None:
    (home.path / "m.py").write_text("x = 1\n")
    done = home.bee("check", "--timeout", "3", "m.py")
    assert done.returncode == 2
    assert "--effects" in done.stderr
    assert home.bee("check", "m.py", env={"BUNDLEBEE_TIMEOUT": "3"}).returncode == 0


def test_what_is_guarded_is_counted_apart(home: Home, bundles: Write) -> None:
    bundles({"fields.py": "def f(x):\n    return 2 * x\n\n\ndef g(x, name):\n    return getattr(x, name)\n"})
    done = home.bee("check", "--effects", "bundles/fields.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert squeezed(done.stdout)[:2] == [
        ["fields.f", "ships"],
        [
            "fields.g",
            "guarded",
            "looks",
            "at",
            "an",
            "attribute",
            "whose",
            "name",
            "is",
            "computed",
            "(bundles/fields.py:6)",
        ],
    ]
    assert "1 (50 %) guarded, 0 stay; 50 % may leave, 50 % more under the guard" in done.stdout
    assert squeezed(done.stdout)[-2:] == [
        ["guarded,", "because", "of"],
        ["1", "attribute", "by", "a", "computed", "name"],
    ]
