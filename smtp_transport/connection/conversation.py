"""The machine joined to a stream: say commands, hear replies, each wait within the patience of this link.

Law: an error closes the stream before it is raised, and tells the phase. When a write fails, what the server had said
is read before the failure is believed: the reason usually is in it.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from smtp_transport.config import TlsConfig
from smtp_transport.connection.trouble import at_phase
from smtp_transport.connection.watch import Watch
from smtp_transport.errors import ErrorKind, ProtocolError, SmtpConnectionError, SmtpError, SmtpTimeoutError
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Command, EndOfContent
from smtp_transport.protocol.machine import ENDED, Leap, Machine, phase_of
from smtp_transport.reply import Reply
from smtp_transport.sasl import ChannelBinding
from smtp_transport.stream import BindableStream, SocketStream, Stream

_CHUNK: Final = 262_144
"""Octets written under one deadline: a slow link that moves is not cut off, a stalled one is."""
_LAST_WORDS: Final = 0.25
"""Seconds to read what a server had said before a write failed: it is already there, or it is not."""

_MOMENT: Final = 0.000_1
"""Seconds after a reply in which a look finds nothing that the reply did not bring."""

_END: Final = EndOfContent()
_END_LINE: Final = _END.to_bytes()

_DIAGNOSIS: Final = 1.0
"""Seconds in which a server that waits for TLS is told from one that is only slow."""


class Conversation:
    """Owns a stream. `patience` is in seconds, for each write and each reply; `final_patience` for the final reply.

    `lmtp`: a final reply comes for each recipient that was accepted.
    """

    def __init__(
        self,
        stream: Stream,
        patience: float,
        final_patience: float | None = None,
        watch: Watch | None = None,
        *,
        lmtp: bool = False,
    ) -> None:
        self.patience = patience
        self.lmtp = lmtp
        self._final_patience = final_patience or patience
        self._stream = stream
        self.watch = watch
        if watch is not None:
            watch.connected(stream.tls_version)
        self._machine = Machine(lmtp=lmtp)
        self._heard: deque[Reply] = deque()
        self._write_failure: SmtpError | None = None
        self._came: bytes | SmtpError | None = None  # what a read gave that nobody has heard yet
        self._asked_at = 0.0  # when a leap ended with the server waiting for content
        self._closed = False
        self._is_cut_off = False
        self.takes_chunks = False
        """Whether the server has taken content by BDAT on this link."""

    @property
    def usable(self) -> bool:
        """Whether a mail can be sent on this link: nothing is out of step, nothing is half-done."""
        return not self._closed and self._write_failure is None and self._machine.settled and not self._heard

    @property
    def in_transaction(self) -> bool:
        """Whether RSET is needed before the next MAIL."""
        return self._machine.in_transaction

    @property
    def is_open(self) -> bool:
        """Whether nobody has closed it on this side."""
        return not self._closed

    @property
    def is_mute(self) -> bool:
        """Whether a write failed, so that all that is left is to hear why."""
        return self._write_failure is not None

    @property
    def tls_version(self) -> str | None:
        """The version of TLS in use; None in clear text."""
        return self._stream.tls_version

    @property
    def channel_binding(self) -> ChannelBinding | None:
        """What SASL can bind to; None in clear text, and over streams that cannot tell."""
        return self._stream.channel_binding() if isinstance(self._stream, BindableStream) else None

    @property
    def peer_certificate(self) -> bytes | None:
        """The server's certificate in DER; None in clear text, and over streams that cannot tell."""
        return self._stream.peer_certificate() if isinstance(self._stream, SocketStream) else None

    def ask(self, command: Command) -> Reply:
        """Say one command and wait for its reply."""
        self.say(command)
        return self.hear()

    def say(self, *commands: Command, behind: bytes = b"") -> None:
        """Write these commands at once, `behind` octets of content. A failure to write is told by `hear`."""
        if self._write_failure or self._closed:
            raise self._broken(self._write_failure or _closed_by("this client"), phase_of(commands[0]))
        try:
            lines = self._machine.send(*commands)
        except SmtpError as error:
            phase = phase_of(commands[0])
            # What the caller may not say harms nothing; what the server may not have said ends the link.
            raise (self._broken(error, phase) if self._machine.failed else at_phase(error, phase)) from error
        if self.watch is not None:
            if behind:
                self.watch.poured(len(behind))
            self.watch.said(commands)
        # Behind content the server has nothing to say before it is complete: if it speaks, it gives up on it.
        self._write(behind + lines if behind else lines, attentive=bool(behind))

    def leap(
        self, leap: Leap, count: int, lines: bytes, commands: Callable[[], Sequence[Command]], behind: bytes = b""
    ) -> Sequence[Reply] | None:
        """Say commands at once and hear all of their replies, if all goes as hoped; else None, and `hear` tells each.

        `lines` are what the `count` `commands` write, `behind` octets of content. It is what `say` and `hear` come to:
        whatever is not as hoped is left to them, with what was read until then. Raises as `say` does.
        """
        is_plain = self.watch is None and not (self._closed or self._write_failure or self._heard)
        if not (is_plain and self._machine.may_leap(leap)):
            self.say(*commands(), behind=behind)
        elif not self._write(behind + lines if behind else lines, attentive=bool(behind)):
            self._machine.send(*commands())
        else:
            return self._landed(leap, count, commands)
        return None

    def hear(self, at_least: Phase | None = None) -> Reply:
        """Wait for the next reply. An error falls in its phase, or in phase `at_least` if more was said already."""
        if not self._heard:
            self._listen(at_least)
        return self._heard.popleft()

    def overhear(self, phase: Phase | None) -> bool:
        """Look at what the server has said unasked, without waiting. True if it gives up on the content: `hear` why.

        Raises what the link has come to, in this phase, if the server left or spoke out of turn.
        """
        if self._heard or self._closed:
            return bool(self._heard)
        machine = self._machine
        try:
            if machine.quiet and self._came is None:
                data = self._stream.read_now()
                if not data:
                    return False
            else:
                data = b"" if machine.failed else self._unheard() or self._stream.read_now()
            if data or machine.failed:
                self._take(data)
        except SmtpError as error:
            raise self._broken(error, phase) from error
        return bool(self._heard) or not machine.quiet

    @property
    def was_just_asked(self) -> bool:
        """Whether the server has asked for the content so lately that a look would find nothing."""
        return time.monotonic() - self._asked_at < _MOMENT

    def has_spoken(self) -> bool:
        """Whether the server gave up on the content together with its 354: `hear` why. Raises as `overhear` does."""
        return bool(self._heard or not self._machine.quiet) and self.overhear(Phase.BODY)

    def pour(self, content: Iterable[bytes]) -> Reply | None:
        """Write content. None if all of it was written; the server's reply if it gave up before that.

        Raises what `content` raises; the server waits for more then.
        """
        if self.has_spoken():
            return self.hear()
        look = False
        for chunk in content if self.watch is None else self.watch.counted(content):
            for piece in _pieces(chunk):
                if look and self.overhear(Phase.BODY):
                    return self.hear()
                look = True
                if not self._write(piece, attentive=True):
                    return self.hear()
        return None

    def finish(self, content: bytes) -> bool:
        """Write content and its final dot in one piece. False if that failed: then the dot was not written, nor said.

        What the server says to it, or why it took no more, is told by `hear`.
        """
        if self.watch is not None:
            self.watch.poured(len(content))
        if not self._write(content + _END_LINE, attentive=True):
            return False
        if self.watch is None and self._machine.may_leap(ENDED):
            self._heard.extend(self._landed(ENDED, 1, lambda: (_END,)) or ())
            return True
        self._machine.send(_END)
        if self.watch is not None:
            self.watch.said((_END,))
        return True

    def start_tls(self, tls: TlsConfig, server_name: str) -> None:
        """Upgrade the stream, after a 220 to STARTTLS."""
        if self.watch is not None:
            self.watch.starting_tls(server_name)
        try:
            self._stream.start_tls(tls, server_name, self._deadline())
            self._machine.tls_started()
        except SmtpError as error:
            if self.watch is not None:
                self.watch.tls_ended(None, error.kind)
            raise self._broken(error, Phase.TLS) from error
        if self.watch is not None:
            self.watch.tls_ended(self._stream.tls_version)

    def abort(self) -> None:
        """Have whoever waits here find the end of the stream at once. Any thread may call this."""
        self._is_cut_off = True
        if isinstance(self._stream, SocketStream):
            self._stream.abort()

    def close(self) -> None:
        """Close the stream; may be repeated."""
        was_closed, self._closed = self._closed, True
        self._stream.close()
        if self.watch is not None and not was_closed:
            self.watch.closed()

    def _take(self, data: bytes) -> None:
        exchanges = self._machine.feed(data)
        self._heard.extend([exchange.reply for exchange in exchanges])
        if self.watch is not None:
            self.watch.heard(exchanges)

    def _write(self, data: bytes, *, attentive: bool = False) -> bool:
        """Write, piece by piece; False if it failed, which is kept."""
        try:
            if len(data) <= _CHUNK and not attentive:
                self._stream.write(data, time.monotonic() + self.patience)
            else:
                for piece in (data,) if len(data) <= _CHUNK else _pieces(data):
                    self._stream.write(piece, time.monotonic() + self.patience, attentive=attentive)
        except SmtpError as error:
            # Its frames hold what was written, and that may be a password.
            self._write_failure = error.with_traceback(None)
            self._write_failure.__context__ = None
            return False
        return True

    def _listen(self, at_least: Phase | None) -> None:
        machine = self._machine
        phase = machine.phase
        # Behind a content a server may hold all replies back until it has judged that (RFC 2920 section 3.2).
        is_final = phase is Phase.DOT or at_least is Phase.DOT
        deadline = self._deadline(self._final_patience if is_final else self.patience)
        try:
            while not self._heard:
                phase = machine.phase
                data = b"" if machine.failed else self._read(deadline)
                self._take(data)
        except SmtpError as error:
            cause = error if isinstance(error, ProtocolError) else self._write_failure or self._diagnosed(error, phase)
            raise self._broken(cause, max(phase or Phase.MAIL, at_least) if at_least else phase) from error

    def _landed(self, leap: Leap, count: int, commands: Callable[[], Sequence[Command]]) -> Sequence[Reply] | None:
        patience = self._final_patience if leap.is_final else self.patience
        try:
            came = self._stream.read(time.monotonic() + patience)
        except SmtpError as error:
            self._came = error.with_traceback(None)
        else:
            replies = self._machine.leapt(leap, came, count)
            if replies is not None:
                if leap.asks:
                    self._asked_at = time.monotonic()
                return replies
            self._came = came
        self._machine.send(*commands())
        return None

    def _read(self, deadline: float) -> bytes:
        return (self._unheard() if self._came is not None else self._stream.read(deadline)) or self._end()

    def _unheard(self) -> bytes:
        came, self._came = self._came, None
        if isinstance(came, SmtpError):
            raise came
        return came or b""

    @staticmethod
    def _end() -> bytes:
        raise _closed_by("the server")

    def _diagnosed(self, error: SmtpError, phase: Phase | None) -> SmtpError:
        """Say why nobody greets us: a server that speaks TLS from the first byte waits for us, as we do for it."""
        if phase is not Phase.GREETING or not isinstance(error, SmtpTimeoutError) or self.tls_version is not None:
            return error
        if not isinstance(self._stream, SocketStream):
            return SmtpTimeoutError(f"{error.message}; does this port want implicit TLS?", error.kind)
        if not self._stream.answers_tls(time.monotonic() + min(_DIAGNOSIS, self.patience)):
            return error
        told = "this port speaks implicit TLS, from the first byte; use tls='implicit' (usual on port 465)"
        return SmtpTimeoutError(told, error.kind)

    def _deadline(self, patience: float | None = None) -> float:
        return time.monotonic() + (_LAST_WORDS if self._write_failure else patience or self.patience)

    def _broken(self, error: SmtpError, phase: Phase | None) -> SmtpError:
        if self._is_cut_off and isinstance(error, SmtpConnectionError):
            error = _closed_by("this client, which was shut down")
        error = at_phase(error, phase)
        if self.watch is not None:
            self.watch.broke(error)
        self.close()
        return error


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))


def _closed_by(whom: str) -> SmtpConnectionError:
    return SmtpConnectionError(f"the connection was closed by {whom}", ErrorKind.CONNECTION_RESET)
