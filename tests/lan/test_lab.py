"""The LAN itself: does it behave as one?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lab
import pytest
from lab import Host, LabError, Lan

GROUP, PORT = "239.255.99.99", 9999

LISTENER = f"""
import socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", {PORT}))
membership = struct.pack("=4sl", socket.inet_aton("{GROUP}"), socket.INADDR_ANY)
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
print("ready", flush=True)
while True:
    data, (address, _) = s.recvfrom(2048)
    print(data.decode(), "from", address, flush=True)
"""
SENDER = f"""
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
for i in range(int(sys.argv[2])):
    s.sendto(f"{{sys.argv[1]}}{{i}}".encode(), ("{GROUP}", {PORT}))
"""
SPIN = """
import sys, time
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end: pass
"""


def listen(*hosts: Host) -> list[lab.Program]:
    programs = [host.start(["python", "-c", LISTENER]) for host in hosts]
    for program in programs:
        program.wait_for("ready")
    return programs


def send(host: Host, word: str, count: int = 1) -> None:
    host.run(["python", "-c", SENDER, word, str(count)], check=True)


def test_multicast_reaches_the_others(lan: Callable[..., Lan]) -> None:
    a, b, c = lan(hosts=3)
    heard = listen(b, c)
    send(a, "hello")
    for program in heard:
        program.wait_for(f"hello0 from {a.address}")


def test_hosts_reach_each_other_and_nothing_else(lan: Callable[..., Lan]) -> None:
    a, b = lan(hosts=2)
    server = b.start(
        [
            "python",
            "-c",
            "import socket; s = socket.create_server(('', 7000)); print('up', flush=True); s.accept()",
        ]
    )
    server.wait_for("up")
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)"
    assert a.run(["python", "-c", connect, b.address, "7000"]).returncode == 0
    listing = json.loads(a.run(["ip", "-json", "addr"], check=True).stdout)
    assert sorted(link["ifname"] for link in listing) == ["eth0", "lo"]
    outside = subprocess.run(["ip", "-json", "addr"], capture_output=True, text=True, check=True).stdout
    assert "10.77.0." not in outside


def test_a_pulled_cable_and_back(lan: Callable[..., Lan]) -> None:
    a, b = lan(hosts=2)
    (heard,) = listen(b)
    b.unplug()
    send(a, "lost")
    b.plug()
    send(a, "found")
    assert "lost" not in heard.wait_for("found0")


def test_partition_and_heal(lan: Callable[..., Lan]) -> None:
    network = lan(hosts=4)
    a, b, c, d = network
    heard = listen(b, c, d)
    network.partition([a, b], ["c"])
    send(a, "split")
    heard[0].wait_for("split0")
    network.heal()
    send(a, "whole")
    for program in heard:
        program.wait_for("whole0")
    assert ["split" in program.output for program in heard] == [True, False, False]


@pytest.mark.skipif(lab.unavailable(loss=True) is not None, reason=str(lab.unavailable(loss=True)))
def test_lost_packets(lan: Callable[..., Lan]) -> None:
    a, b = lan(hosts=2)
    (heard,) = listen(b)
    b.lose(30)
    send(a, "some", 300)
    b.lose(0)
    send(a, "end")
    arrived = heard.wait_for("end0").count("some")
    assert 300 * 0.5 < arrived < 300 * 0.9


def test_cpu_shares(lan: Callable[..., Lan]) -> None:
    network = lan(hosts=3, cpu=[0.4, 0.2, 0.1])
    started = time.monotonic()
    programs = [host.start(["python", "-c", SPIN, "2.0"]) for host in network]
    for program in programs:
        assert program.process.wait(timeout=30) == 0
    elapsed = time.monotonic() - started
    for host in network:
        used = host.cpu_seconds() / elapsed
        assert used <= host.cpu * 1.25, f"{host} used {used:.3f}"
    # That each gets its share can only be seen where the machine has so much to give.
    assert network[0].cpu_seconds() > 1.5 * network[2].cpu_seconds() > 0


def test_a_program_sees_its_quota_and_can_be_given_another(lan: Callable[..., Lan]) -> None:
    (a,) = lan(hosts=1, cpu=[0.4])
    look = ["python", "-c", "from bundlebee.decisions.load import capacity; print(capacity())"]
    assert float(a.run(look, check=True).stdout) == pytest.approx(0.4)
    a.set_cpu(0.2)
    assert float(a.run(look, check=True).stdout) == pytest.approx(0.2)
    hidden = ["ip", "netns", "exec", a.namespace, *look]  # `/sys` is mounted anew in there
    assert float(a.run(hidden, check=True).stdout) == pytest.approx(0.2)


@pytest.mark.slow  # needs a core that stands idle meanwhile
def test_a_quota_that_cannot_be_read_is_felt(lan: Callable[..., Lan]) -> None:
    (a,) = lan(hosts=1, cpu=[0.2])
    spin = """
import threading, time
from bundlebee.decisions.cgroup import CpuGroup
from bundlebee.decisions.load import Load, Meter
meter = Meter(CpuGroup())
meter.start(())
load = Load(2.0, 0.0, 0.0, None, None, False)
end = time.monotonic() + 6.0
while load.cores > 0.5 and time.monotonic() < end:
    until = time.monotonic() + 0.5
    while time.monotonic() < until: pass
    load = meter.sample((), load)
print(load.cores)
"""
    found = float(a.run(["python", "-c", spin], check=True).stdout)
    if found > 1.0:
        pytest.skip("this machine never had an idle core meanwhile, so nothing could be told")
    assert found == pytest.approx(0.2, rel=0.3)


def test_kill_takes_all_processes_of_a_host_and_of_no_other(lan: Callable[..., Lan]) -> None:
    a, b = lan(hosts=2)
    family = (
        "import subprocess; child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print('up', flush=True); child.wait()"
    )
    killed, spared = (host.start(["python", "-c", family]) for host in (a, b))
    killed.wait_for("up")
    spared.wait_for("up")
    assert len(a.pids()) == 2
    a.kill()
    assert a.pids() == []
    assert not killed.running
    assert spared.running and len(b.pids()) == 2


def test_pause_and_resume(lan: Callable[..., Lan]) -> None:
    (a,) = lan(hosts=1)
    program = a.start(
        ["python", "-uc", "import itertools, time\nfor i in itertools.count(): print(i); time.sleep(.01)"]
    )
    program.wait_for("5\n")
    a.pause()
    state = Path(f"/proc/{program.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    before = program.output
    time.sleep(0.1)
    assert (state, program.output) == ("T", before)
    a.resume()
    program.wait_for(str(before.count("\n") + 20))


def test_homes_are_apart_and_the_environment_is_clean(
    lan: Callable[..., Lan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUNDLEBEE_POLICY", "local")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    network = lan(hosts=2, env={"SHARED": "yes"})
    show = ["python", "-c", "import os, json; print(json.dumps([os.getcwd(), dict(os.environ)]))"]
    found = [json.loads(host.run(show, check=True, env={"OWN": host.name}).stdout) for host in network]
    assert len({cwd for cwd, _ in found}) == 2
    for host, (_, env) in zip(network, found, strict=True):
        assert env["HOME"] == str(host.home)
        assert env["XDG_CACHE_HOME"].startswith(str(host.home))
        assert (env["SHARED"], env["OWN"]) == ("yes", host.name)
        assert "BUNDLEBEE_POLICY" not in env and "PYTHONHASHSEED" not in env


def test_run_returns_output_and_exit_code_and_passes_input(lan: Callable[..., Lan]) -> None:
    (a,) = lan(hosts=1)
    done = a.run(["python", "-c", "import sys; print(input()); sys.exit('bad')"], input="good\n")
    assert (done.returncode, done.stdout, done.stderr) == (1, "good\n", "bad\n")
    with pytest.raises(subprocess.CalledProcessError):
        a.run(["false"], check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        a.run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.3)
    assert a.pids() == []


def test_a_program_that_ends_early_is_told_with_its_output(lan: Callable[..., Lan]) -> None:
    (a,) = lan(hosts=1)
    program = a.start(["python", "-c", "print('sorry')"])
    with pytest.raises(LabError, match="sorry"):
        program.wait_for("never")
    assert a.start(["sleep", "60"]).stop() == -15


def traces(tag: str) -> list[str]:
    places = [lab.NAMESPACES, lab.CGROUPS / "cpu", lab.CGROUPS / "cpuacct"]
    return [
        entry.name for place in places if place.is_dir() for entry in place.iterdir() if tag in entry.name
    ]


def test_nothing_is_left_behind(lan: Callable[..., Lan]) -> None:
    network = lan(hosts=2, cpu=[0.5, None])
    program = network[0].start(["sleep", "60"])
    assert len(traces(network.tag)) == 5  # three namespaces, two groups
    network.close()
    network.close()
    assert traces(network.tag) == []
    assert not program.running


def test_what_a_crash_left_is_removed_by_the_next(lan: Callable[..., Lan]) -> None:
    lan(hosts=1, cpu=[0.5])  # skips where there is no LAN
    crash = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); import lab\n"
        "network = lab.Lan(1, [0.5]); network[0].start(['sleep', '60'])\n"
        "while not network[0].pids(): pass\n"
        "print(network.tag, network.root, network[0].pids()[0], flush=True); os._exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", crash, str(Path(lab.__file__).parent)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    tag, root, pid = done.stdout.split()
    assert traces(tag)
    lan(hosts=1)
    assert traces(tag) == []
    end = time.monotonic() + 5
    while Path("/proc", pid).exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path("/proc", pid).exists()
    assert not os.path.exists(root)
