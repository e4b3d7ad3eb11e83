"""From a configuration to a stream: straight, over a Unix socket, through a proxy, or by a dialer of the caller's."""

from smtp_transport.config import SmtpConfig, TlsMode
from smtp_transport.errors import SmtpError
from smtp_transport.stream.base import Dialer, Stream
from smtp_transport.stream.dial import dial, dial_unix
from smtp_transport.stream.proxy import ask_proxy
from smtp_transport.stream.tcp import SocketStream
from smtp_transport.tls import TlsSessions


def open_stream(
    config: SmtpConfig, deadline: float, dialer: Dialer | None = None, sessions: TlsSessions | None = None
) -> Stream:
    """Connect to the configured server, and speak TLS at once if the mode is implicit.

    `dialer` reaches it in another way. `sessions` remembers what makes the next handshake cheap. Raises
    `SmtpConnectionError`, `SmtpTimeoutError` (connect_timeout), `TlsError`; their texts name host and port.
    """
    stream: Stream | None = (dialer or connect)(config, deadline)
    if stream is None:
        raise TypeError("the dialer gave None and no stream; does it return what it opened?")
    if isinstance(stream, SocketStream) and sessions is not None:
        stream.remember_sessions(sessions, config.place)
    if config.tls is TlsMode.IMPLICIT and stream.tls_version is None:
        try:
            if isinstance(stream, SocketStream):
                stream.start_tls(config.tls_config, config.server_name, deadline, implicit=True)
            else:
                stream.start_tls(config.tls_config, config.server_name, deadline)
        except SmtpError as error:
            stream.close()
            raise type(error)(f"{config.place}: {error.message}", error.kind, phase=error.phase) from None
        except BaseException:
            stream.close()
            raise
    return stream


def connect(config: SmtpConfig, deadline: float) -> SocketStream:
    """Reach the configured server as the configuration says, in clear text. This is the usual `Dialer`."""
    if config.unix_socket is not None:
        return SocketStream(dial_unix(config.unix_socket, deadline))
    if config.proxy is None:
        return SocketStream(dial(config.host, config.port, deadline, config.source_address))
    try:
        stream = SocketStream(dial(config.proxy.host, config.proxy.port, deadline, config.source_address))
    except SmtpError as error:
        raise type(error)(f"proxy: {error.message}", error.kind, phase=error.phase) from None
    try:
        ask_proxy(stream, config.proxy, (config.host, config.port), deadline)
    except BaseException:
        stream.close()
        raise
    return stream
