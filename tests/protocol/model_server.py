"""A server without a socket that decides at random, follows the rules all the same, and knows what it took."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from smtp_transport.config import TlsConfig
from smtp_transport.errors import ErrorKind, SmtpConnectionError, SmtpTimeoutError

OK = "ok"
REFUSALS = {"4xx": b"451 4.3.0 later\r\n", "5xx": b"550 5.1.1 no\r\n"}
FATAL = ("421", "eof", "reset", "stall", "garbage", "deaf")
DECISIONS = (OK, *REFUSALS, *FATAL)


@dataclass
class Taken:
    """A content that came to its end: the transaction it came in, and whether the server took it for whom."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    accepted: tuple[str, ...]


@dataclass
class ModelServer:
    """A stream to itself. `decisions`: one for each command of a mail; all is well when they are used up.

    `cut`: how many octets a read gives at most. `keeps_open`: BDAT that cannot be taken leaves the transaction open.
    `asks_in_vain`: 354 even if nobody was accepted.
    """

    decisions: Iterator[str]
    offers: tuple[str, ...] = ("PIPELINING", "CHUNKING")
    cut: int = 65_536
    keeps_open: bool = True
    asks_in_vain: bool = False
    lmtp: bool = False
    taken: list[Taken] = field(default_factory=list)
    tls_version: str | None = None
    closed: bool = False
    _in: bytes = b""
    _out: bytes = b"220 model\r\n"
    _fault: str = ""
    _mail: str | None = None
    _rcpts: list[str] = field(default_factory=list)
    _in_data: bool = False
    _chunk: int | None = None
    _is_last: bool = False
    _content: bytes = b""

    def read(self, deadline: float) -> bytes:
        assert not self.closed
        if self._out:
            given, self._out = self._out[: self.cut], self._out[self.cut :]
            return given
        if self._fault == "eof":
            return b""
        if self._fault in {"reset", "deaf"}:
            raise SmtpConnectionError("the connection was reset", ErrorKind.CONNECTION_RESET)
        raise SmtpTimeoutError("the server did not answer in time", ErrorKind.READ_TIMEOUT)

    def read_now(self) -> bytes:
        if self._out:
            return self.read(0.0)
        if self._fault in {"eof", "reset", "deaf"}:
            raise SmtpConnectionError("the connection was closed", ErrorKind.CONNECTION_RESET)
        return b""

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None:
        assert not self.closed
        if self._fault == "deaf":
            raise SmtpConnectionError("the connection was reset", ErrorKind.CONNECTION_RESET)
        self._in += data
        while not self._fault and self._step():
            pass
        if self._fault == "deaf" and self._in:  # had it read all of this, only the next write would tell
            raise SmtpConnectionError("the connection was reset", ErrorKind.CONNECTION_RESET)

    def start_tls(self, tls: TlsConfig, server_name: str, deadline: float) -> None:
        raise AssertionError("nobody offered TLS")

    def close(self) -> None:
        self.closed = True

    def _step(self) -> bool:
        if self._chunk is not None:
            return self._take_chunk()
        if self._in_data:
            return self._take_data()
        line, end, rest = self._in.partition(b"\r\n")
        if not end:
            return False
        self._in = rest
        self._obey(line.decode())
        return True

    def _obey(self, line: str) -> None:
        verb = line.partition(" ")[0]
        if verb in {"EHLO", "LHLO"}:
            lines = ["model", *self.offers]
            self._out += "".join(f"250{' ' if one is lines[-1] else '-'}{one}\r\n" for one in lines).encode()
        elif verb == "RSET":
            self._reset()
            self._out += b"250 2.0.0 ok\r\n"
        elif verb == "MAIL":
            self._answer(b"503 5.5.1 nested\r\n" if self._mail is not None else None, self._open, line)
        elif verb == "RCPT":
            self._answer(b"503 5.5.1 no MAIL\r\n" if self._mail is None else None, self._admit, line)
        elif verb == "DATA":
            self._answer_data()
        elif verb == "BDAT":
            self._chunk, self._is_last = int(line.split()[1]), line.endswith(" LAST")
        elif verb == "NOOP":
            self._out += b"250 2.0.0 ok\r\n"
        else:
            raise AssertionError(f"unexpected: {line}")

    def _open(self, line: str) -> None:
        self._mail = re.fullmatch(r"MAIL FROM:<(.*?)>.*", line)[1]

    def _admit(self, line: str) -> None:
        self._rcpts.append(re.fullmatch(r"RCPT TO:<(.*?)>.*", line)[1])

    def _answer(self, impossible, effect, line) -> None:
        if impossible:
            self._out += impossible
        elif self._decide():
            effect(line)
            self._out += b"250 2.1.0 ok\r\n"

    def _answer_data(self) -> None:
        if not self._rcpts and not (self.asks_in_vain and self._mail is not None):
            self._out += b"503 5.5.1 no RCPT\r\n"
        elif self._decide():
            self._in_data = True
            self._out += b"354 go\r\n"

    def _take_data(self) -> bool:
        if self._in.startswith(b".\r\n"):
            content, self._in = b"", self._in[3:]
        elif b"\r\n.\r\n" in self._in:
            content, _, self._in = self._in.partition(b"\r\n.\r\n")
        else:
            return False
        self._in_data = False
        self._judge(content)
        self._reset()
        return True

    def _take_chunk(self) -> bool:
        if len(self._in) < self._chunk:
            return False
        content, self._in, self._chunk = self._in[: self._chunk], self._in[self._chunk :], None
        if not self._rcpts:
            self._out += b"503 5.5.1 no RCPT\r\n"
            if not self.keeps_open:
                self._reset()
            return True
        self._content += content
        if not self._is_last:
            if self._decide():
                self._out += b"250 2.0.0 go on\r\n"
            return True
        took = self._judge(self._content)
        if took or not self.keeps_open:
            self._reset()
        return True

    def _judge(self, content: bytes) -> bool:
        accepted = []
        if not self._rcpts:
            self._out += b"554 5.5.1 nobody\r\n"
        for recipient in self._rcpts if self.lmtp else self._rcpts[:1]:
            if self._decide():
                accepted += [recipient] if self.lmtp else self._rcpts
                self._out += b"250 2.0.0 queued as ABCD\r\n"
        self.taken.append(Taken(self._mail, tuple(self._rcpts), content, tuple(accepted)))
        return bool(accepted)

    def _decide(self) -> bool:
        """Whether to say yes; a no is said here, and so is the end of it all."""
        decision = OK if self._fault else next(self.decisions, OK)
        if decision in FATAL:
            self._fault = {"421": "eof", "garbage": "stall"}.get(decision, decision)
            self._out += {"421": b"421 4.3.2 bye\r\n", "garbage": b"what?\r\n"}.get(decision, b"")
        else:
            self._out += REFUSALS.get(decision, b"")
        return decision == OK and not self._fault

    def _reset(self) -> None:
        self._mail, self._rcpts, self._content = None, [], b""
