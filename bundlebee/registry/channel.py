"""The multicast sockets: one to listen, one to speak, on one interface.

Everything here may fail at any time (a cable is pulled, an address is gone, a container forbids multicast).
Failing is reported by a return value and repaired by trying again; the grid then lives on its seeds.
"""

from __future__ import annotations

import socket
import sys

from bundlebee.platform import Interface

GROUP = "239.255.77.66"  #: administratively scoped: no router of a site lets it out
PORT = 7767

#: Linux hands a socket what *any* process of the host has joined on *any* interface, unless told not to.
#: The socket module does not know the name of this option.
_IP_MULTICAST_ALL = 49

#: A starved process must not lose the beats of a hundred nodes while it waits for its turn.
_BUFFER = 1 << 20


class Channel:
    """A multicast group on one interface.

    Args:
        interface: where to listen and speak. On loopback nothing leaves the machine (TTL 0).
    """

    def __init__(self, interface: Interface, group: str = GROUP, port: int = PORT) -> None:
        self._interface = interface
        self._group = group
        self._port = port
        self._in: socket.socket | None = None
        self._out: socket.socket | None = None

    @property
    def listener(self) -> socket.socket | None:
        """The socket to wait on; None while the channel is closed."""
        return self._in

    def open(self) -> OSError | None:
        """Open what is not open; returns what stood in the way, or None."""
        try:
            if self._in is None:
                self._in = self._listen()
            if self._out is None:
                self._out = self._speak()
        except OSError as error:
            self.close()
            return error
        return None

    def close(self) -> None:
        for one in (self._in, self._out):
            if one is not None:
                one.close()
        self._in = self._out = None

    def send(self, datagram: bytes) -> OSError | None:
        """Send to the group; returns what stood in the way, or None."""
        if self._out is None:
            return None
        try:
            self._out.sendto(datagram, (self._group, self._port))
        except BlockingIOError:
            return None  # a full buffer is a lost datagram, which the registry is made for
        except OSError as error:
            return error
        return None

    def receive(self) -> tuple[bytes, str] | None:
        """The next datagram and its sender's address; None if there is none at the moment."""
        if self._in is None:
            return None
        try:
            datagram, (address, _) = self._in.recvfrom(65_536)
        except OSError:
            return None
        return datagram, address

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            listener.setblocking(False)
            # Several nodes and guests of one machine share the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT") and not sys.platform.startswith("linux"):
                # BSD and macOS want this one; on Linux it would spread unicast, and bar other users.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            if sys.platform.startswith("linux"):
                listener.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            # Bound to the group, the socket does not even see what is not multicast; Windows cannot do that.
            listener.bind(("" if sys.platform == "win32" else self._group, self._port))
            join = socket.inet_aton(self._group) + socket.inet_aton(self._interface.address)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, join)
        except OSError:
            listener.close()
            raise
        return listener

    def _speak(self) -> socket.socket:
        speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            speaker.setblocking(False)
            address = self._interface.address
            speaker.bind((address, 0))
            speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
            ttl = 0 if self._interface.is_loopback else 1
            speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
            speaker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        except OSError:
            speaker.close()
            raise
        return speaker
