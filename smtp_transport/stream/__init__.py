"""The bytes' road: a stream that never waits longer than it was told.

Law: every wait has a deadline in seconds of `time.monotonic`, and what the operating system or OpenSSL complains about
leaves here as an `SmtpError`.
"""

from smtp_transport.stream.base import BindableStream, Dialer, Stream
from smtp_transport.stream.opening import connect, open_stream
from smtp_transport.stream.tcp import SocketStream, stream_pair

__all__ = ["BindableStream", "Dialer", "SocketStream", "Stream", "connect", "open_stream", "stream_pair"]
