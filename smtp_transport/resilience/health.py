"""What an outcome says of the server as a whole, whatever it says of the mail.

Law: pure. A server that refuses a mail works. One that cannot be reached, breaks the link, does not answer in time or
turns everybody away for now does not. A refusal for good, of our credentials say, is no matter of waiting.
"""

import enum
from typing import Final

from smtp_transport.errors import (
    AuthenticationError,
    ErrorKind,
    PoolError,
    ProtocolError,
    SmtpConnectionError,
    SmtpError,
    SmtpTimeoutError,
    TlsError,
)
from smtp_transport.receipt import Receipt

_CLOSES_DOWN: Final = 421
_OURS: Final = frozenset({ErrorKind.COMMAND_SEQUENCE_ERROR, ErrorKind.CAPABILITY_MISMATCH})


class Health(enum.Enum):
    """What one outcome says."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


def health_by(receipt: Receipt) -> Health:
    """Judge by what became of a mail."""
    if receipt.error is not None:
        return health_after(receipt.error)
    replies = [fate.reply for fate in receipt.recipients if fate.reply is not None]
    if any(reply.code == _CLOSES_DOWN for reply in replies):
        return Health.BAD
    return Health.GOOD if replies else Health.UNKNOWN


def health_after(error: SmtpError) -> Health:
    """Judge by an error of a conversation, or of one that did not come about."""
    if error.is_permanent or error.kind in _OURS:
        return Health.UNKNOWN
    if isinstance(error, SmtpConnectionError | SmtpTimeoutError | TlsError | ProtocolError):
        return Health.BAD
    if isinstance(error, AuthenticationError):
        return Health.BAD if error.is_temporary else Health.UNKNOWN
    is_broken = isinstance(error, PoolError) and error.kind is ErrorKind.CONNECTION_UNHEALTHY
    return Health.BAD if is_broken else Health.UNKNOWN
