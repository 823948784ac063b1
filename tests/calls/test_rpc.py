from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import zmq

from bundlebee.calls.keys import GridKey, GridKeys
from bundlebee.calls.rpc import Client, Server
from bundlebee.errors import BundleNotFound, CallError, CallTimeout, InterfaceError, PeerLost, PortInUse

IP = "127.0.0.1"


def echo(body: bytes, buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
    return body, buffers


@pytest.fixture
def server(context: zmq.Context[Any], keys: GridKeys) -> Iterator[Server]:
    server = Server(context, keys, IP, handlers={"echo": echo})
    yield server
    server.close()


@pytest.fixture
def client(context: zmq.Context[Any], keys: GridKeys) -> Iterator[Client]:
    client = Client(context, keys)
    yield client
    client.close()


def test_bytes_there_and_back(server: Server, client: Client) -> None:
    assert client.request(server.address, "echo", b"hello") == (b"hello", [])
    big = os.urandom(3 << 20)
    assert client.request(server.address, "echo", b"", [b"a", big]) == (b"", [b"a", big])


def test_our_errors_are_raised_again(server: Server, client: Client) -> None:
    def missing(body: bytes, buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        raise BundleNotFound("no such bundle", why="nobody holds it", hint="drop it in")

    server.handle("missing", missing)
    with pytest.raises(BundleNotFound) as caught:
        client.request(server.address, "missing")
    assert (caught.value.what, caught.value.why, caught.value.hint) == (
        "no such bundle",
        "nobody holds it",
        "drop it in",
    )


def test_any_other_error_is_named_and_the_server_goes_on(server: Server, client: Client) -> None:
    def broken(body: bytes, buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        raise ZeroDivisionError("oh")

    server.handle("broken", broken)
    with pytest.raises(CallError, match="ZeroDivisionError: oh"):
        client.request(server.address, "broken")
    with pytest.raises(CallError, match="does not know"):
        client.request(server.address, "nonsense")
    assert client.request(server.address, "echo", b"x")[0] == b"x"


def test_a_slow_operation_does_not_hold_up_a_quick_one(server: Server, client: Client) -> None:
    release = threading.Event()

    def slow(body: bytes, buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        release.wait(10)
        return b"slow", []

    server.handle("slow", slow)
    answers: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.request(server.address, "slow", timeout=10)[0]))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    assert client.request(server.address, "echo", b"quick")[0] == b"quick"
    assert not answers
    release.set()
    for thread in threads:
        thread.join()
    assert answers == [b"slow"] * 5


def test_many_threads_share_a_client(server: Server, client: Client) -> None:
    wrong: list[int] = []

    def ask(n: int) -> None:
        for i in range(50):
            if client.request(server.address, "echo", b"%d %d" % (n, i))[0] != b"%d %d" % (n, i):
                wrong.append(n)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_deadline(server: Server, client: Client) -> None:
    release = threading.Event()

    def slow(body: bytes, buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        release.wait(10)
        return b"late", []

    server.handle("slow", slow)
    with pytest.raises(CallTimeout):
        client.request(server.address, "slow", timeout=0.05)
    release.set()
    # the late answer goes nowhere, least of all to the next question
    assert client.request(server.address, "echo", b"next")[0] == b"next"


def test_nobody_there_is_said_at_once(client: Client) -> None:
    with socket.socket() as free:
        free.bind((IP, 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(PeerLost, match=f"{IP}:{port}"):
        client.request(f"{IP}:{port}", "echo", timeout=10)
    assert time.monotonic() - started < 2


def test_a_server_that_stops_is_said_at_once_and_found_again(
    context: zmq.Context[Any], keys: GridKeys, client: Client
) -> None:
    entered = threading.Event()

    def hang(body: bytes, buffers: Sequence[bytes]) -> tuple[bytes, Sequence[bytes]]:
        entered.set()
        stop.wait(10)
        return b"", []

    stop = threading.Event()
    first = Server(context, keys, IP, handlers={"hang": hang, "echo": echo})
    assert client.request(first.address, "echo", b"1")[0] == b"1"
    failure: list[BaseException] = []

    def ask() -> None:
        try:
            client.request(first.address, "hang", timeout=10)
        except PeerLost as error:
            failure.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert entered.wait(5)
    closing = threading.Thread(target=first.close)
    closing.start()
    thread.join(5)
    assert failure
    stop.set()
    closing.join()
    second = Server(context, keys, IP, first.port, handlers={"echo": echo})
    assert client.request(second.address, "echo", b"2")[0] == b"2"
    second.close()


def test_a_port_in_use_and_an_address_of_another_machine(
    context: zmq.Context[Any], keys: GridKeys, server: Server
) -> None:
    with pytest.raises(PortInUse, match=str(server.port)):
        Server(context, keys, IP, server.port)
    with pytest.raises(InterfaceError):
        Server(context, keys, "203.0.113.7")


def test_another_key_gets_nothing_and_makes_one_log_line(
    server: Server, client: Client, context: zmq.Context[Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stranger = Client(context, GridKey(b"s" * 32).derive("test"))
    for _ in range(5):
        with pytest.raises(PeerLost, match="key"):
            stranger.request(server.address, "echo", b"x", timeout=5)
    stranger.close()
    assert client.request(server.address, "echo", b"x")[0] == b"x"
    assert [r.getMessage() for r in caplog.records].count(caplog.records[0].getMessage()) == 1
    assert len(caplog.records) == 1
    assert IP in caplog.records[0].getMessage()


def test_who_learned_the_servers_public_key_is_still_refused(
    server: Server, context: zmq.Context[Any], keys: GridKeys, caplog: pytest.LogCaptureFixture
) -> None:
    from msgspec.structs import replace

    spy = replace(keys, client=GridKey(b"s" * 32).derive("x").client)
    stranger = Client(context, spy)
    with pytest.raises(PeerLost, match="key"):
        stranger.request(server.address, "echo", b"x", timeout=5)
    stranger.close()
    assert len(caplog.records) == 1


def test_random_bytes_do_no_harm(server: Server, client: Client) -> None:
    import random

    chance = random.Random(7)
    for start in (
        b"",
        b"\xff\0\0\0\0\0\0\0\x01\x7f",
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01CURVE".ljust(64, b"\0"),
    ):
        for _ in range(10):
            with socket.create_connection((IP, server.port)) as wild:
                try:
                    wild.sendall(start + chance.randbytes(chance.randrange(1, 5000)))
                except OSError:
                    pass
    assert client.request(server.address, "echo", b"still here")[0] == b"still here"


def test_close_leaves_no_thread(context: zmq.Context[Any], keys: GridKeys) -> None:
    before = set(threading.enumerate())
    server = Server(context, keys, IP, handlers={"echo": echo})
    client = Client(context, keys)
    client.request(server.address, "echo")
    client.close()
    server.close()
    server.close()
    assert set(threading.enumerate()) <= before


def test_connections_to_those_who_are_gone_are_not_kept(context: zmq.Context[Any], keys: GridKeys) -> None:
    import psutil

    client = Client(context, keys)
    stays = Server(context, keys, IP, handlers={"echo": lambda body, buffers: (body, ())})
    before = None
    for turn in range(12):
        server = Server(context, keys, IP, handlers={"echo": lambda body, buffers: (body, ())})
        client.request(server.address, "echo", b"x")
        server.close()
        end = time.monotonic() + 10
        while list(client._idle) != [stays.address] and time.monotonic() < end:
            client.request(stays.address, "echo", b"x")
        if turn == 3:
            before = psutil.Process().num_fds() if hasattr(psutil.Process, "num_fds") else 0
    assert list(client._idle) == [stays.address]
    if before:
        assert psutil.Process().num_fds() <= before + 8  # two and more for each that is kept
    client.close()
    stays.close()
