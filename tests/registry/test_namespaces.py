"""Multicast as the kernel does it: on a machine that has nothing but loopback, and between two machines.

Everything is made here, under names that no other run has, and removed whatever happens.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator

import pytest

pytestmark = [
    pytest.mark.lan,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
        reason="needs root, Linux and iproute2",
    ),
]

#: Joins the grid with the interface that is chosen by default, and prints what happens until its input ends.
PARTICIPANT = textwrap.dedent("""
    import sys, time
    from bundlebee.platform import choose_interface
    from bundlebee.registry.events import Joined, Left
    from bundlebee.registry.multicast import RegistryDriver
    from bundlebee.registry.rows import NodeRow, new_id
    from bundlebee.registry.state import Registry
    from bundlebee.registry.timing import Timing

    name, key = sys.argv[1], bytes.fromhex(sys.argv[2])
    interface = choose_interface(sys.argv[3] if len(sys.argv) > 3 else None)
    me = NodeRow(id=new_id(), name=name, address=f"{interface.address}:7768", started=time.time())

    def told(change):
        if isinstance(change, (Joined, Left)):
            print(type(change).__name__, change.node.name, flush=True)

    quick = Timing(beat=0.3, suspect=1.0, probe=0.3, expire=2.0, sweep=0.1)
    driver = RegistryDriver(Registry(me, time.monotonic(), timing=quick), key, interface, (), None, told)
    print("on", interface.name, interface.address, flush=True)
    driver.start()
    sys.stdin.read()
    driver.stop()
""")


def ip(*arguments: str, check: bool = True) -> str:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True).stdout


class Host:
    """A namespace with loopback, and what runs in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.running: list[subprocess.Popen[str]] = []
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")

    def start(self, name: str, key: bytes, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PARTICIPANT, name, key.hex(), *arguments]
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def remove(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()
        ip("netns", "del", self.name, check=False)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10.0) == 0


@pytest.fixture
def key() -> bytes:
    return os.urandom(32)


@pytest.fixture
def island() -> Iterator[Host]:
    """A machine with no network."""
    host = Host(f"bbi{os.getpid()}")
    yield host
    host.remove()


@pytest.fixture
def pair() -> Iterator[tuple[Host, Host]]:
    """Two machines on one cable; neither has a default route."""
    hosts = Host(f"bba{os.getpid()}"), Host(f"bbb{os.getpid()}")
    try:
        ip(
            "link",
            "add",
            "eth0",
            "netns",
            hosts[0].name,
            "type",
            "veth",
            "peer",
            "eth0",
            "netns",
            hosts[1].name,
        )
        for number, host in enumerate(hosts, 1):
            ip("-n", host.name, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
            ip("-n", host.name, "link", "set", "eth0", "up")
        # The carrier comes a moment after both ends are up.
        end = time.monotonic() + 10.0
        while any("LOWER_UP" not in ip("-n", host.name, "link", "show", "eth0") for host in hosts):
            assert time.monotonic() < end, "no carrier on the cable"
            time.sleep(0.01)
        yield hosts
    finally:
        for host in hosts:
            host.remove()


def test_a_machine_with_nothing_but_loopback_is_a_grid(island: Host, key: bytes) -> None:
    first = island.start("first", key)
    assert line(first) == "on lo 127.0.0.1"
    second = island.start("second", key)
    assert line(second) == "on lo 127.0.0.1"
    assert line(second) == "Joined first"
    assert line(first) == "Joined second"
    end(second)
    assert line(first) == "Left second"
    end(first)


def test_two_machines_on_a_cable(pair: tuple[Host, Host], key: bytes) -> None:
    one, other = pair
    here = one.start("here", key)
    assert line(here) == "on eth0 10.77.0.1"  # and not loopback, though there is no default route
    there = other.start("there", key)
    assert line(there) == "on eth0 10.77.0.2"
    assert (line(here), line(there)) == ("Joined there", "Joined here")
    # Somebody who lives on loopback of the same machine, on the same group and port, is not disturbed, nor
    # heard.
    apart = one.start("apart", key, "127.0.0.1")
    assert line(apart) == "on lo 127.0.0.1"
    # The cable is pulled, and put back.
    ip("-n", other.name, "link", "set", "eth0", "down")
    assert (line(here), line(there)) == ("Left there", "Left here")
    ip("-n", other.name, "link", "set", "eth0", "up")
    assert (line(here), line(there)) == ("Joined there", "Joined here")
    end(there)
    assert line(here) == "Left there"
    end(here)
    end(apart)
    assert apart.stdout is not None and apart.stdout.read() == ""
