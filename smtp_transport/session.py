"""One connection, step by step, over a stream that the caller has made: for those who want to lead it themselves.

    session = SmtpSession.connect_starttls(stream, SmtpConfig(host="smtp.example.com"))
    session.login("me", "secret")
    session.send_mail("me@example.com", ["you@example.org"], message)
    session.quit()

Law: a call that cannot follow is refused before a byte is written, and whatever fails closed stays closed: there is no
way from a refused STARTTLS or login to a mail that goes without.
"""

import enum
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from pydantic import SecretStr, ValidationError

from smtp_transport.client.results import failure
from smtp_transport.config import SmtpConfig, TlsMode
from smtp_transport.connection.authentication import authenticate
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.link import Connection
from smtp_transport.connection.opening import Opened, greet, introduce, start_tls
from smtp_transport.connection.watch import Watch
from smtp_transport.credentials import AuthMethod, CredentialKind, CredentialProvider, Credentials, hidden
from smtp_transport.envelope import Content, Envelope, Transaction
from smtp_transport.errors import AuthenticationError, ErrorKind, MessageError, ProtocolError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Command
from smtp_transport.protocol.content import canonical
from smtp_transport.receipt import Receipt
from smtp_transport.reply import Reply
from smtp_transport.stream import Stream
from smtp_transport.wire import WireProtocol

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TOKENS: Final = frozenset({AuthMethod.XOAUTH2, AuthMethod.OAUTHBEARER})


class SessionState(enum.Enum):
    """How far a session has come."""

    AUTHENTICATION = "authentication"
    """Connected. `starttls` and `login` may follow, once each and in this order, or a mail."""
    TRANSACTION = "transaction"
    """Logged in, or a mail was sent: mails may follow."""
    CLOSED = "closed"
    """Nothing may follow."""


class SmtpSession:
    """A link over a connected stream, which it then owns. Made by `connect` or `connect_starttls`; for one thread.

    `config` gives timeouts, names and rules: `host` is the server's name, `local_hostname` is what EHLO says, `tls`
    says what must be true before anything is sent. For implicit TLS the stream is encrypted already.
    """

    def __init__(self, talk: Conversation, config: SmtpConfig, opened: Opened) -> None:
        self._talk = talk
        self._config = config
        self._opened = opened
        self._connection: Connection | None = None
        self._state = SessionState.AUTHENTICATION

    @classmethod
    def connect(cls, stream: Stream, config: SmtpConfig) -> Self:
        """Read the greeting and say EHLO. Raises `SmtpError` with its phase; the stream is closed then."""
        lmtp = config.protocol is WireProtocol.LMTP
        talk = Conversation(stream, config.io_timeout, config.final_timeout, Watch.of(config), lmtp=lmtp)
        try:
            banner = greet(talk)
            return cls(talk, config, Opened(banner, introduce(talk, config.local_hostname)))
        except BaseException:
            talk.close()
            raise

    @classmethod
    def connect_starttls(cls, stream: Stream, config: SmtpConfig) -> Self:
        """Do the same, then upgrade to TLS and say EHLO again."""
        session = cls.connect(stream, config)
        session.starttls()
        return session

    @property
    def state(self) -> SessionState:
        """How far this session has come."""
        return self._state if self._talk.usable else SessionState.CLOSED

    @property
    def capabilities(self) -> Capabilities:
        """What the server offers, as it said last; `raw` has its lines."""
        return self._opened.capabilities

    @property
    def authenticated_as(self) -> str | None:
        """The user's name after a login, if it had one."""
        return self._opened.authenticated_as

    def starttls(self) -> None:
        """Upgrade to TLS; right after `connect` only.

        Raises `TlsError`: starttls_not_supported if the server does not offer it. The session is closed then.
        """
        self._expect(SessionState.AUTHENTICATION, "STARTTLS")
        if self._talk.tls_version is not None:
            raise _out_of_order("TLS is on already")
        demanding = self._config.model_copy(update={"tls": TlsMode.STARTTLS})
        try:
            start_tls(self._talk, demanding, self.capabilities)
            self._opened = replace(self._opened, capabilities=introduce(self._talk, self._config.local_hostname))
        except BaseException:
            self.close()
            raise

    def login(self, user: str, password: SecretStr | str) -> None:
        """Authenticate with a password, by the best mechanism that the server offers; never with XOAUTH2.

        Right after `connect` or `starttls` only, and once. Raises `AuthenticationError`: auth_method_not_supported if
        no mechanism fits (nothing was sent, another `login` may follow), credentials_invalid if the server refused
        (the session is closed then) or if the name or password cannot be sent (nothing was sent).
        """
        password = hidden(password)  # so that no traceback with local variables shows it
        self.login_as(_made(CredentialKind.PASSWORD, user, password), None)

    def login_with(self, mechanism: AuthMethod, user: str | None = None, credential: SecretStr | str = "") -> None:
        """Do the same by this mechanism. `credential` is a password, or an access token for XOAUTH2 and OAUTHBEARER."""
        credential = hidden(credential)
        kind = CredentialKind.TOKEN if mechanism in _TOKENS else CredentialKind.PASSWORD
        kind = CredentialKind.EXTERNAL if mechanism is AuthMethod.EXTERNAL else kind
        self.login_as(_made(kind, user, credential), mechanism)

    def login_xoauth2(self, user: str, access_token: SecretStr | str) -> None:
        """Do the same by XOAUTH2."""
        access_token = hidden(access_token)
        self.login_with(AuthMethod.XOAUTH2, user, access_token)

    def login_as(self, source: Credentials | CredentialProvider, mechanism: AuthMethod | None = None) -> None:
        """Do the same with ready credentials, or a provider of them."""
        self._expect(SessionState.AUTHENTICATION, "AUTH")
        insisting = self._config.model_copy(
            update={"auth_method": mechanism or self._config.auth_method, "credentials": source}
        )
        try:
            user = authenticate(self._talk, insisting, source, self.capabilities)
        except AuthenticationError as error:
            # Without a code it may be that nothing was sent; then nothing is lost.
            if error.kind is not ErrorKind.AUTH_METHOD_NOT_SUPPORTED or error.code is not None:
                self.close()
            raise
        except BaseException:
            self.close()
            raise
        self._opened = replace(self._opened, authenticated_as=user)
        self._state = SessionState.TRANSACTION

    def send_mail(self, sender: str, recipients: Sequence[str], body: bytes | str) -> Receipt:
        """Send one message with this envelope; addresses without angle brackets, `body` with its header.

        Line ends are made CRLF, dots are stuffed. Returns the receipt if at least one recipient was accepted; raises
        the `SmtpError` that says why nobody was.
        """
        self._expect_to_speak()
        if isinstance(recipients, str) or not recipients:
            told = "recipients: give a list of at least one address"
            raise MessageError(told, ErrorKind.INVALID_RECIPIENT_ADDRESS, phase=Phase.MAIL)
        if self._connection is None:
            self._connection = Connection(self._talk, self._config, self._opened)
        self._state = SessionState.TRANSACTION
        content = _content(body)
        mail = Transaction(Envelope(sender, tuple(recipients)), lambda _: content)
        receipts = [receipt for _, receipt in self._connection.deliver((mail,), lambda positions: positions)]
        if not receipts[0].accepted:
            raise failure(receipts[0])
        return receipts[0]

    def command(self, command: Command) -> Reply:
        """Say one command beside the mail, built-in or of your own, and give the reply: see `Connection.command`."""
        self._expect_to_speak()
        return (self._connection or Connection(self._talk, self._config, self._opened)).command(command)

    def quit(self) -> bool:
        """Say QUIT and close; whether the server answered. Nothing may follow."""
        if self.state is SessionState.CLOSED:
            self.close()
            return False
        connection = self._connection or Connection(self._talk, self._config, self._opened)
        self._state = SessionState.CLOSED
        return connection.quit()

    def close(self) -> None:
        """Close without a word; may be repeated."""
        self._state = SessionState.CLOSED
        self._talk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(SmtpError):
            self.quit()

    @property
    def _wants_tls(self) -> bool:
        may_do_without = self._config.tls in {TlsMode.NONE, TlsMode.OPPORTUNISTIC}
        return not (may_do_without and self._config.may_be_plaintext)

    def _expect_to_speak(self) -> None:
        if self.state is SessionState.CLOSED:
            raise _out_of_order("the session is closed")
        if self._talk.tls_version is None and self._wants_tls:
            raise _out_of_order("the configuration wants TLS first; call starttls()")

    def _expect(self, state: SessionState, what: str) -> None:
        if self.state is not state:
            raise _out_of_order(f"{what} may only follow right after connecting, and once")


def _out_of_order(told: str) -> ProtocolError:
    return ProtocolError(told, ErrorKind.COMMAND_SEQUENCE_ERROR)


def _made(kind: CredentialKind, user: str | None, secret: SecretStr) -> Credentials:
    told = {} if user is None else {"username": user}
    try:
        if kind is CredentialKind.EXTERNAL:
            return Credentials.external(user)
        return Credentials(kind=kind, secret=secret, **told)
    except ValidationError as error:
        reason = str(error.errors(include_input=False, include_url=False)[0]["msg"]).removeprefix("Value error, ")
    # The validation's own error is left behind: it holds what it was given.
    raise AuthenticationError(f"these credentials cannot be sent: {reason}", ErrorKind.CREDENTIALS_INVALID)


def _content(body: bytes | str) -> Content:
    if isinstance(body, str) and _SURROGATE.search(body):
        told = "body: it holds half a character (a lone surrogate); give bytes, or text that UTF-8 can write"
        raise MessageError(told, ErrorKind.ENCODING_FAILED, phase=Phase.MAIL)
    data = canonical(body.encode() if isinstance(body, str) else body)
    head = data.partition(b"\r\n\r\n")[0]
    return Content(data, eight_bit=not data.isascii(), utf8_headers=not head.isascii())
