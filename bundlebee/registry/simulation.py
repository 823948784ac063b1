"""A network in memory: a thousand nodes in one process, in any weather, and the same again for a seed.

It does to datagrams what networks do (loses, delays, reorders and doubles them), pulls cables, stops, kills
and restarts nodes, and lets their clocks differ. Requests between nodes take time too and fail when the other
side is out of reach. Messages go through their wire format. Use it to test what is built on the registry:

>>> lan = Simulation(seed=7, loss=0.1)
>>> nodes = [lan.start(f"node{number}") for number in range(5)]
>>> lan.run_until(lan.agreed, limit=10.0)
True
>>> nodes[0].kill()
>>> lan.run_until(lan.agreed, limit=10.0)
True
>>> sorted(view.row.name for view in nodes[1].snapshot().nodes())
['node1', 'node2', 'node3', 'node4']
"""

from __future__ import annotations

import functools
import heapq
import itertools
import operator
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from bundlebee.registry import events as ev
from bundlebee.registry.members import view_hash
from bundlebee.registry.messages import MAX_MESSAGE, Message, decode, encode
from bundlebee.registry.rows import NodeRow, RowSet
from bundlebee.registry.snapshot import Snapshot
from bundlebee.registry.state import Registry
from bundlebee.registry.timing import LAN, Timing

#: A request that nobody answers fails after that many seconds, as the real one does.
REQUEST_TIMEOUT = 1.5

#: A stopped process finds so many datagrams when it goes on; the others did not fit its socket's buffer.
SOCKET_BUFFER = 1_000

#: The receivers of one multicast get it in so many groups, each with a delay of its own.
_GROUPS = 8


class SimulatedNode:
    """One participant: a node, or an observer if its registry has no row. Made by `Simulation.start`."""

    def __init__(
        self, network: Simulation, registry: Registry, name: str, segment: str, clock: tuple[float, float]
    ) -> None:
        self.registry = registry
        self.name = name  #: as it was started; the registry may rename it
        self.segment = segment  #: multicast stays in there
        self.changes: list[tuple[float, ev.Change]] = []  #: what it noticed, and when (the network's time)
        self.running = True
        self.paused = False
        self.tick_at = float("inf")
        self._network = network
        self._offset, self._rate = clock
        self._waiting: deque[ev.Event] = deque()

    @property
    def address(self) -> str:
        return "" if self.registry.me is None else self.registry.me.address

    @property
    def now(self) -> float:
        """The time on this node's own clock."""
        return self._offset + self._rate * self._network.now

    def snapshot(self) -> Snapshot:
        return self.registry.snapshot()

    def call(self, event: ev.Event) -> None:
        """Give its registry an event, as a node does."""
        if not self.running:
            return
        if self.paused:
            if len(self._waiting) < SOCKET_BUFFER:
                self._waiting.append(event)
            return
        self._network.carry_out(self, self.registry.handle(event, self.now))

    def stop(self) -> None:
        """Leave with a good-bye."""
        self.call(ev.Leave())
        self.running = False

    def kill(self) -> None:
        """Die without a word."""
        self.running = False

    def pause(self) -> None:
        """Stop running, but keep everything (SIGSTOP; the lid of a laptop is shut)."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        while self._waiting:
            self.call(self._waiting.popleft())
        self._network.schedule_tick(self)

    def in_network_time(self, local: float) -> float:
        return (local - self._offset) / self._rate


class Simulation:
    """The network, and the time in it.

    Args:
        seed: of everything that happens by chance.
        loss: share of multicast datagrams that a receiver does not get.
        duplication: share of those that it gets twice.
        delay: least and greatest time on the way, in seconds; whoever is faster overtakes.
        skew: clocks differ by up to that many seconds, and run faster or slower by up to 1 % if it is not 0.
        timing: of the registries.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        loss: float = 0.0,
        duplication: float = 0.0,
        delay: tuple[float, float] = (0.0001, 0.002),
        skew: float = 0.0,
        timing: Timing = LAN,
    ) -> None:
        self.now = 0.0
        self.nodes: list[SimulatedNode] = []
        self.sent = 0  #: multicast datagrams
        self.requests = 0  #: unicast requests
        self.loss = loss
        self._duplication = duplication
        self._delay = delay
        self._skew = skew
        self._timing = timing
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()
        self._started = itertools.count(1)
        self._sides: dict[str, int] = {}  # node id → its side of a partition

    # -- making things happen -------------------------------------------------------------------------------

    def start(
        self,
        name: str = "",
        *,
        observer: bool = False,
        seeds: Sequence[str] = (),
        segment: str = "lan",
        address: str | None = None,
    ) -> SimulatedNode:
        """Start a node, or an observer."""
        number = next(self._started)
        clock = (self._random.uniform(0, self._skew), 1.0)
        if self._skew:
            clock = (clock[0], self._random.uniform(0.99, 1.01))
        me = None
        if not observer:
            me = NodeRow(
                id=f"{self._random.getrandbits(64):016x}",
                name=name or f"node{number}",
                address=address or f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}:7768",
                slots=1,
                started=self.now,
            )
        registry = Registry(
            me, clock[0] + clock[1] * self.now, seed=self._random.getrandbits(32), timing=self._timing
        )
        node = SimulatedNode(self, registry, name, segment, clock)
        self.nodes.append(node)
        if seeds:
            node.call(ev.SetSeeds(tuple(seeds)))
        self.schedule_tick(node)
        return node

    def partition(self, *sides: Iterable[SimulatedNode]) -> None:
        """Cut the network: whoever is on different sides cannot reach each other. Others are on side 0."""
        self._sides = {node.registry.id: number for number, side in enumerate(sides) for node in side}

    def heal(self) -> None:
        self._sides = {}

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do something at that time."""
        heapq.heappush(self._queue, (time, next(self._number), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float, step: float = 0.05) -> bool:
        """Let time pass until the condition holds; False if it does not within `limit` seconds."""
        end = self.now + limit
        while not condition():
            if self.now >= end:
                return False
            self.run(step)
        return True

    # -- what holds ------------------------------------------------------------------------------------------

    def running(self) -> list[SimulatedNode]:
        return [node for node in self.nodes if node.running and not node.paused]

    def reachable(self, one: SimulatedNode, other: SimulatedNode) -> bool:
        return self._side(one) == self._side(other)

    def agreed(self) -> bool:
        """Whether everybody sees exactly the running nodes in its reach, with exactly their rows."""
        running = self.running()
        grids: dict[int, dict[str, RowSet]] = {}  # side → node id → its own rows
        for node in running:
            rows = node.registry.answer_pull(node.registry.id)
            grid = grids.setdefault(self._side(node), {})
            if rows is not None:
                grid[rows.id] = rows
        # The hashes first: they cost nothing, and mostly tell.
        hashes = {
            side: functools.reduce(
                operator.xor, (view_hash(id, rows.version) for id, rows in grid.items()), 0
            )
            for side, grid in grids.items()
        }
        if any(node.registry.view != hashes[self._side(node)] for node in running):
            return False
        truths = {
            side: {(id, rows.node.name, frozenset(rows.bundles)) for id, rows in grid.items()}
            for side, grid in grids.items()
        }
        return all(
            truths[self._side(node)]
            == {(view.row.id, view.row.name, frozenset(view.bundles)) for view in node.snapshot().nodes()}
            for node in running
        )

    def _side(self, node: SimulatedNode) -> int:
        return self._sides.get(node.registry.id, 0)

    # -- the network -----------------------------------------------------------------------------------------

    def carry_out(self, node: SimulatedNode, effects: list[ev.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, ev.Multicast):
                self._multicast(node, effect.message)
            elif isinstance(effect, (ev.Pull, ev.Probe, ev.Exchange)):
                self._request(node, effect)
            else:
                node.changes.append((self.now, effect))
        self.schedule_tick(node)

    def schedule_tick(self, node: SimulatedNode) -> None:
        # A moment later: two conversions between clocks may round to just before the deadline.
        at = max(self.now, node.in_network_time(node.registry.next_deadline()) + 1e-6)
        if node.running and not node.paused and (at < node.tick_at or node.tick_at < self.now):
            node.tick_at = at
            self.at(at, partial(self._tick, node, at))

    def _tick(self, node: SimulatedNode, at: float) -> None:
        if node.tick_at == at and not node.paused:
            node.tick_at = float("inf")
            node.call(ev.Tick())

    def _multicast(self, sender: SimulatedNode, message: Message) -> None:
        data = encode(message)
        if len(data) > MAX_MESSAGE:
            raise AssertionError(f"a datagram of {len(data)} bytes: {message}")
        self.sent += 1
        event = ev.Received(decode(data))
        receivers = [
            node
            for node in self.nodes
            if node.running
            and node is not sender
            and node.segment == sender.segment
            and self.reachable(sender, node)
            and not (self.loss and self._random.random() < self.loss)
        ]
        if self._duplication:
            receivers += [node for node in receivers if self._random.random() < self._duplication]
        self._random.shuffle(receivers)
        for start in range(min(_GROUPS, len(receivers))):
            group = receivers[start::_GROUPS]
            self.at(self.now + self._random.uniform(*self._delay), partial(self._deliver, group, event))

    @staticmethod
    def _deliver(group: list[SimulatedNode], event: ev.Event) -> None:
        for node in group:
            node.call(event)

    def _request(self, asker: SimulatedNode, effect: ev.Pull | ev.Probe | ev.Exchange) -> None:
        self.requests += 1
        arrives = self.now + self._random.uniform(*self._delay)
        fails = self.now + REQUEST_TIMEOUT

        def arrive() -> None:
            peer = next((n for n in self.running() if n.address == effect.address), None)
            if peer is None or not self.reachable(asker, peer):
                self.at(fails, partial(asker.call, self._answer(None, effect)))
                return
            answer = self._answer(peer, effect)
            self.at(self.now + self._random.uniform(*self._delay), partial(asker.call, answer))

        self.at(arrives, arrive)

    def _answer(self, peer: SimulatedNode | None, effect: ev.Pull | ev.Probe | ev.Exchange) -> ev.Event:
        if isinstance(effect, ev.Pull):
            rows = None if peer is None else peer.registry.answer_pull(effect.node)
            return ev.PullAnswered(effect.node, effect.address, rows)
        if isinstance(effect, ev.Probe):
            return ev.ProbeAnswered(effect.node, None if peer is None else peer.registry.answer_ping())
        if peer is None:
            return ev.ExchangeAnswered(effect.address, None)
        answer, effects = peer.registry.answer_exchange(effect.request, peer.now)
        self.carry_out(peer, effects)
        return ev.ExchangeAnswered(effect.address, answer)
