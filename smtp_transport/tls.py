"""TLS as this client wants it: a context from a configuration, and OpenSSL's complaints in words that help.

Law: what is not proven is refused, unless the configuration says otherwise by name. No key material in any text.
"""

import errno
import functools
import ssl
from pathlib import Path

from smtp_transport.config import TlsConfig, TlsVersion
from smtp_transport.errors import ErrorKind, TlsError
from smtp_transport.phase import Phase

_VERSIONS = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}

_UNKNOWN_ISSUER = (
    ErrorKind.CERTIFICATE_UNTRUSTED,
    (
        "the server's certificate comes from an authority that is not trusted here; put that authority's certificate "
        "into ca_certs, or have the server send its whole chain"
    ),
)
# X509_V_ERR_* of OpenSSL's x509_vfy.h.
_BAD_CERTIFICATES = {
    2: _UNKNOWN_ISSUER,
    9: (
        ErrorKind.CERTIFICATE_INVALID,
        "the server's certificate is not valid yet; is this machine's clock right?",
    ),
    10: (
        ErrorKind.CERTIFICATE_EXPIRED,
        "the server's certificate has expired; its owner must renew it (or is this machine's clock wrong?)",
    ),
    18: (
        ErrorKind.CERTIFICATE_UNTRUSTED,
        "the server's certificate is self-signed; if it is your own server, put its certificate into ca_certs",
    ),
    19: (
        ErrorKind.CERTIFICATE_UNTRUSTED,
        "the server's chain ends in an authority that is not trusted here; if it is yours, put it into ca_certs",
    ),
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
}
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


@functools.lru_cache(maxsize=64)
def context_for(config: TlsConfig) -> ssl.SSLContext:
    """Build the context that a configuration asks for; equal configurations share one, and its files are read once.

    Raises `TlsError` (certificate_invalid) if a certificate or key cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = config.checks_hostname
    context.verify_mode = ssl.CERT_REQUIRED if config.checks_chain else ssl.CERT_NONE
    # So that any certificate in ca_certs is an anchor, an intermediate one too: Python 3.13's own default.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = _VERSIONS[config.min_version]
    if config.min_version.is_obsolete:
        # OpenSSL 3 signs nothing that TLS 1.0 and 1.1 can use at its default security level.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if config.checks_chain:
        _trust(context, config.ca_certs)
    if config.client_cert_path is not None:
        _identify(context, config.client_cert_path, config.client_key_path)
    return context


def _trust(context: ssl.SSLContext, ca_certs: tuple[Path, ...]) -> None:
    if not ca_certs:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    for path in ca_certs:
        try:
            if path.is_dir():
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(cafile=path)
        except OSError as error:
            raise _unreadable(f"ca_certs: {str(path)!r} cannot be read as PEM certificates", error) from None


def _identify(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    def no_passphrase() -> str:
        # Without an answer here OpenSSL would ask on the terminal and wait.
        raise TlsError(
            f"client_key_path: {str(key or certificate)!r} is encrypted; give a key without a passphrase, readable "
            "only by this program's user",
            ErrorKind.CERTIFICATE_INVALID,
            phase=Phase.TLS,
        )

    try:
        context.load_cert_chain(certificate, key, password=no_passphrase)
    except OSError as error:
        text = f"client_cert_path: {str(certificate)!r} and its key cannot be read as a PEM pair"
        raise _unreadable(text, error) from None


def _unreadable(text: str, error: OSError) -> TlsError:
    cause = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return TlsError(f"{text} ({cause})", ErrorKind.CERTIFICATE_INVALID, phase=Phase.TLS)


def explain(error: OSError, server_name: str, *, implicit: bool) -> TlsError:
    """Say what an error of a handshake means and what cures it.

    `error` is an `ssl.SSLError`, or any `OSError` of the socket under it. `implicit`: TLS was to start with the first
    byte, not after STARTTLS.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        kind, text = _bad_certificate(error, server_name)
    else:
        kind, text = _failed_handshake(error, implicit=implicit)
    return TlsError(text, kind, phase=Phase.TLS)


def explain_alert(error: OSError) -> TlsError | None:
    """Say whether an error after the handshake was about this client's certificate: TLS 1.3 tells only then."""
    if _reason(error) in _CLIENT_CERTIFICATE:
        return TlsError(_WANTS_A_CERTIFICATE, ErrorKind.TLS_HANDSHAKE_FAILED, phase=Phase.TLS)
    return None


def _reason(error: OSError) -> str:
    """OpenSSL's short name of the error; some versions of Python give it with spaces."""
    return (getattr(error, "reason", None) or "").upper().replace(" ", "_")


def _bad_certificate(error: ssl.SSLCertVerificationError, server_name: str) -> tuple[ErrorKind, str]:
    if error.verify_code in _NAME_MISMATCHES:
        return ErrorKind.CERTIFICATE_INVALID, (
            f"the server's certificate is not for {server_name!r}; connect by a name that it bears, or set "
            "tls_config.server_name to one"
        )
    other = (ErrorKind.CERTIFICATE_INVALID, f"the server's certificate was refused: {error.verify_message}")
    return _BAD_CERTIFICATES.get(error.verify_code, other)


def _failed_handshake(error: OSError, *, implicit: bool) -> tuple[ErrorKind, str]:
    reason = _reason(error)
    if reason in _NOT_TLS:
        return ErrorKind.TLS_HANDSHAKE_FAILED, (
            "this port speaks plain SMTP, not TLS, at first; use tls='starttls' (usual on ports 587 and 25)"
            if implicit
            else "the server agreed to STARTTLS and then did not speak TLS"
        )
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
    if isinstance(error, ssl.SSLEOFError | ConnectionError) or "EOF" in reason or error.errno == errno.ENOTCONN:
        return ErrorKind.TLS_HANDSHAKE_FAILED, "the server hung up in the middle of the TLS handshake" + (
            "; does this port speak TLS at all?" if implicit else ""
        )
    return ErrorKind.TLS_HANDSHAKE_FAILED, f"the TLS handshake failed ({reason or error.strerror or 'no reason given'})"
