"""What a batch of receipts says about the relay, whatever it says about the mails."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailworker.policy.complaints import Complaint, complaint_of
from mailworker.verdict import Scope, Verdict, is_credentials_refusal
from smtp_transport.errors import SmtpError
from smtp_transport.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a relay is to be left alone: in our words, for the server's could be the mail's."""

    reason: str
    is_credentials: bool


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
            is_credentials = receipt.error is not None and is_credentials_refusal(receipt.error)
            self.trouble = Trouble(failure.reason, is_credentials)
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
            self.trouble = Trouble(error.kind.value, is_credentials_refusal(error))
