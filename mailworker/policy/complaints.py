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
_TABLE: Final = (
    # Microsoft 365 says 432 4.3.2, others 421 4.7.0 or 4.4.5; Postfix "too many connections from".
    _Row(
        Complaint.CONNECTIONS,
        _FOR_NOW,
        words=_words(r"(concurrent|simultaneous|too many|maximum|number of).{0,40}(connection|session)"),
    ),
    # Gmail: "550 5.4.5 Daily user sending limit exceeded"; Amazon SES: "454 ... Daily message quota exceeded".
    _Row(
        Complaint.QUOTA,
        _FOR_NOW | {550, 552, 554},
        words=_words(r"daily.{0,40}(quota|limit)|quota.{0,40}exceeded.{0,20}day"),
    ),
    # Amazon SES: "454 Throttling failure: Maximum sending rate exceeded".
    _Row(
        Complaint.RATE,
        _FOR_NOW,
        words=_words(r"throttl|sending rate|rate.{0,20}(limit|exceed)|too (many (e?mails|messages)|fast)|slow down"),
    ),
    # Gmail: 421 4.7.28 "unusual rate of mail"; Yahoo: 421 4.7.0 [TSS04].
    _Row(Complaint.RATE, frozenset({421, 450, 451}), r"4\.7\.(28|650)", None),
    _Row(Complaint.RATE, frozenset({421, 451}), words=_words(r"unusual rate|\[TSS\d+\]|temporarily deferred")),
)


def complaint_of(code: int, enhanced: str | None, text: str) -> Complaint | None:
    """Tell what this reply complains of; None if it is about something else."""
    return next((row.complaint for row in _TABLE if row.fits(code, enhanced or "", text)), None)
