"""A script's side of one connection: it reads, it sends, and all is recorded."""

import socket
import ssl
import struct
import threading
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
        self.conversation = conversation

    def send(self, data: bytes) -> None:
        """Send bytes; raise `Departed` if nobody takes them."""
        try:
            self._socket.sendall(data)
        except OSError:
            raise Departed from None

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
        self.conversation.contents.append(content)
        self._changed()
        return content

    def read_some(self, octets: int) -> None:
        """Wait for so many octets and drop them."""
        self._peek(octets)
        self._unread = b""

    def rest(self, seconds: float | None) -> None:
        """Do nothing for so long (None: as long as the server runs); raise `Departed` if the server stops."""
        if self._stopping.wait(seconds):
            raise Departed

    def start_tls(self) -> None:
        """Shake hands; a client that does not like the certificate is gone."""
        if self._tls is None:
            raise ScriptBroken("StartTls needs a server with a TLS context")
        wrapped = self._tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = wrapped
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

    def interrupt(self) -> None:
        """Wake a thread that waits for this client."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

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
            data = self._socket.recv(65_536)
        except OSError:
            raise HungUp from None
        if not data:
            raise HungUp
        self._unread += data
