"""A stream over a socket, of TCP or of this machine, in clear text or under TLS.

The socket never blocks: every call tries, and waits in `poll` until its deadline if it must. So no timeout of the
socket or of the `ssl` module is at work, and a peer that drips bytes stretches no wait.
"""

import os
import select
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import replace

from smtp_transport.channel_binding import channel_binding
from smtp_transport.config import TlsConfig
from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpError, SmtpTimeoutError
from smtp_transport.phase import Phase
from smtp_transport.sasl import ChannelBinding
from smtp_transport.tls import Handshake, TlsSessions, context_for, explain, explain_alert, vet

_READ_SIZE = 16_384
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_QUICKACK = getattr(socket, "TCP_QUICKACK", 0)
# Named once: an enum takes its time to look a member up, and these are wanted for every read and write.
_READ_TIMEOUT, _WRITE_TIMEOUT = ErrorKind.READ_TIMEOUT, ErrorKind.WRITE_TIMEOUT
_READABLE, _WRITABLE = select.POLLIN, select.POLLOUT
_OVERDUE = {
    ErrorKind.READ_TIMEOUT: "the server did not answer in the time allowed",
    ErrorKind.WRITE_TIMEOUT: "the server did not read what was sent in the time allowed",
    ErrorKind.CONNECT_TIMEOUT: "the server did not finish the TLS handshake in time; does this port speak TLS?",
}


class SocketStream:
    """Owns a connected socket. See `Stream` for what its methods promise."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        is_tcp = connected.family in {socket.AF_INET, socket.AF_INET6}
        if is_tcp:
            _tune(connected)
        self._socket = connected
        self._owner = os.getpid()
        self._early = b""  # what came while a write was waiting
        self._incoming = select.poll()
        self._incoming.register(connected, _READABLE)
        self._acknowledges = is_tcp and hasattr(socket, "TCP_QUICKACK")
        self._owes = False  # whether something was read that no write has acknowledged yet
        self._is_clear = True
        self._sessions: TlsSessions | None = None
        self._place = ""
        self._keeps_session = False

    def remember_sessions(self, sessions: TlsSessions, place: str) -> None:
        """Take up TLS sessions with a server from here, and leave new ones; `place` is where it was reached."""
        self._sessions, self._place = sessions, place

    @property
    def tls_version(self) -> str | None:
        """The version in use, such as "TLSv1.3"; None in clear text."""
        return self._socket.version() if isinstance(self._socket, ssl.SSLSocket) else None

    def channel_binding(self) -> ChannelBinding | None:
        """Tell what SASL can bind to; None in clear text."""
        return channel_binding(self._socket) if isinstance(self._socket, ssl.SSLSocket) else None

    def peer_certificate(self) -> bytes | None:
        """Give the server's certificate in DER; None in clear text."""
        return self._socket.getpeercert(binary_form=True) if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def resumed_session(self) -> bool:
        """Whether TLS took up an earlier session, so that no certificates were exchanged."""
        return isinstance(self._socket, ssl.SSLSocket) and bool(self._socket.session_reused)

    def read(self, deadline: float, most: int = _READ_SIZE) -> bytes:
        """Wait for at least one byte and give up to `most`; b"" is the end."""
        if self._early:
            early, self._early = self._early[:most], self._early[most:]
            return early
        if not self._is_clear:
            return self._read_tls(deadline, most)
        while True:
            # In clear text nothing hides from `poll`, and whoever reads has mostly to wait: this is one try less.
            left = deadline - time.monotonic()
            if self._owes or left <= 0:
                self._wait_for_more(deadline, _READ_TIMEOUT)
            else:
                self._incoming.poll(left * 1000)
            try:
                return self._socket.recv(most)
            except BlockingIOError:
                pass
            except OSError as error:
                raise _broken(error) from None
            finally:
                self._owes = True

    def _read_tls(self, deadline: float, most: int) -> bytes:
        while True:
            # Asked first, so that a peer that always has one more byte cannot hold the caller.
            left = _time_left(deadline, _READ_TIMEOUT)
            try:
                data = self._socket.recv(most)
            except ssl.SSLWantReadError:
                self._wait_for_more(deadline, _READ_TIMEOUT)
            except ssl.SSLWantWriteError:
                self._wait(_WRITABLE, left)
            except OSError as error:
                raise _broken(error) from None
            else:
                self._owes = True
                if self._keeps_session:
                    self._keep_session()
                return data

    def read_now(self) -> bytes:
        """Give what has come already. Under TLS that may be nothing to us: a session ticket, half a record."""
        if self._early:
            early, self._early = self._early, b""
            return early
        if self._is_clear and not self._incoming.poll(0):
            return b""
        try:
            data = self._socket.recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            raise _broken(error) from None
        if not data:
            raise SmtpConnectionError("the connection was closed by the server", ErrorKind.CONNECTION_RESET)
        self._owes = True
        return data

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None:
        """Write all of it. If that fails, what the server had said is still there to be read."""
        rest: bytes | memoryview = data
        self._owes = False
        while rest:
            try:
                written = self._socket.send(rest)
                if written == len(rest):
                    return
                rest = memoryview(rest)[written:]
                # So that a peer that takes one octet at a time cannot hold the caller.
                _time_left(deadline, _WRITE_TIMEOUT)
            except (BlockingIOError, ssl.SSLWantWriteError):
                left = _time_left(deadline, _WRITE_TIMEOUT)
                if not attentive:
                    self._wait(_WRITABLE, left)
                elif not self._wait(_WRITABLE | _READABLE, left) & _WRITABLE:
                    self._listen()
            except ssl.SSLWantReadError:
                self._wait_for_more(deadline, _WRITE_TIMEOUT)
            except OSError as error:
                raise _broken(error) from None

    def _listen(self) -> None:
        """Keep what the server says instead of reading; raise if it does, or if it has left."""
        self._early = self.read_now()
        if self._early:
            raise SmtpConnectionError("the server spoke and read no further", ErrorKind.CONNECTION_RESET)

    def start_tls(self, tls: TlsConfig, server_name: str, deadline: float, *, implicit: bool = False) -> None:
        """Speak TLS from here on; the caller has made sure that nothing read is left over."""
        context = context_for(tls)
        session = self._sessions.recall(context, server_name, self._place) if self._sessions is not None else None
        wrapped = self._wrapped(context, Handshake(server_name, implicit), session)
        self._shake_hands(wrapped, Handshake(server_name, implicit, wrapped), deadline)
        if tls.needs_vetting:
            vet(wrapped, tls, server_name)
        self._keeps_session = self._sessions is not None

    def answers_tls(self, deadline: float) -> bool:
        """Whether a server that said nothing was waiting for TLS. A question for diagnosis, and the stream's last."""
        anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anyone.check_hostname = False
        anyone.verify_mode = ssl.CERT_NONE
        asked = Handshake("", implicit=True)
        try:
            self._shake_hands(self._wrapped(anyone, asked, None), asked, deadline)
        except SmtpError:
            return False
        return True

    def abort(self) -> None:
        """Have whoever waits on this stream find its end at once; the one method that any thread may call."""
        with suppress(OSError):
            # Of the base class: the one of `ssl` would take the TLS state from under the thread that uses it.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _wrapped(self, context: ssl.SSLContext, handshake: Handshake, session: ssl.SSLSession | None) -> ssl.SSLSocket:
        try:
            # wrap_socket() loses the socket, unclosed, if the server has reset it by now.
            self._socket.getpeername()
            wrapped = context.wrap_socket(
                self._socket,
                server_hostname=handshake.server_name or None,
                do_handshake_on_connect=False,
                session=session,
            )
        except OSError as error:
            raise explain(error, handshake) from None
        self._socket = wrapped
        self._is_clear = False
        return wrapped

    def _shake_hands(self, wrapped: ssl.SSLSocket, handshake: Handshake, deadline: float) -> None:
        overdue = ErrorKind.CONNECT_TIMEOUT if handshake.implicit else ErrorKind.READ_TIMEOUT
        heard = b""
        while True:
            left = _time_left(deadline, overdue, Phase.TLS)
            heard = heard or _peek(wrapped)
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                self._wait_for_more(deadline, overdue, Phase.TLS)
            except ssl.SSLWantWriteError:
                self._wait(_WRITABLE, left)
            except OSError as error:
                raise explain(error, replace(handshake, heard=heard)) from None
            else:
                return

    def _keep_session(self) -> None:
        # With TLS 1.3 the server sends its tickets when the handshake is over, before anything else.
        self._keeps_session = False
        if self._sessions is not None and isinstance(self._socket, ssl.SSLSocket):
            self._sessions.keep(self._socket, self._place)

    def close(self) -> None:
        """Give everything back; never raises, and may be repeated."""
        with suppress(OSError, ValueError):
            # The other process goes on with the same TLS session: a farewell from here would break it.
            if isinstance(self._socket, ssl.SSLSocket) and self._owner == os.getpid():
                self._socket.unwrap()
        with suppress(OSError):
            self._socket.close()
        # Its number may be another socket's by now: whoever reads all the same shall try, and not wait.
        self._is_clear = False

    def _wait_for_more(self, deadline: float, kind: ErrorKind, phase: Phase | None = None) -> None:
        """Wait until there is something to read, or time is up; raises if it was up before."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise _overdue(kind, phase)
        if self._owes and self._acknowledges:
            self._acknowledge()
        self._incoming.poll(left * 1000)
        self._owes = True  # under TLS what came may be half a record, which no `read` gives yet

    def _wait(self, event: int, seconds: float) -> int:
        """Wait for one of these events, and give those that came, 0 for none."""
        poll = select.poll()
        poll.register(self._socket, event)
        happened = poll.poll(seconds * 1000)
        return happened[0][1] if happened else 0

    def _acknowledge(self) -> None:
        # Linux may keep an acknowledgement back for 40 ms, and a server with Nagle's algorithm the rest of what it has
        # to say for as long. It drops the option by itself; a write acknowledges all that came before it.
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        except OSError:
            self._acknowledges = False


def _tune(connected: socket.socket) -> None:
    # Commands are written whole, so Nagle's algorithm has nothing to gather and only waits.
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _peek(link: ssl.SSLSocket) -> bytes:
    """Look at what the server said first, and leave it to OpenSSL."""
    try:
        return socket.socket.recv(link, 8, socket.MSG_PEEK)
    except OSError:
        return b""


def _time_left(deadline: float, kind: ErrorKind, phase: Phase | None = None) -> float:
    left = deadline - time.monotonic()
    if left > 0:
        return left
    raise _overdue(kind, phase)


def _overdue(kind: ErrorKind, phase: Phase | None) -> SmtpTimeoutError:
    told = _OVERDUE[kind]
    if phase is not None and kind is _READ_TIMEOUT:
        told += f", while {phase.telling}"
    return SmtpTimeoutError(told, kind, phase=phase)


def _broken(error: OSError) -> SmtpError:
    cause = getattr(error, "reason", None) or (error.strerror or type(error).__name__).partition(" (_ssl")[0]
    return explain_alert(error) or SmtpConnectionError(
        f"the server broke the connection ({cause.lower()})", ErrorKind.CONNECTION_RESET
    )


def stream_pair() -> tuple[SocketStream, SocketStream]:
    """Give two streams that lead to each other within this process, without a network."""
    near, far = socket.socketpair()
    return SocketStream(near), SocketStream(far)
