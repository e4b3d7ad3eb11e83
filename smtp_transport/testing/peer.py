"""A script's side of one connection: it reads, it sends, and all is recorded."""

import queue
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field


class Departed(Exception):  # noqa: N818 - no error: clients leave
    """The client is gone."""


class HungUp(Departed):
    """The client left while it was to say something."""


class ScriptBroken(AssertionError):  # noqa: N818 - read as "script broken at step 3"
    """The client did something else than the script says."""


@dataclass
class Conversation:
    """What was said on one connection. It holds everything, passwords too: it is for tests."""

    number: int
    """1 for the first connection that the server took."""
    commands: list[str] = field(default_factory=list)
    """The client's lines, content apart, without line ends."""
    contents: list[bytes] = field(default_factory=list)
    """Each mail's content as it went over the wire, dots still stuffed, without the lone dot."""
    tls_version: str | None = None
    is_over: bool = False

    @property
    def verbs(self) -> list[str]:
        """The first word of each command."""
        return [line.partition(" ")[0].upper() for line in self.commands]


class Peer:
    """What a step may do with its connection."""

    def __init__(
        self,
        accepted: socket.socket,
        conversation: Conversation,
        tls: ssl.SSLContext | None,
        stopping: threading.Event,
        changed: Callable[[], None],
    ) -> None:
        # Replies of a script are small writes; without this each would wait for the ACK of the one before.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self._tls = tls
        self._stopping = stopping
        self._changed = changed
        self._unread = b""
        self._held = b""
        self._interjections: queue.SimpleQueue[tuple[bytes, bool]] = queue.SimpleQueue()
        self._waker, self._wakes = socket.socketpair()
        self.conversation = conversation
        self.has_spoken = False
        """Whether anything was sent, or was to be."""

    def send(self, data: bytes) -> None:
        """Send bytes, and behind them what was held back; raise `Departed` if nobody takes them."""
        held, self._held = self._held, b""
        self.has_spoken = True
        try:
            self._socket.sendall(data + held)
        except OSError:
            raise Departed from None

    def hold_back(self, data: bytes) -> None:
        """Send these bytes behind those that are sent next."""
        self._held += data
        self.has_spoken = True

    def interject(self, data: bytes, *, leave: bool) -> None:
        """Have these bytes sent as soon as the script waits for something, and the connection closed if `leave`.

        For other threads than the script's.
        """
        self._interjections.put((data, leave))
        self._wake()

    def read_line(self) -> str:
        """Wait for one line and record it."""
        line = self._read_until(b"\n").rstrip(b"\r\n").decode(errors="replace")
        self.conversation.commands.append(line)
        self._changed()
        return line

    def read_content(self) -> bytes:
        """Wait for content up to the lone dot and record it, without the dot."""
        if self._peek(3) == b".\r\n":
            self._read_until(b".\r\n")
            content = b""
        else:
            content = self._read_until(b"\r\n.\r\n")[:-3]
        self.record_content(content)
        return content

    def read_octets(self, octets: int) -> bytes:
        """Wait for so many octets, and give them; nothing is recorded."""
        taken = self._peek(octets)
        self._unread = self._unread[octets:]
        return taken

    def record_content(self, content: bytes) -> None:
        """Record the content of one mail."""
        self.conversation.contents.append(content)
        self._changed()

    def read_some(self, octets: int) -> None:
        """Wait for so many octets and drop them."""
        self._peek(octets)
        self._unread = b""

    def rest(self, seconds: float | None) -> None:
        """Do nothing for so long (None: as long as the server runs); raise `Departed` if the server stops."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._stopping.is_set():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if _readable(left, self._wakes):
                self._heed()
            elif deadline is not None and time.monotonic() >= deadline:
                return
        raise Departed

    def start_tls(self) -> None:
        """Shake hands; a client that does not like the certificate is gone."""
        if self._tls is None:
            raise ScriptBroken("StartTls needs a server with a TLS context")
        wrapped = self._tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = wrapped
        if self._stopping.is_set():  # whoever came to wake this thread may have found the socket taken away
            raise Departed
        try:
            wrapped.do_handshake()
        except OSError:
            raise Departed from None
        self.conversation.tls_version = wrapped.version()
        self._changed()

    def reset(self) -> None:
        """Break the connection with an RST."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()
        raise Departed

    def close(self) -> None:
        """Hang up."""
        self.interrupt()
        self._socket.close()
        self._waker.close()
        self._wakes.close()

    def interrupt(self) -> None:
        """Wake a thread that waits for this client."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):
            self._waker.send(b"!")

    def _heed(self) -> None:
        """Do what another thread asked for."""
        self._wakes.recv(1)
        with suppress(queue.Empty):
            data, leave = self._interjections.get_nowait()
            self.send(data)
            if leave:
                self.close()
                raise Departed

    def _await_client(self) -> None:
        """Wait until there is something to read; meanwhile do what other threads ask for."""
        while not (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            ready = _readable(None, self._socket, self._wakes)
            if self._wakes in ready:
                self._heed()
            if self._socket in ready:
                return

    def _peek(self, octets: int) -> bytes:
        while len(self._unread) < octets:
            self._receive()
        return self._unread[:octets]

    def _read_until(self, end: bytes) -> bytes:
        searched = 0
        while (found := self._unread.find(end, searched)) < 0:
            searched = max(0, len(self._unread) - len(end))
            self._receive()
        cut = found + len(end)
        taken, self._unread = self._unread[:cut], self._unread[cut:]
        return taken

    def _receive(self) -> None:
        try:
            self._await_client()
            data = self._socket.recv(65_536)
        except (OSError, ValueError):  # ValueError: the socket is closed
            raise HungUp from None
        if not data:
            raise HungUp
        self._unread += data


def _readable(seconds: float | None, *sockets: socket.socket) -> list[socket.socket]:
    """Wait until one of them can be read or is over; give those."""
    with selectors.DefaultSelector() as waiting:
        for each in sockets:
            try:
                waiting.register(each, selectors.EVENT_READ)
            except ValueError:  # closed meanwhile
                raise Departed from None
        return [each for key, _ in waiting.select(seconds) for each in sockets if key.fileobj is each]
