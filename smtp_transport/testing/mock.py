"""A client that sends nothing: the real `SmtpClient` over links that are imagined, and what a test expects of it.

    mock = MockSmtpClient()
    mock.expect_send(to="you@example.org", subject="Hello").times(1)
    program(mock)
    mock.verify()

Law: everything up to the wire is the real thing, so that a mail which cannot be rendered or addressed, or is too large,
fails here too.
"""

import email.message
import email.policy
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from smtp_transport.client import Interceptor, SmtpClient
from smtp_transport.config import SmtpConfig, TlsConfig
from smtp_transport.connection import Connection, Permit
from smtp_transport.connection.conversation import Conversation
from smtp_transport.connection.fates import Fates
from smtp_transport.connection.opening import Opened
from smtp_transport.connection.transaction import prepare
from smtp_transport.dkim import Signer
from smtp_transport.envelope import Transaction
from smtp_transport.errors import CancelledError, SmtpError
from smtp_transport.observation import Observer
from smtp_transport.options import DeliveryOptions
from smtp_transport.phase import Phase
from smtp_transport.protocol.capabilities import Capabilities
from smtp_transport.protocol.commands import Command
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.reply import Reply

_CAPABILITIES = Capabilities.parse(
    Reply(
        250,
        None,
        (
            *("mock.test", "PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE", "ENHANCEDSTATUSCODES", "DSN", "CHUNKING"),
            *("BINARYMIME", "REQUIRETLS", "DELIVERBY", "MT-PRIORITY", "FUTURERELEASE", "MTRK"),
        ),
    )
)
_SERVER_ID = re.compile(r"[A-Za-z0-9._-]{4,64}")
Text = str | re.Pattern[str]
"""What a text must be: equal to this, or found by this pattern."""


class UnexpectedSend(AssertionError):  # noqa: N818 - reads as what happened
    """A mail was sent that no expectation is for."""


class ExpectationFailed(AssertionError):  # noqa: N818 - the same
    """What was expected did not happen, or happened too often."""


@dataclass(frozen=True)
class SentMail:
    """A mail as a server would have got it. `message` is parsed by the standard library, `content` is the wire's.

    `options` are what was asked for besides.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    message: email.message.EmailMessage = field(repr=False)
    options: DeliveryOptions | None = None

    @classmethod
    def of(cls, transaction: Transaction) -> "SentMail":
        """Render a transaction, and read it back."""
        content = transaction.render(True).data
        message = email.message_from_bytes(content, policy=email.policy.default)
        envelope = transaction.envelope
        return cls(envelope.sender, envelope.recipients, content, message, transaction.options)

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return str(self.message["Subject"] or "")

    @property
    def text(self) -> str:
        """The plain text, or else the HTML, decoded."""
        body = self.message.get_body(("plain", "html"))
        return str(body.get_content()) if body is not None else ""


Outcome = Callable[[SentMail], Receipt]


class Expectation:
    """Mails that are expected, how often, and what becomes of them. Without a count they must come once per outcome."""

    def __init__(self, what: str, matches: Callable[[SentMail], bool]) -> None:
        self.what = what
        self.matches = matches
        self._least: int | None = None
        self._most: int | None = None
        self._outcomes: list[Outcome] = []
        self._to_refuse: set[str] = set()
        self.met = 0

    def times(self, count: int) -> Self:
        """Expect exactly so many; 0 forbids them."""
        _check_count(count)
        self._least = self._most = count
        return self

    def at_least(self, count: int) -> Self:
        """Expect so many or more."""
        _check_count(count)
        self._least, self._most = count, None
        return self

    def returns(self, server_id: str = "MOCK1", refused: Mapping[str, tuple[int, str]] | None = None) -> Self:
        """Take the mail, but for `refused`: code and text by recipient. Several outcomes follow each other.

        Raises ValueError for what is no refusal; `verify` complains of one that met no recipient.
        """
        told = {address.lower(): _refusal(said) for address, said in (refused or {}).items()}
        if not _SERVER_ID.fullmatch(server_id):
            raise ValueError("server_id: give 4 to 64 letters, digits, '.', '_' and '-', as clients look for")
        self._to_refuse.update(told)

        def taken(mail: SentMail) -> Receipt:
            final = Reply(250, "2.0.0", (f"queued as {server_id}",))
            self._to_refuse.difference_update(address.lower() for address in mail.recipients)
            fates = (
                RecipientReceipt(address, Phase.RCPT, told[address.lower()])
                if address.lower() in told
                else RecipientReceipt(address, Phase.DOT, final)
                for address in mail.recipients
            )
            return Receipt(tuple(fates))

        self._outcomes.append(taken)
        return self

    def raises(self, error: SmtpError) -> Self:
        """Let it fail with this error. The last outcome stands for all that follow."""
        _check_error(error)

        def failed(mail: SentMail) -> Receipt:
            phase = error.phase or Phase.MAIL
            return Receipt(tuple(RecipientReceipt(address, phase) for address in mail.recipients), error)

        self._outcomes.append(failed)
        return self

    @property
    def is_exhausted(self) -> bool:
        """Whether no more such mails may come."""
        return self.met >= self._bounds()[1]

    def meet(self, mail: SentMail) -> Receipt:
        """Count a mail, and say what becomes of it."""
        if not self._outcomes:
            self.returns()
        self.met += 1
        return self._outcomes[min(self.met, len(self._outcomes)) - 1](mail)

    def complaint(self) -> str | None:
        """Say what is missing; None if nothing is."""
        least, most = self._bounds()
        if least <= self.met <= most:
            unmet = ", ".join(sorted(self._to_refuse)) if self.met else ""
            return f"{self.what}: to be refused were {unmet}, and nobody asked for them" if unmet else None
        count = f"{least} or more" if most > least else f"{least}"
        return f"{self.what}: expected {count}, {self.met} came"

    def _bounds(self) -> tuple[int, float]:
        if self._least is None:
            return max(1, len(self._outcomes)), max(1, len(self._outcomes))
        return self._least, float("inf") if self._most is None else self._most


class MockSmtpClient(SmtpClient):
    """Stands in for an `SmtpClient`. `strict`: a mail without an expectation is an error at once, and at `verify`.

    `observers`, `interceptors` and `signer` are those of the real one.
    """

    def __init__(
        self,
        config: SmtpConfig | None = None,
        *,
        strict: bool = True,
        observers: Iterable[Observer] | Observer = (),
        interceptors: Iterable[Interceptor] = (),
        signer: Signer | None = None,
    ) -> None:
        super().__init__(
            config or SmtpConfig(host="localhost", tls="none", local_hostname="mock.test"),
            lambda used: _ImaginedConnection(used, self._meet),
            observers=observers,
            interceptors=interceptors,
            signer=signer,
        )
        self._strict = strict
        self._expectations: list[Expectation] = []
        self._unexpected: list[str] = []
        self._lock = threading.Lock()
        self.sent: list[SentMail] = []
        """Every mail that came, in order, also those that failed."""

    def expect_send(
        self,
        to: str | None = None,
        subject: Text | None = None,
        text: Text | None = None,
        where: Callable[[SentMail], bool] = lambda _: True,
    ) -> Expectation:
        """Expect mails to this recipient (among others), with this subject and text, for which `where` is true.

        An earlier expectation is asked first, until it has had all that it wants.
        """
        _check_wishes(to, (subject, text), where)

        def matches(mail: SentMail) -> bool:
            named = to is None or to.lower() in {address.lower() for address in mail.recipients}
            return named and _fits(subject, mail.subject) and _fits(text, mail.text.strip()) and where(mail)

        told = {"to": to, "subject": subject, "text": text}
        what = ", ".join(f"{name}={value!r}" for name, value in told.items() if value is not None)
        expectation = Expectation(f"a mail with {what}" if what else "a mail", matches)
        self._expectations.append(expectation)
        return expectation

    def verify(self) -> None:
        """Raise `ExpectationFailed` unless all that was expected came, and nothing else."""
        missing = [told for each in self._expectations if (told := each.complaint()) is not None]
        if missing or self._unexpected:
            raise ExpectationFailed("; ".join([*missing, *self._unexpected]))

    def _meet(self, mail: SentMail) -> Receipt:
        with self._lock:
            self.sent.append(mail)
            fitting = [each for each in self._expectations if each.matches(mail)]
            for expectation in fitting:
                if not expectation.is_exhausted:
                    return expectation.meet(mail)
            if not self._strict and not fitting:
                return Expectation("any mail", lambda _: True).meet(mail)
            told = f"a mail to {', '.join(mail.recipients)} with subject {mail.subject!r} was not expected"
            told += " any more" if fitting else ""
            self._unexpected.append(told)
        raise UnexpectedSend(told)


class _ImaginedConnection(Connection):
    """A link on which everything is taken, as far as `meet` does not say otherwise."""

    def __init__(self, config: SmtpConfig, meet: Callable[[SentMail], Receipt]) -> None:
        super().__init__(Conversation(_Nowhere(), config.io_timeout), config, Opened("mock.test ESMTP", _CAPABILITIES))
        self._meet = meet
        self._is_open = True
        self._server = replace(self._server, under_tls=True)

    @property
    def usable(self) -> bool:
        return self._is_open

    def deliver(self, transactions: Sequence[Transaction], permit: Permit) -> Iterator[tuple[int, Receipt]]:
        for position, transaction in enumerate(transactions):
            self._carried.mails += 1
            error = self._unfit(transaction, position)
            if error is not None:
                yield position, _failed(transaction, error)
                continue
            if position in permit((position,)):
                yield position, self._meet(SentMail.of(transaction))
                continue
            self._is_open = False
            told = "the mail was not permitted to be committed"
            yield position, _failed(transaction, CancelledError(told, phase=Phase.BODY))
            return

    def _unfit(self, transaction: Transaction, position: int) -> SmtpError | None:
        """Say why no server would be told of this mail; the imagined one offers all that can be asked for."""
        try:
            prepare(transaction, Fates(transaction.envelope.recipients, position, 0.0), self._server)
        except SmtpError as error:
            return error
        return None

    def noop(self, patience: float | None = None) -> bool:  # noqa: ARG002 - nobody has to be waited for
        return self._is_open

    def reset(self) -> bool:
        return self._is_open

    def quit(self, patience: float = 0.0) -> bool:  # noqa: ARG002 - nobody has to be waited for
        self._is_open = False
        return True

    def close(self) -> None:
        self._is_open = False

    def command(self, command: Command) -> Reply:
        return Reply(250, "2.0.0", (f"{command.verb} taken",))


def _failed(transaction: Transaction, error: SmtpError) -> Receipt:
    phase = error.phase or Phase.MAIL
    return Receipt(tuple(RecipientReceipt(address, phase) for address in transaction.envelope.recipients), error)


class _Nowhere:
    """The stream of a link that is imagined: what would be said never comes here."""

    tls_version: str | None = None

    def read(self, deadline: float) -> bytes:  # noqa: ARG002 - the signature of `Stream.read`
        return b""

    def read_now(self) -> bytes:
        return b""

    def write(self, data: bytes, deadline: float, *, attentive: bool = False) -> None: ...

    def start_tls(self, tls: TlsConfig, server_name: str, deadline: float) -> None: ...

    def close(self) -> None: ...


def _check_wishes(to: object, texts: tuple[object, ...], where: object) -> None:
    if not isinstance(to, str | None) or not all(isinstance(text, str | re.Pattern | None) for text in texts):
        raise TypeError("to: give one address; subject, text: give text, or a pattern of `re`")
    if not callable(where):
        raise TypeError("where: give a function that is asked about a SentMail")


def _check_error(error: object) -> None:
    if not isinstance(error, SmtpError):
        raise TypeError(
            f"give an SmtpError such as SmtpTimeoutError('no answer'), which is all that clients raise: {error!r}"
        )


def _check_count(count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ValueError(f"give how many mails are expected, 0 or more, and not {count!r}")


def _refusal(said: object) -> Reply:
    match said:
        case (int(code), str(text)) if 400 <= code <= 599:
            return Reply(code, None, (text,))
    raise ValueError(f"refused: give code and text, (550, 'no such user'), and not {said!r}")


def _fits(wanted: Text | None, text: str) -> bool:
    if wanted is None:
        return True
    return text == wanted if isinstance(wanted, str) else wanted.search(text) is not None
