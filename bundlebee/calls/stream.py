"""Messages over a connected stream socket, without a thread between the socket and who uses it.

ZeroMQ hands each message to a thread of its own, which wakes at both ends, both ways: of a small call's time on one
host that is the larger part. A message is a sequence of frames here, too::

    [ count: 4 bytes ][ length: 8 bytes × count ][ frame ]…          (little endian)

The first frame arrives as bytes, the others as bytearrays, so that objects may be built on them and written to.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from collections.abc import Sequence

from bundlebee.calls.security import LARGEST_FRAME
from bundlebee.errors import ProtocolError

Frame = bytes | bytearray | memoryview

ROOM = (
    64 << 10
)  #: bytes; messages up to this size are read with one system call, larger ones into their own memory
MOST_FRAMES = 1 << 16
MOST_AT_ONCE = 512  #: frames in one system call; the least that a system must allow is 16, all allow 1024

_DONT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)  # a program may have given SIGPIPE its deadly meaning back
_HEADS = [struct.Struct(f"<I{count}Q") for count in range(8)]
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_ONE_FRAME = _COUNT.pack(1)


class FrameStream:
    """One end of a connection. One thread sends and receives at a time; the socket is in blocking mode.

    All methods raise `OSError` if the connection is gone, `receive` also `EOFError` if it ended.
    """

    __slots__ = (
        "_backlog",
        "_buffer",
        "_end",
        "_end_of_it",
        "_incoming",
        "_large",
        "_start",
        "_view",
        "socket",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray(ROOM)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0  # of what was read and not taken
        self._large: tuple[list[bytearray], deque[memoryview]] | None = (
            None  # a message on its way, and its gaps
        )
        self._backlog: deque[memoryview] = deque()
        self._end_of_it = select.poll()
        self._end_of_it.register(sock, 0)
        self._incoming = select.poll()
        self._incoming.register(sock, select.POLLIN)

    def wake_by(self, descriptor: int) -> None:
        """Let `receive` stop waiting when that can be read, too: it returns None then."""
        self._incoming.register(descriptor, select.POLLIN)

    @property
    def behind(self) -> bool:
        """Whether something that was sent has not left yet: call `flush` when the socket can be written to."""
        return bool(self._backlog)

    def ended(self) -> bool:
        """Whether the peer has hung up, as far as is known without waiting. What it sent before may still be read."""
        return bool(self._end_of_it.poll(0))

    def hang_up(self) -> None:
        """End the connection, also where a forked child holds it, too."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    # -- out ----------------------------------------------------------------------------------------------

    def send(self, frames: Sequence[Frame]) -> None:
        """Send a message; waits for a peer who reads slowly."""
        parts = _parts(frames)
        if isinstance(parts, bytes):
            sent = self.socket.send(parts, _NO_SIGNAL)
            if sent == len(parts):
                return
            left = deque([memoryview(parts)[sent:]])
        else:
            left = deque([memoryview(part) for part in parts])
        while left:
            self._send_some(left, _NO_SIGNAL)

    def offer(self, frames: Sequence[Frame]) -> bool:
        """Send a message without waiting. False if there is no room for it: nothing of it was taken.

        What does not leave at once is kept; the frames must not change until `behind` is False.
        """
        if self._backlog and not self.flush():
            return False
        parts = _parts(frames)
        try:
            if isinstance(parts, bytes):
                sent = self.socket.send(parts, _NO_SIGNAL | _DONT_WAIT)
                if sent < len(parts):
                    self._backlog.append(memoryview(parts)[sent:])
                return True
            left = deque([memoryview(part) for part in parts])
            self._send_some(left, _NO_SIGNAL | _DONT_WAIT)
        except BlockingIOError:
            return False
        self._backlog = left
        self.flush()
        return True

    def flush(self) -> bool:
        """Go on with what has not left yet; whether all has."""
        try:
            while self._backlog:
                self._send_some(self._backlog, _NO_SIGNAL | _DONT_WAIT)
        except BlockingIOError:
            return False
        return True

    def _send_some(self, left: deque[memoryview], flags: int) -> None:
        views = [left[index] for index in range(min(len(left), MOST_AT_ONCE))]
        sent = self.socket.sendmsg(views, (), flags)
        while left and sent >= left[0].nbytes:
            sent -= left.popleft().nbytes
        if sent:
            left[0] = left[0][sent:]

    # -- in -----------------------------------------------------------------------------------------------

    def receive(self, wait: float | None = None) -> list[Frame] | None:
        """The next message; None if there is no whole one.

        Args:
            wait: seconds to wait for the next part of it; None is as long as it takes.

        Raises:
            ProtocolError: this is none of ours.
        """
        while True:
            if self._end > self._start and (frames := self._take()) is not None:
                return frames
            large = self._large
            if large is None:
                target = self._view[self._end :] if self._end else self._view
            else:
                whole, gaps = large
                if not gaps:
                    self._large = None
                    return [bytes(whole[0]), *whole[1:]] if whole else []
                target = gaps[0]
            if wait != 0.0:
                # Whoever sleeps in `recv` itself is also woken each time the peer reads what was sent to it.
                self._incoming.poll(None if wait is None else wait * 1000.0)
            try:
                count = self.socket.recv_into(target, 0, _DONT_WAIT)
            except BlockingIOError:
                return None
            if not count:
                raise EOFError
            if large is None:
                self._end += count
                # what nearly all messages are: one frame, and nothing else has come
                if not self._start and self._buffer[:4] == _ONE_FRAME:
                    (length,) = _LENGTH.unpack_from(self._buffer, 4)
                    if length + 12 == self._end:
                        self._end = 0
                        return [bytes(self._view[12 : length + 12])]
            elif count == target.nbytes:
                gaps.popleft()
            else:
                gaps[0] = target[count:]

    def _take(self) -> list[Frame] | None:
        """The first message in the buffer, if it is all there; else make room for the rest of it."""
        buffer, start = self._buffer, self._start
        have = self._end - start
        if have < 4:
            self._compact()
            return None
        (count,) = _COUNT.unpack_from(buffer, start)
        if count > MOST_FRAMES:
            raise ProtocolError("a message has too many frames", why=f"{count}")
        head = 4 + 8 * count
        if have < head:
            if head > len(buffer):
                self._grow(head)
            self._compact()
            return None
        layout = _HEADS[count] if count < len(_HEADS) else struct.Struct(f"<I{count}Q")
        lengths = layout.unpack_from(buffer, start)[1:]
        if max(lengths, default=0) > LARGEST_FRAME:
            raise ProtocolError("a frame is too large", why=f"{max(lengths)} bytes")
        total = head + sum(lengths)
        if total > have:
            if total <= len(buffer):
                self._compact()
                return None
            self._begin_large(lengths, start + head)
            return None
        at = start + head
        frames: list[Frame] = []
        for length in lengths:
            piece = buffer[at : at + length]
            frames.append(piece if frames else bytes(piece))
            at += length
        if at == self._end:
            self._start = self._end = 0
        else:
            self._start = at
        return frames

    def _compact(self) -> None:
        if self._start:
            rest = bytes(self._view[self._start : self._end])
            self._view[: len(rest)] = rest
            self._start, self._end = 0, len(rest)

    def _grow(self, size: int) -> None:
        larger = bytearray(size + ROOM)
        larger[: self._end] = self._view[: self._end]
        self._buffer, self._view = larger, memoryview(larger)

    def _begin_large(self, lengths: Sequence[int], at: int) -> None:
        whole = [bytearray(length) for length in lengths]
        gaps: deque[memoryview] = deque()
        for frame in whole:
            had = min(len(frame), self._end - at)
            frame[:had] = self._view[at : at + had]
            at += had
            if had < len(frame):
                gaps.append(memoryview(frame)[had:])
        self._start = self._end = 0
        self._large = whole, gaps


def _parts(frames: Sequence[Frame]) -> bytes | list[Frame]:
    """What goes out: one piece if it is small."""
    if len(frames) == 1 and len(frames[0]) < ROOM:
        return b"".join((_HEADS[1].pack(1, len(frames[0])), frames[0]))
    lengths = [frame.nbytes if isinstance(frame, memoryview) else len(frame) for frame in frames]
    count = len(lengths)
    layout = _HEADS[count] if count < len(_HEADS) else struct.Struct(f"<I{count}Q")
    head = layout.pack(count, *lengths)
    if sum(lengths) < ROOM:
        return b"".join((head, *frames))
    return [head, *(frame for frame, length in zip(frames, lengths, strict=True) if length)]
