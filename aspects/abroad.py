"""Awaited calls that are away: sent to a worker, waited for, and run here after all if nothing comes of it.

Plain code runs such a call in its first step, at once and to its end, unless it suspends. Elsewhere it takes a while, and
meanwhile the loop's other tasks run. That they may run at an ``await`` is what the language says; but nobody must see another
answer for it. So

- only calls leave that never suspend, write no argument and print nothing (the analysis says so,
  `bundlebee.bundles.flow`): nobody can see that they have not yet happened;
- their arguments, and the state that they read, are taken as they are in that first step (`snapshot`); the worker has agreed
  that the state is the same there before anything is sent, so what can still come in between is rare (`_here_after_all`);
- results are handed out in the order of the calls (`bundlebee.aspects.turns`), as they come in plain code, however
  long each takes.

A call that nobody waits for any more takes its worker along. Under the policies that demand a worker the next one is leased in
the background, and calls that it would take wait for it with their arguments as they were, as for one that is busy.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from bundlebee.aspects.away import Away
from bundlebee.aspects.preparing import ASKING, Preparing
from bundlebee.aspects.profile import Profile
from bundlebee.aspects.remote import Came
from bundlebee.aspects.turns import Line
from bundlebee.bundles.import_lock import importing
from bundlebee.clock import clock
from bundlebee.decisions.features import Features
from bundlebee.decisions.model import Verdict
from bundlebee.decisions.policy import Kind
from bundlebee.errors import BundlebeeError, CallError, PeerLost, Unshippable
from bundlebee.interrupts import held, hold, let_pass, release
from bundlebee.words import HERE, Reason

if TYPE_CHECKING:
    from bundlebee.aspects.analysis import Running
    from bundlebee.aspects.freight import Cleared
    from bundlebee.aspects.grid import Grid
    from bundlebee.aspects.remote import Remote
    from bundlebee.calls.transport import Channel, Outcome

Here = Callable[[Profile, Verdict, Features, tuple[Any, ...], dict[str, Any]], Any]
"""Runs a call here; what it gives is to be awaited."""


class Abroad:
    """One for a program.

    Args:
        here: runs a call here.
        fail: switches the advice of a function off.
    """

    def __init__(
        self,
        grid: Grid,
        remote: Remote,
        running: Running,
        here: Here,
        fail: Callable[[Profile, Exception], None],
    ) -> None:
        self._grid = grid
        self._remote = remote
        self._running = running
        self._here = here
        self._fail = fail
        self._preparing = Preparing(grid)
        # without a lock, for a fork may come at any time; only who has a free worker takes calls that wait
        #: calls whose worker will be free, or replaced, some time
        self._under_way: set[Away] = set()
        #: calls that wait for a worker of ours, under the policies that demand one
        self._queue: deque[Away] = deque()

    def send(
        self,
        profile: Profile,
        verdict: Verdict,
        cleared: Cleared,
        marks: Features,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        line: Line | None,
    ) -> Away | Verdict:
        """Send a call on its way to the peer of the verdict; or why it runs here."""
        if line is None:
            return replace(verdict, where=HERE, why=Reason.NO_LOOP)
        if importing():  # the outcome is read by another thread
            return replace(verdict, where=HERE, why=Reason.STATE, detail="a module is being imported")
        away = Away(profile, verdict, cleared, marks, args, kwargs)
        if verdict.here:
            return self._wait_for_one(away, line)
        if self._grid.policy.kind is not Kind.AUTO and not self._grid.ready(verdict.where):
            # to lease one takes a while if one of ours is just being replaced, and the loop would stand still
            returning = any(other.trip.dropped for other in list(self._under_way))
            answer = self._wait_for_one(away, line) if returning else None
            if isinstance(answer, Away):
                return answer
        return self._try(away, line)

    def _try(self, away: Away, line: Line) -> Away | Verdict:
        """Send a call to the peer of its verdict."""
        grid, remote = self._grid, self._remote
        profile, verdict = away.profile, away.verdict
        # the other policies demand a worker, though the loop stands still until it has started
        patient = grid.policy.kind is not Kind.AUTO
        if not patient and not grid.ready(verdict.where):
            try:
                freight = grid.freight(profile.point, away.cleared.summary)
            except Unshippable as error:  # it reads what cannot be compared
                return replace(verdict, where=HERE, why=Reason.STATE, detail=str(error))
            return self._preparing.begin(profile, verdict, freight)
        embarked = remote.embark(profile, verdict, away.cleared)
        if isinstance(embarked, Verdict):
            return embarked
        away.freight, channel = embarked
        if not patient and not channel.has_accepted(away.freight.call):
            return self._preparing.begin(profile, verdict, away.freight, channel)
        try:
            refusal = channel.ask(away.freight.call, ASKING)
            if refusal is None:
                self._pack(away, line)
                self._submit(away, channel)
                return away
        except BaseException as error:
            if away.turn is not None:
                away.turn.leave()
            if isinstance(error, PeerLost):
                error = remote.why_lost(channel, profile, error)
            return remote.sunk(profile, verdict, channel, error)
        grid.done(channel)
        landed = remote.landed(profile, verdict, away.marks, 0.0, refusal)
        assert isinstance(landed, Verdict)
        return landed

    def _pack(self, away: Away, line: Line) -> None:
        """Take the arguments as they are, and a place in the line."""
        from bundlebee.calls.pickling import snapshot

        away.snapshot = snapshot(away.args, away.kwargs, away.cleared.walk)
        away.turn = line.join()

    def _submit(self, away: Away, channel: Channel) -> None:
        from bundlebee.calls.courier import Trip

        call, found = away.freight.call, away.cleared.walk
        ticket = channel.submit(call, [(away.args, away.kwargs)], found=found, snapshot=away.snapshot)
        away.channel = channel
        away.trip = Trip(channel, ticket, lambda result: self._landed(away, result), self._grid.deadline)
        self._under_way.add(away)
        self._grid.courier().carry(away.trip)

    def _wait_for_one(self, away: Away, line: Line) -> Away | Verdict:
        """All workers are busy, and the policy wants one: wait for the first of ours that would take the call."""
        try:
            away.freight = freight = self._grid.freight(away.profile.point, away.cleared.summary)
            self._remote.check(freight, away.cleared)
            channels = [other.channel for other in list(self._under_way)]
            place = next((one.node_name for one in channels if one.has_accepted(freight.call)), None)
            if place is None:
                return away.verdict
            self._pack(away, line)
        except Unshippable:  # it will be said when a worker is free
            return away.verdict
        away.verdict = replace(away.verdict, where=place, why=Reason.FORCED)
        self._queue.append(away)
        if not self._under_way:
            self._call_off()
        return away

    def _next(self, channel: Channel) -> Away | None:
        """The next call for a worker that is free again."""
        for away in list(self._queue):
            if channel.has_accepted(away.freight.call):
                with suppress(ValueError):  # nobody waits for it any more
                    self._queue.remove(away)
                    return away
        return None

    def _over(self, away: Away) -> None:
        """A call is no longer under way."""
        self._under_way.discard(away)
        if not self._under_way:
            self._call_off()

    def _call_off(self) -> None:
        """There is no worker to wait for: the calls that do run here."""
        with suppress(IndexError):
            while True:
                first = self._queue.popleft()
                assert first.turn is not None
                first.turn.ready()

    def _landed(self, away: Away, result: Outcome | BaseException) -> None:
        """In the courier's thread: what became of a call. The worker is free for the next one."""
        away.seconds = clock.perf_counter() - away.start
        channel = away.channel
        if isinstance(result, PeerLost):
            channel.close()
            self._grid.done(channel)
            self._over(away)
            # to ask its node why takes a while, and others wait for the courier
            threading.Thread(
                target=self._explain, args=(away, result), name="bundlebee-lost", daemon=True
            ).start()
            return
        if isinstance(result, BaseException):
            channel.close()  # stops the work there
            if away.trip.dropped:
                self._grid.done(channel)  # nobody else will
            if away.trip.dropped and self._grid.policy.kind is not Kind.AUTO:
                threading.Thread(
                    target=self._replace,
                    args=(away,),
                    name=f"bundlebee-lease-{channel.node_name}",
                    daemon=True,
                ).start()
                return
        else:
            self._free(channel)
        self._over(away)
        away.result = result
        assert away.turn is not None
        away.turn.ready()

    def _free(self, channel: Channel) -> None:
        """A worker is free: for a call that waits for it, or for others."""
        following = self._next(channel)
        if following is None:
            self._grid.done(channel)
            return
        try:
            self._submit(following, channel)
        except Exception:
            channel.close()
            self._grid.done(channel)
            assert following.turn is not None
            following.turn.ready()

    def _replace(self, away: Away) -> None:
        """The worker of a dropped call ends with it: have another one in its place."""
        channel: Channel | None = None
        try:
            channel = self._grid.lease_again(away.channel, away.profile.point)
            refusal = channel.ask(away.freight.call, ASKING)
            if refusal is None:
                self._free(channel)
            else:
                self._grid.done(channel)
        except Exception as error:
            if channel is not None:
                channel.close()
                self._grid.done(channel)
            self._grid.lost(away.channel.node_name, error)
        finally:
            self._over(away)

    def _explain(self, away: Away, error: PeerLost) -> None:
        with suppress(Exception):
            error = self._grid.why_lost(away.channel, away.profile.point.name, error)
        away.result = error
        assert away.turn is not None
        away.turn.ready()

    def drop(self, away: Away) -> None:
        """Nobody waits for it any more."""
        assert away.turn is not None
        away.turn.leave()
        with suppress(ValueError):
            self._queue.remove(away)
        if away in self._under_way:
            self._grid.courier().drop(away.trip)

    async def outcome(self, away: Away) -> Any:
        """Wait for a call that is away: its result, or what it raised."""
        assert away.turn is not None
        try:
            await away.turn.wait()
        except BaseException:  # cancelled, or closed
            self.drop(away)
            with held(), suppress(Exception):
                verdict = replace(away.verdict, detail="cancelled")
                self._grid.decided(away.profile.point, verdict, seconds=clock.perf_counter() - away.start)
            raise
        result, profile, verdict = away.result, away.profile, away.verdict
        if result is None:
            return await self._here_after_all(away, replace(verdict, where=HERE, why=Reason.PEER_BUSY))
        hold()
        running = self._running
        running.quiet = True
        answer: Came | Verdict
        try:
            if isinstance(result, BaseException):
                answer = self._remote.sunk(profile, verdict, away.channel, result)
            else:
                answer = self._remote.landed(profile, verdict, away.marks, away.seconds, result)
        except Exception as error:
            let_pass(error)
            self._fail(profile, error)
            answer = replace(verdict, where=HERE, why=Reason.FAILED, detail=str(error))
        finally:
            running.quiet = False
            away.result = result = None
            release()
        if isinstance(answer, Verdict):
            return await self._here_after_all(away, answer)
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _here_after_all(self, away: Away, verdict: Verdict) -> Any:
        """Run a call that came back without an outcome, as it would have run when it was made.

        Raises:
            CallError: what it reads was changed since, and nobody knows any more what it was.
        """
        from bundlebee.calls.pickling import snapshot

        hold()
        self._running.quiet = True
        try:
            same_arguments = away.snapshot == snapshot(away.args, away.kwargs, away.cleared.walk)
            try:
                now = self._grid.freight(away.profile.point, away.cleared.summary)
                same_state = away.cleared.summary.still_valid() and now.call.state == away.freight.call.state
            except BundlebeeError:
                same_state = False
        finally:
            self._running.quiet = False
            release()
        if not same_state:
            raise CallError(
                f"{away.profile.point.name} has no result: {verdict.detail}",
                why="it cannot run here either, for what it reads has been changed since it was called",
            )
        if same_arguments:
            return self._here(away.profile, verdict, away.marks, away.args, away.kwargs)
        return away.as_it_was()
