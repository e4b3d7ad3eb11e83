"""What a send came to, in the caller's terms; and the error of one that reached nobody."""

from dataclasses import dataclass, field

from smtp_transport.connection.trouble import refused
from smtp_transport.errors import AuthenticationError, ErrorKind, MessageError, ProtocolError, SmtpError
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt, RecipientReceipt

_ADDRESS_CODES = frozenset({501, 510, 511, 550, 551, 553})
_WHOSE_ADDRESS = {Phase.MAIL: ErrorKind.INVALID_FROM_ADDRESS, Phase.RCPT: ErrorKind.INVALID_RECIPIENT_ADDRESS}
_OTHER_CODES = {
    502: (ProtocolError, ErrorKind.CAPABILITY_MISMATCH),
    503: (ProtocolError, ErrorKind.COMMAND_SEQUENCE_ERROR),
    504: (ProtocolError, ErrorKind.CAPABILITY_MISMATCH),
    530: (AuthenticationError, ErrorKind.AUTHENTICATION_REQUIRED),
    534: (AuthenticationError, ErrorKind.AUTH_METHOD_NOT_SUPPORTED),
    535: (AuthenticationError, ErrorKind.CREDENTIALS_INVALID),
    555: (ProtocolError, ErrorKind.CAPABILITY_MISMATCH),
}


@dataclass(frozen=True, slots=True)
class RejectedRecipient:
    """A recipient that the server refused, with the reply's code and text, and its enhanced code (RFC 3463) if any."""

    address: str = field(repr=False)
    code: int
    message: str = field(repr=False)
    enhanced_code: str | None = None


@dataclass(frozen=True, slots=True)
class SendResult:
    """A mail that at least one recipient's server took.

    `server_id`: the server's queue id, if its reply names one. `response`: the text of its final reply. `duration` is
    in seconds. `unanswered`: recipients of whom the server said nothing in the end, because the link broke between
    several transactions or between the replies of LMTP; `error` tells what broke, and they may or may not get the mail.
    """

    message_id: str
    server_id: str | None
    accepted: tuple[str, ...] = field(repr=False)
    rejected: tuple[RejectedRecipient, ...]
    response: str = field(repr=False)
    duration: float
    unanswered: tuple[str, ...] = field(default=(), repr=False)
    error: SmtpError | None = None

    @property
    def is_complete_success(self) -> bool:
        """Whether the server took the mail for everybody."""
        return not self.rejected and not self.unanswered

    @property
    def is_partial_success(self) -> bool:
        """Whether the server took the mail for some and not, as far as is known, for all."""
        return bool(self.accepted) and not self.is_complete_success


@dataclass(frozen=True, slots=True)
class BatchSendResult:
    """What became of each email, in their order; `duration` is in seconds, for all of them."""

    results: tuple[SendResult | SmtpError, ...]
    duration: float

    @property
    def total(self) -> int:
        """How many emails there were."""
        return len(self.results)

    @property
    def succeeded(self) -> int:
        """How many reached someone."""
        return sum(isinstance(result, SendResult) for result in self.results)

    @property
    def failed(self) -> int:
        """How many reached nobody."""
        return self.total - self.succeeded


def result_of(message_id: str, receipt: Receipt) -> SendResult | SmtpError:
    """Turn a receipt into a result, or into the error of a mail that reached nobody."""
    final = receipt.final_reply
    if final is None or not receipt.accepted:
        return failure(receipt)
    rejected = tuple(
        RejectedRecipient(fate.address, fate.reply.code, fate.reply.text, fate.reply.enhanced)
        for fate in receipt.recipients
        if not fate.is_accepted and fate.reply is not None
    )
    unanswered = tuple(fate.address for fate in receipt.recipients if fate.reply is None)
    return SendResult(
        message_id,
        receipt.server_id,
        receipt.accepted,
        rejected,
        final.text,
        receipt.duration,
        unanswered,
        receipt.error,
    )


def failure(receipt: Receipt) -> SmtpError:
    """Say why nobody got the mail: what broke, or else the refusal that leaves most hope."""
    if receipt.error is not None:
        return receipt.error
    hopeful_first = sorted(receipt.recipients, key=lambda fate: fate.reply is None or not fate.reply.is_transient)
    return _refusal(hopeful_first[0])


def _refusal(fate: RecipientReceipt) -> SmtpError:
    reply = fate.reply
    if reply is None:
        return ProtocolError("the mail was not sent, and the server did not say why", phase=fate.phase)
    error = refused(reply, fate.phase)
    kind: type[SmtpError]
    if reply.code in _OTHER_CODES:
        kind, what = _OTHER_CODES[reply.code]
    elif reply.code in _ADDRESS_CODES:
        kind, what = MessageError, _WHOSE_ADDRESS.get(fate.phase, ErrorKind.MESSAGE)
    elif (
        reply.code == 552 and fate.phase is not Phase.RCPT
    ):  # there it means a full mailbox, RFC 5321 section 4.5.3.1.10
        kind, what = MessageError, ErrorKind.MESSAGE_TOO_LARGE
    else:
        kind, what = type(error), error.kind
    return kind(error.message, what, error.code, error.enhanced_code, error.phase)
