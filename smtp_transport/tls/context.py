"""A context for OpenSSL from a configuration."""

import functools
import re
import ssl
from pathlib import Path
from typing import Final

from smtp_transport.errors import ErrorKind, TlsError
from smtp_transport.phase import Phase
from smtp_transport.tls_config import TlsConfig, TlsVersion

_VERSIONS = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""A file's name in a folder of authorities."""
_NO_CHECK_TIME: Final = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h, which the `ssl` module has no name for."""


def context_for(config: TlsConfig) -> ssl.SSLContext:
    """Give the context that a configuration asks for. Equal ones share one, until a file that they name has changed.

    Raises `TlsError` (certificate_invalid) if a certificate or key cannot be read.
    """
    files = (*config.ca_certs, config.client_cert_path, config.client_key_path)
    return _built(config, tuple(_version_of(path) for path in files if path is not None))


def _version_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # whoever reads it says why
    return found.st_ino, found.st_size, found.st_mtime_ns


@functools.lru_cache(maxsize=64)
def _built(config: TlsConfig, _: tuple[object, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = config.checks_hostname
    # What a certificate is for stands in its subjectAltName and nowhere else (RFC 9525 section 2).
    context.hostname_checks_common_name = False
    context.verify_mode = ssl.CERT_REQUIRED if config.checks_chain else ssl.CERT_NONE
    # So that any certificate in ca_certs is an anchor, an intermediate one too: Python 3.13's own default.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if config.allow_expired:
        context.verify_flags |= _NO_CHECK_TIME
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
                if not any(_HASHED.fullmatch(file.name) for file in path.iterdir()):
                    # OpenSSL would find nothing there, and say so of the server's certificate only.
                    told = f"ca_certs: the folder {str(path)!r} is empty or not hashed; run `openssl rehash` on it"
                    raise TlsError(told, ErrorKind.CERTIFICATE_INVALID, phase=Phase.TLS)
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
