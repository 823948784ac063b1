"""The messages between a caller and the worker it has leased, as they are on the wire.

Every message is a ZeroMQ multipart message inside CURVE, or frames of a `stream` on one host. Its first frame is a
msgpack array whose first element tells the kind; some kinds have a pickle behind it, and the pickle's large buffers
behind that::

    caller to worker
      [ Hello  | token, caller, home                               ]
      [ Define | number, call                                      ][ pickle: function, of a task ]
      [ DefineGaps | number, call                                  ]
      [ Submit | ticket, number, count, ends, body, held, named ][ pickle: [(args, kwargs) × count] ][ buffer ]…

    worker to caller
      [ Reply  | ticket, first, times, output, refers, ends, body, wrote, held, met ][ pickle: [result × len(times)] ][ buffer ]…
      [ Raised | ticket, index, seconds, cpu, output, wrote, met ][ msgpack: remote error ][ pickle: changes ][ buffer ]…
      [ Refusal| ticket, first, count, reason, error, output       ]
      [ Output | ticket, output                                    ]
      [ Welcome| home                                              ]
      [ Kept   | named                                             ]

A pickle without large buffers that is itself small travels inside the first frame, as its `body`.

A caller says Hello once, with the token of its lease. It defines each function once (`Call`: which
function, which state it reads, with what settings) and then submits chunks of items under that number. The
worker answers the chunks in order and the items of a chunk in order, several results in one Reply where
they come quickly. What an item prints precedes its answer. A call that
writes its arguments is a chunk of its own, and what it changed travels with its answer (`changes`). So is one with gaps, and so does
what it met in them (`gate`): its caller compares that before it believes the answer.

The pickle of a whole chunk is one pickle: items that share an object share it there too.

On one host large frames lie in shared memory: ``held`` says which and where (`segments`), and they are missing in the
message. Over TCP large frames that came before need not come again: ``named`` gives their digests (`larder`); a Kept tells
the caller what is there. A worker that cannot get at one of them answers with a Refusal, `WANTED`, and the whole chunk is
sent again with all its frames, under its ticket.

*Tasks* are calls that the program asked for (`bundlebee.Executor`). They may have effects, so they run without the
guard; each has a pickle of its own, and so has each result (`ends` tells where each ends; see `parcels`). The function
travels as a pickle behind its Define. The worker hands back those of a chunk that it has not begun when the one at
work takes long: a Refusal with ``peer-busy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from bundlebee.calls.call import Call as Call
from bundlebee.calls.larder import Named
from bundlebee.calls.segments import Held, Home
from bundlebee.errors import ProtocolError

LARGEST_HEADER: Final = 1 << 20  #: bytes of a first frame; longer ones are not ours
SMALL: Final = (
    32 << 10
)  #: bytes of a pickle that travels inside it: to copy it costs less than a frame of its own
MOST_ITEMS: Final = 1 << 16  #: items in one Submit
WANTED: Final = (
    "wanted"  #: reason of a Refusal: a frame that was not sent is not to be had; nothing was begun
)
DEFINITIONS: Final = 1024  #: numbers 0 … 1023 are used in turn; a worker keeps no more

Met = tuple[list[tuple[str, str]], bytes]
"""State that a call met in its gaps, as (module, global) and the digest that it had there: see `gate`."""

Printed = tuple[int, str, str]
"""What an item said: its index; ``stdout`` or ``stderr`` and the text, or a stream of `logged` and a pickle in latin-1."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    token: str
    caller: str
    home: Home | None = None  #: of memory that the caller can share


class Define(msgspec.Struct, frozen=True, array_like=True, tag=2):
    number: int
    call: Call


class DefineGaps(Define, frozen=True, array_like=True, tag=10):
    """The same for a call with gaps. Another kind of message, since a worker that does not know of gaps must not run it."""


class Submit(msgspec.Struct, frozen=True, array_like=True, tag=3):
    ticket: int
    number: int
    count: int
    ends: list[int] = []  #: of a task's items: where the pickle of each ends
    body: bytes = b""  #: the pickle, if it is small and alone; then there is no frame behind
    held: list[Held] = []
    named: list[Named] = []  #: their places are counted without the frames that are held


class Reply(msgspec.Struct, frozen=True, array_like=True, tag=4):
    ticket: int
    first: int  #: index of the first item answered
    times: list[tuple[float, float]]  #: seconds and CPU seconds, an item each
    output: list[Printed]
    refers: bool = False  #: the pickle names objects of the arguments (see `pickling`)
    ends: list[int] = []  #: of tasks' results: where the pickle of each ends
    wrote: bool = False  #: the pickle is one (result, changes of the arguments), see `changes`
    body: bytes = b""  #: as in `Submit`
    held: list[Held] = []
    met: list[Met] = []


class Raised(msgspec.Struct, frozen=True, array_like=True, tag=5):
    ticket: int
    index: int
    seconds: float
    cpu_seconds: float
    output: list[Printed]
    wrote: bool = False  #: the pickle of the changes of the arguments is behind it, see `changes`
    met: list[Met] = []


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=6):
    ticket: int
    first: int
    count: int  #: this many items were not done
    reason: str  #: a `bundlebee.words.Reason`, or `WANTED`
    error: bytes  #: `rpc.pack_error` of the error to raise
    #: And so it will be for whatever else comes on this connection. With ticket 0: nothing was begun of what has no outcome yet.
    lease_over: bool = False


class Output(msgspec.Struct, frozen=True, array_like=True, tag=7):
    ticket: int
    output: list[Printed]


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The answer to a Hello on the short way (`local`)."""

    home: Home | None = None  #: of the worker's memory; None: none is shared


class Kept(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The worker has these now, for itself and the others of its node."""

    named: list[Named]
    ticket: int = 0  #: of no chunk


ToWorker = Hello | Define | DefineGaps | Submit
ToCaller = Reply | Raised | Refusal | Output | Welcome | Kept

_T = TypeVar("_T")

encode = msgspec.msgpack.Encoder().encode
_to_worker = msgspec.msgpack.Decoder(ToWorker)
_to_caller = msgspec.msgpack.Decoder(ToCaller)


def inside(frames: Sequence[Any]) -> bool:
    """Whether a pickle and its buffers are one small frame, to travel as the header's ``body``."""
    return len(frames) == 1 and 0 < len(frames[0]) <= SMALL


def decode_to_worker(frame: bytes | bytearray | memoryview) -> ToWorker:
    """The header of a message to a worker.

    Raises:
        ProtocolError: it is none.
    """
    message: ToWorker = _decode(_to_worker, frame)
    return message


def decode_to_caller(frame: bytes | bytearray | memoryview) -> ToCaller:
    """The header of a message to a caller.

    Raises:
        ProtocolError: it is none.
    """
    message: ToCaller = _decode(_to_caller, frame)
    return message


def _decode(decoder: msgspec.msgpack.Decoder[_T], frame: bytes | bytearray | memoryview) -> _T:
    if len(frame) > LARGEST_HEADER:
        raise ProtocolError("a message header is too long", why=f"{len(frame)} bytes")
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ProtocolError("a message header cannot be read", why=str(error)) from None
