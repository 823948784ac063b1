from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bundlebee.decisions import cgroup, load, speed
from bundlebee.decisions.cgroup import CpuGroup


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "32 31 0:29 {top} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "33 31 0:30 {top} /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
)
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


class TestControlGroups:
    def test_version_1(self, tmp_path: Path) -> None:
        machine(
            tmp_path,
            {
                "proc/self/cgroup": "2:cpuacct:/box/inner\n1:cpu:/box/inner\n0::/\n",
                "proc/self/mountinfo": V1_MOUNTS.format(top="/"),
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "8000\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "20000\n",
                "sys/fs/cgroup/cpu/box/inner/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/box/inner/cpu.cfs_period_us": "20000\n",
                "sys/fs/cgroup/cpuacct/box/inner/cpuacct.usage": "2500000000\n",
            },
        )
        group = cgroup.find(tmp_path)
        assert group.quota() == pytest.approx(0.4)
        assert group.used() == pytest.approx(2.5)

    def test_version_1_in_a_container_that_names_the_whole_path(self, tmp_path: Path) -> None:
        machine(
            tmp_path,
            {
                "proc/self/cgroup": "1:cpu,cpuacct:/docker/abc\n",
                "proc/self/mountinfo": V1_MOUNTS.format(top="/docker/abc"),
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
        )
        assert cgroup.find(tmp_path).quota() == pytest.approx(1.5)

    def test_version_1_without_accounting_of_our_own(self, tmp_path: Path) -> None:
        machine(
            tmp_path,
            {
                "proc/self/cgroup": "2:cpuacct:/\n1:cpu:/box\n",
                "proc/self/mountinfo": V1_MOUNTS.format(top="/"),
                "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "20000\n",
                "sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "20000\n",
                "sys/fs/cgroup/cpuacct/cpuacct.usage": "99999999999\n",  # the whole machine: not ours
            },
        )
        group = cgroup.find(tmp_path)
        assert group.quota() == pytest.approx(1.0)
        assert group.used() is None

    def test_version_2(self, tmp_path: Path) -> None:
        machine(
            tmp_path,
            {
                "proc/self/cgroup": "0::/slice/unit\n",
                "proc/self/mountinfo": V2_MOUNT,
                "sys/fs/cgroup/slice/cpu.max": "250000 100000\n",
                "sys/fs/cgroup/slice/cpu.stat": "usage_usec 7000000\nuser_usec 1\n",
                "sys/fs/cgroup/slice/unit/cpu.max": "max 100000\n",
                "sys/fs/cgroup/slice/unit/cpu.stat": "usage_usec 3000000\n",
            },
        )
        group = cgroup.find(tmp_path)
        assert group.quota() == pytest.approx(2.5)
        assert group.used() == pytest.approx(7.0)  # of the group that the quota is for

    def test_version_2_at_the_top_of_a_container(self, tmp_path: Path) -> None:
        machine(
            tmp_path,
            {
                "proc/self/cgroup": "0::/\n",
                "proc/self/mountinfo": V2_MOUNT,
                "sys/fs/cgroup/cpu.max": "50000 100000\n",
            },
        )
        assert cgroup.find(tmp_path).quota() == pytest.approx(0.5)

    def test_hidden_by_a_new_mount_of_sys(self, tmp_path: Path) -> None:
        machine(
            tmp_path,
            {
                "proc/self/cgroup": "1:cpu:/box\n",
                "proc/self/mountinfo": "31 23 0:28 / /sys rw - sysfs sysfs rw\n",
                "proc/self/status": "Name:\tworker\nPPid:\t77\n",
                "proc/77/mountinfo": "31 23 0:28 / /sys rw - sysfs sysfs rw\n",
                "proc/77/status": "PPid:\t5\n",
                "proc/5/mountinfo": V1_MOUNTS.format(top="/"),
                "proc/5/root/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "4000\n",
                "proc/5/root/sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "20000\n",
            },
        )
        assert cgroup.find(tmp_path).quota() == pytest.approx(0.2)

    @pytest.mark.parametrize("text", ["", "nonsense\n", "1:cpu\n"])
    def test_what_cannot_be_read_limits_nothing(self, tmp_path: Path, text: str) -> None:
        assert cgroup.find(tmp_path) == CpuGroup()
        machine(tmp_path, {"proc/self/cgroup": text, "proc/self/mountinfo": text})
        assert cgroup.find(tmp_path).quota() is None

    def test_a_quota_that_vanishes(self, tmp_path: Path) -> None:
        group = CpuGroup((tmp_path / "gone",), tmp_path / "gone" / "cpuacct.usage")
        assert group.quota() is None
        assert group.used() is None

    def test_here(self) -> None:
        quota = cgroup.find().quota()
        assert quota is None or quota > 0.0


class TestCapacity:
    def test_of_a_quota(self, tmp_path: Path) -> None:
        (tmp_path / "cpu.max").write_text("40000 100000\n")
        assert load.capacity(CpuGroup((tmp_path,))) == pytest.approx(0.4)

    def test_of_this_machine(self) -> None:
        assert 0.0 < load.capacity() <= (os.cpu_count() or 1)
        assert load.slots() >= 1

    @pytest.mark.parametrize(
        ("cores", "slots"), [(0.1, 1), (1.0, 1), (1.2, 1), (1.5, 2), (2.0, 2), (2.2, 2), (16.0, 16)]
    )
    def test_slots(self, cores: float, slots: int) -> None:
        assert load.slots(cores) == slots


def spin(cpu_seconds: float) -> float:
    """Use so much CPU time, and return the cores that this was."""
    start, until = time.monotonic(), time.process_time() + cpu_seconds
    while time.process_time() < until:
        sum(range(1000))
    return cpu_seconds / (time.monotonic() - start)


class TestMeter:
    BEFORE = load.Load(1.0, 0.0, 0.0, None, None, False)

    def test_usage_of_the_group_is_set_against_its_quota(self, tmp_path: Path) -> None:
        (tmp_path / "cpu.max").write_text("50000 100000\n")
        usage = tmp_path / "cpu.stat"
        usage.write_text("usage_usec 0\n")
        meter = load.Meter(CpuGroup((tmp_path,), usage, 1e-6))
        meter.start(())
        usage.write_text("usage_usec 999000000\n")
        sample = meter.sample((), self.BEFORE)
        assert sample.sampled
        assert sample.cores == pytest.approx(0.5)
        assert sample.busy == pytest.approx(0.5)  # never more than there is
        assert sample.memory_total is not None and sample.memory_free is not None
        assert 0 < sample.memory_free <= sample.memory_total
        usage.write_text("usage_usec 999000000\n")
        assert meter.sample((), sample).busy < 0.5

    def test_our_own_work_is_told_apart(self, tmp_path: Path) -> None:
        (tmp_path / "cpu.max").write_text("max 100000\n")
        child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            meter = load.Meter(CpuGroup((tmp_path,)))
            meter.start([child.pid])
            mine = spin(0.3)
            sample = meter.sample([child.pid], self.BEFORE)
        finally:
            child.kill()
            child.wait()
        assert sample.busy > 0.5 * mine
        assert sample.foreign <= max(0.0, sample.busy - 0.8 * mine)
        meter.sample([child.pid], sample)  # a worker that is gone is no error

    def test_a_group_without_accounting_is_added_up(self, tmp_path: Path) -> None:
        (tmp_path / "cpu.max").write_text("100000 100000\n")
        (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n4194305\n")
        meter = load.Meter(CpuGroup((tmp_path,)))
        meter.start(())
        mine = spin(0.2)
        assert meter.sample((), self.BEFORE).busy > 0.5 * mine


@pytest.mark.parametrize(
    ("known", "ran", "waited", "idle", "expected"),
    [
        (None, 0.1, 0.9, 1.5, 0.1),  # waits while cores stand idle: throttled
        (None, 0.7, 0.3, 0.0, None),  # waits since all are busy
        (None, 1.0, 0.02, 1.0, None),  # hardly waits
        (None, 0.01, 0.05, 1.9, None),  # hardly does anything
        (0.1, 0.0, 0.0, 2.0, 0.1),  # idle: nothing new is learnt
        (0.1, 0.2, 0.8, 1.5, 0.16),  # the limit moves
        (0.1, 0.9, 0.0, 1.0, None),  # the limit is gone
    ],
)
def test_a_limit_that_cannot_be_read_shows(
    known: float | None, ran: float, waited: float, idle: float, expected: float | None
) -> None:
    assert load.hidden_limit(known, ran, waited, idle) == pytest.approx(expected)


class TestSampler:
    def test_assumes_an_idle_machine_until_it_has_looked(self) -> None:
        sampler = load.Sampler()
        assert (sampler.load().busy, sampler.load().sampled) == (0.0, False)
        sampler.stop()

    def test_samples(self) -> None:
        sampler = load.Sampler(interval=0.02)
        sampler.start()
        sampler.start()
        end = time.monotonic() + 10.0
        while not sampler.load().sampled and time.monotonic() < end:
            time.sleep(0.01)
        sampler.stop()
        assert sampler.load().sampled
        assert 0.0 <= sampler.load().foreign <= sampler.load().busy <= sampler.load().cores

    def test_a_failure_is_logged_and_leaves_assumptions(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken() -> list[int]:
            raise RuntimeError("no")

        sampler = load.Sampler(broken, interval=0.01)
        sampler.start()
        sampler.stop()
        assert "cannot be sampled" in caplog.text
        assert not sampler.load().sampled


class TestSpeed:
    def test_is_a_sane_number_and_kept(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(speed, "_measured", None)
        first = speed.speed(tmp_path)
        assert 0.01 < first < 100.0
        monkeypatch.setattr(speed, "_measured", None)
        monkeypatch.setattr(speed, "_measure", lambda: pytest.fail("measured again"))
        assert speed.speed(tmp_path) == first
        assert [path.name.startswith("speed-") for path in tmp_path.iterdir()] == [True]

    @pytest.mark.parametrize("content", ["", "fast", "-1", "1e9"])
    def test_a_damaged_cache_is_measured_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
    ) -> None:
        monkeypatch.setattr(speed, "_measured", None)
        monkeypatch.setattr(speed, "_measure", lambda: 1.5)
        speed._file(tmp_path).write_text(content)
        assert speed.speed(tmp_path) == 1.5

    def test_a_cache_that_cannot_be_written_is_no_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(speed, "_measured", None)
        assert speed.speed(tmp_path / "file" / "cache") > 0.0
