"""A stream over a TCP socket, in clear text or under TLS.

The socket never blocks: every call tries, and waits in `poll` until its deadline if it must. So no timeout of the
socket or of the `ssl` module is at work, and a peer that drips bytes stretches no wait.
"""

import os
import select
import socket
import ssl
import time
from contextlib import suppress

from smtp_transport.channel_binding import channel_binding
from smtp_transport.config import SmtpConfig, TlsConfig, TlsMode
from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpError, SmtpTimeoutError
from smtp_transport.phase import Phase
from smtp_transport.sasl import ChannelBinding
from smtp_transport.stream.base import Stream
from smtp_transport.stream.dial import dial
from smtp_transport.tls import context_for, explain, explain_alert

_READ_SIZE = 16_384
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_OVERDUE = {
    ErrorKind.READ_TIMEOUT: "the server did not answer in the time allowed",
    ErrorKind.WRITE_TIMEOUT: "the server did not read what was sent in the time allowed",
    ErrorKind.CONNECT_TIMEOUT: "the server did not finish the TLS handshake in time; does this port speak TLS?",
}


def open_stream(config: SmtpConfig, deadline: float) -> Stream:
    """Connect to the configured server, and speak TLS at once if the mode is implicit.

    Raises `SmtpConnectionError`, `SmtpTimeoutError` (connect_timeout), `TlsError`; their texts name host and port.
    """
    stream = SocketStream(dial(config.host, config.port, deadline))
    if config.tls is TlsMode.IMPLICIT:
        try:
            stream.start_tls(config.tls_config, config.server_name, deadline, implicit=True)
        except SmtpError as error:
            stream.close()
            raise type(error)(f"{config.host}:{config.port}: {error.message}", error.kind, phase=error.phase) from None
        except BaseException:
            stream.close()
            raise
    return stream


class SocketStream:
    """Owns a connected TCP socket. See `Stream` for what its methods promise."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        # Commands are written whole, so Nagle's algorithm has nothing to gather and only waits.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._socket = connected
        self._owner = os.getpid()
        self._early = b""  # what came while a write was waiting

    @property
    def tls_version(self) -> str | None:
        """The version in use, such as "TLSv1.3"; None in clear text."""
        return self._socket.version() if isinstance(self._socket, ssl.SSLSocket) else None

    def channel_binding(self) -> ChannelBinding | None:
        """Tell what SASL can bind to; None in clear text."""
        return channel_binding(self._socket) if isinstance(self._socket, ssl.SSLSocket) else None

    def read(self, deadline: float) -> bytes:
        """Wait for at least one byte; b"" is the end."""
        if self._early:
            early, self._early = self._early, b""
            return early
        while True:
            # Asked first, so that a peer that always has one more byte cannot hold the caller.
            left = _time_left(deadline, ErrorKind.READ_TIMEOUT)
            try:
                return self._socket.recv(_READ_SIZE)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._wait(select.POLLIN, left)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, left)
            except OSError as error:
                raise _broken(error) from None

    def read_now(self) -> bytes:
        """Give what has come already. Under TLS that may be nothing to us: a session ticket, half a record."""
        if self._early:
            early, self._early = self._early, b""
            return early
        try:
            data = self._socket.recv(_READ_SIZE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            raise _broken(error) from None
        if not data:
            raise SmtpConnectionError("the connection was closed by the server", ErrorKind.CONNECTION_RESET)
        return data

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None:
        """Write all of it. If that fails, what the server had said is still there to be read."""
        rest = memoryview(data)
        while rest:
            left = _time_left(deadline, ErrorKind.WRITE_TIMEOUT)
            try:
                rest = rest[self._socket.send(rest) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not attentive:
                    self._wait(select.POLLOUT, left)
                elif not self._wait(select.POLLOUT | select.POLLIN, left) & select.POLLOUT:
                    self._listen()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, left)
            except OSError as error:
                raise _broken(error) from None

    def _listen(self) -> None:
        """Keep what the server says instead of reading; raise if it does, or if it has left."""
        self._early = self.read_now()
        if self._early:
            raise SmtpConnectionError("the server spoke and read no further", ErrorKind.CONNECTION_RESET)

    def start_tls(self, tls: TlsConfig, server_name: str, deadline: float, *, implicit: bool = False) -> None:
        """Speak TLS from here on; the caller has made sure that nothing read is left over."""
        try:
            # wrap_socket() loses the socket, unclosed, if the server has reset it by now.
            self._socket.getpeername()
            wrapped = context_for(tls).wrap_socket(
                self._socket, server_hostname=server_name, do_handshake_on_connect=False
            )
        except OSError as error:
            raise explain(error, server_name, implicit=implicit) from None
        self._socket = wrapped
        overdue = ErrorKind.CONNECT_TIMEOUT if implicit else ErrorKind.READ_TIMEOUT
        while True:
            left = _time_left(deadline, overdue, Phase.TLS)
            try:
                wrapped.do_handshake()
            except ssl.SSLWantReadError:
                self._wait(select.POLLIN, left)
            except ssl.SSLWantWriteError:
                self._wait(select.POLLOUT, left)
            except OSError as error:
                raise explain(error, server_name, implicit=implicit) from None
            else:
                return

    def close(self) -> None:
        """Give everything back; never raises, and may be repeated."""
        with suppress(OSError, ValueError):
            # The other process goes on with the same TLS session: a farewell from here would break it.
            if isinstance(self._socket, ssl.SSLSocket) and self._owner == os.getpid():
                self._socket.unwrap()
        with suppress(OSError):
            self._socket.close()

    def _wait(self, event: int, seconds: float) -> int:
        """Give the events that came, 0 for none."""
        poll = select.poll()
        poll.register(self._socket, event)
        return next((happened for _, happened in poll.poll(seconds * 1000)), 0)


def _time_left(deadline: float, kind: ErrorKind, phase: Phase | None = None) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise SmtpTimeoutError(_OVERDUE[kind], kind, phase=phase)
    return left


def _broken(error: OSError) -> SmtpError:
    cause = getattr(error, "reason", None) or (error.strerror or type(error).__name__).partition(" (_ssl")[0]
    return explain_alert(error) or SmtpConnectionError(
        f"the server broke the connection ({cause.lower()})", ErrorKind.CONNECTION_RESET
    )
