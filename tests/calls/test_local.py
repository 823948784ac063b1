from __future__ import annotations

import os
import queue
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from bundlebee.calls import local, wire
from bundlebee.calls.inbox import LocalWay
from bundlebee.calls.local import LocalDoor, LocalLink, connect
from bundlebee.calls.sharing import Sharing
from bundlebee.errors import BundlebeeError, PeerBusy, PeerLost
from bundlebee.platform import has_local_sockets

pytestmark = pytest.mark.skipif(not has_local_sockets(), reason="this system has no such sockets")

TOKEN = "t" * 32


class Worker:
    """Greets who shows the token, and echoes."""

    def __init__(self) -> None:
        self.ended: queue.SimpleQueue[LocalWay] = queue.SimpleQueue()
        self.door = LocalDoor(self.greet, self.adopt, self.ended.put)

    def greet(self, way: LocalWay, hello: wire.Hello) -> BundlebeeError | None:
        return None if hello.token == TOKEN else PeerBusy("the lease is over")

    def adopt(self, way: LocalWay) -> None:
        threading.Thread(target=self.echo, args=(way,), daemon=True).start()

    def echo(self, way: LocalWay) -> None:
        try:
            while (frames := way.stream.receive()) is not None:
                way.send(frames)
        except (EOFError, OSError):
            pass


@pytest.fixture(scope="module")
def worker() -> Worker:
    return Worker()


@pytest.fixture
def link(worker: Worker) -> Iterator[LocalLink]:
    link = connect(worker.door.name, TOKEN, "test", "b", "1.2.3.4:5", Sharing())
    assert link is not None
    yield link
    link.close()


def test_messages_go_there_and_back(link: LocalLink) -> None:
    assert link.send([b"a", b"b" * 100_000])
    assert link.recv(10.0) == [b"a", b"b" * 100_000]
    assert link.recv(0.0) is None
    assert not link.check_lost()


def test_a_programs_alarm_is_no_loss(link: LocalLink) -> None:
    def ring(number: int, frame: object) -> None:
        raise TimeoutError("rang")  # which is an OSError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        for timeout in (None, 10.0):
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            with pytest.raises(TimeoutError, match="rang"):
                link.recv(timeout)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert link.lost is None
    link.send([b"goes on"])
    assert link.recv(5.0) == [b"goes on"]


def test_hanging_up_is_told_at_once(worker: Worker, link: LocalLink) -> None:
    link.close()
    assert worker.ended.get(timeout=5.0).released.wait(5.0)


def test_a_wrong_token_is_refused(worker: Worker) -> None:
    with pytest.raises(PeerBusy, match="lease is over"):
        connect(worker.door.name, "wrong", "test", "b", "1.2.3.4:5", Sharing())


def test_nobody_there_means_the_long_way(worker: Worker) -> None:
    assert connect("", TOKEN, "test", "b", "1.2.3.4:5", Sharing()) is None
    assert connect(worker.door.name + "x", TOKEN, "test", "b", "1.2.3.4:5", Sharing()) is None


def test_another_users_process_is_not_listened_to(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.geteuid()
    monkeypatch.setattr(local, "peer_of", lambda sock: (1, own + 1))
    assert connect(worker.door.name, TOKEN, "test", "b", "1.2.3.4:5", Sharing()) is None


def test_whoever_does_not_greet_is_hung_up_on(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "HELLO_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as noisy:
        for sock in (silent, noisy):
            sock.settimeout(5.0)
            sock.connect("\0" + worker.door.name)
        noisy.sendall(os.urandom(1000))
        for sock in (silent, noisy):
            try:
                assert sock.recv(10) == b""
            except ConnectionResetError:
                pass


def test_a_worker_that_was_stopped_counts_as_lost(link: LocalLink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(local, "STOPPED_SECONDS", 0.05)
    monkeypatch.setattr(local, "is_stopped", lambda pid: True)
    with pytest.raises(PeerLost, match="stopped"):
        link.recv()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_lets_go_of_its_parents_connections(worker: Worker) -> None:
    link = connect(worker.door.name, TOKEN, "test", "b", "1.2.3.4:5", Sharing())
    assert link is not None
    pid = os.fork()
    if not pid:
        local.after_fork()
        os._exit(0 if link.closed else 1)
    assert os.waitpid(pid, 0)[1] == 0
    link.send([b"still here"])
    assert link.recv(5.0) == [b"still here"]
    link.close()
