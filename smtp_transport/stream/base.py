"""What a conversation needs of its road, so that a socket, a proxy or a list of bytes can be one."""

from typing import Protocol, runtime_checkable

from smtp_transport.config import SmtpConfig, TlsConfig
from smtp_transport.sasl import ChannelBinding


class Stream(Protocol):
    """A byte stream to one server, used by one thread at a time. A deadline is a moment of `time.monotonic`."""

    def read(self, deadline: float) -> bytes:
        """Wait for at least one byte; b"" is the end.

        Raises `SmtpTimeoutError` (read_timeout), `SmtpConnectionError` (connection_reset), `TlsError`.
        """
        ...

    def read_now(self) -> bytes:
        """Give what has come already, without waiting; b"" if nothing has.

        Raises `SmtpConnectionError` (connection_reset) if nothing can come any more, `TlsError`.
        """
        ...

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None:
        """Write all of it. If that fails, its end was not written, and what the server had said is still to be read.

        `attentive`: fail as soon as the server, instead of taking more, says something or leaves.
        Raises `SmtpTimeoutError` (write_timeout), `SmtpConnectionError` (connection_reset).
        """
        ...

    def start_tls(self, tls: TlsConfig, server_name: str, deadline: float) -> None:
        """Speak TLS from here on; the caller has made sure that nothing read is left over (RFC 3207 section 5).

        Raises `TlsError`, `SmtpTimeoutError` (read_timeout). After an error the stream is of no more use.
        """
        ...

    @property
    def tls_version(self) -> str | None:
        """The version in use, such as "TLSv1.3"; None in clear text."""
        ...

    def close(self) -> None:
        """Give everything back; never raises, and may be repeated."""
        ...


@runtime_checkable
class BindableStream(Protocol):
    """A stream that knows its TLS connection well enough for SASL to bind to it. Streams need not be."""

    def channel_binding(self) -> ChannelBinding | None:
        """Tell what only the two ends of this TLS connection know; None in clear text, or if nothing can be told."""
        ...


class Dialer(Protocol):
    """A way to reach a server: any callable with this signature is one."""

    def __call__(self, config: SmtpConfig, deadline: float, /) -> Stream:
        """Give a stream to the configured server, by a moment of `time.monotonic`.

        It may be in clear text: TLS is started over it as `config.tls` says, unless its `tls_version` tells that it is
        encrypted. Raises `SmtpConnectionError`, `SmtpTimeoutError` (connect_timeout) or `TlsError`; whatever it had
        opened is closed then.
        """
        ...
