"""The samples are ordinary programs: they run with plain ``python -m``, and say the same every time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLES = Path(__file__).parents[2] / "samples"

SMALL = {
    "mandelbrot": ["--width", "40", "--height", "30"],
    "primes": ["--n", "30000"],
    "nqueens": ["--n", "7"],
    "wordcount": ["--n", "50"],
    "montecarlo": ["--n", "5"],
    "diary": ["--n", "5"],
}


def run(sample: str, *options: str, scratch: Path, seed: str = "0") -> str:
    """What the sample prints; temporary files go to `scratch`."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "BUNDLEBEE_"))
    }
    environment |= {
        "PYTHONHASHSEED": seed,
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch)),
    }
    done = subprocess.run(
        [sys.executable, "-m", sample, *options],
        cwd=SAMPLES,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_sample_is_tested() -> None:
    found = {
        path.stem for path in SAMPLES.iterdir() if path.suffix == ".py" or (path / "__main__.py").exists()
    }
    assert found == set(SMALL)


@pytest.mark.parametrize("sample", SMALL)
def test_two_runs_say_the_same_and_leave_nothing(sample: str, tmp_path: Path) -> None:
    first, second = (run(sample, *SMALL[sample], scratch=tmp_path, seed=seed) for seed in ("1", "2"))
    assert first
    assert first == second
    assert str(tmp_path) not in first
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sample", SMALL)
def test_the_code_does_not_know_the_grid(sample: str) -> None:
    place = SAMPLES / sample
    files = [*place.rglob("*.py")] if place.is_dir() else [place.with_suffix(".py")]
    assert files
    for file in files:
        assert not re.search(
            r"bundle|\bbee\b|grid|remote|worker|peer|\bnode", file.read_text("utf-8"), re.IGNORECASE
        ), file


def test_the_readme_names_every_sample() -> None:
    text = (SAMPLES / "README.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)`", text, re.MULTILINE) == list(SMALL)


def test_the_fractal_is_a_picture(tmp_path: Path) -> None:
    import png

    pictures = [tmp_path / "a.png", tmp_path / "b.png"]
    for picture in pictures:
        run("mandelbrot", *SMALL["mandelbrot"], "--out", str(picture), scratch=tmp_path)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    width, height, rows, info = png.Reader(filename=str(pictures[0])).read()
    pixels = [tuple(row[x : x + 3]) for row in rows for x in range(0, 3 * width, 3)]
    assert (width, height, info["planes"]) == (40, 30, 3)
    assert len(pixels) == 40 * 30
    assert len(set(pixels)) > 300


@pytest.mark.parametrize("size", [("1", "1"), ("1", "9"), ("200", "2")])
def test_fractals_of_odd_sizes(size: tuple[str, str], tmp_path: Path) -> None:
    out = run("mandelbrot", "--width", size[0], "--height", size[1], scratch=tmp_path)
    assert f"{size[0]} x {size[1]} pixels" in out


@pytest.mark.parametrize(
    ("sample", "n", "said"),
    [
        ("primes", "2", "0 primes below 2"),
        ("primes", "3", "1 primes below 3"),
        ("primes", "100000", "9592 primes below 100000"),
        ("primes", "100000", "pairs of twins: 1224"),
        ("nqueens", "1", "1 queens: 1 ways"),
        ("nqueens", "3", "3 queens: 0 ways"),
        ("nqueens", "8", "8 queens: 92 ways"),
        ("montecarlo", "20", "pi is 3.14"),
        ("diary", "3", "3 entries, the last one is number 3"),
        ("diary", "0", "0 entries, the last one is number 0"),
    ],
)
def test_answers_that_are_known(sample: str, n: str, said: str, tmp_path: Path) -> None:
    assert said in run(sample, "--n", n, scratch=tmp_path)


def test_wordcount_against_another_way_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))
    try:
        from wordcount.count import pages_of, words_in
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "wordcount"]:
            del sys.modules[name]

    text = (SAMPLES / "wordcount" / "text.txt").read_text("utf-8")
    pages = pages_of(text, 7)
    words = re.findall(r"[a-z]+(?:-[a-z]+)*", "\n".join(pages).lower())
    assert words_in(pages) == {word: words.count(word) for word in set(words)}


@pytest.mark.parametrize(
    ("file", "callee"),
    [
        ("mandelbrot/fractal.py", "row"),
        ("primes.py", "primes_between"),
        ("nqueens.py", "ways_from"),
        ("wordcount/count.py", "words_on"),
        ("montecarlo.py", "play"),
        ("diary.py", "tell"),
    ],
)
def test_the_main_loop_is_one_that_can_be_spread(file: str, callee: str) -> None:
    from bundlebee.weaving.outcomes import ScatterSite
    from bundlebee.weaving.weaver import weave

    module = file.removesuffix(".py").replace("/", ".")
    woven = weave((SAMPLES / file).read_bytes(), module=module, path=file)
    assert callee in [site.callee for site in woven.sites if isinstance(site, ScatterSite)]
