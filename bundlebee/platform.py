"""What differs from platform to platform and from machine to machine: interfaces, processes, re-execution."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from bundlebee.errors import InterfaceError

if TYPE_CHECKING:
    import subprocess

IS_WINDOWS = sys.platform == "win32"

#: Made by virtual machines and containers: reaches what runs on this machine, and no other machine.
_BRIDGES = re.compile(
    r"docker|br-|veth|virbr|vmnet|vboxnet|lxcbr|lxdbr|cni|flannel|cali|podman|vethernet|bridge\d|virtualbox|vmware",
    re.IGNORECASE,
)

#: Tunnels: they reach other machines, but multicast rarely passes.
_TUNNELS = re.compile(r"tun|utun|tap|wg|tailscale|zt|ppp|ipsec|gif|stf|awdl|llw|nordlynx", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface with the IPv4 address that we use on it."""

    name: str
    address: str
    is_loopback: bool


def interfaces() -> list[Interface]:
    """All interfaces of this machine that are up and have an IPv4 address; one entry an address."""
    import socket

    import psutil  # 30 ms, needed once

    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    return [
        Interface(name, entry.address, entry.address.startswith("127."))
        for name, entries in psutil.net_if_addrs().items()
        if name in up
        for entry in entries
        if entry.family == socket.AF_INET
    ]


def choose_interface(spec: str | None = None) -> Interface:
    """The interface that the grid lives on.

    Args:
        spec: the name of an interface or an IPv4 address of this machine. None takes the one that the default
            route uses, unless that is a tunnel; never one of containers or virtual machines while there is
            another; loopback if there is nothing else.

    Raises:
        InterfaceError: there is no such interface, or it is down or has no IPv4 address.
    """
    found = interfaces()
    if spec is not None:
        return _named(spec, found)
    if not found:
        raise InterfaceError("no network interface is up", hint="even loopback is missing: ip link set lo up")
    default = _default_address()
    return min(found, key=lambda one: (_rank(one), one.address != default))


def _named(spec: str, found: list[Interface]) -> Interface:
    for one in found:
        if spec in (one.name, one.address):
            return one
    if re.fullmatch(r"127(\.\d{1,3}){3}", spec):
        # All of 127/8 is this machine, though only one address of it is listed.
        loopback = next((one for one in found if one.is_loopback), None)
        if loopback is not None:
            return Interface(loopback.name, spec, True)
    import psutil

    listed = ", ".join(f"{one.name} ({one.address})" for one in found) or "none"
    why = None
    if spec in psutil.net_if_addrs():
        stats = psutil.net_if_stats().get(spec)
        why = "it has no IPv4 address" if stats is None or stats.isup else "it is down"
    what = f"cannot use the network interface {spec!r}" if why else f"there is no network interface {spec!r}"
    raise InterfaceError(what, why=why, hint=f"usable here: {listed}")


def _rank(one: Interface) -> int:
    """How unlikely it is that the other machines of the LAN are behind it."""
    if one.is_loopback:
        return 4
    if _BRIDGES.match(one.name):
        return 3
    if one.address.startswith("169.254."):
        return 2  # nobody gave it an address
    return 1 if _TUNNELS.match(one.name) else 0


def _default_address() -> str | None:
    """Our address on the default route. To connect a datagram socket sends nothing, and finds the route."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that documentation reserves
            return str(probe.getsockname()[0])
        except OSError:
            return None


def reexec(env: Mapping[str, str], argv: Sequence[str] | None = None) -> NoReturn:
    """Start this very command again, with another environment, in place of this process.

    What is decided before Python starts (the hash seed) can only be changed so. Where a process cannot be
    replaced (Windows), a child runs, and this process waits for it and ends with its exit code.

    Args:
        env: the whole environment of the new process.
        argv: the interpreter's arguments, without the interpreter; as it was started, if None.
    """
    command = [sys.executable, *(sys.orig_argv[1:] if argv is None else argv)]
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if not IS_WINDOWS:
        os.execve(command[0], command, dict(env))
    import subprocess

    child = subprocess.Popen(command, env=dict(env))
    while True:
        try:
            code = child.wait()
            break
        except KeyboardInterrupt:
            continue  # the child got it too, and decides
    os._exit(code & 0xFFFFFFFF)


def terminate(process: subprocess.Popen[bytes], grace: float = 2.0) -> int:
    """End a child process: politely, and after `grace` seconds by force. Returns its exit code."""
    import subprocess

    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()
