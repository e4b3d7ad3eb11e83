"""OpenSSL's complaints in words that help.

The failed handshake itself is asked for the server's certificate, so that names and dates can be told without a second
connection. It is told of as unproven: nobody has vouched for it.
"""

import errno
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from smtp_transport.errors import ErrorKind, TlsError
from smtp_transport.phase import Phase
from smtp_transport.tls.certificate import Certificate, chain_of

_UNKNOWN_ISSUER: Final = (
    "the server's certificate comes from an authority that is not trusted here; put that authority's certificate into "
    "ca_certs, or have the server send its whole chain"
)
# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNTRUSTED: Final = {
    2: _UNKNOWN_ISSUER,
    18: "self-signed: the server's certificate vouches for itself; if it is your own server, put it into ca_certs",
    19: "the server's chain ends in a self-signed authority that is not trusted here; if yours, put it into ca_certs",
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
}
_MOST_TOLD: Final = 5
_LONGEST_TOLD: Final = 120
_NAME_MISMATCHES = frozenset({62, 64})

# What OpenSSL says when the first bytes are no TLS record; the second since its version 3.2.
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"})
_NO_COMMON_VERSION = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "NO_PROTOCOLS_AVAILABLE",
        "VERSION_TOO_LOW",
        "WRONG_SSL_VERSION",
    }
)
_CLIENT_CERTIFICATE = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
    }
)
_WANTS_A_CERTIFICATE = "the server asks for a client certificate that it knows; see tls_config.client_cert_path"


@dataclass(frozen=True, slots=True)
class Handshake:
    """What is known of a handshake that failed: `link` if it began; `heard`, the first bytes that the server said.

    `implicit`: TLS was to start with the first byte, not after STARTTLS.
    """

    server_name: str
    implicit: bool
    link: ssl.SSLSocket | None = None
    heard: bytes = b""

    @property
    def greets_plainly(self) -> bool:
        """Whether the server greeted in plain SMTP where TLS was to start."""
        return self.implicit and self.heard[:3].isdigit()


def explain(error: OSError, handshake: Handshake) -> TlsError:
    """Say what an error of a handshake means and what cures it; it is an `ssl.SSLError`, or one of the socket."""
    if isinstance(error, ssl.SSLCertVerificationError):
        kind, text = _bad_certificate(error, handshake)
    else:
        kind, text = _failed_handshake(error, handshake)
    return TlsError(text, kind, phase=Phase.TLS)


def explain_alert(error: OSError) -> TlsError | None:
    """Say whether an error after the handshake was about this client's certificate: TLS 1.3 tells only then."""
    if _reason(error) in _CLIENT_CERTIFICATE:
        return TlsError(_WANTS_A_CERTIFICATE, ErrorKind.TLS_HANDSHAKE_FAILED, phase=Phase.TLS)
    return None


def _reason(error: OSError) -> str:
    """OpenSSL's short name of the error; some versions of Python give it with spaces."""
    return (getattr(error, "reason", None) or "").upper().replace(" ", "_")


def _bad_certificate(error: ssl.SSLCertVerificationError, handshake: Handshake) -> tuple[ErrorKind, str]:
    sent = [Certificate.parse(der) for der in chain_of(handshake.link)] if handshake.link is not None else []
    certificate = sent[0] if sent else None
    if error.verify_code in _NAME_MISMATCHES:
        return not_for(handshake.server_name, certificate)
    # Which of them is too old or too new is not told; it need not be the server's own.
    now = datetime.now(UTC)
    if error.verify_code == _EXPIRED:
        return expired(next((one for one in sent if one is not None and one.not_after < now), None))
    if error.verify_code == _NOT_YET_VALID:
        return not_yet_valid(next((one for one in sent if one is not None and one.not_before > now), None))
    if error.verify_code in _UNTRUSTED:
        issuer = f" (its issuer: {printable(certificate.issuer)})" if certificate is not None else ""
        return ErrorKind.CERTIFICATE_UNTRUSTED, _UNTRUSTED[error.verify_code] + issuer
    return ErrorKind.CERTIFICATE_INVALID, f"the server's certificate was refused: {error.verify_message}"


def expired(certificate: Certificate | None) -> tuple[ErrorKind, str]:
    """Tell when."""
    day = f" on {certificate.not_after:%Y-%m-%d}" if certificate is not None else ""
    return ErrorKind.CERTIFICATE_EXPIRED, (
        f"the server's certificate expired{day}; its owner must renew it (or is this machine's clock wrong?)"
    )


def not_yet_valid(certificate: Certificate | None) -> tuple[ErrorKind, str]:
    """Tell from when on."""
    day = f" before {certificate.not_before:%Y-%m-%d}" if certificate is not None else " yet"
    return ErrorKind.CERTIFICATE_INVALID, (
        f"the server's certificate is not valid{day}; is this machine's clock right?"
    )


def not_for(server_name: str, certificate: Certificate | None) -> tuple[ErrorKind, str]:
    """Tell whom it is for."""
    told = ""
    if certificate is not None:
        shown = ", ".join(printable(name) for name in certificate.names[:_MOST_TOLD]) or "no name at all"
        more = len(certificate.names) - _MOST_TOLD
        told = f" but for {shown}" + (f" and {more} more" if more > 0 else "")
    return ErrorKind.CERTIFICATE_INVALID, (
        f"the server's certificate is not for {server_name!r}{told}; connect by a name that it bears, or set "
        "tls_config.server_name to one"
    )


def printable(text: str) -> str:
    """Show what a stranger wrote: bounded, without control characters and mail addresses."""
    shown = "".join(character if character.isprintable() else "?" for character in text[:_LONGEST_TOLD])
    return re.sub(r"[^\s,=]+@[^\s,=]+", "***", shown)


def _failed_handshake(error: OSError, handshake: Handshake) -> tuple[ErrorKind, str]:
    reason = _reason(error)
    hung_up = isinstance(error, ssl.SSLEOFError | ConnectionError) or "EOF" in reason or error.errno == errno.ENOTCONN
    if reason in _NOT_TLS or (hung_up and handshake.greets_plainly):
        return ErrorKind.TLS_HANDSHAKE_FAILED, _not_tls(handshake)
    if reason in _NO_COMMON_VERSION:
        return ErrorKind.TLS_VERSION_MISMATCH, (
            "the server has no TLS version that tls_config.min_version allows; it should be upgraded"
        )
    if reason in _CLIENT_CERTIFICATE:
        return ErrorKind.TLS_HANDSHAKE_FAILED, _WANTS_A_CERTIFICATE
    if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE":
        return ErrorKind.TLS_HANDSHAKE_FAILED, (
            "the server broke off the TLS handshake: it has no cipher in common with this client, or it asks for a "
            "client certificate (tls_config.client_cert_path)"
        )
    if hung_up:
        return ErrorKind.TLS_HANDSHAKE_FAILED, "the server hung up in the middle of the TLS handshake" + (
            "; does this port speak TLS at all?" if handshake.implicit else ""
        )
    return ErrorKind.TLS_HANDSHAKE_FAILED, f"the TLS handshake failed ({reason or error.strerror or 'no reason given'})"


def _not_tls(handshake: Handshake) -> str:
    if not handshake.implicit:
        return "the server agreed to STARTTLS and then did not speak TLS"
    if handshake.greets_plainly:
        return "this port speaks plain SMTP, not TLS, at first; use tls='starttls' (usual on ports 587 and 25)"
    if not handshake.heard:
        # It spoke between our look and OpenSSL's read, which keeps what it has read to itself.
        return "this port does not speak TLS at first; if it speaks SMTP, use tls='starttls' (usual on 587 and 25)"
    return "this port speaks no TLS at all, nor SMTP; is it the right one?"
