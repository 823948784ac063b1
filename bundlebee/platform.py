"""What differs from platform to platform and from machine to machine: interfaces, processes, shared memory."""

from __future__ import annotations

import functools
import os
import re
import sys
from typing import TYPE_CHECKING

import msgspec

from bundlebee.clock import clock
from bundlebee.errors import InterfaceError

_open = open  # a test of the program may put its own in the place of the builtin

if TYPE_CHECKING:
    import socket
    import subprocess
    from mmap import mmap

IS_WINDOWS = sys.platform == "win32"
IS_LINUX = sys.platform == "linux"

#: Made by virtual machines and containers: reaches what runs on this machine, and no other machine.
_BRIDGES = r"docker|br-|veth|virbr|vmnet|vboxnet|lxcbr|lxdbr|cni|flannel|cali|podman|vethernet|bridge\d|virtualbox|vmware"

#: Tunnels: they reach other machines, but multicast rarely passes.
_TUNNELS = r"tun|utun|tap|wg|tailscale|zt|ppp|ipsec|gif|stf|awdl|llw|nordlynx"


class Interface(msgspec.Struct, frozen=True):
    """A network interface with the IPv4 address that we use on it."""

    name: str
    address: str
    is_loopback: bool


def interfaces() -> list[Interface]:
    """All interfaces of this machine that are up and have an IPv4 address; one entry an address."""
    found = _addresses_by_ioctl() if IS_LINUX else None
    if found is None:
        found = _addresses_by_psutil()
    return [Interface(name, address, address.startswith("127.")) for name, address in found]


def _addresses_by_psutil() -> list[tuple[str, str]]:
    import socket

    import psutil

    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    return [
        (name, entry.address)
        for name, entries in psutil.net_if_addrs().items()
        if name in up
        for entry in entries
        if entry.family == socket.AF_INET
    ]


def _addresses_by_ioctl() -> list[tuple[str, str]] | None:
    """The same by two system calls of Linux: psutil is 15 ms of CPU time at the start of each program. None if they fail."""
    import array
    import fcntl
    import socket
    import struct

    get_addresses, get_flags, running = 0x8912, 0x8913, 0x40  # SIOCGIFCONF, SIOCGIFFLAGS, IFF_RUNNING
    one = 16 + struct.calcsize("LLHBBB0L")  # struct ifreq: the name, and the largest of a union
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            room = 32 * one
            while True:
                buffer = array.array("B", bytes(room))
                asked = struct.pack("iP", room, buffer.buffer_info()[0])
                (used,) = struct.unpack_from("i", fcntl.ioctl(probe, get_addresses, asked))
                if used < room:
                    break
                room *= 2
            found = []
            for start in range(0, used, one):
                entry = bytes(buffer[start : start + one])
                (flags,) = struct.unpack_from("16xH", fcntl.ioctl(probe, get_flags, entry))
                name = entry[:16].partition(b"\0")[0].decode("utf-8", "surrogateescape")
                # an alias such as eth0:1 is no interface of its own
                if flags & running and ":" not in name:
                    found.append((name, socket.inet_ntoa(entry[20:24])))
            return found
    except (OSError, struct.error):
        return None


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
    if re.match(_BRIDGES, one.name, re.IGNORECASE):
        return 3
    if one.address.startswith("169.254."):
        return 2  # nobody gave it an address
    return 1 if re.match(_TUNNELS, one.name, re.IGNORECASE) else 0


def _default_address() -> str | None:
    """Our address on the default route. To connect a datagram socket sends nothing, and finds the route."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address that documentation reserves
            return str(probe.getsockname()[0])
        except OSError:
            return None


def has_local_sockets() -> bool:
    """Whether there are Unix sockets without a file, which also say who is at the other end."""
    return IS_LINUX


def peer_of(sock: socket.socket) -> tuple[int, int]:
    """The process at the other end of a Unix socket, and its effective user, as they were when it connected or listened."""
    import socket
    import struct

    one = struct.Struct("iII")  # struct ucred
    pid, user, _group = one.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, one.size))
    return pid, user


def is_stopped(pid: int) -> bool:
    """Whether a process of this host was stopped (SIGSTOP, a debugger). False where that cannot be told."""
    try:
        with _open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def is_running(pid: int) -> bool:
    """Whether there is a process of that number."""
    if IS_WINDOWS:
        import psutil

        return psutil.pid_exists(pid)
    if pid < 1:
        return False  # a group of processes, for `kill`
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # somebody else's
    except (ProcessLookupError, OverflowError):
        return False
    return True


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


# -- memory that two processes of one machine share ----------------------------------------------------------
#
# Anonymous files (`memfd_create`): they have no name, so whatever way the processes end, nothing is left. The other
# side opens one by way of the maker's entry in /proc, which only the same user may do, and only on the same kernel and
# in the same namespace of processes. Other platforms have nothing that is gone with its last process: there large
# buffers travel through the socket.

#: Whether this platform has such memory.
SHARES_MEMORY = IS_LINUX and hasattr(os, "memfd_create")

_POPULATED, _SWAPPED, _OF_FILE = 0x80, 0x40, 0x20  # in the last byte of an entry of /proc/self/pagemap
_IS_WRITTEN = bytes(bool(flags & (_POPULATED | _SWAPPED)) and not flags & _OF_FILE for flags in range(256))


def usable_cpus() -> int:
    """Processors that this process may run on; libraries start so many threads."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def physical_memory() -> int:
    """Bytes of memory of this machine; 0 if it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def new_memory(size: int) -> int:
    """A descriptor of ``size`` bytes of fresh memory, of which nobody can change the size.

    Raises:
        OSError: there is no such memory, or there are too many open files.
    """
    import fcntl

    descriptor = os.memfd_create("bundlebee", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, size)
        # whoever maps it must not be killed because somebody else made it shorter
        fcntl.fcntl(
            descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def inode(descriptor: int) -> int:
    """What tells the file of a descriptor from all others of its kind."""
    return os.fstat(descriptor).st_ino


def open_memory(pid: int, descriptor: int, size: int) -> int:
    """Another process's memory: a descriptor of our own.

    Raises:
        OSError: that process is not there, is somebody else's, or has no memory of that size there.
    """
    import errno
    import fcntl

    path = f"/proc/{pid}/fd/{descriptor}"
    if not os.readlink(path).startswith("/memfd:bundlebee"):
        raise OSError(
            errno.EINVAL, "not memory that we share", path
        )  # to open a pipe or a device may do something
    mine = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        seals = fcntl.fcntl(mine, fcntl.F_GET_SEALS)  # fails if it is no such memory
        if not seals & fcntl.F_SEAL_SHRINK or os.fstat(mine).st_size != size:
            raise OSError(errno.EINVAL, "not memory that we share", path)
    except BaseException:
        os.close(mine)
        raise
    return mine


def map_memory(descriptor: int, size: int, *, private: bool) -> mmap:
    """Memory of a descriptor, writable. What is written to a ``private`` mapping nobody else sees.

    Raises:
        OSError: there is no room for it.
    """
    import mmap

    flags = mmap.MAP_PRIVATE if private else mmap.MAP_SHARED
    more = {"trackfd": False} if sys.version_info >= (3, 13) else {}  # no descriptor of its own
    return mmap.mmap(descriptor, size, flags, mmap.PROT_READ | mmap.PROT_WRITE, **more)


def fresh_memory(size: int) -> mmap:
    """Memory of this process alone, in large pages where there are some: that is four times as fast to fill.

    Raises:
        OSError: there is no room for it.
    """
    import mmap

    if IS_WINDOWS:
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        try:
            memory.madvise(mmap.MADV_HUGEPAGE)
        except OSError:
            pass  # this kernel has none
    return memory


def restore_pages(memory: mmap, address: int, length: int) -> None:
    """Undo whatever was written to the first ``length`` bytes of a private mapping that begins at ``address``.

    Raises:
        OSError: that cannot be done; map it anew.
    """
    import mmap

    pages = -(-length // mmap.PAGESIZE)
    written = b""
    # To look whether there is anything costs 30 ns a page, to read a page in anew 350 ns; but to look at all, 10 µs.
    if pages >= 64 and _can_tell_written():
        written = _written(address, pages)
        if 1 not in written:
            return
    first, last = (written.find(1), written.rfind(1)) if written else (0, pages - 1)
    memory.madvise(mmap.MADV_DONTNEED, first * mmap.PAGESIZE, (last + 1 - first) * mmap.PAGESIZE)


def _written(address: int, pages: int) -> bytes:
    """For each page from ``address`` on, whether this process has written to it: 1 or 0 in a private mapping of a file."""
    import mmap

    try:
        with _open("/proc/self/pagemap", "rb", buffering=0) as table:
            entries = os.pread(table.fileno(), 8 * pages, address // mmap.PAGESIZE * 8)
    except OSError:
        entries = b""
    if len(entries) != 8 * pages:
        return b"\1" * pages
    return entries[7 if sys.byteorder == "little" else 0 :: 8].translate(_IS_WRITTEN)


@functools.cache
def _can_tell_written() -> bool:
    """Whether this kernel tells the truth about pages; not all that look like Linux do."""
    import ctypes
    import mmap

    try:
        descriptor = new_memory(3 * mmap.PAGESIZE)
        try:
            memory = map_memory(descriptor, 3 * mmap.PAGESIZE, private=True)
        finally:
            os.close(descriptor)
        memory[mmap.PAGESIZE]  # read
        memory[2 * mmap.PAGESIZE] = 1
        return _written(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 3) == b"\0\0\1"
    except (OSError, ValueError):
        return False


def interrupt_main() -> None:
    """Let the handler of SIGINT run in this process's main thread, also where it waits; any thread may ask for it."""
    import signal
    import threading

    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()


def interrupt_thread(thread: int, kind: type[BaseException]) -> None:
    """Let an exception come up in a thread, between two instructions of Python.

    Args:
        thread: its `threading.get_ident`; nothing happens where there is none of that number.
    """
    _set_interrupt(thread, kind)


def take_back_interrupts() -> None:
    """What `interrupt_thread` was to raise in the calling thread, and has not yet, does not come up any more."""
    import threading

    own = threading.get_ident()
    _set_interrupt(own, None)
    # The interpreter goes on looking for something to raise until it has found something, in every thread; and where a trace
    # function is set, 3.11 does nothing else any more.
    try:
        _set_interrupt(own, _Nothing)
        for _ in range(100):
            pass
    except _Nothing:
        pass


class _Nothing(BaseException):
    """Comes up where nothing is to come up."""


def _set_interrupt(thread: int, kind: type[BaseException] | None) -> None:
    import ctypes

    error = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


# -- children ----------------------------------------------------------------------------------------------

children_of_ours: set[int] = set()
"""Processes that we have started, and not waited for yet; the program whose process this is knows nothing of them."""


def children() -> list[int]:
    """All children of this process, those that have ended and were not waited for among them."""
    found: list[int] = []
    try:
        for thread in os.listdir("/proc/self/task"):
            with _open(f"/proc/self/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        import psutil

        return [child.pid for child in psutil.Process().children()]
    return found


# -- how a process ended -------------------------------------------------------------------------------------


def end_within(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Kill a child process that does not end by itself in time. Returns when it has ended, or is about to."""
    pause, left = 0.001, seconds
    while not _has_ended(process):
        if left <= 0:
            process.kill()
            return
        clock.sleep(pause)
        left -= pause
        pause = min(2 * pause, 0.05)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:  # without taking its exit code from `wait_for_end`
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:
        return True


def wait_for_end(process: subprocess.Popen[bytes]) -> tuple[int, int | None]:
    """Wait for a child process.

    Returns:
        its exit code, negative for a signal, and the most memory that it had at a time in bytes; None where the system
        does not say. Without `inherited_peak` it may be too much.
    """
    if not hasattr(os, "waitid") or process.returncode is not None:
        return process.wait(), None
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        _, status, usage = os.wait4(process.pid, 0)
    except ChildProcessError:  # somebody else has waited for it
        return process.wait(), None
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def inherited_peak() -> int:
    """How much of this process's peak memory, in bytes, is its parent's: Linux counts what a process was before `exec`.

    0 where that is little, or not counted at all.
    """
    if not IS_LINUX:
        return 0
    import resource

    counted = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _open("/proc/self/status") as status:
            own = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        return 0
    return counted * 1024 if counted > 2 * own else 0


def exit_words(code: int) -> str:
    """What an exit code says, as a clause."""
    import signal

    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    if IS_WINDOWS and code >= 0xC0000000:
        name = {0xC0000005: "access violation", 0xC00000FD: "stack overflow"}.get(code, "a fault")
        return f"ended with {name} ({code:#x})"
    return f"exited with {code}"


def memory_kills(pid: int) -> int | None:
    """How many processes the kernel has killed for memory: in the control group of ``pid`` where that can be read,
    else on the whole machine; None where nobody counts."""
    if not IS_LINUX:
        return None
    for name, file in (*_memory_groups(pid), ("oom_kill", "/proc/vmstat")):
        try:
            with _open(file) as lines:
                for line in lines:
                    key, _, value = line.partition(" ")
                    if key == name:
                        return int(value)
        except (OSError, ValueError):
            continue
    return None


def _memory_groups(pid: int) -> list[tuple[str, str]]:
    """Where the kernel counts: (name of the figure, file)."""
    try:
        with _open(f"/proc/{pid}/cgroup") as memberships:
            groups = [line.rstrip("\n").split(":", 2) for line in memberships]
    except OSError:
        return []
    found = []
    for group in groups:
        if len(group) < 3:
            continue
        _, controllers, path = group
        if "memory" in controllers.split(","):
            found.append(("oom_kill", f"/sys/fs/cgroup/memory{path}/memory.oom_control"))
        elif not controllers:
            found.append(("oom_kill", f"/sys/fs/cgroup{path}/memory.events"))
            found.append(("oom_kill", f"/sys/fs/cgroup/unified{path}/memory.events"))
    return found
