"""What the wire said, and what it means: the whole policy on failure, in one table.

Law: pure. Transport tells facts (which phase, which reply, which error); this room alone turns them into fates. The
first row that fits decides. Scope tells whom the fate concerns: only scope `relay` speaks about the relay's health.
"""

import enum
import re
from collections.abc import Container
from dataclasses import dataclass

from mailworker.policy.complaints import Complaint, complaint_of
from smtp_transport.errors import ErrorKind, SmtpError
from smtp_transport.observation import masked_text
from smtp_transport.phase import Phase
from smtp_transport.receipt import Receipt, RecipientReceipt
from smtp_transport.reply import Reply


class Fate(enum.Enum):
    """What becomes of one recipient; the value is its letter in the ledger (a deferred one stays pending)."""

    DELIVERED = "d"
    BOUNCED = "b"
    DEFERRED = "p"
    IN_DOUBT = "i"


class Scope(enum.Enum):
    """Whom a failure concerns."""

    RECIPIENT = "recipient"
    MAIL = "mail"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of one recipient and its reason. `text` is masked; `wait_seconds` is what the server asked for.

    `kind`: the sort of error, if it was one and no reply.
    """

    fate: Fate
    scope: Scope
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    wait_seconds: float | None = None
    kind: str = ""
    complaint: Complaint | None = None

    @property
    def reason(self) -> str:
        """Why, in words of our own: fit for logs, and for a ledger in clear."""
        return " ".join(str(part) for part in ("reply", self.code, self.enhanced) if part) if self.code else self.kind


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the table: a reply with one of `codes`, or an error of one of `kinds`, at one of `phases`."""

    what: str
    fate: Fate
    scope: Scope
    phases: range = range(Phase.CONNECT, Phase.DOT + 1)
    codes: Container[int] | None = None
    kinds: Container[ErrorKind] | None = None

    def fits(self, phase: Phase, reply: Reply | None, error: SmtpError | None) -> bool:
        """Whether this line is about that situation."""
        return (
            phase in self.phases
            and (self.codes is None or (reply is not None and reply.code in self.codes))
            and (self.kinds is None or (reply is None and error is not None and error.kind in self.kinds))
        )


_AT_RCPT = range(Phase.RCPT, Phase.RCPT + 1)
_AT_DOT = range(Phase.DOT, Phase.DOT + 1)
_BEFORE_DOT = range(Phase.CONNECT, Phase.DOT)
_IN_TRANSACTION = range(Phase.MAIL, Phase.DOT + 1)
_2XX, _4XX, _5XX = range(200, 300), range(400, 500), range(500, 600)
# RFC 4954 section 6: we are not, or not well enough, authenticated. Wrong for every mail, so no mail bounces for it.
_NOT_AUTHENTICATED = frozenset({530, 534, 535, 538})
# RFC 5321 section 4.5.3.1.10: 552 after RCPT has long meant "too many recipients", which is transient.
_TOO_MANY_RECIPIENTS = frozenset({552})
_UNSENDABLE = frozenset(
    {
        ErrorKind.MESSAGE,
        ErrorKind.INVALID_FROM_ADDRESS,
        ErrorKind.INVALID_RECIPIENT_ADDRESS,
        ErrorKind.MESSAGE_TOO_LARGE,
        ErrorKind.INVALID_HEADER,
        ErrorKind.ENCODING_FAILED,
        ErrorKind.ATTACHMENT_ERROR,
    }
)
CREDENTIALS = frozenset(
    {
        ErrorKind.CREDENTIALS_INVALID,
        ErrorKind.CREDENTIALS_EXPIRED,
        ErrorKind.AUTH_METHOD_NOT_SUPPORTED,
        ErrorKind.AUTHENTICATION_REQUIRED,
    }
)
_MISSING = frozenset({ErrorKind.CAPABILITY_MISMATCH})
_HELD_BACK = frozenset({ErrorKind.CANCELLED})

_TABLE = (
    _Row("accepted", Fate.DELIVERED, Scope.RECIPIENT, _AT_DOT, codes=_2XX),
    _Row("the relay closes down", Fate.DEFERRED, Scope.RELAY, codes=frozenset({421})),
    _Row("not authenticated", Fate.DEFERRED, Scope.RELAY, codes=_NOT_AUTHENTICATED),
    _Row("refused for now", Fate.DEFERRED, Scope.RECIPIENT, _AT_RCPT, codes=_4XX),
    _Row("too many recipients", Fate.DEFERRED, Scope.RECIPIENT, _AT_RCPT, codes=_TOO_MANY_RECIPIENTS),
    _Row("refused for good", Fate.BOUNCED, Scope.RECIPIENT, _AT_RCPT, codes=_5XX),
    _Row("mail refused for now", Fate.DEFERRED, Scope.MAIL, _IN_TRANSACTION, codes=_4XX),
    _Row("mail refused for good", Fate.BOUNCED, Scope.MAIL, _IN_TRANSACTION, codes=_5XX),
    _Row("cannot be sent as it is", Fate.BOUNCED, Scope.MAIL, _BEFORE_DOT, kinds=_UNSENDABLE),
    _Row("the relay lacks a feature", Fate.BOUNCED, Scope.MAIL, _IN_TRANSACTION, kinds=_MISSING),
    _Row("held back by us", Fate.DEFERRED, Scope.MAIL, _BEFORE_DOT, kinds=_HELD_BACK),
    _Row("nobody knows", Fate.IN_DOUBT, Scope.RELAY, _AT_DOT),
    _Row("the relay failed", Fate.DEFERRED, Scope.RELAY),
)

# Characters of a reply that are kept, for each recipient and each attempt.
_MOST_TEXT = 300
_MOST_SEARCHED = 2000
_ASKED_TO_WAIT = re.compile(
    r"\b(?:in|after|for|wait)\s+(?P<n>\d{1,6})\s*(?P<unit>s|sec|secs|seconds?|m|mins?|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_UNIT_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def judge(receipt: Receipt) -> tuple[Verdict, ...]:
    """Tell the fate of every recipient of one mail, in envelope order."""
    return tuple(_judge_one(recipient, receipt.error) for recipient in receipt.recipients)


def _judge_one(recipient: RecipientReceipt, error: SmtpError | None) -> Verdict:
    reply = recipient.reply
    row = next(row for row in _TABLE if row.fits(recipient.phase, reply, error))
    if reply is not None:
        fate, scope, complaint = row.fate, row.scope, None
        if not reply.is_positive:
            complaint = complaint_of(reply.code, reply.enhanced, reply.text[:_MOST_SEARCHED])
        if complaint:
            # A relay that asks for less works; and what is too much for today is not refused for good.
            fate, scope = Fate.DEFERRED, Scope.MAIL
        text = masked_text(reply.text, _MOST_TEXT)
        return Verdict(fate, scope, reply.code, reply.enhanced, text, _asked_wait(reply), complaint=complaint)
    if error is None:
        return Verdict(row.fate, row.scope, text=row.what, kind=row.what)
    text, kind = masked_text(error.message, _MOST_TEXT), error.kind.value
    return Verdict(row.fate, row.scope, error.code, error.enhanced_code, text, kind=kind)


def _asked_wait(reply: Reply) -> float | None:
    """Seconds that a transient reply asks to wait: "try again in 300 seconds"."""
    found = _ASKED_TO_WAIT.search(reply.text[:_MOST_SEARCHED]) if reply.is_transient else None
    return int(found["n"]) * _UNIT_SECONDS[found["unit"][0].lower()] if found else None


def is_credentials_refusal(error: SmtpError) -> bool:
    """Whether the relay refused who we are: wrong for every mail, so a person must hear of it."""
    return error.kind in CREDENTIALS
