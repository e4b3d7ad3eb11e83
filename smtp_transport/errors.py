"""Everything that can go wrong, in one tree.

    SmtpError
    ├── SmtpConnectionError   dns_resolution_failed, connection_refused, connection_timeout, connection_reset,
    │                         network_unreachable
    ├── TlsError              tls_handshake_failed, certificate_invalid, certificate_expired, certificate_untrusted,
    │                         tls_version_mismatch, starttls_not_supported
    ├── AuthenticationError   credentials_invalid, credentials_expired, auth_method_not_supported,
    │                         authentication_required, too_many_auth_attempts
    ├── ProtocolError         invalid_response, unexpected_response, command_sequence_error, server_shutdown,
    │                         capability_mismatch
    ├── MessageError          invalid_from_address, invalid_recipient_address, message_too_large, invalid_header,
    │                         encoding_failed, attachment_error
    ├── SmtpTimeoutError      connect_timeout, read_timeout, write_timeout, command_timeout
    ├── RateLimitError        local_rate_limit_exceeded, server_rate_limit_exceeded
    ├── CircuitOpenError      circuit_open
    ├── PoolError             pool_exhausted, acquire_timeout, connection_unhealthy
    └── CancelledError        cancelled

Law: an error says what happened and in which phase, never what to do. It holds plain values only, so it survives
pickle, and its text never holds an address, a body or a secret.
"""

import enum

from smtp_transport.phase import Phase


class Severity(enum.Enum):
    """How loud an error should be."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class ErrorKind(enum.Enum):
    """What happened, one word for each cause; the groups are the classes below."""

    CONNECTION = "connection"
    DNS_RESOLUTION_FAILED = "dns_resolution_failed"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_TIMEOUT = "connection_timeout"
    CONNECTION_RESET = "connection_reset"
    NETWORK_UNREACHABLE = "network_unreachable"
    TLS = "tls"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    CERTIFICATE_INVALID = "certificate_invalid"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    TLS_VERSION_MISMATCH = "tls_version_mismatch"
    STARTTLS_NOT_SUPPORTED = "starttls_not_supported"
    AUTHENTICATION = "authentication"
    CREDENTIALS_INVALID = "credentials_invalid"
    CREDENTIALS_EXPIRED = "credentials_expired"
    AUTH_METHOD_NOT_SUPPORTED = "auth_method_not_supported"
    AUTHENTICATION_REQUIRED = "authentication_required"
    TOO_MANY_AUTH_ATTEMPTS = "too_many_auth_attempts"
    PROTOCOL = "protocol"
    INVALID_RESPONSE = "invalid_response"
    UNEXPECTED_RESPONSE = "unexpected_response"
    COMMAND_SEQUENCE_ERROR = "command_sequence_error"
    SERVER_SHUTDOWN = "server_shutdown"
    CAPABILITY_MISMATCH = "capability_mismatch"
    MESSAGE = "message"
    INVALID_FROM_ADDRESS = "invalid_from_address"
    INVALID_RECIPIENT_ADDRESS = "invalid_recipient_address"
    MESSAGE_TOO_LARGE = "message_too_large"
    INVALID_HEADER = "invalid_header"
    ENCODING_FAILED = "encoding_failed"
    ATTACHMENT_ERROR = "attachment_error"
    TIMEOUT = "timeout"
    CONNECT_TIMEOUT = "connect_timeout"
    READ_TIMEOUT = "read_timeout"
    WRITE_TIMEOUT = "write_timeout"
    COMMAND_TIMEOUT = "command_timeout"
    RATE_LIMIT = "rate_limit"
    LOCAL_RATE_LIMIT_EXCEEDED = "local_rate_limit_exceeded"
    SERVER_RATE_LIMIT_EXCEEDED = "server_rate_limit_exceeded"
    CIRCUIT_OPEN = "circuit_open"
    POOL_EXHAUSTED = "pool_exhausted"
    ACQUIRE_TIMEOUT = "acquire_timeout"
    CONNECTION_UNHEALTHY = "connection_unhealthy"
    CANCELLED = "cancelled"


# Unreachable, refused and DNS failures are retryable: a relay that is down comes back.
_RETRYABLE = frozenset(
    {
        ErrorKind.CONNECTION,
        ErrorKind.DNS_RESOLUTION_FAILED,
        ErrorKind.CONNECTION_REFUSED,
        ErrorKind.CONNECTION_TIMEOUT,
        ErrorKind.CONNECTION_RESET,
        ErrorKind.NETWORK_UNREACHABLE,
        ErrorKind.TLS_HANDSHAKE_FAILED,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECT_TIMEOUT,
        ErrorKind.READ_TIMEOUT,
        ErrorKind.WRITE_TIMEOUT,
        ErrorKind.COMMAND_TIMEOUT,
        ErrorKind.INVALID_RESPONSE,
        ErrorKind.SERVER_SHUTDOWN,
        ErrorKind.RATE_LIMIT,
        ErrorKind.LOCAL_RATE_LIMIT_EXCEEDED,
        ErrorKind.SERVER_RATE_LIMIT_EXCEEDED,
        ErrorKind.CIRCUIT_OPEN,
        ErrorKind.POOL_EXHAUSTED,
        ErrorKind.ACQUIRE_TIMEOUT,
        ErrorKind.CONNECTION_UNHEALTHY,
    }
)
_CRITICAL = frozenset(
    {
        ErrorKind.CREDENTIALS_INVALID,
        ErrorKind.CERTIFICATE_INVALID,
        ErrorKind.CERTIFICATE_EXPIRED,
        ErrorKind.CERTIFICATE_UNTRUSTED,
    }
)
_WARNING = frozenset(
    {
        ErrorKind.CONNECTION_TIMEOUT,
        ErrorKind.CONNECT_TIMEOUT,
        ErrorKind.READ_TIMEOUT,
        ErrorKind.WRITE_TIMEOUT,
        ErrorKind.COMMAND_TIMEOUT,
        ErrorKind.RATE_LIMIT,
        ErrorKind.LOCAL_RATE_LIMIT_EXCEEDED,
        ErrorKind.SERVER_RATE_LIMIT_EXCEEDED,
        ErrorKind.CIRCUIT_OPEN,
    }
)


class SmtpError(Exception):
    """The root; never raised itself.

    Fields: `kind`, `message` (no address, body or secret in it), `code` (SMTP reply code or None), `enhanced_code`,
    `phase` (or None outside a conversation). The cause, if any, is `__cause__`.
    """

    default_kind = ErrorKind.PROTOCOL

    def __init__(
        self,
        message: str,
        kind: ErrorKind | None = None,
        code: int | None = None,
        enhanced_code: str | None = None,
        phase: Phase | None = None,
    ) -> None:
        """Keep plain values, all of them in `args`, so that pickle can build the error again."""
        self.kind = kind or self.default_kind
        super().__init__(message, self.kind, code, enhanced_code, phase)
        self.message = message
        self.code = code
        self.enhanced_code = enhanced_code
        self.phase = phase

    @property
    def is_retryable(self) -> bool:
        """Whether the same attempt may succeed later."""
        return not self.is_permanent and (self.is_temporary or self.kind in _RETRYABLE)

    @property
    def is_temporary(self) -> bool:
        """Whether a server said 4xx."""
        return self.code is not None and 400 <= self.code <= 499

    @property
    def is_permanent(self) -> bool:
        """Whether a server said 5xx."""
        return self.code is not None and 500 <= self.code <= 599

    @property
    def severity(self) -> Severity:
        """How loud this should be."""
        if self.kind in _CRITICAL:
            return Severity.CRITICAL
        if self.kind is ErrorKind.CANCELLED:
            return Severity.INFO
        return Severity.WARNING if self.kind in _WARNING else Severity.ERROR

    def __str__(self) -> str:
        """`[kind] message (SMTP code) [enhanced code]`."""
        code = f" (SMTP {self.code})" if self.code is not None else ""
        enhanced = f" [{self.enhanced_code}]" if self.enhanced_code else ""
        return f"[{self.kind.value}] {self.message}{code}{enhanced}"


class SmtpConnectionError(SmtpError):
    """The server cannot be reached, or the link to it broke."""

    default_kind = ErrorKind.CONNECTION


class TlsError(SmtpError):
    """TLS could not be agreed on, or the certificate was not good enough."""

    default_kind = ErrorKind.TLS


class AuthenticationError(SmtpError):
    """The server did not take the credentials, or no mechanism fits."""

    default_kind = ErrorKind.AUTHENTICATION


class ProtocolError(SmtpError):
    """The server, or the caller, broke the rules of the protocol."""

    default_kind = ErrorKind.PROTOCOL


class MessageError(SmtpError):
    """The mail itself cannot be sent as it is."""

    default_kind = ErrorKind.MESSAGE


class SmtpTimeoutError(SmtpError):
    """A deadline passed."""

    default_kind = ErrorKind.TIMEOUT


class RateLimitError(SmtpError):
    """A limit, ours or the server's, was reached."""

    default_kind = ErrorKind.RATE_LIMIT


class CircuitOpenError(SmtpError):
    """The relay is held back because it failed too often."""

    default_kind = ErrorKind.CIRCUIT_OPEN


class PoolError(SmtpError):
    """No connection could be had from the pool."""

    default_kind = ErrorKind.POOL_EXHAUSTED


class CancelledError(SmtpError):
    """The caller gave up, or the client was shut down."""

    default_kind = ErrorKind.CANCELLED
