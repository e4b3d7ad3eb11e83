"""A stream that plays a script: bytes and no socket, so that every cut and every fault is exact."""

from enum import Enum
from typing import TypeGuard

from smtp_transport.config import SmtpConfig, TlsConfig
from smtp_transport.connection import Connection
from smtp_transport.envelope import Content, Envelope, Transaction
from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpTimeoutError, TlsError


class Fault(Enum):
    """What the server does instead of answering."""

    EOF = "eof"
    STALL = "stall"
    RESET = "reset"
    DEAF = "deaf"  # from here on no write succeeds
    TLS = "tls"  # not a fault: the handshake has to come here
    NO_TLS = "no tls"  # the handshake fails


class Exactly(bytes):
    """What the client has to write, octet for octet."""


Step = bytes | str | Exactly | Fault


class ScriptedStream:
    """Plays steps in order: bytes are what the server says, text is what the client has to write, line for line.

    `cut`: how many bytes a read gives at most. A client that waits where the server waits too has stalled.
    """

    def __init__(self, *steps: Step, cut: int = 65_536) -> None:
        self._steps = list(steps)
        self._cut = cut
        self._unmatched = b""
        self.written = b""
        self.writes = 0
        self.closed = False
        self.read_deadlines: list[float] = []
        self.tls_version: str | None = None

    @property
    def done(self) -> bool:
        """Whether the script was played to its end, and nothing else was written."""
        self._match()
        return not self._steps and not self._unmatched

    def read(self, deadline: float) -> bytes:
        assert not self.closed, "read after close"
        self.read_deadlines.append(deadline)
        self._match()
        step = self._steps[0] if self._steps else Fault.STALL
        if _is_said(step):
            self._steps[0] = step[self._cut :]
            if not self._steps[0]:
                del self._steps[0]
            return step[: self._cut]
        if step is Fault.EOF:
            return b""
        if step is Fault.RESET or step is Fault.DEAF:
            raise SmtpConnectionError("the connection was reset", ErrorKind.CONNECTION_RESET)
        raise SmtpTimeoutError("the server did not answer in time", ErrorKind.READ_TIMEOUT)

    def read_now(self) -> bytes:
        assert not self.closed, "read after close"
        self._match()
        step = self._steps[0] if self._steps else Fault.STALL
        if step is Fault.EOF or step is Fault.RESET:
            raise SmtpConnectionError("the connection was reset", ErrorKind.CONNECTION_RESET)
        return self.read(0.0) if _is_said(step) else b""

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None:
        assert not self.closed, "write after close"
        self._match()
        if self._steps and self._steps[0] is Fault.DEAF:
            del self._steps[0]
            raise SmtpConnectionError("the connection was reset", ErrorKind.CONNECTION_RESET)
        self.writes += 1
        self.written += data
        self._unmatched += data
        self._match()

    def start_tls(self, tls: TlsConfig, server_name: str, deadline: float) -> None:
        assert self._steps, "no handshake expected"
        step = self._steps.pop(0)
        if step is Fault.NO_TLS:
            raise TlsError("the handshake failed", ErrorKind.TLS_HANDSHAKE_FAILED)
        assert step is Fault.TLS, "no handshake expected here"
        self.tls_version = "TLSv1.3"

    def close(self) -> None:
        self.closed = True

    def _match(self) -> None:
        while self._unmatched and self._steps and isinstance(self._steps[0], str | Exactly):
            step = self._steps[0]
            expected = step if isinstance(step, Exactly) else step.replace("\n", "\r\n").encode() + b"\r\n"
            if not self._unmatched.startswith(expected):
                assert expected.startswith(self._unmatched), f"{self._unmatched!r} instead of {expected!r}"
                return
            self._unmatched = self._unmatched[len(expected) :]
            del self._steps[0]


def _is_said(step: Step) -> TypeGuard[bytes]:
    return isinstance(step, bytes) and not isinstance(step, Exactly)


GREETED: tuple[Step, ...] = (b"220 mx.example.com ESMTP\r\n", "EHLO client.example.com")


def make_config(**fields: object) -> SmtpConfig:
    """Make a configuration for a server on this machine; one mail at a time is in flight unless told otherwise."""
    plain = {"host": "127.0.0.1", "tls": "none", "local_hostname": "client.example.com", "mode": "pipelined"}
    return SmtpConfig.model_validate(plain | fields)


def make_transaction(
    *recipients: str, data: bytes = b"Subject: hi\r\n\r\nhello\r\n", sender: str = "ann@example.com"
) -> Transaction:
    """Make a mail to these recipients."""
    return Transaction(Envelope(sender, recipients or ("bob@example.com",)), lambda _: Content(data))


class Played:
    """A connection over a script that has greeted and offers what it was told to."""

    def __init__(self, keywords: tuple[str, ...], steps: tuple[Step, ...], config: SmtpConfig, cut: int) -> None:
        lines = ["mx.example.com", *keywords]
        offer = "".join(f"250{' ' if line is lines[-1] else '-'}{line}\r\n" for line in lines).encode()
        self.stream = ScriptedStream(*GREETED, offer, *steps, cut=cut)
        self.connection = Connection.over(self.stream, config)
