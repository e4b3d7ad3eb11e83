"""The middle of a recorded connection: bytes go through as they are, and a scribe writes down what they say."""

import errno
import os
import re
import selectors
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Final

from smtp_transport.observation.masking import HIDDEN, masked_text

_PATH: Final = re.compile(r"<[^>]*>")
_VALUES: Final = re.compile(r"\b(SIZE|ORCPT|ENVID|AUTH)=\S+", re.IGNORECASE)
_OCTETS: Final = re.compile(r"(?<=BDAT )\d+", re.IGNORECASE)
_PATIENCE: Final = 30.0
"""Seconds for a server to take a connection."""
_GLANCE: Final = 0.1
"""Seconds between two looks at whether it is time to stop."""
_PROMPTS: Final = frozenset({"", "VXNlcm5hbWU6", "UGFzc3dvcmQ6"})
"""Challenges that hold nothing: of PLAIN, and the "Username:" and "Password:" of LOGIN."""


class Scribe:
    """Turns both directions of one conversation into lines."""

    def __init__(self, *, mask: bool) -> None:
        self.lines: list[str] = []
        self.tls_is_due = False
        self._mask = mask
        self._from_client = b""
        self._from_server = b""
        self._asked_for_tls = False
        self._challenged = False
        self._in_content = False
        self._chunk: int | None = None

    def server(self, data: bytes) -> None:
        """The server said this."""
        *lines, self._from_server = (self._from_server + data).split(b"\n")
        for line in lines:
            text = line.rstrip(b"\r").decode(errors="replace")
            self._challenged = text.startswith("334")
            self._in_content = self._in_content or text.startswith("354 ")
            if self._asked_for_tls:
                self.tls_is_due = text.startswith("220 ")
                self._asked_for_tls = False
            if self._mask:
                is_secret = self._challenged and text[4:] not in _PROMPTS
                text = f"334 {HIDDEN}" if is_secret else masked_text(text)
            self.lines.append(f"S: {text}")

    def client(self, data: bytes) -> None:
        """The client said this."""
        self._from_client += data
        while self._chunk is not None or b"\n" in self._from_client:
            if self._chunk is not None:
                if len(self._from_client) < self._chunk:
                    return
                self._content(self._chunk, self._chunk)
                self._chunk = None
            elif self._in_content:
                end = 0 if self._from_client.startswith(b".\r\n") else self._from_client.find(b"\r\n.\r\n") + 2
                if end == 1:
                    return
                self._content(end, end + 3)
                self._in_content = False
            else:
                line, self._from_client = self._from_client.split(b"\n", 1)
                self._command(line.rstrip(b"\r").decode(errors="replace"))

    def tls_started(self, version: str | None) -> None:
        """Both sides are encrypted from here on."""
        self.tls_is_due = False
        self.lines.append(f"T: {version}")

    def remark(self, text: str) -> None:
        """Write a comment."""
        self.lines.append(f"# {text}")

    def ended(self, by: str) -> None:
        """One side hung up."""
        self.lines.append(f"X: {by}")

    def _content(self, octets: int, cut: int) -> None:
        self.lines.append(f"D: {octets} octets")
        self._from_client = self._from_client[cut:]

    def _command(self, line: str) -> None:
        verb = line.partition(" ")[0].upper()
        self._asked_for_tls = verb == "STARTTLS"
        self.lines.append(f"C: {self._shown(line, verb) if self._mask else line}")
        self._challenged = False
        if verb == "BDAT":
            size = line.split()[1:2]
            self._chunk = int(size[0]) if size and size[0].isdigit() else 0

    def _shown(self, line: str, verb: str) -> str:
        if self._challenged:
            return HIDDEN
        if verb == "AUTH":
            words = line.split()
            return " ".join([*words[:2], *([HIDDEN] if len(words) > 2 else [])])
        if verb in {"VRFY", "EXPN", "EHLO", "HELO", "LHLO"}:
            # A machine's name says where it was recorded, and on another machine nothing could be played.
            return f"{line.partition(' ')[0]} {HIDDEN}"
        return _OCTETS.sub(HIDDEN, _VALUES.sub(rf"\1={HIDDEN}", _PATH.sub(f"<{HIDDEN}>", line)))


class Relay:
    """Owns both sockets of one connection. `contexts`: for the client's side of TLS, and for the server's."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        contexts: tuple[ssl.SSLContext, ssl.SSLContext] | None,
        scribe: Scribe,
    ) -> None:
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client, self._server = client, server
        self._contexts = contexts
        self._can_see = True
        self._is_over = False
        self.scribe = scribe
        self.problem: str | None = None
        """Why this is not the whole conversation."""

    def run(self, server_name: str) -> None:
        """Pass on until one side hangs up."""
        try:
            with suppress(OSError, ValueError):
                if self._begins_with_tls():
                    self._start_tls(server_name)
                while self.problem is None and self._pass_on():
                    if self.scribe.tls_is_due:
                        self._start_tls(server_name)
        finally:
            self._client.close()
            self._server.close()

    def interrupt(self) -> None:
        """Wake a thread that waits in `run`."""
        self._is_over = True
        for each in (self._client, self._server):
            with suppress(OSError):
                # Of the base class: the one of `ssl` would take the TLS state from under the thread that uses it.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def _pass_on(self) -> bool:
        for source in self._ready():
            data = _read(source)
            if data is None:
                continue
            is_client = source is self._client
            if not data:
                self.scribe.ended("client" if is_client else "server")
                return False
            if self._can_see:
                (self.scribe.client if is_client else self.scribe.server)(data)
            (self._server if is_client else self._client).sendall(data)
        return True

    def _ready(self) -> list[socket.socket]:
        both = (self._client, self._server)
        if pending := [each for each in both if isinstance(each, ssl.SSLSocket) and each.pending()]:
            return list(pending)
        with selectors.DefaultSelector() as waiting:
            for each in both:
                waiting.register(each, selectors.EVENT_READ)
            ready = {key.fd for key, _ in waiting.select()}
        # The server first: what it said before the client's next words was heard before them.
        return [each for each in (self._server, self._client) if each.fileno() in ready]

    def _begins_with_tls(self) -> bool:
        """Whether the client speaks first, and TLS: else the server greets."""
        return self._client in self._ready() and self._client.recv(2, socket.MSG_PEEK) == b"\x16\x03"

    def _start_tls(self, server_name: str) -> None:
        self.scribe.tls_is_due = False
        if self._contexts is None:
            self._can_see = False
            self.scribe.remark("what follows is encrypted, and was passed on unread")
            return
        for_client, for_server = self._contexts
        whom = "server"
        try:
            # First there: a client that waits can still be told of a server that is not trusted, by hanging up.
            self._server = server = for_server.wrap_socket(
                self._server, server_hostname=server_name, do_handshake_on_connect=False
            )
            self._shake_hands(server)
            whom = "client"
            self._client = client = for_client.wrap_socket(
                self._client, server_side=True, do_handshake_on_connect=False
            )
            self._shake_hands(client)
        except OSError as error:
            reason = getattr(error, "reason", None)
            # Of an interruption comes an end; an alert that was there before is read all the same, and is the reason.
            if self._is_over and (not reason or isinstance(error, ssl.SSLEOFError)):
                raise
            cause = getattr(error, "verify_message", None) or reason or error.strerror
            self.problem = f"no TLS with the {whom} ({cause or type(error).__name__})"
            self.scribe.remark(self.problem)
            return
        self.scribe.tls_started(client.version())

    def _shake_hands(self, one: ssl.SSLSocket) -> None:
        # Wrapping takes the socket away from who interrupts it: one that came just then was not heard.
        if self._is_over:
            raise ConnectionAbortedError
        one.do_handshake()


def reach(upstream: tuple[str, int], stopping: threading.Event) -> socket.socket:
    """Connect, and give up when it is time to stop. Raises OSError."""
    deadline = time.monotonic() + _PATIENCE
    trouble = OSError("no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(*upstream, type=socket.SOCK_STREAM):
        server = socket.socket(family, kind, protocol)
        server.setblocking(False)
        code = server.connect_ex(address)
        while code == errno.EINPROGRESS and not stopping.is_set() and time.monotonic() < deadline:
            with selectors.DefaultSelector() as waiting:
                waiting.register(server, selectors.EVENT_WRITE)
                if waiting.select(_GLANCE):
                    code = server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code == 0:
            server.setblocking(True)
            return server
        server.close()
        trouble = OSError(code, "no answer" if code == errno.EINPROGRESS else os.strerror(code))
    raise trouble


def _read(source: socket.socket) -> bytes | None:
    """Take what is there; None if that was nothing but TLS's own affairs, such as session tickets."""
    source.setblocking(False)
    try:
        return source.recv(65_536)
    except (BlockingIOError, ssl.SSLWantReadError):
        return None
    except OSError:
        return b""
    finally:
        source.setblocking(True)
