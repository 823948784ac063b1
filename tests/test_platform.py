"""Interfaces and processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import psutil
import pytest

from bundlebee import platform
from bundlebee.errors import InterfaceError
from bundlebee.platform import Interface, choose_interface, interfaces, terminate


class Machine:
    """Pretends to be a machine with these interfaces."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, default: str | None, **found: str | None) -> None:
        """`default` is the address on the default route; an interface with a trailing ``_down`` is down."""
        addresses = {}
        stats = {}
        for key, address in found.items():
            name = key.removesuffix("_down").replace("__", "-")
            stats[name] = SimpleNamespace(isup=not key.endswith("_down"))
            addresses[name] = [SimpleNamespace(family=socket.AF_INET6, address="fe80::1")]
            if address is not None:
                addresses[name].insert(0, SimpleNamespace(family=socket.AF_INET, address=address))
        monkeypatch.setattr(platform, "IS_LINUX", False)
        monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)
        monkeypatch.setattr(psutil, "net_if_stats", lambda: stats)
        monkeypatch.setattr(platform, "_default_address", lambda: default)


class TestChoosing:
    def test_the_one_with_the_default_route(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Machine(monkeypatch, "10.0.0.2", lo="127.0.0.1", eth0="192.168.1.5", wlan0="10.0.0.2")
        assert choose_interface() == Interface("wlan0", "10.0.0.2", False)

    @pytest.mark.parametrize(
        "bridge", ["docker0", "br__0f3a", "veth12", "virbr0", "vmnet8", "vboxnet0", "cni0", "podman1"]
    )
    def test_never_what_reaches_only_containers(self, monkeypatch: pytest.MonkeyPatch, bridge: str) -> None:
        Machine(monkeypatch, "172.17.0.1", **{bridge: "172.17.0.1"}, lo="127.0.0.1", eth0="192.168.1.5")
        assert choose_interface().name == "eth0"

    @pytest.mark.parametrize("tunnel", ["tun0", "wg0", "tailscale0", "utun3", "ppp0"])
    def test_not_a_tunnel_even_if_it_has_the_default_route(
        self, monkeypatch: pytest.MonkeyPatch, tunnel: str
    ) -> None:
        Machine(monkeypatch, "10.8.0.2", **{tunnel: "10.8.0.2"}, lo="127.0.0.1", eth0="192.168.1.5")
        assert choose_interface().name == "eth0"

    def test_what_is_down_does_not_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Machine(monkeypatch, None, eth0_down="192.168.1.5", eth1="192.168.2.5", lo="127.0.0.1")
        assert choose_interface().name == "eth1"

    def test_a_tunnel_is_better_than_a_bridge_and_a_bridge_than_loopback(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Machine(monkeypatch, None, lo="127.0.0.1", docker0="172.17.0.1", wg0="10.8.0.1")
        assert choose_interface().name == "wg0"
        Machine(monkeypatch, None, lo="127.0.0.1", docker0="172.17.0.1")
        assert choose_interface().name == "docker0"
        Machine(monkeypatch, None, lo="127.0.0.1")
        assert choose_interface() == Interface("lo", "127.0.0.1", True)

    def test_nothing_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Machine(monkeypatch, None, lo_down="127.0.0.1")
        with pytest.raises(InterfaceError, match="no network interface"):
            choose_interface()


class TestNaming:
    @pytest.fixture(autouse=True)
    def machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Machine(
            monkeypatch,
            None,
            lo="127.0.0.1",
            eth0="192.168.1.5",
            eth1_down="10.1.1.1",
            six=None,
            docker0="172.17.0.1",
        )

    def test_by_name_and_by_address(self) -> None:
        assert choose_interface("eth0") == choose_interface("192.168.1.5")
        assert choose_interface("docker0").name == "docker0"
        assert choose_interface("lo") == choose_interface("127.0.0.1") == Interface("lo", "127.0.0.1", True)

    def test_any_loopback_address_is_this_machine(self) -> None:
        assert choose_interface("127.0.3.7") == Interface("lo", "127.0.3.7", True)

    def test_an_unknown_one_is_an_error_that_says_what_there_is(self) -> None:
        with pytest.raises(InterfaceError) as caught:
            choose_interface("eth9")
        assert "eth9" in str(caught.value)
        assert "eth0 (192.168.1.5)" in str(caught.value) and "eth1" not in str(caught.value)

    def test_one_that_is_down_or_has_no_address_is_named_so(self) -> None:
        with pytest.raises(InterfaceError, match="it is down"):
            choose_interface("eth1")
        with pytest.raises(InterfaceError, match="no IPv4 address"):
            choose_interface("six")
        with pytest.raises(InterfaceError):
            choose_interface("10.1.1.1")


def test_this_machine_has_interfaces() -> None:
    assert choose_interface() in interfaces()
    assert any(one.is_loopback for one in interfaces())


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
def test_linux_says_what_psutil_says() -> None:
    assert platform._addresses_by_ioctl() == platform._addresses_by_psutil()


def test_running_processes_are_told_from_gone_ones() -> None:
    assert platform.is_running(os.getpid()) and platform.is_running(1)
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert not platform.is_running(child.pid)
    assert not platform.is_running(-1) and not platform.is_running(1 << 40)


REEXEC = textwrap.dedent("""
    import os, sys
    from bundlebee.reexec import reexec
    print("run", os.environ.get("AGAIN"), sys.flags.hash_randomization, sys.argv[1:], flush=True)
    if "AGAIN" not in os.environ:
        print("unflushed text is not lost")
        reexec({**os.environ, "AGAIN": "yes", "PYTHONHASHSEED": "0"})
    sys.exit(7)
""")


@pytest.mark.parametrize("replace", [True, False], ids=["replaced", "child"])
def test_reexec_runs_the_same_command_with_another_environment(replace: bool) -> None:
    code = REEXEC
    if not replace:
        code = "import bundlebee.reexec; bundlebee.reexec.IS_WINDOWS = True\n" + code
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONHASHSEED"}
    done = subprocess.run(
        [sys.executable, "-c", code, "one", "two words"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.splitlines() == [
        "run None 1 ['one', 'two words']",
        "unflushed text is not lost",
        "run yes 0 ['one', 'two words']",
    ]


def child(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", code + "\nprint(flush=True)\nwhile True: time.sleep(9)"], stdout=-1
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_terminate_is_polite_first() -> None:
    polite = child("import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))")
    assert terminate(polite) == 5
    deaf = child("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert terminate(deaf, grace=0.2) == -signal.SIGKILL
    assert terminate(deaf) == -signal.SIGKILL
    for process in (polite, deaf):
        assert process.stdout is not None
        process.stdout.close()


TRACED_AFTERWARDS = """
import sys, threading
from bundlebee.platform import interrupt_thread, take_back_interrupts

def work():
    return sum(range(10))

done = []
for interrupted in (False, True):
    try:
        if interrupted:
            interrupt_thread(threading.get_ident(), KeyError)
        take_back_interrupts()
    except KeyError:  # it came up first
        take_back_interrupts()
    sys.settrace(lambda *_: None)
    done.append(work())
    sys.settrace(None)
print(done)
"""


def test_a_trace_function_after_interrupts_were_taken_back() -> None:
    """CPython 3.11 went round for ever at the first call."""
    run = subprocess.run(
        [sys.executable, "-c", TRACED_AFTERWARDS], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "[45, 45]\n"
