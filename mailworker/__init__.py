"""The outgoing-mail queue that survives kill -9.

    from mailworker import Email, send_email

    send_email.delay(Email(from_="shop@example.com", to="ann@example.org", subject="Your order", text_body="…"))

Law: importing this package costs next to nothing; each name brings only what it needs, and nothing opens a socket.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mailworker.celery import app
    from mailworker.ledger import LedgerError, LedgerFullError, LedgerUnavailableError
    from mailworker.options import RefusedError
    from mailworker.results import MailFailedError, MailResult
    from mailworker.tasks import BulkError, send_email
    from smtp_transport.message import (
        Address,
        Attachment,
        AutoSubmitted,
        Calendar,
        Email,
        EmailBuilder,
        FileAttachment,
        InlineImage,
        Priority,
        RawEmail,
        Unsubscribe,
    )

__version__ = "0.1.0"

_HOMES = {
    "Address": "smtp_transport.message",
    "Attachment": "smtp_transport.message",
    "BulkError": "mailworker.tasks",
    "AutoSubmitted": "smtp_transport.message",
    "Calendar": "smtp_transport.message",
    "Email": "smtp_transport.message",
    "EmailBuilder": "smtp_transport.message",
    "FileAttachment": "smtp_transport.message",
    "InlineImage": "smtp_transport.message",
    "LedgerError": "mailworker.ledger",
    "LedgerFullError": "mailworker.ledger",
    "LedgerUnavailableError": "mailworker.ledger",
    "MailFailedError": "mailworker.results",
    "MailResult": "mailworker.results",
    "Priority": "smtp_transport.message",
    "RawEmail": "smtp_transport.message",
    "RefusedError": "mailworker.options",
    "Unsubscribe": "smtp_transport.message",
    "app": "mailworker.celery",
    "send_email": "mailworker.tasks",
}

__all__ = [
    "Address",
    "Attachment",
    "AutoSubmitted",
    "BulkError",
    "Calendar",
    "Email",
    "EmailBuilder",
    "FileAttachment",
    "InlineImage",
    "LedgerError",
    "LedgerFullError",
    "LedgerUnavailableError",
    "MailFailedError",
    "MailResult",
    "Priority",
    "RawEmail",
    "RefusedError",
    "Unsubscribe",
    "app",
    "send_email",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
