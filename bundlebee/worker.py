"""A worker: the process that executes shipped calls, `python -m bundlebee.worker`. Only a pool starts one.

Its standard input is the control pipe of the pool (see `calls.control`), its standard output the status
pipe. Both are taken away from the program's view before any of its code is loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import zmq

from bundlebee import light as _light  # noqa: F401  before anybody imports msgspec

# isort: split
import msgspec

from bundlebee import settings
from bundlebee.calls.control import (
    BundlePath,
    End,
    FromWorker,
    Lease,
    MainSource,
    Ready,
    Setup,
    Stranger,
    line,
    path_of,
    to_worker,
)
from bundlebee.calls.guard import guard
from bundlebee.calls.inbox import Inbox
from bundlebee.calls.keys import GridKeys
from bundlebee.calls.link import MOST_MESSAGES
from bundlebee.calls.output import Input, Printing, Stream
from bundlebee.calls.rpc import bind
from bundlebee.calls.security import Doorman, secure_server, strangers
from bundlebee.calls.surroundings import OwnProcess
from bundlebee.calls.worker_loop import WorkerLoop
from bundlebee.errors import CallError
from bundlebee.platform import has_local_sockets, inherited_peak

if TYPE_CHECKING:
    from bundlebee.hooks.finder import Claim


def main() -> None:
    """Set the process up and serve until the control pipe ends."""
    import faulthandler

    control, status = _take_pipes()
    faulthandler.enable(2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the caller, who then hangs up
    setup = to_worker.decode(control.readline())
    if not isinstance(setup, Setup):
        raise SystemExit("bundlebee.worker is started by a node, not by hand")
    keys = GridKeys.restore(setup.keys)
    settings.in_worker = True
    if setup.where is not None:
        settings.of_program = msgspec.convert(setup.where, settings.GridOptions, dec_hook=path_of)
    printing = Printing()
    sys.stdin, sys.stdout, sys.stderr = Input(), Stream("stdout", printing), Stream("stderr", printing)
    sys.argv = [""]

    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    sock = context.socket(zmq.ROUTER)
    secure_server(sock, keys)
    sock.sndhwm = MOST_MESSAGES
    sock.router_mandatory = True  # a caller who reads slowly makes us wait, one who is gone is an error
    told = threading.Lock()

    def tell(message: FromWorker) -> None:
        with told:
            try:
                os.write(status, line(message))
            except OSError:
                leave()

    def connected(descriptor: int) -> bool:
        return doorman.connected(sock, descriptor)

    inbox = Inbox(sock)
    loading = Loading()
    loop = WorkerLoop(
        inbox, printing, OwnProcess(guard, leave), tell, connected, loading.load, loading.source
    )
    strangers.turned_away = lambda address: tell(Stranger(address))  # type: ignore[method-assign]
    doorman = Doorman.watch(sock, keys, loop.disconnected)
    port = bind(sock, setup.ip, None)
    local = ""
    if has_local_sockets():
        from bundlebee.calls.local import LocalDoor

        local = LocalDoor(loop.greet_local, inbox.adopt, loop.gone_local).name
    guard.install()

    def let_go() -> None:
        # of what tells others that this worker has ended: a child that a task has made may live longer
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (control.fileno(), status, *inbox.descriptors(), *loop.descriptors()):
            os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=let_go)

    def obey() -> None:
        try:
            for data in control:
                message = to_worker.decode(data)
                if isinstance(message, Lease):
                    loop.lease(message)
                elif isinstance(message, End):
                    loop.end(message)
        finally:
            loop.stop()

    threading.Thread(target=obey, name="bundlebee-control", daemon=True).start()
    tell(Ready(port, local, inherited_peak()))
    try:
        loop.run()
    except BaseException:
        # `sys.stderr` is the program's by now; this is for the node's log
        import traceback

        os.write(2, traceback.format_exc().encode("utf-8", "replace"))
        os._exit(1)


class Loading:
    """Puts a lease's bundles, and the caller's own script, into this process."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._main: str | None = None
        self._script: MainSource | None = None

    def source(self, name: str) -> tuple[bytes, str] | None:
        """The source of a module that came with a lease, and its path; None for any other."""
        if name == "__main__":
            return None if self._script is None else (self._script.source, self._script.path)
        loader = getattr(getattr(sys.modules.get(name), "__spec__", None), "loader", None)
        if name.partition(".")[0] not in self._claims or not isinstance(loader, SourceFileLoader):
            return None
        path = loader.path
        try:
            return loader.get_data(path), path
        except OSError:
            return None

    def load(self, lease: Lease) -> None:
        """Make everything importable that the lease names.

        Raises:
            CallError: the script cannot be reduced to its definitions, or a definition fails.
        """
        self.load_bundles(lease.bundles)
        if lease.main is not None and lease.main.digest != self._main:
            self.load_main(lease.main)

    def load_bundles(self, bundles: Sequence[BundlePath]) -> None:
        """Claim the bundles' import names. They load plain: a worker runs what was shipped already."""
        from bundlebee.hooks.finder import BundleFinder, Claim

        if not bundles:
            return
        if not self._claims:
            sys.meta_path.insert(0, BundleFinder(self._claims, SourceFileLoader))
        for bundle in bundles:
            for name in bundle.ref.imports:
                self._claims[name] = Claim(bundle.path, bundle.ref, weave=False)

    def load_main(self, main: MainSource) -> None:
        """Make `__main__` the caller's script, only its definitions: its statements must not run twice."""
        from bundlebee.bundles.definitions import definitions_only

        module = ModuleType("__main__")
        module.__file__ = main.path
        module.__package__ = main.package
        before = sys.modules["__main__"]
        sys.modules["__main__"] = module
        try:
            exec(definitions_only(main.source, main.path), module.__dict__)
        except Exception as error:
            sys.modules["__main__"] = before
            why = f"{type(error).__name__}: {error}"
            raise CallError("the caller's script cannot be loaded", why=why) from error
        self._main = main.digest
        self._script = main


def leave() -> NoReturn:
    """End the process now, whatever its main thread is doing."""
    os._exit(0)


def _take_pipes() -> tuple[BinaryIO, int]:
    """Move the pool's pipes out of the way: 0 becomes empty, 1 goes where 2 goes."""
    control, status = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return os.fdopen(control, "rb"), status


if __name__ == "__main__":
    # the program's `__main__` will take this name; our functions live on in the frames that run
    main()
