"""What became of a mail on the wire, recipient by recipient. Facts only: what they mean is decided elsewhere."""

import re
from dataclasses import dataclass, field

from smtp_transport.errors import SmtpError
from smtp_transport.phase import Phase
from smtp_transport.reply import Reply

_QUEUED_AS = re.compile(
    # Postfix, SendGrid, Brevo (where it is a Message-ID) · Haraka · Exchange Online
    r"\bqueued (?:as <?|\()([A-Za-z0-9._-]{4,64})|\[InternalId=([0-9]{4,32})"
    # Exim, iCloud
    r"|\bid[= ]([A-Za-z0-9._-]{4,64})",
    re.IGNORECASE,
)
_TOLD_AS = re.compile(
    # Whole replies, with a digit somewhere in what is taken for an id. Sendmail, OpenSMTPD · SES · Gmail
    r"(?:(?=[a-z._-]*[0-9])([A-Za-z0-9._-]{4,64}) (?:message|mail) accepted\b.*|ok (?=[a-z-]*[0-9])([A-Za-z0-9-]{8,80})"
    r"|ok +[0-9]+ ([A-Za-z0-9._-]{4,80}) - gsmtp"
    # qmail · Dovecot's LMTP
    r"|ok [0-9]+ qp ([0-9]+)|<[^>]*> ([A-Za-z0-9+/_-]{8,64}) saved)\s*",
    re.IGNORECASE,
)

_DOT = Phase.DOT  # looking it up in the enum each time costs more than comparing


# Two are made for each mail, and what `dataclass` writes for a frozen class takes twice as long as their slots do.
@dataclass(frozen=True, slots=True, init=False)
class RecipientReceipt:
    """The fate of one recipient: the last step that was taken for it, and what the server said to that step.

    Delivered: phase DOT with a 2xx reply. Refused: any phase with a 4xx or 5xx reply. In doubt: phase DOT and no reply.
    Otherwise there is no reply and `Receipt.error` tells what broke.
    """

    address: str = field(repr=False)
    phase: Phase
    reply: Reply | None = None

    def __init__(self, address: str, phase: Phase, reply: Reply | None = None) -> None:
        _set_address(self, address)
        _set_phase(self, phase)
        _set_reply(self, reply)

    @property
    def is_accepted(self) -> bool:
        """Whether the server took responsibility for the mail to this recipient."""
        return self.phase is _DOT and self.reply is not None and self.reply.is_positive


_set_address, _set_phase, _set_reply = (vars(RecipientReceipt)[name].__set__ for name in ("address", "phase", "reply"))


@dataclass(frozen=True, slots=True, init=False)
class Receipt:
    """The fate of one mail. `recipients` is in envelope order; `duration` is in seconds.

    `error` is set when the conversation broke or could not go on (a timeout, a lost link, a missing capability).
    A refusal in a reply is not an error here.
    """

    recipients: tuple[RecipientReceipt, ...]
    error: SmtpError | None = None
    duration: float = 0.0

    def __init__(
        self, recipients: tuple[RecipientReceipt, ...], error: SmtpError | None = None, duration: float = 0.0
    ) -> None:
        _set_recipients(self, recipients)
        _set_error(self, error)
        _set_duration(self, duration)

    @property
    def accepted(self) -> tuple[str, ...]:
        """Addresses that the server took."""
        return tuple([r.address for r in self.recipients if r.is_accepted])

    @property
    def final_reply(self) -> Reply | None:
        """The reply to the content, if there was one; of several, with LMTP, one that accepts if there is one."""
        replies = [r.reply for r in self.recipients if r.phase is Phase.DOT and r.reply is not None]
        return next((reply for reply in replies if reply.is_positive), replies[0] if replies else None)

    @property
    def server_id(self) -> str | None:
        """The server's own queue id, where its final reply tells it in one of the usual forms."""
        reply = self.final_reply
        found = (_QUEUED_AS.search(reply.text) or _TOLD_AS.fullmatch(reply.text)) if reply else None
        return found[found.lastindex or 0] if found else None


_set_recipients, _set_error, _set_duration = (
    vars(Receipt)[name].__set__ for name in ("recipients", "error", "duration")
)
