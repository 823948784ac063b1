"""What carries calls to workers and their outcomes back: the interface, whatever is behind it.

There are two implementations (`transports` chooses): `network`, worker processes on this and other hosts; and
`inprocess`, threads of the caller's own process, for tests and for debugging. One for Ray or Dask clusters would be a
third. All pass one suite of tests, `tests/calls/test_transport.py`.

::

    Transport ── node(name, address) ──▶ Lessor ──┐
        │                                         ├── lease(request) ──▶ Channel ── submit / poll / call ──▶ Outcome
        └─────── workers(name, slots) ─▶ Workers ─┘

*At most once.* What was submitted is run once or not at all. An outcome says which: returned, raised, or refused, which
means that it has no effect there, whether or not it began. Where no outcome comes (`PeerLost`, `CallTimeout`, or the
channel was closed) it may have run in part. Whether it may be run again is up to the caller.

*Errors.* ``Unshippable``: an argument cannot travel, and nothing was sent. ``PeerBusy``: no free worker, or the lease is
over; nothing was begun. ``PeerLost``: the worker is gone. ``CallTimeout``: no outcome in time. What the callee's own
code raises is an outcome, never one of these. Refusals have a `Reason`: ``guard`` or ``effects`` (it was stopped before it
did something that only means the same at the caller), ``state``, ``unpicklable``, ``environment``, ``peer-busy``
(handed back, for another task takes long).

*Bounds.* A worker that is behind makes `Channel.submit` read answers meanwhile; a caller who does not read makes the
worker wait. Nowhere does a queue grow without bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bundlebee.calls.call import Call
from bundlebee.calls.fate import Fate
from bundlebee.calls.outcome import Batch, Ended, Outcome
from bundlebee.calls.request import BundlePath, LeaseRequest, MainSource

if TYPE_CHECKING:
    from bundlebee.bundles.values import Walk
    from bundlebee.calls.parcels import Parcel
    from bundlebee.calls.pickling import Item
    from bundlebee.words import BundleRef

__all__ = [
    "LARGEST",
    "Batch",
    "BundlePath",
    "Call",
    "Channel",
    "Ended",
    "Fate",
    "LeaseRequest",
    "Lessor",
    "MainSource",
    "Outcome",
    "Transport",
    "Workers",
]

LARGEST = 2 << 30
"""Bytes of a pickle, or of one buffer beside it, that a chunk may have."""


class Channel(Protocol):
    """A leased worker, as its caller has it. For one thread at a time; it may be handed on."""

    node_name: str
    """Of the lessor."""
    token: str
    """Of the lease."""
    over: bool
    """The lease is over: what was submitted and has no outcome is refused, and nothing more is taken."""
    rested: float
    """When it was handed back (`perf_counter`); for the `Lessee`."""
    on_output: Callable[[str, str], None]
    """Told what tasks print and log, as it comes, with the stream: see `wire.Printed`. Where workers are the caller's own
    process, that goes to the program's own streams and handlers, and nothing is told."""

    @property
    def pending(self) -> int:
        """Items without an outcome yet."""

    @property
    def at_rest(self) -> bool:
        """Whether it has nothing under way, and nothing is known against it."""

    def usable(self) -> bool:
        """Whether the worker is still ours and there, as far as is known without asking."""

    @property
    def has_news(self) -> bool:
        """Whether `poll` has something to tell at once, even if nothing that is `pollable` is ready."""

    def pollable(self) -> list[tuple[Any, int]]:
        """Descriptors or sockets that are ready when there is something to tell, for `waiting.wait`."""

    def ask(self, call: Call, timeout: float | None = None) -> Outcome | None:
        """Ask whether the worker would run such calls; None if it would, else the refusal. Nothing may be under way.

        Raises:
            PeerBusy, PeerLost: as `submit` and `poll`.
            CallTimeout: no answer in time.
        """

    def has_accepted(self, call: Call) -> bool:
        """Whether `ask` was told so before."""

    def submit(
        self,
        call: Call,
        items: Sequence[Item],
        *,
        found: Walk | None = None,
        snapshot: list[Any] | None = None,
    ) -> int:
        """Ship a chunk of one or more ``(args, kwargs)`` and return its ticket, without waiting for outcomes.

        The arguments are pickled now; large buffers in them must not change until the outcome is there. The callee
        has copies, and so has the caller of the results; a result that is one of the arguments comes back as that.

        Args:
            found: what there is among the arguments, if somebody has looked already.
            snapshot: of the one item's arguments (`pickling.snapshot`), which may change from now on.

        Raises:
            Unshippable, PeerBusy, PeerLost: nothing was begun.
        """

    def submit_tasks(self, call: Call, function: bytes, parcel: Parcel) -> int:
        """Ship a chunk of tasks, each an ``(args, kwargs)`` that was packed, and return its ticket.

        Args:
            function: its pickle; travels once.

        Raises:
            PeerBusy, PeerLost: nothing was begun.
        """

    def poll(self, timeout: float | None = 0.0) -> list[Outcome]:
        """The outcomes that have come, chunks and items in the order of submission; waits up to ``timeout`` seconds for one.

        Raises:
            PeerLost: the worker is gone; the outcomes that had come before were all given.
        """

    def poll_batches(self, timeout: float | None = 0.0) -> list[Outcome | Batch]:
        """As `poll`, where results that came together and are nothing special may stay together."""

    def call(
        self,
        call: Call,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        found: Walk | None = None,
        timeout: float | None = None,
    ) -> Outcome:
        """Ship one call and wait for its outcome, ``timeout`` seconds at most.

        Raises:
            Unshippable, PeerBusy, PeerLost: as `submit` and `poll`.
            CallTimeout: no outcome in time; close the channel, and the work there ends.
        """

    def close(self) -> None:
        """End the lease. What runs is cancelled (see `Transport.separate`), what was not begun is not."""


class Lessor(Protocol):
    """Somebody with workers."""

    name: str

    def lease(self, request: LeaseRequest) -> Channel:
        """Lease a worker that can import what the request names.

        Raises:
            PeerBusy: all are leased. Never waits for another caller.
            PeerLost: it does not answer.
            CallError: it cannot run these bundles; the message says why.
        """

    def release(self, token: str) -> None:
        """The channel of that lease was closed; who leases next may have to wait for its worker to end, but is not told
        that it is busy. Without this that is so as soon as the worker has noticed.

        Raises:
            PeerLost, CallTimeout: nobody is there to be told.
        """

    def fate(self, token: str) -> Fate | None:
        """How the worker of a lease ended; None if it has not, or was told to. Waits a second at the most.

        Raises:
            PeerLost, CallTimeout: nobody is there to say.
        """


class Workers(Lessor, Protocol):
    """The program's own workers."""

    slots: int

    def start(self) -> None:
        """Begin to start them; a lease waits until its worker is there."""

    def free(self) -> int:
        """Slots without a lease."""

    def pids(self) -> list[int]:
        """Processes other than the caller's own."""

    def stop(self) -> None:
        """End all; channels that are open are lost. Nothing is left behind."""

    def after_fork(self) -> None:
        """In a child process: they are the parent's."""


class Transport(Protocol):
    """A way to workers."""

    separate: bool
    """Workers are processes of their own.

    Where they are not, this does not hold, and cannot: that a worker may die and the program lives on (``PeerLost``
    comes from `Workers.stop` only, and there is no `Fate`); that what a call is stopped by ends it at once (it is
    *interrupted*: an exception comes up in it, once, between two instructions of Python; one that waits in C, or
    swallows the exception, goes on unheard, and its slot is taken until it ends); that functions which travel by name find modules
    other than the caller's own (by value: copies, as anywhere); that the callee's limits are set apart, such as that of
    recursion; that a call which warns is refused (the filters are the caller's own)."""

    def node(self, name: str, address: str, archive: Callable[[str], bytes]) -> Lessor:
        """A node of the grid.

        Args:
            address: ``ip:port``.
            archive: gives a bundle's archive by digest, if the node lacks it.

        Raises:
            CallError: this transport reaches no nodes.
        """

    def workers(
        self, name: str, slots: int, hash_seed: int, path: Callable[[BundleRef], BundlePath]
    ) -> Workers:
        """Workers of the program's own, on this machine.

        Args:
            path: gives the place of a bundle on this disk.
        """

    def after_fork(self) -> None:
        """In a child process: connections are the parent's."""
