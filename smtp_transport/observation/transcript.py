"""A conversation as people read it: C: and S: lines with their times, masked, and content as its size."""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime

from smtp_transport.observation import events


class Transcript:
    """Keeps the last `max_lines` lines of all connections that it observes; threads may share it.

    transcript = Transcript()
    client = SmtpClient(config, observers=[transcript])
    ...
    print(transcript)
    """

    def __init__(self, max_lines: int = 1_000) -> None:
        if max_lines < 1:
            raise ValueError("max_lines: a transcript keeps at least one line")
        # One append or one copy is atomic, so no lock is needed that a fork could freeze.
        self._lines: deque[tuple[float, str, str]] = deque(maxlen=max_lines)

    def __call__(self, event: events.Event) -> None:
        """Write down what was said, and what happened to the link; events of pools and clients are passed over."""
        for line in _told(event):
            self._lines.append((event.at, event.connection, line))

    def lines(self, connection: str | None = None) -> tuple[str, ...]:
        """Give the lines of one connection, or of all."""
        return tuple(
            f"{datetime.fromtimestamp(at, UTC):%H:%M:%S.%f} {whose} {line}"
            for at, whose, line in self._lines.copy()
            if connection in {None, whose}
        )

    def connections(self) -> tuple[str, ...]:
        """Give the ids of the connections that have lines here, the oldest first."""
        return tuple(dict.fromkeys(whose for _, whose, _ in self._lines.copy()))

    def clear(self) -> None:
        """Forget everything."""
        self._lines.clear()

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _told(event: events.Event) -> Iterator[str]:
    match event:
        case events.CommandSent():
            yield f"C: {event.line}"
        case events.DataSent():
            yield f"C: [{event.octets} octets of content]"
        case events.ReplyReceived():
            *others, last = event.lines or ("",)
            status = f"{event.enhanced_code} " if event.enhanced_code else ""
            yield from (f"S: {event.code}-{status}{line}" for line in others)
            yield f"S: {event.code} {status}{last}".rstrip()
        case events.ConnectStarted():
            yield f"-- connecting to {event.host}:{event.port}"
        case events.Connected():
            yield f"-- connected, {event.tls_version or 'in clear text'}"
        case events.ConnectFailed():
            yield f"-- not connected: [{event.error.value}] {event.message}"
        case events.TlsDone():
            yield f"-- {event.tls_version}" if event.error is None else f"-- TLS failed: {event.error.value}"
        case events.Closed():
            yield "-- closed" if event.error is None else f"-- closed: [{event.error.value}] {event.message}"
        case _:
            pass
