"""Turns what a conversation does into events. It exists only where somebody observes.

Law: it only looks. It sees commands as they are written and replies as they are paired, and shows the masked line of
the one and the masked text of the other.
"""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from smtp_transport.config import SmtpConfig
from smtp_transport.errors import ErrorKind, SmtpError
from smtp_transport.observation import events
from smtp_transport.observation.masking import HIDDEN, masked_lines
from smtp_transport.observation.observers import Observers
from smtp_transport.phase import Phase
from smtp_transport.protocol.commands import Auth, Chunk, Command, Mail
from smtp_transport.protocol.machine import Exchange, phase_of
from smtp_transport.receipt import Receipt

_CONTENT = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY, Phase.DOT})


class Watch:
    """Watches one link, from before it is opened."""

    def __init__(self, observers: Observers, host: str, port: int) -> None:
        self.id = os.urandom(6).hex()
        self._tell = observers.tell
        self._host, self._port = host, port
        self._started = time.monotonic()
        self._said: deque[tuple[Command, float, int]] = deque()
        self._answered: tuple[Command | None, float, int] = (None, self._started, 0)
        self._transaction = 0
        self._delivery = 0
        self._auth = ("", 0.0)
        self._tls_since = 0.0
        self._failure: SmtpError | None = None

    @classmethod
    def of(cls, config: SmtpConfig) -> "Watch | None":
        """Watch what this configuration opens; None if nobody observes."""
        return cls(config.observers, config.host, config.port) if config.observers else None

    def connecting(self) -> None:
        """The link is being opened."""
        self._tell(events.ConnectStarted(at=time.time(), connection=self.id, host=self._host, port=self._port))

    def connected(self, tls_version: str | None) -> None:
        """It stands."""
        now = time.monotonic()
        self._answered = (None, now, 0)
        self._tell(
            events.Connected(
                at=time.time(),
                connection=self.id,
                host=self._host,
                port=self._port,
                duration=now - self._started,
                tls_version=tls_version,
            )
        )

    def not_connected(self, error: SmtpError) -> None:
        """It does not."""
        self._tell(
            events.ConnectFailed(
                at=time.time(),
                connection=self.id,
                host=self._host,
                port=self._port,
                duration=self._age(),
                error=error.kind,
                message=error.message,
            )
        )

    def said(self, commands: Iterable[Command]) -> None:
        """Commands are about to be written."""
        at, now = time.time(), time.monotonic()
        for command in commands:
            if isinstance(command, Mail):
                self._transaction += 1
            phase = phase_of(command)
            transaction = self._transaction if phase in _CONTENT else 0
            self._said.append((command, now, transaction))
            if isinstance(command, Auth):
                self._auth = (command.mechanism, now)
                self._tell(events.AuthStarted(at=at, connection=self.id, mechanism=command.mechanism))
            self._tell(
                events.CommandSent(
                    at=at,
                    connection=self.id,
                    verb=command.verb,
                    line=command.masked,
                    phase=phase,
                    transaction=transaction,
                )
            )
            if isinstance(command, Chunk) and command.content is not None:
                self.poured(command.octets)

    def heard(self, exchanges: Sequence[Exchange]) -> None:
        """Replies have come."""
        at, now = time.time(), time.monotonic()
        for command, reply in exchanges:
            # A server may answer what was not said (it gives up on the content) or answer twice (LMTP).
            if self._said and self._said[0][0] is command:
                self._answered = self._said.popleft()
            _, since, transaction = self._answered
            verb = command.verb if command else ""
            is_challenge = verb in {"", "AUTH"} and reply.code == 334
            self._tell(
                events.ReplyReceived(
                    at=at,
                    connection=self.id,
                    verb=verb,
                    code=reply.code,
                    enhanced_code=reply.enhanced,
                    lines=(HIDDEN,) if is_challenge and reply.text else masked_lines(reply.lines),
                    phase=phase_of(command) if command else Phase.GREETING,
                    duration=now - since,
                    transaction=transaction,
                )
            )
            if command is not None and verb in {"", "AUTH"} and not is_challenge:
                self._authenticated(at, now, reply.code, reply.enhanced)

    def counted(self, content: Iterable[bytes]) -> Iterator[bytes]:
        """Give content on, and tell how much of it was taken."""
        since = time.monotonic()
        octets = 0
        try:
            for chunk in content:
                octets += len(chunk)
                yield chunk
        finally:
            self._tell(
                events.DataSent(
                    at=time.time(),
                    connection=self.id,
                    octets=octets,
                    duration=time.monotonic() - since,
                    transaction=self._transaction,
                )
            )

    def poured(self, octets: int) -> None:
        """Content is about to be written in one piece with commands."""
        self._tell(
            events.DataSent(
                at=time.time(), connection=self.id, octets=octets, duration=0.0, transaction=self._transaction
            )
        )

    def starting_tls(self, server_name: str) -> None:
        """A handshake begins."""
        self._tls_since = time.monotonic()
        self._tell(events.TlsStarted(at=time.time(), connection=self.id, server_name=server_name))

    def tls_ended(self, tls_version: str | None, error: ErrorKind | None = None) -> None:
        """The handshake ended, well or badly."""
        self._tell(
            events.TlsDone(
                at=time.time(),
                connection=self.id,
                duration=time.monotonic() - self._tls_since,
                tls_version=tls_version,
                error=error,
            )
        )

    def delivered(self, receipt: Receipt) -> None:
        """A mail has its receipt."""
        self._delivery += 1
        fates = receipt.recipients
        told = next((fate.reply for fate in fates if fate.reply is not None), None)
        reply = receipt.final_reply or told
        self._tell(
            events.DeliveryDone(
                at=time.time(),
                connection=self.id,
                delivery=self._delivery,
                accepted=len(receipt.accepted),
                refused=sum(fate.reply is not None and not fate.is_accepted for fate in fates),
                in_doubt=sum(fate.reply is None and fate.phase is Phase.DOT for fate in fates),
                phase=max((fate.phase for fate in fates), default=Phase.MAIL),
                code=reply.code if reply else None,
                enhanced_code=reply.enhanced if reply else None,
                error=receipt.error.kind if receipt.error else None,
                server_id=receipt.server_id,
                duration=receipt.duration,
            )
        )

    def broke(self, error: SmtpError) -> None:
        """Something broke the link; `closed` follows."""
        self._failure = self._failure or error

    def closed(self) -> None:
        """The link is gone."""
        failure = self._failure
        self._tell(
            events.Closed(
                at=time.time(),
                connection=self.id,
                duration=self._age(),
                error=failure.kind if failure else None,
                message=failure.message if failure else "",
            )
        )

    def _authenticated(self, at: float, now: float, code: int, enhanced: str | None) -> None:
        mechanism, since = self._auth
        self._tell(
            events.AuthDone(
                at=at,
                connection=self.id,
                mechanism=mechanism,
                duration=now - since,
                code=code,
                enhanced_code=enhanced,
            )
        )

    def _age(self) -> float:
        return time.monotonic() - self._started
