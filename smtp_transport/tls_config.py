"""How a server proves itself, and how this client does."""

import base64
import binascii
import enum
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self, TypedDict, Unpack

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from smtp_transport.fields import Frozen, checked_host, one_or_many

_SHA256 = re.compile(r"[0-9a-f]{64}")


class TlsMode(enum.Enum):
    """When a connection becomes encrypted."""

    NONE = "none"
    OPPORTUNISTIC = "opportunistic"
    """STARTTLS where it is offered. Anyone on the way can take the offer away (RFC 3207 section 6)."""
    STARTTLS = "starttls"
    """STARTTLS or nothing: the default."""
    IMPLICIT = "implicit"
    """TLS from the first byte (RFC 8314 section 3.3), as on port 465."""


class TlsVersion(enum.Enum):
    """A version of TLS, named as the `ssl` module names it."""

    TLS10 = "TLSv1"
    TLS11 = "TLSv1.1"
    TLS12 = "TLSv1.2"
    TLS13 = "TLSv1.3"

    @property
    def is_obsolete(self) -> bool:
        """1.0 and 1.1: deprecated by RFC 8996."""
        return self in {TlsVersion.TLS10, TlsVersion.TLS11}


if TYPE_CHECKING:
    # What is taken is wider than what the fields hold; a caller's type checker hears it from here.
    class TlsConfigFields(TypedDict, total=False):
        """What `TlsConfig` may be given."""

        verify_certificates: bool
        verify_hostname: bool
        accept_invalid_certs: bool
        ca_certs: Path | str | Iterable[Path | str]
        ca_cert_path: Path | str
        client_cert_path: Path | str | None
        client_key_path: Path | str | None
        min_version: TlsVersion | str
        allow_obsolete_versions: bool
        server_name: str | None
        pinned_certs: str | Iterable[str]
        development: bool
        allow_expired: bool
        allow_self_signed: bool


class TlsConfig(Frozen):
    """How a server proves itself, and how this client does.

    `ca_certs`: files (PEM) or folders (hashed, as `openssl rehash` makes them) that replace the system's trust store;
    one path alone, and the name `ca_cert_path`, are taken too. `client_key_path` is not needed if the certificate's
    file holds the key. `server_name`: the name to ask for (SNI) and to check, if it is not the host connected to.

    `pinned_certs`: the server's key must be one of these, whatever else is checked. Each is the SHA-256 of the
    certificate's SubjectPublicKeyInfo (RFC 7469 section 2.4) in base64 or hex, with `sha256/` before it or not. With
    `verify_certificates=False` the pins alone vouch for the server.

    `development=True` opens two doors for a test server: `allow_expired` (dates are not looked at) and
    `allow_self_signed` (nobody need vouch for the certificate; its name and dates are checked as ever). Whoever sits on
    the way can sign for itself too: only a pin tells it apart.
    """

    verify_certificates: bool = True
    verify_hostname: bool = True
    accept_invalid_certs: bool = False
    """Development only: any certificate from anyone is taken."""
    ca_certs: Annotated[tuple[Path, ...], BeforeValidator(one_or_many)] = Field(
        default=(), validation_alias=AliasChoices("ca_certs", "ca_cert_path")
    )
    client_cert_path: Path | None = None
    client_key_path: Path | None = None
    min_version: TlsVersion = TlsVersion.TLS12
    allow_obsolete_versions: bool = False
    server_name: str | None = None
    pinned_certs: Annotated[tuple[str, ...], BeforeValidator(one_or_many)] = ()
    development: bool = False
    allow_expired: bool = False
    allow_self_signed: bool = False

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[TlsConfigFields]) -> None:
            """Check the fields. Raises pydantic.ValidationError."""

    @field_validator("ca_certs", "client_cert_path", "client_key_path")
    @classmethod
    def _exists(cls, value: tuple[Path, ...] | Path | None) -> tuple[Path, ...] | Path | None:
        for path in value if isinstance(value, tuple) else (value,):
            if path is not None and not path.exists():
                raise ValueError(f"there is no file or folder {str(path)!r}: give the path of a PEM file")
        return value

    @field_validator("server_name")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        return None if value is None else checked_host(value).rstrip(".")

    @field_validator("pinned_certs")
    @classmethod
    def _in_hex(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_digest(pin) for pin in value)

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.min_version.is_obsolete and not self.allow_obsolete_versions:
            raise ValueError(
                f"min_version: {self.min_version.value} is broken (RFC 8996); use TLSv1.2, or set "
                "allow_obsolete_versions=True for a server that has nothing better"
            )
        if self.client_key_path is not None and self.client_cert_path is None:
            raise ValueError("client_key_path: a key proves nothing without a certificate; set client_cert_path too")
        if (self.allow_expired or self.allow_self_signed) and not self.development:
            raise ValueError(
                "allow_expired, allow_self_signed: for development only; set development=True too, or put the "
                "server's own certificate into ca_certs"
            )
        vouched = self.accept_invalid_certs or self.pinned_certs
        if not self.verify_certificates and self.verify_hostname and not vouched:
            raise ValueError(
                "verify_certificates: a host name in an unchecked certificate proves nothing; set "
                "verify_hostname=False too, or leave both on and put the server's CA into ca_certs"
            )
        return self

    @property
    def checks_chain(self) -> bool:
        """Whether OpenSSL must find the certificate to come from a trusted authority."""
        return self.verify_certificates and not self.accept_invalid_certs and not self.allow_self_signed

    @property
    def checks_hostname(self) -> bool:
        """Whether OpenSSL must find the certificate to be for the host that was asked for, which needs the chain."""
        return self.verify_hostname and self.checks_chain

    @property
    def proves_server(self) -> bool:
        """Whether a handshake proves that the server is the one that was meant: by its name, or by its key."""
        return self.checks_hostname or bool(self.pinned_certs)

    @property
    def needs_vetting(self) -> bool:
        """Whether there is more to be proven than what OpenSSL checks."""
        return bool(self.pinned_certs) or (self.allow_self_signed and not self.accept_invalid_certs)


def _digest(pin: str) -> str:
    """Give a pin in hex; ValueError if it is none. `sha256//` is how curl writes it."""
    # The slash of 44 characters of base64 may be the digest's own first.
    bare = re.sub(r"\Asha256(?:/(?=.{44}\Z)|//?|:)", "", pin.strip())
    as_hex = bare.replace(":", "").lower()
    if _SHA256.fullmatch(as_hex):
        return as_hex
    try:
        decoded = base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != 32:
        raise ValueError(
            "pinned_certs: each is the SHA-256 of a SubjectPublicKeyInfo, 44 characters of base64 or 64 of hex"
        )
    return decoded.hex()
