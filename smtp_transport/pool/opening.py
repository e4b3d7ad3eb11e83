"""A link that is being opened: it fills its place already, and another thread may cut it short."""

from smtp_transport.config import SmtpConfig
from smtp_transport.stream import SocketStream, connect


class Opening:
    """What stands in a place until its link does."""

    def __init__(self) -> None:
        self.is_cut_off = False
        self._stream: SocketStream | None = None

    def dial(self, config: SmtpConfig, deadline: float) -> SocketStream:
        """Reach the server as `connect` does, and keep hold of the stream."""
        self._stream = connect(config, deadline)
        if self.is_cut_off:  # looked at behind the assignment, as `cut_off` does it the other way round
            self._stream.abort()
        return self._stream

    def cut_off(self) -> None:
        """Have whoever opens it fail soon. Any thread may call this."""
        self.is_cut_off = True
        if self._stream is not None:
            self._stream.abort()

    def close(self) -> None:
        """Close what was opened so far."""
        if self._stream is not None:
            self._stream.close()
