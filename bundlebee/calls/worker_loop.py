"""What a worker does with the messages of its leaseholder. All calls run in the process's main thread."""

from __future__ import annotations

import hmac
import pickle
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bundlebee.calls import pickling, wire
from bundlebee.calls.answers import Answers
from bundlebee.calls.control import Claimed, End, FromWorker, Given, Kept, Lease, Over
from bundlebee.calls.definition import Definition, StateDiffers, driven
from bundlebee.calls.functions import is_coroutine_function
from bundlebee.calls.inbox import LocalWay, RoutedWay
from bundlebee.calls.larder import Larder, Missing
from bundlebee.calls.output import Printing
from bundlebee.calls.runner import Runner
from bundlebee.calls.way import CallerGone, Letters, Way
from bundlebee.errors import BundlebeeError, CallError, PeerBusy, ProtocolError, Refused, told
from bundlebee.words import Reason

if TYPE_CHECKING:
    from bundlebee.calls.gate import Gate
    from bundlebee.calls.performer import Performer
    from bundlebee.calls.surroundings import Surroundings


UNREAD = 3.0  #: seconds; who is asked again to yield, and has answered nothing for so long, has a caller who does not read

_OVER = PeerBusy("the lease is over", hint="lease a worker again")


class WorkerLoop:
    """Serves one lease after the other.

    Args:
        inbox: where its callers' messages come from.
        surroundings: the process that it is in.
        tell: sends a status line to the pool.
        connected: whether there is a connection on a file descriptor, as far as the doorman knows.
        load: makes a lease's bundles and script importable.
        source: of a module of these, and its path (`exchange.Source`); None if calls with gaps are not for this worker.
    """

    def __init__(
        self,
        inbox: Letters,
        printing: Printing,
        surroundings: Surroundings,
        tell: Callable[[FromWorker], None],
        connected: Callable[[int], bool],
        load: Callable[[Lease], None],
        source: Callable[[str], tuple[bytes, str] | None] | None = None,
    ) -> None:
        self._inbox = inbox
        self._printing = printing
        self._surroundings = surroundings
        self._guard = surroundings.guard
        self._tell = tell
        self._answers = Answers(printing, surroundings.guard, surroundings.leave)
        self._connected = connected
        self._load = load
        self._source = source
        self._gate: Gate | None = None  # it comes with the first call that has gaps
        self._lock = threading.Lock()  # over the lease: three threads know of it
        self._lease: Lease | None = None
        self._holder: Way | None = None  # to whoever showed the token
        self._holder_fd = -1
        self._busy = False
        self._yielding = ""  # the lease that is to end after the chunk at work
        self._last = 0.0  # when the leaseholder's last chunk ended
        self._fresh = False  # nothing was asked under this lease yet
        self._loaded = False
        self._definitions: dict[int, Definition | BundlebeeError] = {}
        self._runner = Runner(self._answers, printing, surroundings, self._rest)
        self._performer: Performer | None = None  # of tasks; it comes with the first one
        self._larder = Larder()
        inbox.idle = self._keep

    # -- told by other threads ----------------------------------------------------------------------------

    def lease(self, lease: Lease) -> None:
        """The pool has given this worker to somebody."""
        with self._lock:
            self._lease = lease
            self._holder = None
            self._holder_fd = -1
            self._last = time.monotonic()
            self._tell(Given(lease.token))

    def end(self, end: End) -> None:
        """The pool takes the lease back: at once, and a running call is cancelled, or as `End` says."""
        with self._lock:
            lease = self._lease
            if lease is None or lease.token != end.token:
                return
            rested = 0.0 if self._busy else time.monotonic() - self._last
            if end.idle is not None and rested < end.idle:
                self._tell(Kept(end.token))
                return
            if end.yielding or end.idle is not None:
                stuck = self._yielding == end.token and rested > UNREAD
                self._yielding = end.token
                if self._busy and self._performer is not None:
                    self._performer.hand_back()
                if not stuck:
                    self._inbox.call()
                    return
            holder = self._holder
            self._over("taken back")
        if holder is not None:
            holder.hang_up()  # so its caller knows before it asks again

    def disconnected(self, descriptor: int) -> None:
        """A connection ended. If it was the leaseholder's, so does the lease."""
        with self._lock:
            if self._lease is not None and descriptor == self._holder_fd:
                self._over("its caller is gone")

    def greet_local(self, way: Way, hello: wire.Hello) -> BundlebeeError | None:
        """A caller on this host says Hello; why it is not welcome, or None."""
        with self._lock:
            lease = self._lease
            if lease is None or self._holder is not None or not is_token(hello.token, lease.token):
                return PeerBusy("the lease is over", hint="lease a worker again")
            self._holder = way
            self._fresh = True
            self._tell(Claimed(lease.token))
        return None

    def gone_local(self, way: Way) -> None:
        """The connection of a caller on this host ended."""
        with self._lock:
            if self._lease is not None and way.is_same(self._holder):
                self._over("its caller is gone")

    def descriptors(self) -> list[int]:
        """Of the connection to the leaseholder."""
        return [self._holder_fd] if self._holder_fd >= 0 else []

    def _over(self, why: str) -> None:
        assert self._lease is not None
        self._tell(Over(self._lease.token, why, self._busy))
        if self._busy:
            self.stop()
        self._lease = None
        self._holder = None
        self._holder_fd = -1

    def stop(self) -> None:
        """End the worker. Calls have no effects, and are cut off; a task gets the chance to put things in order."""
        if self._performer is None or not self._performer.cancel():
            self._surroundings.leave()

    def close(self) -> None:
        """The worker has ended, and its process goes on."""
        if self._performer is not None:
            self._performer.close()

    # -- the main thread ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the worker ends."""
        self._printing.flush = self._answers.flush_output
        while True:
            message = self._inbox.next()
            try:
                if message is not None:
                    self._receive(*message)
            except CallerGone:
                pass  # before its answer; `disconnected` or `gone_local` hears of it, too
            if self._yielding:
                self._yield()

    def _yield(self) -> None:
        """Between two chunks: another caller waits for this worker. What this one has been told no outcome of was not begun,
        and never will be."""
        with self._lock:
            token, way = self._yielding, self._holder
            mine = self._lease is not None and self._lease.token == token
        try:
            if mine and way is not None:
                # whoever does not read keeps us here, until the node asks again, see `end`
                self._answers.refuse(way, 0, 0, 0, Reason.PEER_BUSY, _OVER, lease_over=True)
        except CallerGone:
            way = None
        with self._lock:
            self._yielding = ""
            if self._lease is None or self._lease.token != token:
                return
            self._over("another caller waits")
        if way is not None:
            self._inbox.dismiss(way)

    def _receive(self, way: Way, frames: list[Any]) -> None:
        try:
            message = wire.decode_to_worker(frames[0])
        except ProtocolError as error:
            self._answers.refuse(way, 0, 0, 0, Reason.FAILED, error)
            return
        if isinstance(message, wire.Hello):
            if isinstance(way, RoutedWay):
                self._greet(way, message)
            elif isinstance(way, LocalWay):
                way.sharing.close()
            return
        with self._lock:
            mine = way.is_same(self._holder)
            self._busy = mine
            fresh, self._fresh = self._fresh, False
        if fresh:
            self._larder.clear()
            self._definitions = {}
            self._loaded = False
        try:
            if isinstance(message, wire.Submit):
                if mine:
                    self._submit(way, message, [message.body] if message.body else frames[1:])
                else:
                    # whoever had the lease was told, and may not read; somebody else waits for us
                    self._answers.refuse(
                        way,
                        message.ticket,
                        0,
                        message.count,
                        Reason.PEER_BUSY,
                        _OVER,
                        lease_over=True,
                        wait=False,
                    )
            elif mine:
                definition = self._define(message.call, frames[1:])
                self._definitions[message.number % wire.DEFINITIONS] = definition
        finally:
            if self._busy:
                self._rest()

    def _rest(self) -> None:
        """Nothing runs any more; before the last answer is sent, for who has it may hang up at once."""
        with self._lock:
            self._busy = False
            self._last = time.monotonic()

    def _greet(self, way: RoutedWay, hello: wire.Hello) -> None:
        with self._lock:
            lease = self._lease
            if lease is None or self._holder is not None or not is_token(hello.token, lease.token):
                return  # whatever it submits is refused
            self._holder = way
            self._holder_fd = way.descriptor
            self._fresh = True
            self._tell(Claimed(lease.token))
            if not self._connected(self._holder_fd):
                self._over("its caller is gone")  # its end was told before its beginning

    def _define(self, call: wire.Call, frames: list[Any]) -> Definition | BundlebeeError:
        try:
            lease = self._lease
            if lease is None:
                raise PeerBusy("the lease is over")
            if not self._loaded:
                self._load(lease)
                self._loaded = True
            if call.task:
                return self._define_task(call, frames)
            self._guard.watch_warnings()
            function = self._surroundings.find(call)
            if call.gaps:
                function = self._guarded(function, call)
            elif is_coroutine_function(function):
                function = driven(function, self._guard.stop)
            return Definition(call, function)
        except BundlebeeError as error:
            return error
        except BaseException as error:  # a module may raise SystemExit when it is imported
            return CallError(f"{call.function.name} cannot be loaded", why=told(error))

    def _guarded(self, function: Callable[..., Any], call: wire.Call) -> Callable[..., Any]:
        """A function with gaps, as one whose gaps are guarded."""
        if self._source is None:
            raise CallError(
                f"{call.function.name} cannot be guarded here", why="the process is the program's own"
            )
        if self._gate is None:
            from bundlebee.calls.gate import Gate

            self._gate = Gate(self._guard, self._source)
        return self._gate.guarding(function, call.gaps, self._met)

    def _met(self, met: list[wire.Met]) -> None:
        self._answers.met = met

    def _define_task(self, call: wire.Call, frames: list[Any]) -> Definition:
        if not frames:
            raise ProtocolError("a task without its function")
        self._guard.leave_warnings()
        if self._performer is None:
            from bundlebee.calls.performer import Performer

            self._performer = Performer(
                self._inbox, self._answers, self._printing, self._surroundings, self._rest
            )
        return Definition(call, self._surroundings.loads(frames[0]))

    # -- a chunk --------------------------------------------------------------------------------------------

    def _submit(self, way: Way, message: wire.Submit, frames: list[Any]) -> None:
        self._answers.begin(way, message.ticket)
        definition = self._definitions.get(message.number)
        came = frames
        try:
            if message.named or message.held:
                frames = self._restore(way, message, frames)
            if definition is None:
                raise ProtocolError("a call of a function that was not defined")
            if isinstance(definition, BundlebeeError):
                raise definition
            task = definition.call.task
            if not task:
                definition.compare()
            items: list[pickling.Item] = [] if task else pickle.loads(frames[0], buffers=frames[1:])
            if len(message.ends if task else items) != message.count or not frames:
                raise ProtocolError("a chunk has not as many items as its header says")
        except Missing as missing:
            self._refuse_all(way, message, wire.WANTED, Refused(str(missing)))
        except StateDiffers as differs:
            self._refuse_all(way, message, Reason.STATE, Refused(*differs.args))
        except BundlebeeError as error:
            self._refuse_all(way, message, Reason.ENVIRONMENT, error)
        except BaseException as error:
            problem = CallError("the arguments cannot be read here", why=told(error))
            self._refuse_all(way, message, Reason.ENVIRONMENT, problem)
        else:
            if not items and not task:
                # the caller wants to know whether it would be run here
                self._rest()
                self._answers.send(wire.Reply(message.ticket, 0, [], []), [])
            elif task and self._performer is not None:
                self._performer.perform(definition.function, definition.call, way, message, frames)
            else:
                self._runner.run(definition, items)
            if isinstance(way, RoutedWay):
                self._larder.came(came)

    def _restore(self, way: Way, message: wire.Submit, frames: list[Any]) -> list[Any]:
        """All frames of a chunk, those that were not sent, too."""
        frames = self._larder.restore(frames, message.named)
        if not message.held:
            return frames
        try:
            assert isinstance(way, LocalWay)
            return way.sharing.restore(frames, message.held)
        except OSError as error:
            raise Missing(error.strerror or str(error)) from None

    def _keep(self) -> bool:
        """Nobody asks for anything: look at what came."""
        more = self._larder.step()
        news, self._larder.news = self._larder.news, []
        if news and isinstance(self._holder, RoutedWay):
            try:
                self._holder.send([wire.encode(wire.Kept(news))])
            except CallerGone:
                pass  # `disconnected` hears of it, too
        return more

    def _refuse_all(self, way: Way, message: wire.Submit, reason: str, error: BundlebeeError) -> None:
        self._rest()
        self._answers.refuse(way, message.ticket, 0, message.count, reason, error)


def is_token(shown: str, token: str) -> bool:
    """Whether it is the lease's, in a time that does not tell how far it was right."""
    return hmac.compare_digest(shown.encode(), token.encode())
