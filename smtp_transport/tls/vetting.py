"""What must be proven of a certificate besides what OpenSSL proves: a pinned key, or name and dates without a chain.

The handshake is over when this is asked, and nothing has been said yet. The server has shown that it holds the key.
"""

import ssl
from datetime import UTC, datetime

from smtp_transport.errors import ErrorKind, TlsError
from smtp_transport.phase import Phase
from smtp_transport.tls.certificate import Certificate
from smtp_transport.tls.trouble import expired, not_for, not_yet_valid
from smtp_transport.tls_config import TlsConfig


def vet(link: ssl.SSLSocket, tls: TlsConfig, server_name: str) -> None:
    """Check the peer of a finished handshake. Raises `TlsError` if it does not prove what is asked for."""
    der = link.getpeercert(binary_form=True)
    certificate = Certificate.parse(der) if der else None
    if certificate is None:
        raise _refused(ErrorKind.CERTIFICATE_INVALID, "the server's certificate cannot be made out")
    if tls.pinned_certs and certificate.key_sha256 not in tls.pinned_certs:
        raise _refused(
            ErrorKind.CERTIFICATE_UNTRUSTED,
            f"the server's key is none of tls_config.pinned_certs: its SHA-256 is {certificate.key_sha256}",
        )
    if tls.accept_invalid_certs or tls.checks_chain:
        return
    if tls.verify_hostname and not certificate.bears(server_name):
        raise _refused(*not_for(server_name, certificate))
    now = datetime.now(UTC)
    if tls.verify_certificates and not tls.allow_expired and now > certificate.not_after:
        raise _refused(*expired(certificate))
    if tls.verify_certificates and not tls.allow_expired and now < certificate.not_before:
        raise _refused(*not_yet_valid(certificate))


def _refused(kind: ErrorKind, text: str) -> TlsError:
    return TlsError(text, kind, phase=Phase.TLS)
