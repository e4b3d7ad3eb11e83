"""An SMTP client from the bytes up. It knows nothing of queues.

    from smtp_transport import Email, SmtpClient, SmtpConfig

    with SmtpClient(SmtpConfig.builder().host("smtp.example.com").credentials("me", "secret").build()) as client:
        client.send(Email(from_="me@example.com", to="you@example.com", subject="Hello", text_body="..."))

Names are loaded when they are first used, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smtp_transport.client import (
        BatchSendResult,
        Interceptor,
        MailClient,
        RejectedRecipient,
        SendResult,
        SmtpClient,
    )
    from smtp_transport.config import (
        CircuitBreakerConfig,
        PoolConfig,
        Proxy,
        ProxyKind,
        RateLimitBehavior,
        RateLimitConfig,
        RetryConditions,
        RetryConfig,
        SmtpConfig,
        SmtpConfigBuilder,
        TlsConfig,
        TlsMode,
        TlsVersion,
    )
    from smtp_transport.connection import Connection, ConnectionInfo, Permit, Stumble
    from smtp_transport.credentials import (
        AuthMethod,
        CallableProvider,
        CredentialKind,
        CredentialProvider,
        Credentials,
        OAuth2Token,
    )
    from smtp_transport.dkim import DkimSigner, Signer
    from smtp_transport.envelope import Content, Envelope, StreamedContent, Transaction
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
        AutoSubmitted,
        Calendar,
        Email,
        EmailBuilder,
        EncodedFiles,
        FileAttachment,
        InlineImage,
        Priority,
        RawEmail,
        Unsubscribe,
        envelope_of,
        make_message_id,
        render,
        transaction_of,
    )
    from smtp_transport.oauth import ClientCredentialsProvider, OAuth2Client, RefreshTokenProvider
    from smtp_transport.observation import Event, Observer, Transcript
    from smtp_transport.options import DeliverBy, DeliveryOptions, Notify, Return, Tracking
    from smtp_transport.phase import Phase
    from smtp_transport.pool import ConnectionPool, HostLimits, PooledConnection, PoolStatus
    from smtp_transport.protocol.capabilities import Capabilities, Limits
    from smtp_transport.protocol.commands import Command, Expn, Noop, Vrfy
    from smtp_transport.receipt import Receipt, RecipientReceipt
    from smtp_transport.reply import Reply
    from smtp_transport.resilience import CircuitState
    from smtp_transport.sasl import ChannelBinding, SaslContext, SaslExchange, SaslMechanism
    from smtp_transport.session import SessionState, SmtpSession
    from smtp_transport.stream import Dialer, SocketStream, Stream, stream_pair
    from smtp_transport.tls import TlsSessions
    from smtp_transport.wire import WireMode, WireProtocol

__all__ = [
    "Address",
    "Attachment",
    "AuthMethod",
    "AuthenticationError",
    "AutoSubmitted",
    "BatchSendResult",
    "Calendar",
    "CallableProvider",
    "CancelledError",
    "Capabilities",
    "ChannelBinding",
    "CircuitBreakerConfig",
    "CircuitOpenError",
    "CircuitState",
    "ClientCredentialsProvider",
    "Command",
    "Connection",
    "ConnectionInfo",
    "ConnectionPool",
    "Content",
    "CredentialKind",
    "CredentialProvider",
    "Credentials",
    "DeliverBy",
    "DeliveryOptions",
    "Dialer",
    "DkimSigner",
    "Email",
    "EmailBuilder",
    "EncodedFiles",
    "Envelope",
    "ErrorKind",
    "Event",
    "Expn",
    "FileAttachment",
    "HostLimits",
    "InlineImage",
    "Interceptor",
    "Limits",
    "MailClient",
    "MessageError",
    "Noop",
    "Notify",
    "OAuth2Client",
    "OAuth2Token",
    "Observer",
    "Permit",
    "Phase",
    "PoolConfig",
    "PoolError",
    "PoolStatus",
    "PooledConnection",
    "Priority",
    "ProtocolError",
    "Proxy",
    "ProxyKind",
    "RateLimitBehavior",
    "RateLimitConfig",
    "RateLimitError",
    "RawEmail",
    "Receipt",
    "RecipientReceipt",
    "RefreshTokenProvider",
    "RejectedRecipient",
    "Reply",
    "RetryConditions",
    "RetryConfig",
    "Return",
    "SaslContext",
    "SaslExchange",
    "SaslMechanism",
    "SendResult",
    "SessionState",
    "Severity",
    "Signer",
    "SmtpClient",
    "SmtpConfig",
    "SmtpConfigBuilder",
    "SmtpConnectionError",
    "SmtpError",
    "SmtpSession",
    "SmtpTimeoutError",
    "SocketStream",
    "Stream",
    "StreamedContent",
    "Stumble",
    "TlsConfig",
    "TlsError",
    "TlsMode",
    "TlsSessions",
    "TlsVersion",
    "Tracking",
    "Transaction",
    "Transcript",
    "Unsubscribe",
    "Vrfy",
    "WireMode",
    "WireProtocol",
    "envelope_of",
    "make_message_id",
    "render",
    "stream_pair",
    "transaction_of",
]

_NAMES_OF_MODULE = {
    "client": "BatchSendResult Interceptor MailClient RejectedRecipient SendResult SmtpClient",
    "config": (
        "CircuitBreakerConfig PoolConfig Proxy ProxyKind RateLimitBehavior RateLimitConfig RetryConditions RetryConfig "
        "SmtpConfig SmtpConfigBuilder TlsConfig TlsMode TlsVersion"
    ),
    "connection": "Connection ConnectionInfo Permit Stumble",
    "credentials": "AuthMethod CallableProvider CredentialKind CredentialProvider Credentials OAuth2Token",
    "dkim": "DkimSigner Signer",
    "envelope": "Content Envelope StreamedContent Transaction",
    "errors": (
        "AuthenticationError CancelledError CircuitOpenError ErrorKind MessageError PoolError ProtocolError "
        "RateLimitError Severity SmtpConnectionError SmtpError SmtpTimeoutError TlsError"
    ),
    "message": (
        "Address Attachment AutoSubmitted Calendar Email EmailBuilder EncodedFiles FileAttachment InlineImage Priority "
        "RawEmail Unsubscribe envelope_of make_message_id render transaction_of"
    ),
    "oauth": "ClientCredentialsProvider OAuth2Client RefreshTokenProvider",
    "observation": "Event Observer Transcript",
    "options": "DeliverBy DeliveryOptions Notify Return Tracking",
    "phase": "Phase",
    "pool": "ConnectionPool HostLimits PooledConnection PoolStatus",
    "protocol.capabilities": "Capabilities Limits",
    "protocol.commands": "Command Expn Noop Vrfy",
    "receipt": "Receipt RecipientReceipt",
    "reply": "Reply",
    "resilience": "CircuitState",
    "sasl": "ChannelBinding SaslContext SaslExchange SaslMechanism",
    "stream": "Dialer SocketStream Stream stream_pair",
    "tls": "TlsSessions",
    "session": "SessionState SmtpSession",
    "wire": "WireMode WireProtocol",
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
