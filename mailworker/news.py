"""What a batch of receipts says about the relay, whatever it says about the mails."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailworker.policy.complaints import Complaint, complaint_of
from mailworker.tokens import TokenUnavailableError
from mailworker.verdict import Scope, Verdict, is_credentials_refusal
from smtp_transport.errors import SmtpError
from smtp_transport.receipt import Receipt

# Wrong credentials do not heal by themselves, and providers lock accounts that keep trying.
_CREDENTIALS_PAUSE_MS = 300_000
# Without a token nothing can be sent, and the next try is somebody's already.
_TOKEN_PAUSE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a relay is to be left alone: in our words, for the server's could be the mail's.

    `open_ms`: its breaker is opened at once, for so long.
    """

    reason: str
    is_credentials: bool
    open_ms: int | None = None

    @classmethod
    def of(cls, reason: str, error: SmtpError | None) -> "Trouble":
        """Say what an error means for the relay as a whole."""
        if error is not None and is_credentials_refusal(error):
            # What no server has said is ours, and tells which token could not be had.
            told = reason if error.code else f"{reason}: {error.message}"
            return cls(told, is_credentials=True, open_ms=_CREDENTIALS_PAUSE_MS)
        if isinstance(error, TokenUnavailableError):
            return cls(f"{reason}: {error.message}", is_credentials=False, open_ms=_TOKEN_PAUSE_MS)
        return cls(reason, is_credentials=False)


@dataclass(slots=True)
class News:
    """The last trouble, all complaints with the longest time that was asked for, and whether the relay did its part."""

    trouble: Trouble | None = None
    complaints: dict[Complaint, float | None] = field(default_factory=dict)
    is_good: bool = False

    def hear(self, verdicts: Sequence[Verdict], receipt: Receipt) -> None:
        """Take in what became of one mail."""
        failure = next((verdict for verdict in verdicts if verdict.scope is Scope.RELAY), None)
        if failure is None:
            self.is_good = True
        else:
            self.trouble = Trouble.of(failure.reason, receipt.error)
        for verdict in verdicts:
            if verdict.complaint:
                asked = self.complaints.get(verdict.complaint) or 0.0
                self.complaints[verdict.complaint] = max(asked, verdict.wait_seconds or 0.0) or None

    def hear_error(self, error: SmtpError) -> None:
        """Take in what broke before any mail could be sent."""
        complaint = complaint_of(error.code, error.enhanced_code, error.message) if error.code else None
        if complaint:
            self.complaints.setdefault(complaint, None)
        else:
            self.trouble = Trouble.of(error.kind.value, error)
