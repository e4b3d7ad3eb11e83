"""The steps of a server's script: each one thing that a real server does, right or wrong.

A step is any object with `play(peer)`, so a test may bring its own beside these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from smtp_transport.testing.peer import Departed, Peer, ScriptBroken

_REPLIES = {"STARTTLS": "220 go on", "DATA": "354 go on", "QUIT": "221 bye"}


class Step(Protocol):
    """One thing that a server does."""

    def play(self, peer: Peer) -> None:
        """Do it; raise `ScriptBroken` if the client did something else than the script says."""
        ...


@dataclass(frozen=True)
class Say:
    """Send lines, each with CRLF, in one write: `Say("250-one", "250 two")`."""

    lines: tuple[str, ...]

    def __init__(self, *lines: str) -> None:
        object.__setattr__(self, "lines", lines)

    def play(self, peer: Peer) -> None:
        """Send the lines."""
        peer.send("".join(f"{line}\r\n" for line in self.lines).encode())


@dataclass(frozen=True)
class Raw:
    """Send these bytes as they are."""

    data: bytes

    def play(self, peer: Peer) -> None:
        """Send the bytes."""
        peer.send(self.data)


@dataclass(frozen=True)
class Drip:
    """Send bytes one by one, with a pause of so many seconds after each, until the client leaves."""

    data: bytes
    pause: float

    def play(self, peer: Peer) -> None:
        """Send the bytes slowly."""
        for octet in self.data:
            peer.send(bytes([octet]))
            peer.rest(self.pause)


@dataclass(frozen=True)
class Expect:
    """Read one line, which must start so; upper and lower case are alike."""

    start: str

    def play(self, peer: Peer) -> None:
        """Read and compare."""
        line = peer.read_line()
        if not line.upper().startswith(self.start.upper()):
            raise ScriptBroken(f"expected {self.start!r}, got {line!r}")


@dataclass(frozen=True)
class ExpectContent:
    """Read content up to the lone dot; it must hold `containing`."""

    containing: bytes = b""

    def play(self, peer: Peer) -> None:
        """Read and compare."""
        content = peer.read_content()
        if self.containing not in content:
            raise ScriptBroken(f"expected content with {self.containing!r}, got {len(content)} other octets")


@dataclass(frozen=True)
class ExpectEnd:
    """The client must hang up here without another word."""

    def play(self, peer: Peer) -> None:
        """Read, and be surprised by anything but the end."""
        try:
            line = peer.read_line()
        except Departed:
            return
        raise ScriptBroken(f"expected the client to hang up, got {line!r}")


@dataclass(frozen=True)
class ReadSome:
    """Read at least so many octets and stop reading: the client is in the middle of its content."""

    octets: int

    def play(self, peer: Peer) -> None:
        """Read them."""
        peer.read_some(self.octets)


@dataclass(frozen=True)
class Stall:
    """Say and read nothing more, and keep the connection open until the server is stopped."""

    def play(self, peer: Peer) -> None:
        """Wait for the end of the test."""
        peer.rest(None)


@dataclass(frozen=True)
class Reset:
    """Break the connection, so that the client sees a reset."""

    def play(self, peer: Peer) -> None:
        """Send an RST."""
        peer.reset()


@dataclass(frozen=True)
class Close:
    """Hang up: the client sees the end of the stream, or a reset if it had said something that was not read."""

    def play(self, peer: Peer) -> None:
        """Send a FIN."""
        peer.close()


@dataclass(frozen=True)
class StartTls:
    """Shake hands for TLS here with the server's context. As the first step it makes TLS implicit."""

    def play(self, peer: Peer) -> None:
        """Shake hands."""
        peer.start_tls()


@dataclass(frozen=True)
class Behave:
    """Be a well-behaved server from here on, until QUIT or the client leaves.

    `replies` changes what is said to commands that start so: `{"RCPT TO:<bob@": "550 5.1.1 no such user"}`. The longest
    start wins. The reply to content is that of ".". What cannot follow is refused, as it would be by a real server.
    `capabilities` are EHLO's keywords.
    """

    capabilities: tuple[str, ...] = ()
    replies: Mapping[str, str] = field(default_factory=dict)

    def play(self, peer: Peer) -> None:
        """Answer every command."""
        recipients: int | None = None  # None: no transaction is open
        while True:
            try:
                line = peer.read_line()
            except Departed:
                return
            verb = line.partition(" ")[0].upper()
            out_of_order = (verb == "RCPT" and recipients is None) or (verb == "DATA" and not recipients)
            reply = "503 5.5.1 bad sequence of commands" if out_of_order else self._reply_to(line, verb)
            peer.send(f"{reply}\r\n".encode())
            match verb, reply[0]:
                case "MAIL", "2":
                    recipients = 0
                case "RCPT", "2":
                    recipients = (recipients or 0) + 1
                case "DATA", "3":
                    peer.read_content()
                    peer.send(f"{self._reply_to('.', '.')}\r\n".encode())
                    recipients = None
                case "STARTTLS", "2":
                    peer.start_tls()
                case (("RSET" | "EHLO" | "HELO"), _):
                    recipients = None
                case "QUIT", _:
                    return

    def _reply_to(self, line: str, verb: str) -> str:
        told = [start for start in self.replies if line.upper().startswith(start.upper())]
        if told:
            return self.replies[max(told, key=len)]
        if verb == "EHLO":
            return "\r\n".join(_ehlo_lines(self.capabilities))
        return _REPLIES.get(verb, "250 2.0.0 ok")


def _ehlo_lines(capabilities: tuple[str, ...]) -> list[str]:
    *others, last = ("fault.test", *capabilities)
    return [*(f"250-{word}" for word in others), f"250 {last}"]


def behaved(*capabilities: str, replies: Mapping[str, str] | None = None) -> tuple[Step, ...]:
    """Give the script of a server that does all right, but for what `replies` says (see `Behave`)."""
    return (Say("220 fault.test ESMTP"), Behave(capabilities, replies or {}))


def greeted(*capabilities: str) -> tuple[Step, ...]:
    """Give the steps of a greeting and an EHLO that offers these capabilities."""
    return (Say("220 fault.test ESMTP"), Expect("EHLO"), Say(*_ehlo_lines(capabilities)))


def mail_taken(*recipients: str, server_id: str = "4F0A1B") -> tuple[Step, ...]:
    """Give the steps of one mail, taken for each of these recipients."""
    return (
        Expect("MAIL FROM:"),
        Say("250 2.1.0 ok"),
        *(step for address in recipients for step in (Expect(f"RCPT TO:<{address}>"), Say("250 2.1.5 ok"))),
        Expect("DATA"),
        Say("354 go on"),
        ExpectContent(),
        Say(f"250 2.0.0 queued as {server_id}"),
    )


def quit_said() -> tuple[Step, ...]:
    """Give the steps of a farewell."""
    return (Expect("QUIT"), Say("221 2.0.0 bye"), Close())
