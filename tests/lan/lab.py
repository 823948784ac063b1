"""A LAN on one Linux machine: hosts with their own addresses, homes and shares of CPU, joined by a switch.

    with Lan(hosts=3, cpu=[1.0, 0.5, 0.5]) as lan:
        a, b, c = lan
        server = b.start(["python", "server.py"])
        server.wait_for("ready")
        print(a.run(["python", "client.py", b.address]).stdout)
        b.kill()

Each host is a network namespace with an interface ``eth0`` (10.77.0.N/24) whose other end is a port of a
bridge, and the bridge lives in a namespace of its own: nothing is added to the network of the machine itself,
and removing the namespaces removes it all. A share of CPU is a quota of a control group (version 1) with a
short period, so that 0.1 CPU feels like a slow machine and not like one that freezes ten times a second.

Programs enter with ``nsenter`` and not with ``ip netns exec``: the latter mounts ``/sys`` anew, and a program
could not see the quota that it lives under.

Everything is removed by `Lan.close`, at the end of the process, or, after a crash, by the next LAN that is
made: the names carry the process id of their maker. Root only; `unavailable` says what is missing. Tests and
benchmarks use this one file.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

PREFIX = "bundlebee"
NAMESPACES = Path("/run/netns")
CGROUPS = Path("/sys/fs/cgroup")
#: µs; period of the CPU quotas. The kernel's default of 100 ms would stop a host of 0.1 CPU for 90 ms
PERIOD = 20_000
NAMES = "abcdefghijklmnopqrstuvwxyz"
_counter = itertools.count()


class LabError(Exception):
    """The LAN could not be made or changed; the message holds what the system said."""


def unavailable(*, shares: bool = False, loss: bool = False) -> str | None:
    """Why there can be no LAN here, as the reason of a skipped test; None if there can be one.

    Args:
        shares: hosts with CPU shares are wanted.
        loss: lost packets are wanted.
    """
    if sys.platform != "linux":
        return "needs Linux network namespaces"
    if os.geteuid() != 0:
        return "needs root"
    for tool, package in (
        ("ip", "iproute2"),
        ("nsenter", "util-linux"),
        *([("nft", "nftables")] if loss else []),
    ):
        if shutil.which(tool) is None:
            return f"needs the command {tool} (package {package})"
    if (
        shares
        and not (CGROUPS / "cpu" / "cpu.cfs_quota_us").exists()
        and not (CGROUPS / "cpu" / "tasks").exists()
    ):
        return "needs the CPU control group, version 1"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    return f"may not make network namespaces: {probe.stderr.strip()}" if probe.returncode else None


class Lan:
    """Hosts on one switch. Iterate over it, or index it by number or name.

    Args:
        hosts: how many; they are named a, b, c … and have the addresses 10.77.0.1, .2, .3 …
        cpu: share of one core for each host (0.05 and up; 2.0 is two cores); None, alone or as an entry: no
            limit.
        root: directory for the homes and logs of the hosts; None: a temporary one that goes with the LAN.
        env: variables for the programs on all hosts.
    """

    def __init__(
        self,
        hosts: int = 3,
        cpu: Sequence[float | None] | None = None,
        *,
        root: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        shares = list(cpu) if cpu is not None else [None] * hosts
        if len(shares) != hosts or not 1 <= hosts <= len(NAMES):
            raise ValueError(f"{hosts} hosts with {len(shares)} shares")
        remove_stale()
        self.tag = f"{PREFIX}-{os.getpid()}-{next(_counter)}"
        self._temporary = root is None
        self.root = Path(tempfile.mkdtemp(prefix=f"{self.tag}-")) if root is None else root
        self.env = dict(env or {})
        self._switch = f"{self.tag}-switch"
        self._bridges = 1
        self.hosts: list[Host] = []
        self._closed = False
        atexit.register(self.close)
        try:
            _ip(f"netns add {self._switch}")
            self._in_switch("link set lo up", *_bridge("lan0"))
            for number, share in enumerate(shares):
                self.hosts.append(Host(self, NAMES[number], number + 1, share))
        except BaseException:
            self.close()
            raise

    def partition(self, *groups: Sequence[Host | str]) -> None:
        """Split the switch: only hosts of one group hear each other. Hosts that are not named stay
        together."""
        self.heal()
        while self._bridges <= len(groups):
            self._in_switch(*_bridge(f"lan{self._bridges}"))
            self._bridges += 1
        for number, group in enumerate(groups, start=1):
            self._in_switch(
                *(f"link set dev {getattr(host, 'name', host)} master lan{number}" for host in group)
            )

    def heal(self) -> None:
        """Undo `partition`."""
        self._in_switch(*(f"link set dev {host.name} master lan0" for host in self.hosts))

    def close(self) -> None:
        """Kill all programs, remove all that was made. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        for host in self.hosts:
            host.kill()
        _remove(self.tag)
        if self._temporary:
            shutil.rmtree(self.root, ignore_errors=True)

    def _in_switch(self, *commands: str) -> None:
        _ip(*commands, namespace=self._switch)

    def __iter__(self) -> Iterator[Host]:
        return iter(self.hosts)

    def __len__(self) -> int:
        return len(self.hosts)

    def __getitem__(self, key: int | str) -> Host:
        if isinstance(key, int):
            return self.hosts[key]
        for host in self.hosts:
            if host.name == key:
                return host
        raise KeyError(key)

    def __enter__(self) -> Lan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Host:
    """One machine of the LAN. Made by `Lan`."""

    def __init__(self, lan: Lan, name: str, number: int, cpu: float | None) -> None:
        self.lan = lan
        self.name = name
        self.address = f"10.77.0.{number}"
        self.namespace = f"{lan.tag}-{name}"
        self.cpu = cpu
        self.home = lan.root / name
        self.work = self.home / "work"  #: working directory of the programs
        self._processes: list[subprocess.Popen[Any]] = []
        self._logs = itertools.count()
        self.work.mkdir(parents=True, exist_ok=True)
        _ip(f"netns add {self.namespace}")
        _ip(
            "link set lo up",
            f"link add eth0 type veth peer name {name} netns {lan._switch}",
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 up",
            "route add default dev eth0",  # multicast needs a way out
            namespace=self.namespace,
        )
        _ip(f"link set dev {name} master lan0", f"link set dev {name} up", namespace=lan._switch)
        self._groups = _groups(self.namespace) if cpu is not None else []
        if cpu is not None:
            self.set_cpu(cpu)

    # -- programs
    # ----------------------------------------------------------------------------------------------

    @property
    def env(self) -> dict[str, str]:
        """Environment of the programs: its own home, the interpreter of the tests first on the path, nothing
        of ours."""
        kept = {
            k: v
            for k, v in os.environ.items()
            if not k.startswith(("BUNDLEBEE_", "PYTHON", "XDG_", "PYTEST_"))
        }
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "LC_ALL": "C.UTF-8",
            **self.lan.env,
        }

    def popen(self, argv: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
        """`subprocess.Popen` on this host: its network, its CPU share, its home. The pid is that of the
        program.

        `env` is added to the host's environment; `cwd` is ``work`` unless given; the program leads a session
        of its own.
        """
        enter = "".join(f"echo $$ > {group}/cgroup.procs && " for group in self._groups)
        script = f'{enter}exec nsenter --net={NAMESPACES / self.namespace} -- "$@"'
        options["env"] = {**self.env, **(options.get("env") or {})}
        options.setdefault("cwd", self.work)
        options.setdefault("start_new_session", True)
        process = subprocess.Popen(["/bin/sh", "-c", script, "sh", *map(os.fspath, argv)], **options)
        self._processes = [known for known in self._processes if known.poll() is None] + [process]
        return process

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        timeout: float = 60.0,
        check: bool = False,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end and return what it wrote, as text.

        Raises:
            subprocess.TimeoutExpired: it took longer than `timeout` seconds; it and its children were killed.
            subprocess.CalledProcessError: it failed, and `check` is set. Its output is attached as a note.
        """
        process = self.popen(
            argv,
            env=dict(env or {}),
            cwd=cwd or self.work,
            text=True,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException as error:
            _kill_group(process)
            out, err = process.communicate()
            error.add_note(f"on host {self.name}\nstdout: {out[-4000:]}\nstderr: {err[-4000:]}")
            raise
        if check and process.returncode:
            failure = subprocess.CalledProcessError(process.returncode, list(argv), out, err)
            failure.add_note(f"on host {self.name}\nstdout: {out[-4000:]}\nstderr: {err[-4000:]}")
            raise failure
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def start(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Program:
        """Start a program that goes on in the background; what it writes goes to a file."""
        log = self.home / f"{Path(argv[0]).name}-{next(self._logs)}.log"
        with log.open("wb") as file:
            process = self.popen(
                argv,
                env=dict(env or {}),
                cwd=cwd or self.work,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return Program(self, process, log)

    def pids(self) -> list[int]:
        """Process ids of all that runs on this host."""
        found = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    # -- mishaps
    # -----------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """The machine dies: SIGKILL to every process on it. Nothing is said to anybody, except by the
        kernel's TCP."""
        for _ in range(200):  # until nothing is left that could have forked in between
            started = [process.pid for process in self._processes if process.poll() is None]
            pids = {*self.pids(), *started}  # one just started may not have entered the namespace yet
            if not pids:
                return
            for pid in pids:
                _signal(pid, signal.SIGKILL)
            time.sleep(0.005)
        raise LabError(f"host {self.name} has processes that cannot be killed: {self.pids()}")

    def pause(self) -> None:
        """The machine hangs: SIGSTOP to every process on it. Its kernel still answers on the network."""
        for pid in self.pids():
            _signal(pid, signal.SIGSTOP)
        end = time.monotonic() + 5.0
        while not all(_stopped(pid) for pid in self.pids()) and time.monotonic() < end:
            time.sleep(0.002)  # the signal takes effect when a process is scheduled next

    def resume(self) -> None:
        """Undo `pause`."""
        for pid in self.pids():
            _signal(pid, signal.SIGCONT)

    def unplug(self) -> None:
        """Pull the cable. Nobody is told: connections just go silent."""
        self.lan._in_switch(f"link set dev {self.name} down")

    def plug(self) -> None:
        """Put the cable in again."""
        self.lan._in_switch(f"link set dev {self.name} up")

    def lose(self, percent: int, protocol: str = "udp") -> None:
        """Have this share of the arriving packets vanish; 0 ends it. Needs nft."""
        rules = ["add table inet lab", "delete table inet lab"]
        if percent:
            rules += [
                "add table inet lab",
                "add chain inet lab arriving { type filter hook input priority 0; }",
                f'add rule inet lab arriving iifname "eth0" meta l4proto {protocol} '
                f"numgen random mod 100 < {percent} drop",
            ]
        command = ["nsenter", f"--net={NAMESPACES / self.namespace}", "nft", "-f", "-"]
        done = subprocess.run(command, input="\n".join(rules) + "\n", text=True, capture_output=True)
        if done.returncode:
            raise LabError(f"nft: {done.stderr.strip()}")

    def set_cpu(self, share: float) -> None:
        """Change the share of a host that was made with one."""
        if not self._groups:
            raise LabError(f"host {self.name} was made without a CPU share")
        self.cpu = share
        (self._groups[0] / "cpu.cfs_period_us").write_text(str(PERIOD))
        (self._groups[0] / "cpu.cfs_quota_us").write_text(str(round(share * PERIOD)))

    def cpu_seconds(self) -> float:
        """CPU time used on this host since it was made; only for hosts with a share."""
        return int((self._groups[-1] / "cpuacct.usage").read_text()) / 1e9

    def __repr__(self) -> str:
        return f"<host {self.name} {self.address}{f' {self.cpu} CPU' if self.cpu else ''}>"


class Program:
    """A program in the background. Made by `Host.start`."""

    def __init__(self, host: Host, process: subprocess.Popen[Any], log: Path) -> None:
        self.host = host
        self.process = process
        self.log = log

    @property
    def output(self) -> str:
        """All that it wrote until now, to standard output and standard error."""
        return self.log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait_for(self, text: str, timeout: float = 30.0, *, count: int = 1) -> str:
        """Wait until it has written `text` (`count` times) and return its output.

        Raises:
            LabError: it ended, or the time was over. The message holds the output.
        """
        end = time.monotonic() + timeout
        while True:
            running = self.running  # asked first: what it wrote last must not be missed
            output = self.output
            if output.count(text) >= count:
                return output
            if not running:
                raise LabError(
                    f"ended with {self.process.returncode} and never wrote {text!r}:\n{output[-8000:]}"
                )
            if time.monotonic() > end:
                raise LabError(f"did not write {text!r} within {timeout} s:\n{output[-8000:]}")
            time.sleep(0.02)

    def stop(self, sig: int = signal.SIGTERM, timeout: float = 15.0) -> int:
        """Ask it to end and return its exit code. Raises `LabError` if it does not; it is killed then."""
        _signal(self.process.pid, sig)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(
                f"did not end within {timeout} s of signal {sig}:\n{self.output[-8000:]}"
            ) from None

    def kill(self) -> None:
        """SIGKILL to it and the children of its process group."""
        _kill_group(self.process)
        self.process.wait(timeout=10.0)


# -- the system
# ------------------------------------------------------------------------------------------------


def remove_stale() -> None:
    """Remove what crashed test processes left behind."""
    tags = set()
    for directory in (NAMESPACES, CGROUPS / "cpu", CGROUPS / "cpuacct"):
        if not directory.is_dir():
            continue
        for entry in directory.iterdir():
            parts = entry.name.split("-")
            if (
                len(parts) == 4
                and parts[0] == PREFIX
                and parts[1].isdigit()
                and not Path("/proc", parts[1]).exists()
            ):
                tags.add("-".join(parts[:3]))
    for tag in tags:
        _remove(tag)
        for directory in Path(tempfile.gettempdir()).glob(f"{tag}-*"):
            shutil.rmtree(directory, ignore_errors=True)


def _remove(tag: str) -> None:
    """Remove namespaces and groups with this tag, and whatever still runs in them. Never raises."""
    names = [entry.name for entry in NAMESPACES.iterdir()] if NAMESPACES.is_dir() else []
    for name in names:
        if name.startswith(f"{tag}-"):
            pids = subprocess.run(
                ["ip", "netns", "pids", name], capture_output=True, text=True
            ).stdout.split()
            for pid in pids:
                _signal(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
    for controller in ("cpu", "cpuacct"):
        for group in (CGROUPS / controller).glob(f"{tag}-*"):
            for _ in range(100):  # the kernel frees a group a moment after its last process
                try:
                    group.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)


def _bridge(name: str) -> list[str]:
    # Without snooping the switch floods multicast, as the simple switch at home does.
    return [f"link add {name} type bridge forward_delay 0 mcast_snooping 0", f"link set dev {name} up"]


def _groups(name: str) -> list[Path]:
    """A group for the quota and one for the accounting, as a container has; the same if they are mounted
    together."""
    groups = []
    for controller in ("cpu", "cpuacct"):
        group = (CGROUPS / controller).resolve() / name
        if group not in groups:
            group.mkdir(exist_ok=True)
            groups.append(group)
    return groups


def _ip(*commands: str, namespace: str | None = None) -> None:
    if not commands:
        return
    argv = ["ip", *(["-n", namespace] if namespace else []), "-batch", "-"]
    done = subprocess.run(argv, input="\n".join(commands) + "\n", text=True, capture_output=True)
    if done.returncode:
        raise LabError(f"{'; '.join(commands)}: {done.stderr.strip()}")


def _signal(pid: int, sig: int) -> None:
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass  # it ended meanwhile


def _stopped(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state in "TtZX"


def _kill_group(process: subprocess.Popen[Any]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
