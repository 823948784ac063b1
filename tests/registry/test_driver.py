"""The driver on real sockets, on loopback. Every test has a grid of its own: a random key and a random
port."""

from __future__ import annotations

import os
import random
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from bundlebee.errors import ProtocolError
from bundlebee.platform import Interface
from bundlebee.registry import events as ev
from bundlebee.registry.asking import Askers
from bundlebee.registry.channel import GROUP
from bundlebee.registry.messages import Hello, PullRequest, decode_as, encode
from bundlebee.registry.multicast import EXCHANGE, PING, PULL, RegistryDriver
from bundlebee.registry.rows import BundleRow, NodeRow, Pulse, RowSet, new_id
from bundlebee.registry.seal import Seal
from bundlebee.registry.state import Registry
from bundlebee.registry.timing import Timing

LOOPBACK = Interface("lo", "127.0.0.1", True)

#: As on a LAN, but faster.
QUICK = Timing(beat=0.3, suspect=1.0, probe=0.3, expire=2.0, sweep=0.1)


class Grid:
    """Drivers of one grid in this process; requests between them are plain calls."""

    def __init__(self) -> None:
        self.key = os.urandom(32)
        self.port = random.SystemRandom().randrange(20_000, 32_000)
        self.drivers: list[RegistryDriver] = []
        self.by_address: dict[str, RegistryDriver] = {}

    def ask(self, address: str, op: str, body: bytes) -> bytes | None:
        driver = self.by_address.get(address)
        return None if driver is None else driver.serve(op, body)

    def start(
        self,
        name: str = "",
        *,
        observer: bool = False,
        key: bytes | None = None,
        port: int | None = None,
        interface: Interface = LOOPBACK,
        seeds: tuple[str, ...] = (),
        on_change: Callable[[ev.Change], None] | None = None,
    ) -> RegistryDriver:
        number = len(self.drivers)
        me = None
        if not observer:
            me = NodeRow(
                id=new_id(), name=name or f"n{number}", address=f"127.0.0.1:{number}", started=time.time()
            )
        driver = RegistryDriver(
            Registry(me, time.monotonic(), timing=QUICK),
            key or self.key,
            interface,
            seeds,
            self.ask,
            on_change,
            port=port or self.port,
        )
        self.drivers.append(driver)
        if me is not None:
            self.by_address[me.address] = driver
        driver.start()
        return driver

    def kill(self, driver: RegistryDriver) -> None:
        assert driver.me is not None
        del self.by_address[driver.me.address]
        driver.stop(goodbye=False)


@pytest.fixture
def grid() -> Iterator[Grid]:
    grid = Grid()
    yield grid
    for driver in grid.drivers:
        driver.stop()
    assert not [t for t in threading.enumerate() if t.name == "bundlebee-registry"]


def sees(driver: RegistryDriver, count: int, timeout: float = 3.0) -> bool:
    return driver.wait_for(lambda snapshot: len(snapshot.nodes()) == count, timeout)


def bundle(number: int) -> BundleRow:
    return BundleRow(name=f"b{number}", version="1", digest=f"{number:064x}", imports=(f"b{number}",))


def test_nodes_find_each_other(grid: Grid) -> None:
    drivers = [grid.start() for _ in range(5)]
    assert all(sees(driver, 5) for driver in drivers)


def test_a_guest_knows_the_grid_soon(grid: Grid) -> None:
    drivers = [grid.start() for _ in range(3)]
    for number in range(40):  # far too many for one datagram
        drivers[0].call(ev.SetRow(bundle(number)))
    assert sees(drivers[0], 3)
    start = time.monotonic()
    guest = grid.start(observer=True)
    assert guest.wait_for(lambda s: len(s.nodes()) == 3 and len(s.bundles()) == 40, 3.0)
    assert time.monotonic() - start < 1.0
    assert guest.me is None and guest.snapshot().peers() == guest.snapshot().nodes()


def test_a_change_arrives_and_is_told(grid: Grid) -> None:
    told: list[ev.Change] = []
    watcher, other = grid.start(on_change=told.append), grid.start("other")
    assert sees(watcher, 2)
    other.call(ev.SetRow(bundle(1)))
    assert other.snapshot().find_import("b1")  # at once for whoever changed it
    assert watcher.wait_for(lambda s: s.find_import("b1"), 3.0)
    other.stop()
    assert sees(watcher, 1)
    watcher.stop()
    # A machine that is short of breath may have doubted it in between.
    certain = [change for change in told if not isinstance(change, (ev.Suspected, ev.Recovered))]
    assert [type(change) for change in certain] == [ev.Joined, ev.Changed, ev.Left]
    assert isinstance(certain[-1], ev.Left) and certain[-1].why == "said good-bye"


def test_a_listener_that_raises_does_no_harm(grid: Grid, caplog: pytest.LogCaptureFixture) -> None:
    def broken(change: ev.Change) -> None:
        raise RuntimeError("in on_change")

    watcher = grid.start(on_change=broken)
    grid.start()
    assert sees(watcher, 2)
    grid.start()
    assert sees(watcher, 3)
    watcher.stop()
    assert "in on_change" in caplog.text


def test_load_arrives_with_the_beat(grid: Grid) -> None:
    watcher, busy = grid.start(), grid.start("busy")
    busy.call(ev.SetLoad(0.5, 1.5, 2))

    def arrived(snapshot: object) -> bool:
        view = watcher.snapshot().node("busy")
        return view is not None and (view.row.load, view.row.busy, view.row.free) == (0.5, 1.5, 2)

    assert watcher.wait_for(arrived, 3.0)


def test_a_killed_node_is_missed(grid: Grid) -> None:
    watcher, victim = grid.start(), grid.start()
    assert sees(watcher, 2)
    grid.kill(victim)
    assert sees(watcher, 1, 9.0)


def test_a_grid_with_another_key_is_another_grid(grid: Grid, caplog: pytest.LogCaptureFixture) -> None:
    ours = [grid.start(), grid.start()]
    stranger = grid.start(key=os.urandom(32))
    assert sees(ours[0], 2) and sees(ours[1], 2)
    stranger.call(ev.SetRow(bundle(1)))
    assert ours[0].wait_for(lambda _: ours[0].foreigners.count >= 2, 3.0)
    assert len(stranger.snapshot().nodes()) == 1
    assert len(ours[0].snapshot().nodes()) == 2
    assert len([m for m in caplog.messages if "another grid" in m]) <= 3  # one line a node


def test_noise_on_the_group_does_no_harm(grid: Grid) -> None:
    drivers = [grid.start(), grid.start()]
    assert sees(drivers[0], 2)
    chance = random.Random(7)
    noisy = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    noisy.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    noisy.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
    sealed = Seal(grid.key)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        for _ in range(50):
            noisy.sendto(chance.randbytes(chance.randrange(1, 1400)), (GROUP, grid.port))
        noisy.sendto(
            sealed.seal(chance.randbytes(50)), (GROUP, grid.port)
        )  # a member, but of another version
        time.sleep(0.002)
    noisy.close()
    third = grid.start()
    assert sees(third, 3) and sees(drivers[0], 3)
    assert drivers[0].foreigners.count > 100
    if sys.platform == "linux":
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_without_multicast_the_seeds_serve(grid: Grid, caplog: pytest.LogCaptureFixture) -> None:
    nowhere = Interface("gone0", "203.0.113.77", False)
    first = grid.start("first", interface=nowhere)
    second = grid.start("second", interface=nowhere, seeds=("127.0.0.1:0",))
    assert sees(first, 2) and sees(second, 2)
    assert len([m for m in caplog.messages if "no multicast on gone0" in m]) == 2


def test_requests_are_answered(grid: Grid) -> None:
    driver = grid.start("a")
    driver.call(ev.SetRow(bundle(1)))
    rows = decode_as(driver.serve(PULL, encode(PullRequest(driver.id))), RowSet)
    assert rows.bundles == (bundle(1),)
    assert decode_as(driver.serve(PING, b""), Pulse).id == driver.id
    assert driver.serve(PULL, encode(PullRequest("unknown"))) == encode(None)
    for op, body in ((EXCHANGE, b"noise"), (PULL, b""), ("registry.other", b"")):
        with pytest.raises(ProtocolError):
            driver.serve(op, body)


def test_a_peer_that_answers_nonsense_is_as_good_as_silent(grid: Grid) -> None:
    driver = RegistryDriver(
        Registry(None, time.monotonic()), grid.key, LOOPBACK, ("x:1",), lambda *_: b"nonsense", port=grid.port
    )
    grid.drivers.append(driver)
    driver.start()
    assert not sees(driver, 1, 0.3)


def test_waiting_ends_when_the_driver_stops(grid: Grid) -> None:
    driver = grid.start()
    stopper = threading.Timer(0.1, driver.stop)
    stopper.start()
    start = time.monotonic()
    assert not sees(driver, 99, 30.0)
    assert time.monotonic() - start < 5.0
    stopper.join()


def test_stopping_twice_or_unstarted_is_fine() -> None:
    driver = RegistryDriver(Registry(None, 0.0), bytes(32), LOOPBACK)
    driver.stop()
    driver.stop()
    with RegistryDriver(Registry(None, time.monotonic()), bytes(32), LOOPBACK) as running:
        running.stop()


def test_a_driver_may_be_stopped_by_its_own_listener(grid: Grid) -> None:
    holder: list[RegistryDriver] = []
    driver = grid.start(on_change=lambda change: holder[0].stop())
    holder.append(driver)
    grid.start()
    thread = driver._thread
    assert thread is not None
    thread.join(5.0)
    assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_leaves_parent_and_child_in_peace(grid: Grid) -> None:
    driver, other = grid.start(), grid.start()
    assert sees(driver, 2)
    child = os.fork()
    if child == 0:
        ok = len(driver.snapshot().nodes()) == 2 and not driver.wait_for(lambda s: False, 5.0)
        driver.stop()
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    other.call(ev.SetRow(bundle(3)))
    assert driver.wait_for(lambda s: s.find_import("b3"), 3.0)


def test_a_datagram_leaves_no_loopback(grid: Grid) -> None:
    driver = grid.start()
    out = driver._channel._out
    assert out is not None
    assert out.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL) == 0
    assert out.getsockname()[0] == "127.0.0.1"
    assert len(Seal(grid.key).seal(encode(Hello("a" * 16)))) < 100


class TestAskers:
    def block(self, askers: Askers) -> threading.Event:
        """Occupy a thread until the returned event is set."""
        gate, running = threading.Event(), threading.Event()

        def wait(go: bool) -> None:
            running.set()
            gate.wait(5.0)

        askers.submit("block", wait)
        assert running.wait(3.0)
        return gate

    def test_a_slow_question_does_not_hold_up_others(self) -> None:
        askers, done = Askers(threads=2), threading.Event()
        gate = self.block(askers)
        askers.submit("fast", lambda go: done.set())
        assert done.wait(3.0)
        gate.set()
        askers.close()

    def test_who_closes_can_wait_for_the_last_question(self) -> None:
        """Its sockets must not be closed while it waits at one: that ends the process."""
        askers = Askers(threads=2)
        gate = self.block(askers)
        askers.close()
        assert not askers.ended()
        gate.set()
        assert askers.ended(5.0)

    def test_the_same_question_is_not_asked_twice_at_once(self) -> None:
        askers, last = Askers(threads=1), threading.Event()
        asked: list[int] = []
        gate = self.block(askers)
        for number in range(3):
            askers.submit("same", lambda go, number=number: asked.append(number))
        askers.submit("last", lambda go: last.set())
        gate.set()
        assert last.wait(3.0)
        assert asked == [0]
        askers.close()

    def test_what_waited_too_long_or_does_not_fit_is_given_up(self) -> None:
        askers, last = Askers(threads=1, patience=0.0, most=1), threading.Event()
        told: list[tuple[str, bool]] = []

        def late(go: bool) -> None:
            told.append(("late", go))
            last.set()

        gate = self.block(askers)
        askers.submit("late", late)
        askers.submit("no room", lambda go: told.append(("no room", go)))
        gate.set()
        assert last.wait(3.0)
        assert told == [("no room", False), ("late", False)]
        askers.close()
