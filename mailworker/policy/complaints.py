"""What a relay's complaints mean: too fast, too many connections, or too much for today.

Law: a table of codes, enhanced codes and words, tried in their order; what fits none is no complaint.
"""

import enum
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Final


class Complaint(enum.Enum):
    """What there is too much of."""

    RATE = "rate"
    CONNECTIONS = "connections"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True)
class _Row:
    complaint: Complaint
    codes: Container[int]
    enhanced: str = ""
    words: re.Pattern[str] | None = None

    def fits(self, code: int, enhanced: str, text: str) -> bool:
        return (
            code in self.codes
            and (not self.enhanced or re.fullmatch(self.enhanced, enhanced) is not None)
            and (self.words is None or self.words.search(text) is not None)
        )


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


_FOR_NOW: Final = frozenset({421, 432, 450, 451, 452, 454})
# What some say for good although it heals.
_ANY: Final = _FOR_NOW | {550, 552, 554}
# What is said of one mailbox says nothing of the relay: Gmail's "450 4.2.1 The user you are trying to contact is
# receiving mail too quickly", Exchange's "432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded" fit no row.
_TABLE: Final = (
    # Microsoft 365: "432 4.3.2 Concurrent connections limit exceeded", "STOREDRV.ClientSubmit; sender thread limit
    # exceeded"; Exchange Online: "421 4.3.2 The maximum number of concurrent connections ... has exceeded a limit";
    # Outlook.com: "421 RP-003 ... has exceeded the connection limit allowed"; Postfix: "421 4.7.0 Error: too many
    # connections from"; sendmail: "421 4.3.2 Too many open connections"; Exim: "421 Too many concurrent SMTP
    # connections"; GoDaddy: "421 ... too many sessions from"; others "421 4.4.5 ... concurrency limit reached".
    _Row(
        Complaint.CONNECTIONS,
        _FOR_NOW,
        words=_words(
            r"(concurrent|simultaneous|parallel).{0,20}(connection|session)|concurrency limit|sender thread limit"
            r"|too many ((open|active|smtp|client|concurrent|simultaneous) )*(connections|sessions)"
            r"|max(imum)?( allowed)?( number of)? connections|connections? (count|limit)"
        ),
    ),
    # Gmail: "550 5.4.5 Daily user sending limit exceeded", "450 4.2.1 Daily SMTP relay limit exceeded"; Amazon SES:
    # "454 Throttling failure: Daily message quota exceeded"; Microsoft 365: "550 5.1.90 ... reached your daily limit
    # for message recipients", "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", and the same
    # of the sender's own full mailbox; cPanel: "has exceeded the max emails per hour"; SendGrid: "Maximum credits
    # exceeded".
    _Row(
        Complaint.QUOTA,
        _ANY,
        words=_words(
            r"daily.{0,40}(quota|limit)|quota.{0,40}exceeded.{0,20}day|STOREDRV\.Submission.{0,80}QuotaExceeded"
            r"|exceeded the max.{0,30} per (hour|day)|(messages|e?mails|recipients) per (hour|day) exceeded"
            r"|maximum credits exceeded"
        ),
    ),
    # Amazon SES: "454 Throttling failure: Maximum sending rate exceeded"; Gmail: "450 4.2.1 Peak SMTP relay limit
    # exceeded"; Exchange: "421 4.4.2 Message submission rate for this client has exceeded the configured limit";
    # sendmail: "421 4.3.2 Connection rate limit exceeded"; Outlook.com: "421 RP-001 ... exceeded the rate limit
    # allowed", and "We have limits for how many messages can be sent"; Postfix: "450 4.7.1 Error: too much mail from",
    # "too many recipients from", "421 4.7.0 Error: too many AUTH commands from"; iCloud: "421 4.7.1 ... excessive
    # volume".
    _Row(
        Complaint.RATE,
        _FOR_NOW,
        words=_words(
            r"throttl|sending rate|\brate.{0,40}(limit|exceed)|peak smtp relay limit|limits for how many messages"
            r"|too (many (e?mails|messages)\b(?!.{0,20}(connection|session))|much mail|fast)|slow down"
            r"|too many (recipients|auth commands|new tls sessions) from|too many login attempts|excessive volume"
        ),
    ),
    # Gmail: 421 4.7.28 "unusual rate of mail"; Outlook.com: 451 4.7.650; Yahoo: 421 4.7.0 [TSS04] "temporarily deferred
    # due to unexpected volume".
    _Row(Complaint.RATE, frozenset({421, 450, 451}), r"4\.7\.(28|650)", None),
    _Row(
        Complaint.RATE,
        frozenset({421, 451}),
        words=_words(r"unusual rate|\[TSS?\d+\]|temporarily deferred|unexpected volume"),
    ),
    # Zoho: "550 5.4.6 Unusual sending activity detected"; msndr: "550 Too many messages. Try again in 92 seconds".
    _Row(
        Complaint.RATE, frozenset({550}), words=_words(r"unusual sending activity|too many messages\b.{0,5}try again")
    ),
)


def complaint_of(code: int, enhanced: str | None, text: str) -> Complaint | None:
    """Tell what this reply complains of; None if it is about something else."""
    return next((row.complaint for row in _TABLE if row.fits(code, enhanced or "", text)), None)
