"""Chains of certificates as providers have them: a leaf, an intermediate that signed it, and the root behind both."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ADDRESS = "127.0.0.1"
"""Whom the leaf is for."""
KINDS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "RSA": ("RSA-2048", "RSA-2048", "RSA-4096"),
        "P-256": ("P-256", "P-256", "P-256"),
        "P-256 under P-384": ("P-256", "P-384", "P-384"),
    }
)
"""The keys of leaf, intermediate and root."""

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Chain:
    """In PEM: what a server presents, with its key, and the root that a client trusts."""

    presented: bytes
    root: bytes


def a_chain(kind: str) -> Chain:
    """Make one of `KINDS`."""
    leaf, intermediate, root = map(_key, KINDS[kind])
    anchor = _signed("root", root, "root", root)
    middle = _signed("intermediate", intermediate, "root", root)
    end = _signed("leaf", leaf, "intermediate", intermediate)
    secret = leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Chain(secret + end + middle, anchor)


def _key(name: str) -> _Key:
    if name.startswith("RSA-"):
        return rsa.generate_private_key(65_537, int(name.removeprefix("RSA-")))
    return ec.generate_private_key(ec.SECP256R1() if name == "P-256" else ec.SECP384R1())


def _signed(subject: str, key: _Key, issuer: str, by: _Key) -> bytes:
    now = datetime.now(UTC)
    is_leaf = subject == "leaf"
    certificate = (
        x509.CertificateBuilder(_name(issuer), _name(subject), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=not is_leaf, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if is_leaf:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ADDRESS))])
        certificate = certificate.add_extension(names, critical=False)
    return certificate.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"bench {name}")])
