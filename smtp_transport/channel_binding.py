"""What two ends of one TLS connection know of it, so that a password's proof is worth nothing on another (RFC 5929)."""

import hashlib
import ssl
from typing import Final

from smtp_transport.sasl import ChannelBinding

_EXPORTER: Final = "tls-exporter"
_WEAK: Final = frozenset({"md5", "sha1"})


def channel_binding(link: ssl.SSLSocket | ssl.SSLObject) -> ChannelBinding | None:
    """Give the best binding there is: tls-exporter (RFC 9266) where Python offers it, else tls-server-end-point.

    None before the handshake, and for a server's certificate that names no hash, such as one signed with Ed25519.
    """
    if _EXPORTER in ssl.CHANNEL_BINDING_TYPES and link.version() == "TLSv1.3":
        exported = link.get_channel_binding(_EXPORTER)
        if exported:
            return ChannelBinding(_EXPORTER, exported)
    certificate = link.getpeercert(binary_form=True)
    return end_point(certificate) if certificate else None


def end_point(certificate: bytes) -> ChannelBinding | None:
    """Make the tls-server-end-point binding of a certificate in DER (RFC 5929 section 4.1).

    Its hash is the one of the certificate's signature, or SHA-256 where that is MD5 or SHA-1.
    """
    # It takes 30 ms to load, and only SCRAM asks for it.
    from cryptography import x509  # noqa: PLC0415 - as said above
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - the same

    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    digest = hashlib.new("sha256" if algorithm.name in _WEAK else algorithm.name.replace("-", "_"), certificate)
    return ChannelBinding("tls-server-end-point", digest.digest())
