"""The main job on a LAN: drop bundles in, run nodes, watch a program spread; and what goes wrong on the way."""

from __future__ import annotations

import random
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from grid import Grid

if TYPE_CHECKING:
    from conftest import MakeLan

SAMPLES = Path(__file__).parents[2] / "samples"

PROGRAM = """\
def work(number):
    total = 0
    for i in range(60_000):
        total = (total * 31 + number * i) % 1_000_003
    return total


if __name__ == "__main__":
    print([work(number) for number in range(TURNS)])
"""

RUNS = [
    ("mandelbrot", ["--width", "48", "--height", "36", "--iterations", "60"]),
    ("primes", ["--n", "20000"]),
    ("nqueens", ["--n", "7"]),
    ("wordcount", ["--n", "800"]),
    ("montecarlo", ["--n", "40"]),
    ("diary", []),
]


def script(path: Path, turns: int) -> Path:
    path.write_text(PROGRAM.replace("TURNS", str(turns)))
    return path


def plainly(path: Path) -> str:
    import subprocess

    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True).stdout


def test_samples_print_the_same_under_every_policy_on_three_hosts(lan: MakeLan) -> None:
    network = lan(hosts=3)
    a = network["a"]
    grid = Grid(network, bundles=SAMPLES)
    grid.start()
    shipped = set()
    for name, arguments in RUNS:
        plain = a.run([sys.executable, "-m", name, *arguments], check=True, cwd=SAMPLES)
        for policy in ("local", "remote", "chaos:0.3:1", "auto"):
            done = grid.exec(a, "-m", name, *arguments, policy=policy, decisions=True)
            assert (done.stdout, done.returncode) == (plain.stdout, 0), (name, policy)
            if policy == "remote" and done.places():
                shipped.add(name)
    assert shipped >= {"mandelbrot", "primes", "nqueens", "montecarlo"}
    grid.stop()


def test_a_pure_loop_spreads_over_the_grid(lan: MakeLan, tmp_path: Path) -> None:
    network = lan(hosts=3)
    grid = Grid(network)
    grid.start()
    path = script(tmp_path / "spread.py", 300)
    done = grid.exec(network["a"], path, decisions=True)
    assert done.stdout == plainly(path)
    assert done.places() >= {"b", "c"}
    assert {why for _where, why in done.tally()} >= {"cheaper-there"}
    # the node on the program's machine has heard of it, and says so to whoever asks
    told = network["a"].run(["bundlebee", "decisions", "--json"], check=True).stdout
    assert '"function":"__main__:work"' in told
    grid.stop()
    for host in network:
        assert host.pids() == []


def test_a_wheel_dropped_in_is_called_from_afar_and_flows(lan: MakeLan, tmp_path: Path) -> None:
    network = lan(hosts=3)
    a, b, c = network
    directories = {}
    for host in network:
        directories[host.name] = tmp_path / f"bundles-{host.name}"
        directories[host.name].mkdir()
    grid = Grid(network, bundles=directories)
    grid.start()
    wheel(directories["a"])
    start = time.monotonic()
    answer = None
    while time.monotonic() < start + 20:
        answer = b.run(["bundlebee", "call", "twice.maths:double", "21"])
        if answer.returncode == 0:
            break
    assert answer is not None
    assert answer.stdout == "42\n", answer.stderr
    # a program on the third host imports it: nobody there has it, so it is fetched
    done = grid.exec(c, "-c", "import twice.maths; print(twice.maths.double(4))")
    assert done.stdout == "8\n"
    assert c.run(["bundlebee", "call", "twice.maths:double", "5"], check=True).stdout == "10\n"
    listed = a.run(["bundlebee", "bundles", "--json"], check=True).stdout
    import json

    (bundle,) = json.loads(listed)
    assert (bundle["name"], bundle["version"], bundle["state"]) == ("twice", "2.1", "active")
    assert {"a", "b", "c"} == set(bundle["nodes"])


def wheel(directory: Path) -> None:
    """A small wheel, half-copied first, as a slow copy would."""
    made = directory.parent / "twice-2.1-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("twice/__init__.py", "")
        archive.writestr("twice/maths.py", "def double(x):\n    return 2 * x\n")
        archive.writestr("twice-2.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: twice\nVersion: 2.1\n")
        archive.writestr(
            "twice-2.1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("twice-2.1.dist-info/RECORD", "")
    data = made.read_bytes()
    target = directory / made.name
    target.write_bytes(data[: len(data) // 2])
    target.write_bytes(data)


def test_a_peer_that_dies_in_the_middle_changes_nothing_but_the_log(lan: MakeLan, tmp_path: Path) -> None:
    network = lan(hosts=3)
    a, b, _c = network
    grid = Grid(network)
    grid.start()
    path = script(tmp_path / "long.py", 1500)
    records = a.home / "d.jsonl"
    program = a.start(["bundlebee", "exec", "--decisions", str(records), str(path)])
    wait_for_record(records, '"where":"b"')
    b.kill()
    assert program.process.wait(120) == 0
    assert plainly(path) in program.output
    assert "lost b" in program.output or "node b left" in grid.nodes["a"].output


def test_when_every_peer_dies_the_program_ends_here(lan: MakeLan, tmp_path: Path) -> None:
    network = lan(hosts=3)
    a, b, c = network
    grid = Grid(network)
    grid.start(b, c)
    path = script(tmp_path / "long.py", 1500)
    records = a.home / "d.jsonl"
    program = a.start(["bundlebee", "exec", "--policy", "remote", "--decisions", str(records), str(path)])
    wait_for_record(records, '"where":"b"')
    b.kill()
    c.kill()
    assert program.process.wait(180) == 0
    assert plainly(path) in program.output
    assert "lost" in program.output


def test_a_pulled_cable_is_noticed_in_seconds_and_healed(lan: MakeLan) -> None:
    network = lan(hosts=3)
    _a, b, _c = network
    grid = Grid(network)
    grid.start()
    b.unplug()
    grid.nodes["a"].wait_for("node b left", 15)
    b.plug()
    grid.nodes["a"].wait_for("node b joined", 15, count=2)


def test_another_key_sees_nothing_and_is_told_of_once(lan: MakeLan, tmp_path: Path) -> None:
    network = lan(hosts=3)
    a, b, c = network
    grid = Grid(network)
    grid.start(a, b)
    other = str(c.home / "other.key")
    stranger = c.start(["bundlebee", "run", "--key-file", other, "--name", "impostor"])
    stranger.wait_for("serves at")
    assert (
        c.run(["bundlebee", "nodes", "--json", "--key-file", other], check=True).stdout.count('"name"') == 1
    )
    path = script(tmp_path / "short.py", 40)
    done = c.run(
        [
            "bundlebee",
            "exec",
            "--key-file",
            other,
            "--policy",
            "remote",
            "--peer",
            f"{a.address}:7766",
            str(path),
        ]
    )
    assert done.stdout == plainly(path)
    for node in grid.nodes.values():
        node.wait_for("10.77.0.3")
        lines = [line for line in node.output.splitlines() if "10.77.0.3" in line]
        assert len(lines) == 1, lines
        assert "__main__" not in node.output
        assert "impostor" not in node.output


@pytest.mark.parametrize("seconds", [3.0, pytest.param(10.0, marks=pytest.mark.slow)])
def test_random_bytes_on_every_port_do_no_harm(lan: MakeLan, tmp_path: Path, seconds: float) -> None:
    network = lan(hosts=2)
    a, b = network
    grid = Grid(network)
    grid.start(a)
    node = psutil.Process(grid.nodes["a"].process.pid)
    seed = random.randrange(1 << 30)
    print("seed", seed)
    noise = tmp_path / "noise.py"
    noise.write_text(NOISE)
    ports = sorted(listening(node))
    assert ports
    path = script(tmp_path / "program.py", 20)
    assert grid.exec(b, "--policy", "remote", path, decisions=True).places() == {"a"}
    before = memory(node)
    made = b.run(
        [sys.executable, noise, a.address, ",".join(map(str, ports)), str(seconds), str(seed)],
        timeout=seconds + 60,
    )
    assert made.returncode == 0, made.stderr
    assert "sent" in made.stdout
    assert grid.nodes["a"].running
    assert memory(node) < before + 40 * 2**20
    assert len(grid.nodes["a"].output.splitlines()) < 30
    assert grid.exec(b, "--policy", "remote", path, decisions=True).places() == {"a"}


NOISE = """\
import random, socket, sys, time
address, ports, seconds, seed = sys.argv[1], [int(p) for p in sys.argv[2].split(",")], float(sys.argv[3]), int(sys.argv[4])
dice, end, sent = random.Random(seed), time.monotonic() + seconds, 0
group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
while time.monotonic() < end and sent < 100_000:
    for _ in range(20):
        group.sendto(dice.randbytes(dice.randrange(1, 1400)), ("239.255.77.66", 7767))
    port = dice.choice(ports)
    try:
        with socket.create_connection((address, port), timeout=1) as connection:
            connection.sendall(dice.randbytes(dice.choice([1, 10, 64, 1000, 100_000])))
    except OSError:
        pass
    sent += 21
    time.sleep(0.001)
print("sent", sent)
"""


def listening(process: psutil.Process) -> set[int]:
    """TCP ports on which somebody listens on that process's host: its own /proc says, whatever namespace we are in."""
    lines = Path(f"/proc/{process.pid}/net/tcp").read_text().splitlines()[1:]
    return {int(line.split()[1].split(":")[1], 16) for line in lines if line.split()[3] == "0A"}


def memory(node: psutil.Process) -> int:
    return sum(process.memory_info().rss for process in [node, *node.children(recursive=True)])


def wait_for_record(path: Path, text: str, timeout: float = 60.0) -> None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"no {text} in {path} within {timeout} s")
