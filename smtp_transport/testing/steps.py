"""The steps of a server's script: each one thing that a real server does, right or wrong.

A step is any object with `play(peer)`, so a test may bring its own beside these.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from smtp_transport.testing.peer import Departed, Peer, ScriptBroken


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
        _check_lines(lines)
        object.__setattr__(self, "lines", lines)

    def play(self, peer: Peer) -> None:
        """Send the lines."""
        peer.send("".join(f"{line}\r\n" for line in self.lines).encode())


def _check_lines(lines: Iterable[object]) -> None:
    for line in lines:
        if not isinstance(line, str) or line.endswith(("\r", "\n")):
            raise TypeError(f"a line is text without its line end; Raw sends bytes as they are: {line!r}")


def steps_of(script: Iterable[Step | str] | Step) -> tuple[Step, ...]:
    """Give the steps of a script; text is said. Raises TypeError, with its place, for what is no step."""
    if isinstance(script, str) or not isinstance(script, Iterable):
        alone = f"Say({script!r})" if isinstance(script, str) else repr(script)
        raise TypeError(f"a script is a list of steps: [{alone}, ...]")
    steps = tuple(Say(step) if isinstance(step, str) else step for step in script)
    for number, step in enumerate(steps, 1):
        if isinstance(step, type) or not callable(getattr(step, "play", None)):
            raise TypeError(f"step {number} is no object with a method `play`: {step!r}")
    return steps


@dataclass(frozen=True)
class Raw:
    """Send these bytes as they are."""

    data: bytes

    def __post_init__(self) -> None:
        _check_bytes(self.data)

    def play(self, peer: Peer) -> None:
        """Send the bytes."""
        peer.send(self.data)


@dataclass(frozen=True)
class Drip:
    """Send bytes one by one, with a pause of so many seconds after each, until the client leaves."""

    data: bytes
    pause: float

    def __post_init__(self) -> None:
        _check_bytes(self.data)

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
class Pause:
    """Do nothing for so many seconds."""

    seconds: float

    def play(self, peer: Peer) -> None:
        """Wait."""
        peer.rest(self.seconds)


@dataclass(frozen=True)
class HoldBack:
    """Say these lines later: behind whatever is said next. Replies to pipelined commands come in the wrong order so."""

    lines: tuple[str, ...]

    def __init__(self, *lines: str) -> None:
        _check_lines(lines)
        object.__setattr__(self, "lines", lines)

    def play(self, peer: Peer) -> None:
        """Keep the lines."""
        peer.hold_back("".join(f"{line}\r\n" for line in self.lines).encode())


@dataclass(frozen=True)
class LongLine:
    """Send one reply line of so many octets, line end included: no client has to take more than 512."""

    octets: int
    code: int = 250

    def play(self, peer: Peer) -> None:
        """Send the line."""
        peer.send(f"{self.code} ".encode().ljust(self.octets - 2, b"x") + b"\r\n")


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


def _check_bytes(data: object) -> None:
    if not isinstance(data, bytes):
        raise TypeError(f"give bytes: b'...', and not {data!r}")


def ehlo_lines(capabilities: tuple[str, ...]) -> list[str]:
    """Give the lines of a reply to EHLO that offers these capabilities."""
    *others, last = ("fault.test", *capabilities)
    return [*(f"250-{word}" for word in others), f"250 {last}"]


def greeted(*capabilities: str) -> tuple[Step, ...]:
    """Give the steps of a greeting and an EHLO that offers these capabilities."""
    return (Say("220 fault.test ESMTP"), Expect("EHLO"), Say(*ehlo_lines(capabilities)))


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
