"""What a server's certificate says, read on demand: most handshakes never come here."""

import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

_DER: Final = 2
"""`_ssl.ENCODING_DER`."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate's own words; times are in UTC. `key_sha256` is the hash of its SubjectPublicKeyInfo, in hex."""

    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    issuer: str
    key_sha256: str

    @classmethod
    def parse(cls, der: bytes) -> "Certificate | None":
        """Read a certificate; None if it cannot be made out."""
        # It takes 30 ms to load, and only special wishes and failures need it.
        from cryptography import x509  # noqa: PLC0415 - as said above
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - the same
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - the same

        try:
            read = x509.load_der_x509_certificate(der)
            key = read.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            names = _names(read)
            issuer = read.issuer.rfc4514_string()
        except (ValueError, UnsupportedAlgorithm):
            return None
        return cls(
            names,
            read.not_valid_before_utc,
            read.not_valid_after_utc,
            issuer,
            hashlib.sha256(key).hexdigest(),
        )

    def bears(self, name: str) -> bool:
        """Whether it is for this host (RFC 9525 section 6.3): a star stands for one whole label, the leftmost."""
        wanted = name.rstrip(".").lower()
        try:
            address = ipaddress.ip_address(wanted)
        except ValueError:
            _, _, parent = wanted.partition(".")
            starred = f"*.{parent}" if "." in parent else None
            return any(mine.rstrip(".").lower() in {wanted, starred} for mine in self.names)
        return str(address) in self.names


def chain_of(link: ssl.SSLSocket) -> list[bytes]:
    """Give the certificates that the server sent, its own first, in DER: after a handshake that failed, too."""
    # Public in Python 3.13; before, only the object below has it.
    source = link if hasattr(link, "get_unverified_chain") else getattr(link, "_sslobj", None)
    get: Any = getattr(source, "get_unverified_chain", None)
    chain = get() if get is not None else None
    return [each if isinstance(each, bytes) else each.public_bytes(_DER) for each in chain or ()]


def _names(read: Any) -> tuple[str, ...]:
    """Give the host names and addresses of the subjectAltName; the common name is not one (RFC 9525 section 2)."""
    from cryptography import x509  # noqa: PLC0415 - as in `parse`

    try:
        alternatives = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in alternatives.get_values_for_type(x509.IPAddress))
    return (*alternatives.get_values_for_type(x509.DNSName), *addresses)
