"""A real server's conversation, written down once and played as often as one likes.

    with Recorder(("smtp.example.com", 587), Path("talk.txt")) as recorder:
        ...  # send to recorder.host, recorder.port
    with FaultServer(*replayed(Path("talk.txt"))) as server:
        ...  # the same again, without the real server

The file is text, a line for each line: `S:` what the server said, `C:` what the client said, `D:` how many octets of
content came, `T:` a TLS handshake, `X:` who hung up, `#` a comment; an empty line ends a connection. Content is never
written down. In a `C:` line `***` stands for anything.
"""

import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from smtp_transport.observation.masking import HIDDEN
from smtp_transport.testing.listener import HOST, Listener
from smtp_transport.testing.peer import Peer, ScriptBroken
from smtp_transport.testing.relay import Relay, Scribe, reach
from smtp_transport.testing.steps import Close, ExpectContent, ExpectEnd, Say, StartTls, Step


@dataclass(frozen=True)
class ExpectLine:
    """Read one line, which must be this one; `***` in it stands for anything."""

    line: str

    def play(self, peer: Peer) -> None:
        """Read and compare."""
        said = peer.read_line()
        if not re.fullmatch(".*".join(re.escape(part) for part in self.line.split(HIDDEN)), said):
            raise ScriptBroken(f"expected {self.line!r}, got {said!r}")


@dataclass(frozen=True)
class ExpectChunk:
    """Read the octets of the BDAT that was read last, whatever their number is."""

    def play(self, peer: Peer) -> None:
        """Read and record them."""
        peer.record_content(peer.read_octets(_announced(peer.conversation.commands[-1])))


def replayed(recording: Path | str) -> list[list[Step]]:
    """Give a script for each recorded connection. Raises ValueError for a line that is none of a recording."""
    scripts: list[list[Step]] = [[]]
    said: list[str] = []
    previous = ""
    # Not `splitlines`, which ends lines where a server may have said something else.
    lines = [line.removesuffix("\r") for line in Path(recording).read_bytes().decode().split("\n")]
    for number, line in enumerate((*lines, ""), 1):
        kind, text = line[:2], line[3:]
        if kind == "S:":
            said.append(text)
            continue
        if said:
            scripts[-1].append(Say(*said))
            said = []
        if line.startswith("#"):
            continue
        if not line:
            scripts.append([])
        elif (step := _step(kind, text, previous)) is not None:
            scripts[-1].append(step)
        else:
            raise ValueError(f"line {number} is not of a recording: it starts with {kind!r}")
        previous = text
    return [script for script in scripts if script]


def _step(kind: str, text: str, previous: str) -> Step | None:
    steps: dict[str, Step] = {
        "C:": ExpectLine(text),
        "D:": ExpectChunk() if previous.upper().startswith("BDAT") else ExpectContent(),
        "T:": StartTls(),
        "X:": Close() if text == "server" else ExpectEnd(),
    }
    return steps.get(kind)


def _announced(line: str) -> int:
    size = line.split()[1:2]
    return int(size[0]) if size and size[0].isdigit() else 0


def _checked_upstream(upstream: object) -> tuple[str, int]:
    match upstream:
        case (str(host), int(port)):
            return host, port
    raise TypeError(f"upstream: give the server's host and port, ('smtp.example.com', 587), and not {upstream!r}")


class RecordingFailed(RuntimeError):  # noqa: N818 - read as "recording failed: no TLS with the server"
    """What was written down is not the conversation that was to be recorded."""


class Recorder:
    """Stands between a client and a real server, passes everything on, and writes it down.

    `tls`: the context to meet a client's TLS with, by STARTTLS or from the first byte; `upstream_tls`: that to start
    TLS at the server with. Both are needed to look into an encrypted conversation. `mask`: secrets of AUTH, addresses,
    sizes and the client's name are written as `***` (`False`: as they are; then keep the file where you keep
    passwords). Leaving the block raises `RecordingFailed` if the server could not be reached, or TLS not be had.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        recording: Path | str,
        tls: ssl.SSLContext | None = None,
        upstream_tls: ssl.SSLContext | None = None,
        *,
        mask: bool = True,
    ) -> None:
        if (tls is None) != (upstream_tls is None):
            raise ValueError("give both TLS contexts, or none: who looks into TLS stands at both its ends")
        self._upstream = _checked_upstream(upstream)
        self._recording = Path(recording)
        self._contexts = (tls, upstream_tls) if tls is not None and upstream_tls is not None else None
        self._mask = mask
        self._lock = threading.Lock()
        self._relays: list[Relay] = []
        self._listener = Listener("recorder", self._meet)
        self._problems: list[str] = []
        self.host = HOST

    def __enter__(self) -> Self:
        """Listen on a free port of the loopback interface; an older recording is overwritten."""
        self._recording.write_text("", encoding="utf-8")
        self._listener.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Break what is open, and finish the recording."""
        self._listener.close(self._interrupt)
        problems = self._problems + [relay.problem for relay in self._relays if relay.problem is not None]
        if problems and error is None:
            raise RecordingFailed("; ".join(problems))
        if problems and error is not None:
            error.add_note(f"of the recorder: {'; '.join(problems)}")

    @property
    def port(self) -> int:
        """Where it listens. Raises RuntimeError before the `with` block."""
        return self._listener.port

    def _interrupt(self) -> None:
        for relay in self._relays:
            relay.interrupt()

    def _meet(self, client: socket.socket) -> Callable[[], None]:
        return lambda: self._record(client)

    def _record(self, client: socket.socket) -> None:
        try:
            server = reach(self._upstream, self._listener.stopping)
        except OSError as error:
            host, port = self._upstream
            self._problems.append(f"cannot reach {host}:{port} ({error.strerror or type(error).__name__})")
            client.close()
            return
        relay = Relay(client, server, self._contexts, Scribe(mask=self._mask))
        self._relays.append(relay)
        if self._listener.stopping.is_set():  # nobody would wake it any more
            relay.interrupt()
        relay.run(self._upstream[0])
        with self._lock, self._recording.open("a", encoding="utf-8") as written:
            written.write("\n".join([*relay.scribe.lines, "", ""]))
