"""The bytes' road: a stream that never waits longer than it was told.

Law: every wait has a deadline in seconds of `time.monotonic`, and what the operating system or OpenSSL complains about
leaves here as an `SmtpError`.
"""

from smtp_transport.stream.base import BindableStream, Stream
from smtp_transport.stream.tcp import SocketStream, open_stream

__all__ = ["BindableStream", "SocketStream", "Stream", "open_stream"]
