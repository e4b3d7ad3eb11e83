"""The ledger: the record of every mail, and the only truth about it.

Law: a mail changes by the scripts alone, and every Redis error leaves this room as a LedgerError.
"""

from mailworker.ledger.book import MOST_AT_ONCE, Ledger, LedgerPolicy
from mailworker.ledger.errors import (
    LedgerError,
    LedgerFullError,
    LedgerReadOnlyError,
    LedgerRefusedError,
    LedgerUnavailableError,
)
from mailworker.ledger.roll import Roll
from mailworker.ledger.server import Server
from mailworker.record import (
    Acceptance,
    Accepted,
    Batch,
    Claim,
    Claiming,
    Ended,
    LaneStats,
    MailRecord,
    MailState,
    NewMail,
    Pause,
    Requeued,
    Settlement,
    Sweep,
    Untold,
)

__all__ = [
    "MOST_AT_ONCE",
    "Acceptance",
    "Accepted",
    "Batch",
    "Claim",
    "Claiming",
    "Ended",
    "LaneStats",
    "Ledger",
    "LedgerError",
    "LedgerFullError",
    "LedgerPolicy",
    "LedgerReadOnlyError",
    "LedgerRefusedError",
    "LedgerUnavailableError",
    "MailRecord",
    "MailState",
    "NewMail",
    "Pause",
    "Requeued",
    "Roll",
    "Server",
    "Settlement",
    "Sweep",
    "Untold",
]
