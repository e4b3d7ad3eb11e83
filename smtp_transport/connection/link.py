"""A connection: opened, used for mails, asked how it is, closed."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from smtp_transport.config import SmtpConfig
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.lockstep import announce_in_lockstep
from smtp_transport.connection.opening import Opened, begin
from smtp_transport.connection.pipelined import announce_pipelined
from smtp_transport.connection.transaction import Fates, Outgoing, Permit, prepare, send_content
from smtp_transport.connection.trouble import at_phase, is_out_of_step
from smtp_transport.connection.watch import Watch
from smtp_transport.envelope import Transaction
from smtp_transport.errors import ErrorKind, MessageError, SmtpError, TlsError
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Command, Noop, Quit, Rset
from smtp_transport.receipt import Receipt
from smtp_transport.stream import Dialer, Stream, open_stream
from smtp_transport.tls import TlsSessions

_FAREWELL: Final = 5.0
"""Seconds to wait for the reply to QUIT: nothing depends on it."""


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
        self.delivered = 0
        """How many mails were begun on this link."""
        self._talk = talk
        self._config = config
        self._opened = opened
        pipelining = opened.capabilities.pipelining and config.pipelining
        self._announce = announce_pipelined if pipelining else announce_in_lockstep

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
        talk = Conversation(stream, config.io_timeout, config.final_timeout, watch)
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
    def usable(self) -> bool:
        """Whether a mail can be sent on this link, as far as this side knows."""
        return self._talk.usable

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers, said after TLS if there is TLS."""
        return self._opened.capabilities

    @property
    def banner(self) -> str:
        """The text of the greeting."""
        return self._opened.banner

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

    def deliver(self, transactions: Sequence[Transaction], permit: Permit) -> Iterator[tuple[int, Receipt]]:
        """Send mails one after the other; give each one's position and receipt as soon as it is known.

        No `SmtpError` is raised: receipts tell. When the link can't go on, `usable` is False and mails not begun get
        no receipt. `permit` is asked with one position just before that mail's final dot; a mail without permission is
        not committed, and costs the link.
        """
        for position, transaction in enumerate(transactions):
            if not self.usable:
                self.close()
                return
            receipt = self._deliver_one(position, transaction, permit)
            if self._talk.watch is not None:
                self._talk.watch.delivered(receipt)
            yield position, receipt

    def noop(self) -> bool:
        """Ask the server for a sign of life."""
        return self._works(Noop())

    def reset(self) -> bool:
        """Drop a transaction that a refusal left open. `deliver` does so by itself where needed."""
        return self._works(Rset())

    def quit(self) -> bool:
        """Say good-bye and close; whether the server answered. A link that is out of step is only closed."""
        self._talk.patience = min(self._talk.patience, _FAREWELL)
        answered = self._works(Quit())
        self.close()
        return answered

    def close(self) -> None:
        """Close without a word; may be repeated."""
        self._talk.close()

    def abort(self) -> None:
        """Have the thread that uses this link find it gone at once. Any thread may call this, and only this."""
        self._talk.abort()

    def _works(self, command: Command) -> bool:
        if not self.usable:
            return False
        try:
            self._talk.overhear(None)
            return self._talk.ask(command).is_positive
        except SmtpError:
            return False
        except BaseException:
            self.close()
            raise

    def _deliver_one(self, position: int, transaction: Transaction, permit: Permit) -> Receipt:
        started = time.monotonic()
        fates = Fates(transaction.envelope.recipients)
        error = None
        try:
            outgoing = self._prepare(transaction)
        except SmtpError as unfit:
            return fates.receipt(at_phase(unfit, Phase.MAIL), time.monotonic() - started)
        self.delivered += 1
        try:
            self._carry(outgoing, fates, lambda: position in permit((position,)))
        except SmtpError as broken:
            error = broken
            if is_out_of_step(broken) and broken.phase is not Phase.DOT:
                fates.forget()
        except BaseException:
            # The permit failed, or a signal's handler raised: nobody knows how far the conversation came.
            self.close()
            raise
        if error is not None or not self.usable:
            self.close()
        return fates.receipt(error, time.monotonic() - started)

    def _prepare(self, transaction: Transaction) -> Outgoing:
        try:
            return prepare(transaction, self.capabilities, self._config.max_message_size)
        except SmtpError:
            raise
        except Exception as error:  # noqa: BLE001 - `render` is foreign code: one bad mail must not stop those behind it
            # The exception's text may hold parts of the mail, so only its type and place are told.
            place = traceback.extract_tb(error.__traceback__)[-1]
            told = f"the mail could not be rendered: {type(error).__name__} in {place.name}, line {place.lineno}"
            raise MessageError(told, ErrorKind.ENCODING_FAILED, phase=Phase.MAIL) from None

    def _carry(self, outgoing: Outgoing, fates: Fates, may_commit: Callable[[], bool]) -> None:
        self._talk.overhear(Phase.MAIL)
        if self._announce(self._talk, outgoing, fates):
            send_content(self._talk, outgoing, fates, may_commit)
            return
        try:
            self._talk.overhear(Phase.DATA)
        except SmtpError as error:
            # A link that ends now takes nothing from what was said; a reply too many tells that all was shifted.
            if is_out_of_step(error):
                raise
