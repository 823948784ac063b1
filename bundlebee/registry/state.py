"""The registry: a hash map that every node has a copy of, and only the owner of a row writes to.

A pure state machine. `Registry.handle(event, now)` returns effects; there is no socket, clock or thread in
here, and chance comes from a seeded generator. The same code runs under `multicast.RegistryDriver` and in
`simulation`.

How it works
    A change of our rows goes out at once as a `Delta`. Every second a `Beat` says which version of our rows
    is the current one; who holds an older one pulls the rows by unicast. So a lost delta is repaired within a
    beat, and messages may be lost, doubled and reordered as they like.

    A beat also carries a hash over the sender's view of the whole grid. Two nodes whose views keep on being
    different compare notes by unicast (`Exchange`), and then both know all that either knew. The same
    exchange is done with each seed every second, and what was learned that way is relayed to the LAN: so
    nodes that multicast does not reach live in the registry like all others.

    A silent node is asked by unicast first, a random third node is asked about it too, and only then it has
    left. Before it blames others, a node doubts itself: time in which we did not run is nobody's silence
    (`awareness`).

Not chosen
    *Probing at random, as SWIM does:* it saves beats, but with multicast a beat to everybody costs one
    datagram, and it carries the load that decisions need anyway. *Tombstones:* where a delta was missed, the
    rows of a node travel as a whole; they are few. *Time stamps:* the clocks of a LAN of laptops are not to
    be trusted; ages and counters need no common clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from bundlebee.registry import events as ev
from bundlebee.registry.awareness import Awareness
from bundlebee.registry.exchanges import Exchanges
from bundlebee.registry.members import Member
from bundlebee.registry.messages import (
    Beat,
    Delta,
    ExchangeAnswer,
    ExchangeRequest,
    Goodbye,
    Heard,
    Hello,
    Message,
    Relay,
    State,
    fits,
)
from bundlebee.registry.others import Others
from bundlebee.registry.own import Own
from bundlebee.registry.rows import NodeRow, Pulse, RowSet, new_id
from bundlebee.registry.snapshot import ALIVE, NodeView, Snapshot
from bundlebee.registry.timing import LAN, Timing

_NEVER = float("inf")

#: So many signs of life go into one relay; each is below 120 bytes.
_RELAYED = 9


class Registry:
    """One participant's copy of the registry.

    Args:
        me: our node row; None for an observer, which listens and asks but has no rows and does not beat.
        now: the time, in seconds on any clock that never goes back.
        seed: of the random generator (jitter, lots); None draws one.
        timing: the intervals and time-outs.
    """

    def __init__(
        self, me: NodeRow | None, now: float, *, seed: int | None = None, timing: Timing = LAN
    ) -> None:
        self.id = new_id() if me is None else me.id
        self._own = None if me is None else Own(me)
        self._timing = timing
        self._random = random.Random(seed)
        self._effects: list[ev.Effect] = []
        self._others = Others(self.id, self._random, timing, self._effects)
        self._exchanges = Exchanges(self._random, timing)
        self._awareness = Awareness()
        self._now = now
        self._snapshot = Snapshot()
        self._left = False

        # Everything is due at once until the first tick, which may come much later than this.
        self._hellos = [now]
        self._begun = self._greeted = self._spoken_to = False
        self._beat_at = _NEVER
        self._answer_at = _NEVER  # when to answer somebody's hello
        self._answers = 5.0  # how many such answers we may still give; a beat gives one back
        self._sweep_at = now

        self._handlers: dict[type, Callable[[Any, float], None]] = {
            ev.Received: self._received,
            ev.Tick: self._tick,
            ev.SetSeeds: lambda event, now: self._exchanges.set_seeds(event.addresses, now),
            ev.SetNode: lambda event, now: self._announce(self._mine.set_node(event.row)),
            ev.SetRow: lambda event, now: self._announce(self._mine.set_row(event.row)),
            ev.DropRow: lambda event, now: self._announce(self._mine.drop_row(event.digest)),
            ev.SetLoad: self._set_load,
            ev.PullAnswered: self._others.pulled,
            ev.ProbeAnswered: self._probe_answered,
            ev.ExchangeAnswered: self._exchange_answered,
            ev.Leave: self._leave,
            Beat: self._beat,
            Delta: self._delta,
            State: self._state,
            Hello: self._hello,
            Relay: self._relay,
            Goodbye: self._goodbye,
        }

    # -- the outside ----------------------------------------------------------------------------------------

    @property
    def me(self) -> NodeRow | None:
        """Our node row as it is now (the name may have changed); None for an observer."""
        return None if self._own is None else self._own.node

    @property
    def patience(self) -> float:
        """What time-outs are multiplied by at the moment; 1.0 unless we ourselves are late."""
        return self._awareness.patience

    def handle(self, event: ev.Event, now: float) -> list[ev.Effect]:
        """Take one event; returns what is to be done and what is to be known, in order.

        Raises:
            ValueError: an observer was given rows.
        """
        if self._left:
            return []
        now = self._at(now)
        self._handlers[type(event)](event, now)
        return self._take_effects()

    def next_deadline(self) -> float:
        """When `Tick` is due at the latest."""
        if self._left:
            return _NEVER
        return min(
            self._hellos[0] if self._hellos else _NEVER,
            self._beat_at,
            self._answer_at,
            self._sweep_at,
            self._others.next_pull(),
            self._exchanges.next_deadline(),
        )

    @property
    def current(self) -> Snapshot | None:
        """The last snapshot, if nothing has changed since; safe to read in any thread."""
        return None if self._others.dirty else self._snapshot

    def snapshot(self) -> Snapshot:
        """The grid as we see it."""
        if self._others.dirty:
            views = self._others.members.views()
            views.sort(key=lambda view: (view.row.name, view.row.id))
            if self._own is not None:
                views.insert(0, NodeView(self._own.node, self._own.bundles, self._now, ALIVE, own=True))
            self._snapshot = Snapshot(tuple(views))
            self._others.dirty = False
        return self._snapshot

    # -- questions of peers ----------------------------------------------------------------------------------

    def answer_ping(self) -> Pulse | None:
        """We live. None from an observer, and from a node that has said good-bye."""
        return None if self._own is None or self._left else self._own.pulse()

    def answer_pull(self, id: str) -> RowSet | None:
        """The rows of a node, ours or another's, as far as we have them."""
        if self._own is not None and id == self.id:
            return self._own.rows
        member = self._others.members.get(id)
        return None if member is None else member.rows

    def answer_exchange(self, request: ExchangeRequest, now: float) -> tuple[ExchangeAnswer, list[ev.Effect]]:
        """Compare notes with a peer that asks for it: learn what it knows, tell it what it does not."""
        if self._left:
            return ExchangeAnswer(self.id, ""), []
        now = self._at(now)
        self._learn(request.id, request.address, request.heard, request.rows, now)
        if request.push:
            return ExchangeAnswer(self.id, self._address), self._take_effects()
        theirs = {heard.pulse.id: heard for heard in request.heard}
        heard: list[Heard] = []
        rows: list[RowSet] = []
        want: list[str] = []
        for ours in self._all_heard(now):
            id = ours.pulse.id
            known = theirs.get(id)
            if id == request.id:
                pass
            elif known is None or ours.pulse.count > known.pulse.count:
                heard.append(ours)
            have = 0 if known is None else known.have
            if have > ours.have:
                want.append(id)
            elif have < ours.have and id != request.id and (found := self.answer_pull(id)) is not None:
                rows.append(found)
        answer = ExchangeAnswer(self.id, self._address, tuple(heard), tuple(rows), tuple(want))
        return answer, self._take_effects()

    # -- messages --------------------------------------------------------------------------------------------

    def _received(self, event: ev.Received, now: float) -> None:
        self._handlers[type(event.message)](event.message, now)

    def _beat(self, beat: Beat, now: float) -> None:
        if (member := self._hear(beat.pulse, now)) is not None:
            self._compare_views(member, beat.view, now)

    def _delta(self, delta: Delta, now: float) -> None:
        if (member := self._hear(delta.pulse, now)) is not None:
            self._others.apply(member, delta, now)

    def _state(self, state: State, now: float) -> None:
        if (member := self._hear(state.pulse, now)) is not None:
            self._others.put(state.rows, now)
            self._compare_views(member, state.view, now)

    def _hear(self, pulse: Pulse, now: float) -> Member | None:
        member = self._others.hear(pulse, now)
        if member is not None:
            self._spoken_to = True
        return member

    def _hello(self, hello: Hello, now: float) -> None:
        if self._own is None or hello.id == self.id or self._answer_at != _NEVER or self._answers < 1:
            return
        size = len(self._others.members) + 1
        if self._random.random() * size < self._timing.answerers:
            most = min(self._timing.answer_max, self._timing.answer * size)
            self._answer_at = now + self._random.uniform(0, most)
            self._answers -= 1

    def _relay(self, relay: Relay, now: float) -> None:
        if relay.id != self.id:
            for heard in relay.heard:
                self._others.hear_of(heard, relay.address, now, multicast=True)

    def _goodbye(self, goodbye: Goodbye, now: float) -> None:
        if goodbye.id != self.id:
            self._others.drop(goodbye.id, "said good-bye", now, forever=True)

    # -- our own rows ----------------------------------------------------------------------------------------

    @property
    def _mine(self) -> Own:
        if self._own is None:
            raise ValueError("an observer has no rows")
        return self._own

    @property
    def _address(self) -> str:
        return "" if self._own is None else self._own.node.address

    def _announce(self, delta: Delta | None) -> None:
        if delta is not None:
            self._others.dirty = True
            self._others.changed_at = self._now
            if self._greeted:  # else nobody knows us yet, and the hello will tell it all
                # Too large for a datagram: say only that there is a new version, and be asked for it.
                self._multicast(delta if fits(delta) else Beat(delta.pulse, self.view))

    def _set_load(self, event: ev.SetLoad, now: float) -> None:
        self._mine.set_load(event.load, event.busy, event.free)
        self._others.dirty = True

    def _leave(self, event: ev.Leave, now: float) -> None:
        if self._own is not None:
            # Twice, for one may get lost, and there will be no other occasion.
            self._multicast(Goodbye(self.id))
            self._multicast(Goodbye(self.id))
        self._left = True

    def _check_names(self) -> None:
        """Where another node has our name too, the one of us with the larger id gives way.

        Only to the living: a name is not given up for what may be the ghost of our own last run.
        """
        while self._others.touched:
            member = self._others.touched.pop()
            if self._own is None or member.rows is None or not member.advanced:
                continue
            old = self._own.node.name
            if member.rows.node.name == old and self.id > member.pulse.id:
                self._announce(self._own.rename(self._others.members.names()))
                self._effects.append(ev.Renamed(old, self._own.node.name))

    # -- time ------------------------------------------------------------------------------------------------

    def _at(self, now: float) -> float:
        """Time has come so far; if it made a leap, we were asleep."""
        now = max(now, self._now)
        away, self._now = now - self._now, now
        if away <= self._timing.late or not self._begun:
            self._awareness.punctual(now)
            return now
        self._awareness.late(now)
        self._others.members.shift(away)
        if away > self._timing.suspect:
            # The grid has forgotten us, and we do not know what became of it.
            self._hellos = [now]
            self._greeted = self._spoken_to = False
            self._exchanges.newcomer = True
        return now

    def _begin(self, now: float) -> None:
        self._begun = True
        self._hellos = [now + after for after in self._timing.hello]
        if self._own is not None:
            self._beat_at = now + self._timing.beat * self._random.uniform(0.5, 1.0)

    def _tick(self, event: ev.Tick, now: float) -> None:
        timing = self._timing
        if not self._begun:
            self._begin(now)
        if self._hellos and now >= self._hellos[0]:
            self._say_hello()
        if self._own is not None:
            if now >= self._beat_at:
                self._beat_at = now + timing.beat * self._random.uniform(0.9, 1.1)
                self._answers = min(5.0, self._answers + 1)
                self._multicast(Beat(self._own.pulse(), self.view))
            if now >= self._answer_at:
                self._answer_at = _NEVER
                self._multicast(self._own_state(self._own))
        if now >= self._sweep_at:
            self._sweep_at = now + timing.sweep
            if self._others.sweep(now, self._awareness.patience):
                self._exchanges.ask_anybody(now)
        self._others.pull(now)
        self._compare_notes(now)

    def _say_hello(self) -> None:
        del self._hellos[0]
        if self._greeted and self._spoken_to:
            self._hellos.clear()  # the repetitions are for lost datagrams
            return
        self._greeted = True
        self._multicast(Hello(self.id))
        if self._own is not None:
            self._multicast(self._own_state(self._own))

    # -- comparing notes -------------------------------------------------------------------------------------

    @property
    def view(self) -> int:
        """A hash over all nodes and the versions of their rows: equal views, equal grids."""
        view = self._others.members.view
        return view if self._own is None else view ^ self._own.hash

    def _compare_views(self, member: Member, view: int, now: float) -> None:
        member.view = view
        if view == self.view:
            member.differs = None
        elif member.differs is None:
            member.differs = now
            if self._exchanges.newcomer:
                self._exchanges.newcomer = False
                self._exchanges.ask_differing(now + self._timing.settle_new)
        elif (
            now - member.differs >= self._timing.settle
            and now - self._others.changed_at >= self._timing.settle / 2
        ):
            member.differs = now
            self._exchanges.ask_differing(now + self._random.uniform(0, self._timing.settle / 2))

    def _compare_notes(self, now: float) -> None:
        seeds, anybody, differing = self._exchanges.due(now)
        if not seeds and not anybody and not differing:
            return
        members = self._others.members
        near = {member.pulse.address for member in members if self._others.directly(member, now)}
        addresses = {seed for seed in seeds if seed not in near and seed != self._address}
        healthy = [member for member in members if member.state is ALIVE]
        view = self.view
        others = [m for m in healthy if m.differs is not None and m.view != view]
        if anybody and not others:
            others = healthy
        if others:
            addresses.add(self._random.choice(others).pulse.address)
        for address in sorted(addresses):
            if self._exchanges.begin(address, now):
                request = ExchangeRequest(self.id, self._address, self._all_heard(now))
                self._effects.append(ev.Exchange(address, request))

    def _exchange_answered(self, event: ev.ExchangeAnswered, now: float) -> None:
        answer = event.answer
        self._effects.extend(self._exchanges.ended(event.address, answer is not None, now))
        if answer is None or answer.id == self.id:  # one of our seeds may be ourselves under another address
            return
        self._learn(answer.id, answer.address or event.address, answer.heard, answer.rows, now)
        if answer.want:
            rows = tuple(found for id in answer.want if (found := self.answer_pull(id)) is not None)
            request = ExchangeRequest(self.id, self._address, (), rows, push=True)
            self._effects.append(ev.Exchange(event.address, request))

    def _probe_answered(self, event: ev.ProbeAnswered, now: float) -> None:
        if event.pulse is not None:
            self._others.hear_of(Heard(event.pulse, 0.0, 0), event.pulse.address, now, multicast=False)
            if event.pulse.id != event.node:
                self._others.drop(event.node, "started anew", now, forever=True)

    def _learn(
        self, id: str, address: str, heard: tuple[Heard, ...], rows: tuple[RowSet, ...], now: float
    ) -> None:
        """Take what the node `id` told us by unicast."""
        near = self._others.directly(self._others.members.get(id), now)
        for one in heard:
            self._others.hear_of(one, address, now, multicast=False)
        for some in rows:
            self._others.put(some, now)
        news = self._others.unrelayed(now)
        # What a neighbour knows, the LAN knows; and observers have no knowledge of their own.
        if self._own is not None and address and not near:
            for start in range(0, len(news), _RELAYED):
                self._multicast(Relay(self.id, self._address, tuple(news[start : start + _RELAYED])))

    def _all_heard(self, now: float) -> tuple[Heard, ...]:
        heard = self._others.members.heard(now, self._timing.expire)
        if self._own is None:
            return heard
        return (Heard(self._own.pulse(), 0.0, self._own.version), *heard)

    # -- small things ----------------------------------------------------------------------------------------

    def _own_state(self, own: Own) -> Message:
        pulse = own.pulse()
        state = State(pulse, own.rows, self.view)
        return state if fits(state) else Beat(pulse, self.view)

    def _multicast(self, message: Message) -> None:
        self._effects.append(ev.Multicast(message))

    def _take_effects(self) -> list[ev.Effect]:
        if self._others.touched:
            self._check_names()
        effects = self._effects[:]
        self._effects.clear()
        return effects
