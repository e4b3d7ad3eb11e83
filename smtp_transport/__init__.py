"""An SMTP client from the bytes up. It knows nothing of queues.

    from smtp_transport import Email, SmtpClient, SmtpConfig

    with SmtpClient(SmtpConfig.builder().host("smtp.example.com").credentials("me", "secret").build()) as client:
        client.send(Email(from_="me@example.com", to="you@example.com", subject="Hello", text_body="..."))

Names are loaded when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smtp_transport.client import BatchSendResult, RejectedRecipient, SendResult, SmtpClient
    from smtp_transport.config import (
        AuthMethod,
        Credentials,
        PoolConfig,
        SmtpConfig,
        SmtpConfigBuilder,
        TlsConfig,
        TlsMode,
        TlsVersion,
    )
    from smtp_transport.connection import Connection, ConnectionInfo, Permit
    from smtp_transport.envelope import Content, Envelope, Transaction
    from smtp_transport.errors import (
        AuthenticationError,
        CancelledError,
        CircuitOpenError,
        ErrorKind,
        MessageError,
        PoolError,
        ProtocolError,
        RateLimitError,
        Severity,
        SmtpConnectionError,
        SmtpError,
        SmtpTimeoutError,
        TlsError,
    )
    from smtp_transport.message import (
        Address,
        Attachment,
        Email,
        EmailBuilder,
        InlineImage,
        Priority,
        envelope_of,
        make_message_id,
        render,
    )
    from smtp_transport.phase import Phase
    from smtp_transport.pool import ConnectionPool, PooledConnection, PoolStatus
    from smtp_transport.protocol.capabilities import Capabilities
    from smtp_transport.receipt import Receipt, RecipientReceipt
    from smtp_transport.reply import Reply

__all__ = [
    "Address",
    "Attachment",
    "AuthMethod",
    "AuthenticationError",
    "BatchSendResult",
    "CancelledError",
    "Capabilities",
    "CircuitOpenError",
    "Connection",
    "ConnectionInfo",
    "ConnectionPool",
    "Content",
    "Credentials",
    "Email",
    "EmailBuilder",
    "Envelope",
    "ErrorKind",
    "InlineImage",
    "MessageError",
    "Permit",
    "Phase",
    "PoolConfig",
    "PoolError",
    "PoolStatus",
    "PooledConnection",
    "Priority",
    "ProtocolError",
    "RateLimitError",
    "Receipt",
    "RecipientReceipt",
    "RejectedRecipient",
    "Reply",
    "SendResult",
    "Severity",
    "SmtpClient",
    "SmtpConfig",
    "SmtpConfigBuilder",
    "SmtpConnectionError",
    "SmtpError",
    "SmtpTimeoutError",
    "TlsConfig",
    "TlsError",
    "TlsMode",
    "TlsVersion",
    "Transaction",
    "envelope_of",
    "make_message_id",
    "render",
]

_NAMES_OF_MODULE = {
    "client": "BatchSendResult RejectedRecipient SendResult SmtpClient",
    "config": "AuthMethod Credentials PoolConfig SmtpConfig SmtpConfigBuilder TlsConfig TlsMode TlsVersion",
    "connection": "Connection ConnectionInfo Permit",
    "envelope": "Content Envelope Transaction",
    "errors": (
        "AuthenticationError CancelledError CircuitOpenError ErrorKind MessageError PoolError ProtocolError "
        "RateLimitError Severity SmtpConnectionError SmtpError SmtpTimeoutError TlsError"
    ),
    "message": "Address Attachment Email EmailBuilder InlineImage Priority envelope_of make_message_id render",
    "phase": "Phase",
    "pool": "ConnectionPool PooledConnection PoolStatus",
    "protocol.capabilities": "Capabilities",
    "receipt": "Receipt RecipientReceipt",
    "reply": "Reply",
}
_HOME = {name: module for module, names in _NAMES_OF_MODULE.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a name from its module, once."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
