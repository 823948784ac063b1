"""The CPU quota of the Linux control group that we are in, versions 1 and 2, and what the group has used.

A container with half a core sees all cores of the machine in every other interface. A node that promised them
would take calls that it cannot run. The smallest quota on the way up to the root counts.

Files are found through ``/proc/self/mountinfo`` and ``/proc/self/cgroup``, never by guessing paths. If
``/sys`` was mounted anew in our mount namespace (``ip netns exec`` does that), they are looked for through
the root directory of a process that started us and still sees them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

MAX_ANCESTORS = 16  #: so many generations back a process is looked for that sees the control groups


class CpuGroup(msgspec.Struct, frozen=True):
    """Where the figures of our group are. Empty on systems without control groups."""

    limits: tuple[Path, ...] = ()  #: directories from our group up to the root of the CPU controller
    usage: Path | None = None  #: file that holds the CPU time used by the group that the quota is for
    usage_unit: float = 1e-9  #: seconds in one unit of the figure in that file

    def quota(self) -> float | None:
        """Cores that we may use, as in 0.4 or 2.0; None where nothing limits them. Read anew each time."""
        quotas = [quota for directory in self.limits if (quota := _quota(directory)) is not None]
        return min(quotas) if quotas else None

    def used(self) -> float | None:
        """CPU seconds used by the whole group since it was made; None if that cannot be read."""
        if self.usage is None:
            return None
        try:
            text = self.usage.read_text()
        except OSError:
            return None
        if self.usage.name == "cpu.stat":
            for line in text.splitlines():
                name, _, value = line.partition(" ")
                if name == "usage_usec":
                    return int(value) * self.usage_unit
            return None
        try:
            return int(text) * self.usage_unit
        except ValueError:
            return None


def find(root: Path = Path("/")) -> CpuGroup:
    """The group of this process.

    Args:
        root: where ``/proc`` and ``/sys`` are looked for; tests have their own.

    Never raises: what cannot be read limits nothing.
    """
    try:
        memberships = _memberships((root / "proc/self/cgroup").read_text())
        for process, base in _viewpoints(root):
            mounts = _mounts((process / "mountinfo").read_text())
            limits = _directories("cpu", memberships, mounts, base)
            if limits:
                return _group(limits, _directories("cpuacct", memberships, mounts, base), "cpu" in mounts)
    except (OSError, ValueError):
        pass
    return CpuGroup()


def _viewpoints(root: Path) -> Iterator[tuple[Path, Path]]:
    """(directory in ``/proc``, root directory) of this process, then of those that it descends from."""
    process = root / "proc/self"
    yield process, root
    for _ in range(MAX_ANCESTORS):
        parent = _parent((process / "status").read_text())
        if parent <= 0:
            return
        process = root / "proc" / str(parent)
        yield process, process / "root"


def _parent(status: str) -> int:
    for line in status.splitlines():
        if line.startswith("PPid:"):
            return int(line[5:])
    return 0


def _group(limits: tuple[Path, ...], account: tuple[Path, ...], version_1: bool) -> CpuGroup:
    if not version_1:
        return CpuGroup(limits, _limited(limits) / "cpu.stat", 1e-6)
    # With version 1 the time is accounted in a hierarchy of its own. Its root is the whole machine, not us.
    return CpuGroup(limits, account[0] / "cpuacct.usage" if len(account) > 1 else None, 1e-9)


def _memberships(text: str) -> dict[str, str]:
    """Controller → path of our group. The unified hierarchy has the empty name."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _mounts(text: str) -> dict[str, tuple[str, str]]:
    """Controller → (group at the top of the mount, mount point)."""
    found: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not separator or len(fields) < 5 or not kind:
            continue
        if kind[0] == "cgroup2":
            found.setdefault("", (fields[3], fields[4]))
        elif kind[0] == "cgroup":
            for controller in kind[-1].split(","):
                if controller in ("cpu", "cpuacct"):
                    found.setdefault(controller, (fields[3], fields[4]))
    return found


def _directories(
    controller: str, memberships: dict[str, str], mounts: dict[str, tuple[str, str]], root: Path
) -> tuple[Path, ...]:
    """Directories from our group up to the top of its mount. One entry: we are in the top group."""
    name = controller if controller in memberships else ""
    if name not in mounts or name not in memberships:
        return ()
    top, point = mounts[name]
    path = memberships[name]
    if top != "/":
        # Inside a container the mount shows only our part of the tree; the membership may name all of it.
        path = path[len(top) :] if path == top or path.startswith(top + "/") else "/"
    start = root / point.lstrip("/")
    directory = Path(os.path.normpath(start / path.lstrip("/")))
    if not directory.is_dir() or start not in (directory, *directory.parents):
        directory = start  # moved out of what we can see
    found = [directory]
    while found[-1] != start:
        found.append(found[-1].parent)
    return tuple(found)


def _quota(directory: Path) -> float | None:
    try:
        if (directory / "cpu.max").exists():
            quota, period = (directory / "cpu.max").read_text().split()
            return None if quota == "max" else int(quota) / int(period)
        number = int((directory / "cpu.cfs_quota_us").read_text())
        return number / int((directory / "cpu.cfs_period_us").read_text()) if number > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _limited(limits: tuple[Path, ...]) -> Path:
    """The group whose quota binds, so that usage is compared with the right limit."""
    return min(limits, key=lambda directory: _quota(directory) or float("inf"))
