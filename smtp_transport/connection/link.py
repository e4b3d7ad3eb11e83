"""A connection: opened, used for mails, asked how it is, closed."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from smtp_transport.config import SmtpConfig
from smtp_transport.connection.alone import carry_one_by_one
from smtp_transport.connection.chunked import Window, carry_chunked
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.course import Carried, Course
from smtp_transport.connection.footing import Footing
from smtp_transport.connection.lockstep import announce_in_lockstep
from smtp_transport.connection.opening import Opened, begin
from smtp_transport.connection.pipelined import announce_pipelined
from smtp_transport.connection.streamed import carry_streamed
from smtp_transport.connection.transaction import Permit, Server
from smtp_transport.connection.trouble import at_phase
from smtp_transport.connection.watch import Watch
from smtp_transport.envelope import Transaction
from smtp_transport.errors import (
    ErrorKind,
    ProtocolError,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
    TlsError,
)
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Command, Noop, Quit, Rset
from smtp_transport.receipt import Receipt
from smtp_transport.reply import Reply
from smtp_transport.stream import Dialer, Stream, open_stream
from smtp_transport.tls import TlsSessions
from smtp_transport.tls.certificate import Certificate
from smtp_transport.wire import WireMode, WireProtocol

FAREWELL: Final = 5.0
"""Seconds to wait for the reply to QUIT: nothing depends on it."""
_LINK_ERRORS: Final = (ProtocolError, SmtpConnectionError, SmtpTimeoutError)
_KEPT: Final = frozenset({"", ".", "EHLO", "HELO", "LHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "QUIT"})
"""Verbs that only this package may say: what they change is remembered here."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What can be told of a connection."""

    host: str
    port: int
    tls_active: bool
    tls_version: str | None
    capabilities: Capabilities
    banner: str
    authenticated_as: str | None = field(repr=False)


class Connection:
    """A link that is greeted, encrypted and authenticated as its configuration asks. Made by `open` or `over`."""

    def __init__(self, talk: Conversation, config: SmtpConfig, opened: Opened) -> None:
        self._talk = talk
        self._config = config
        self._opened = opened
        is_proven = talk.tls_version is not None and config.tls_config.proves_server
        self._server = Server.of(opened.capabilities, config.max_message_size, under_tls=is_proven)
        self._carried = Carried()
        self._window = Window(config.window_mails, config.window_octets)
        self.footing = Footing()
        """What the server has proven; links to the same server may share one."""

    @classmethod
    def open(cls, config: SmtpConfig, dialer: Dialer | None = None, sessions: TlsSessions | None = None) -> Self:
        """Connect and come to where mails can be sent. Raises `SmtpError` with its phase; nothing is left open then.

        `dialer` reaches the server in another way. `sessions` remembers what makes the next TLS handshake cheap.
        """
        watch = Watch.of(config)
        try:
            if watch is not None:
                watch.connecting()
            stream = open_stream(config, time.monotonic() + config.connect_timeout, dialer, sessions)
        except SmtpError as error:
            told = at_phase(error, Phase.TLS if isinstance(error, TlsError) else Phase.CONNECT)
            if watch is not None:
                watch.not_connected(told)
            raise told from error
        return cls._begin(stream, config, watch)

    @classmethod
    def over(cls, stream: Stream, config: SmtpConfig) -> Self:
        """Do the same over a ready stream, which the connection then owns. For implicit TLS it is already encrypted."""
        return cls._begin(stream, config, Watch.of(config))

    @classmethod
    def _begin(cls, stream: Stream, config: SmtpConfig, watch: Watch | None) -> Self:
        lmtp = config.protocol is WireProtocol.LMTP
        talk = Conversation(stream, config.io_timeout, config.final_timeout, watch, lmtp=lmtp)
        try:
            return cls(talk, config, begin(talk, config))
        except BaseException as error:
            if watch is not None and isinstance(error, SmtpError):
                watch.broke(error)
            talk.close()
            raise

    @property
    def id(self) -> str:
        """What events call this link; "" if nobody observes it."""
        return self._talk.watch.id if self._talk.watch is not None else ""

    @property
    def delivered(self) -> int:
        """How many mails were begun on this link."""
        return self._carried.mails

    @property
    def usable(self) -> bool:
        """Whether a mail can be sent on this link, as far as this side knows."""
        return self._talk.usable and not self.is_spent

    @property
    def is_spent(self) -> bool:
        """Whether this link has carried as many transactions as the server takes on one (RFC 9422 section 4.1)."""
        return self._room is not None and self._room <= 0

    @property
    def is_full(self) -> bool:
        """Whether it is the server's limit that keeps mails from this link: those that are left go over another."""
        return self.is_spent or (self._talk.usable and self._room is not None)

    @property
    def _room(self) -> int | None:
        most = self._server.limits.mails
        return None if most is None else most - self._carried.transactions

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers, said after TLS if there is TLS."""
        return self._opened.capabilities

    @property
    def banner(self) -> str:
        """The text of the greeting."""
        return self._opened.banner

    def certificate(self) -> Certificate | None:
        """Read the server's certificate, for whom and until when it is; None in clear text, or if it cannot be read."""
        der = self._talk.peer_certificate
        return Certificate.parse(der) if der else None

    def info(self) -> ConnectionInfo:
        """Describe this link."""
        version = self._talk.tls_version
        return ConnectionInfo(
            host=self._config.host,
            port=self._config.port,
            tls_active=version is not None,
            tls_version=version,
            capabilities=self.capabilities,
            banner=self.banner,
            authenticated_as=self._opened.authenticated_as,
        )

    @property
    def mode(self) -> WireMode:
        """How mails will follow each other: as fast as the server offers and has proven, and the configuration lets."""
        capabilities, config = self.capabilities, self._config
        fastest = config.mode or WireMode.CHUNKED
        if not (capabilities.pipelining and config.pipelining):
            fastest = WireMode.LOCKSTEP
        elif fastest is WireMode.CHUNKED and not capabilities.chunking:
            fastest = WireMode.STREAMED
        return self.footing.within(fastest)

    def deliver(self, transactions: Sequence[Transaction], permit: Permit) -> Iterator[tuple[int, Receipt]]:
        """Send mails one after the other; give each one's position and receipt, in order, as soon as it is known.

        No `SmtpError` is raised: receipts tell. When the link can't go on, `usable` is False and mails not begun get
        no receipt. `permit` is asked with positions just before those mails are committed: in mode CHUNKED for a whole
        window, else for one mail before its final dot. Whoever stops early has to take the receipts of all that were
        permitted first. A mail without permission is not committed, and may cost the link.
        """
        self._close_if_broken()
        if not self.usable:
            return
        mode, begun = self.mode, self._carried.mails
        course = Course(transactions, self._server, self._carried)
        steps = self._carry(mode, course, permit)
        trouble: SmtpError | None = None
        watch = self._talk.watch
        goes_on = True
        while goes_on:
            try:
                goes_on = next(steps, self) is None
            except BaseException:
                # The permit failed, or a signal's handler raised: nobody knows how far the conversation came.
                self.close()
                raise
            if not goes_on:
                self._close_if_broken()
            for told in course.finished():
                receipt = told[1]
                if receipt.error is not None and trouble is None and isinstance(receipt.error, _LINK_ERRORS):
                    trouble = receipt.error
                    self.footing.broke(mode, trouble, f"{self._config.host}:{self._config.port}")
                if watch is not None:
                    watch.delivered(receipt)
                yield told
        if trouble is None and self._carried.mails > begun:
            self.footing.went_well()

    def command(self, command: Command) -> Reply:
        """Say one command, built-in or of your own, and give the reply, whatever it says.

        Raises `ProtocolError` (command_sequence_error) for what has a method of its own here or belongs to a mail,
        and `SmtpError` when the link breaks; then it is closed.
        """
        if command.verb in _KEPT or not self._talk.usable:
            raise ProtocolError(f"{command.verb or 'this'} may not be said here", ErrorKind.COMMAND_SEQUENCE_ERROR)
        try:
            self._talk.overhear(None)
            return self._talk.ask(command)
        finally:
            self._close_if_broken()

    def noop(self, patience: float | None = None) -> bool:
        """Ask the server for a sign of life; wait so many seconds for it, and never longer than for another reply."""
        talk, usual = self._talk, self._talk.patience
        talk.patience = usual if patience is None else min(usual, patience)
        try:
            return self._works(Noop())
        finally:
            talk.patience = usual

    def reset(self) -> bool:
        """Drop a transaction that a refusal left open. `deliver` does so by itself where needed."""
        return self._works(Rset())

    def quit(self, patience: float = FAREWELL) -> bool:
        """Say good-bye, wait so many seconds for the answer, close; whether it came. Out of step it is only closed."""
        self._talk.patience = min(self._talk.patience, patience)
        answered = self._works(Quit())
        self.close()
        return answered

    def close(self) -> None:
        """Close without a word; may be repeated."""
        self._talk.close()

    def abort(self) -> None:
        """Have the thread that uses this link find it gone at once. Any thread may call this, and only this."""
        self._talk.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.quit()

    def _close_if_broken(self) -> None:
        if not self._talk.usable:
            self.close()

    def _works(self, command: Command) -> bool:
        if not self._talk.usable:
            return False
        try:
            self._talk.overhear(None)
            return self._talk.ask(command).is_positive
        except SmtpError:
            return False
        except BaseException:
            self.close()
            raise

    def _carry(self, mode: WireMode, course: Course, permit: Permit) -> Iterator[None]:
        match mode:
            case WireMode.CHUNKED:
                return carry_chunked(self._talk, course, permit, self._window, self.footing)
            case WireMode.STREAMED:
                return carry_streamed(self._talk, course, permit)
            case WireMode.PIPELINED:
                return carry_one_by_one(self._talk, course, permit, announce_pipelined)
            case WireMode.LOCKSTEP:
                return carry_one_by_one(self._talk, course, permit, announce_in_lockstep)
