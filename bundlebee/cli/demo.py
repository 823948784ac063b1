"""`bundlebee demo`: three nodes on loopback render a fractal, and show who computed what."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundlebee.cli.options import option
from bundlebee.errors import BundlebeeError, ConfigurationError
from bundlebee.settings import PREFIX

if TYPE_CHECKING:
    from rich.table import Table

    from bundlebee.decisions.records import Decision

NODES = ("ada", "grace", "edsger")
START_SECONDS = 30.0


@click.command(
    epilog="""\b
Examples:
  bundlebee demo
  bundlebee demo --width 1920 --height 1080 --out wallpaper.png"""
)
@option("--width", variable="WIDTH", type=click.IntRange(16), default=640, show_default=True, help="Pixels.")
@option(
    "--height", variable="HEIGHT", type=click.IntRange(16), default=480, show_default=True, help="Pixels."
)
@option(
    "--out",
    variable="OUT",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("mandelbrot.png"),
    show_default=True,
    help="The picture.",
)
def demo(width: int, height: int, out: Path) -> None:
    """Render the fractal sample over three nodes on loopback, with a live table of who computed what, and why.

    Prints the speed-up against one core, beside the most that this machine can give. Nothing leaves this machine.
    """
    from rich.console import Console

    console = Console(highlight=False)
    program = ["-m", "mandelbrot", "--width", str(width), "--height", str(height), "--out"]
    try:
        with tempfile.TemporaryDirectory(prefix="bundlebee-demo-") as scratch:
            place = Path(scratch)
            key = ["--key-file", str(place / "demo.key"), "--interface", "127.0.0.1"]
            with console.status("one core alone ..."):
                alone = _timed(
                    [
                        "exec",
                        "--policy",
                        "local",
                        "--bundles",
                        str(samples()),
                        *program,
                        str(place / "alone.png"),
                    ]
                )
            with _nodes(key, console):
                decisions = place / "decisions.jsonl"
                seconds = _watched(
                    [
                        "exec",
                        *key,
                        "--bundles",
                        str(samples()),
                        "--decisions",
                        str(decisions),
                        *program,
                        str(out),
                    ],
                    decisions,
                    console,
                )
            same = (place / "alone.png").read_bytes() == out.read_bytes()
    except OSError as error:
        raise ConfigurationError("the demo cannot run here", why=str(error)) from None
    if not same:
        raise BundlebeeError("the two pictures differ", hint="please report this: it must never happen")
    most = at_most()
    console.print(f"wrote {out}, byte for byte the picture that one core made")
    console.print(
        f"one core {alone:.2f} s, three nodes {seconds:.2f} s: {alone / seconds:.2f} times as fast; "
        f"this machine can give {most:.2f} times at most"
    )


def samples() -> Path:
    """The directory of the samples, installed or in a checkout.

    Raises:
        ConfigurationError: it is in neither place.
    """
    import bundlebee

    package = Path(bundlebee.__file__).parent
    for place in (package / "samples", package.parent / "samples"):
        if (place / "mandelbrot").is_dir():
            return place
    raise ConfigurationError("the samples are not installed", hint="install bundlebee again")


def at_most() -> float:
    """How many times one core's work all cores together do: measured, since cores may share their power."""
    from bundlebee.decisions.load import slots

    def race(count: int) -> float:
        code = (
            "import time\ns = time.perf_counter()\nfor i in range(3_000_000): i * i % 7\n"
            "print(time.perf_counter() - s)"
        )
        racers = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(count)
        ]
        return max(float(racer.communicate()[0]) for racer in racers)

    cores = slots()
    race(1)
    return cores * min(race(1) for _ in range(3)) / min(race(cores) for _ in range(3))


def _command(arguments: list[str]) -> list[str]:
    # -P: in a checkout, ./bundlebee is not what was installed
    return [sys.executable, "-P", "-m", "bundlebee", *arguments]


def _environment() -> dict[str, str]:
    """Ours without options for the grid: the demo has one of its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _timed(arguments: list[str]) -> float:
    start = time.perf_counter()
    run = subprocess.run(_command(arguments), env=_environment(), capture_output=True, text=True)
    if run.returncode:
        raise BundlebeeError("the program failed", why=run.stderr.strip()[-2000:])
    return time.perf_counter() - start


@contextmanager
def _nodes(key: list[str], console: object) -> Iterator[None]:
    """Three nodes with a worker each, up and known to each other."""
    from bundlebee.guest import Guest
    from bundlebee.settings import GridOptions

    arguments = ["run", str(samples()), *key, "--workers", "1", "-q", "--name"]
    nodes = []
    try:
        for name in NODES:
            nodes.append(
                subprocess.Popen(
                    _command([*arguments, name]),
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                )
            )
            if name == NODES[0]:
                _until_key(Path(key[1]), nodes[0])
        with Guest(GridOptions(interface=key[3], key_file=Path(key[1]))) as guest:
            found = guest.wait_for(lambda grid: len(grid.nodes()) >= len(NODES), START_SECONDS)
        if len(found.nodes()) < len(NODES):
            raise ConfigurationError(
                f"only {len(found.nodes())} of {len(NODES)} nodes came up on loopback",
                hint="see what `bundlebee run --interface 127.0.0.1` says",
            )
        yield
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            try:
                node.wait(10)
            except subprocess.TimeoutExpired:
                node.kill()
                node.wait()


def _until_key(path: Path, node: subprocess.Popen[bytes]) -> None:
    """Wait for the first node to make the key."""
    deadline = time.monotonic() + START_SECONDS
    while not path.exists():
        if node.poll() is not None or time.monotonic() > deadline:
            words = (
                node.stderr.read().decode(errors="replace")
                if node.stderr and node.poll() is not None
                else None
            )
            raise ConfigurationError("the first node did not start", why=words)
        time.sleep(0.02)


def _watched(arguments: list[str], decisions: Path, console: object) -> float:
    """Run the program; show its decisions as they come."""
    from rich.live import Live

    from bundlebee.decisions.records import from_json

    start = time.perf_counter()
    run = subprocess.Popen(
        _command(arguments), env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    counts: Counter[tuple[str, str, str]] = Counter()
    spent: Counter[tuple[str, str, str]] = Counter()
    position = 0
    with Live(_table(counts, spent), console=console, refresh_per_second=8) as live:  # type: ignore[arg-type]
        running = True
        while running:
            try:
                run.wait(0.1)
                running = False
            except subprocess.TimeoutExpired:
                pass
            seconds = time.perf_counter() - start
            if decisions.exists():
                with decisions.open("rb") as file:
                    file.seek(position)
                    for line in file:
                        if not line.endswith(b"\n"):
                            break
                        position += len(line)
                        _count(from_json(line), counts, spent)
            live.update(_table(counts, spent))
    if run.returncode:
        words = run.stderr.read().decode(errors="replace") if run.stderr else ""
        raise BundlebeeError("the program failed", why=words.strip()[-2000:])
    return seconds


def _count(
    decision: Decision, counts: Counter[tuple[str, str, str]], spent: Counter[tuple[str, str, str]]
) -> None:
    key = decision.function, decision.where, decision.why
    counts[key] += 1
    spent[key] += decision.seconds or 0.0  # type: ignore[assignment]


def _table(counts: Counter[tuple[str, str, str]], spent: Counter[tuple[str, str, str]]) -> Table:
    from rich.table import Table

    table = Table("function", "where", "why", "calls", "seconds", title="who computed what, and why")
    for key in sorted(counts, key=lambda key: (key[0], -spent[key])):
        table.add_row(*key, str(counts[key]), f"{spent[key]:.2f}")
    return table
