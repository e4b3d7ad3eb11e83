"""What a client must know before it meets a server: where, how safely, as whom, how patiently.

Law: a configuration is checked when it is made, never when it is used, and a complaint names the field and the cure.
Times are in seconds. No secret shows in a repr or in a complaint.
"""

import enum
import ipaddress
import re
import socket
from pathlib import Path
from typing import Annotated, Any, Self

import idna
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    SecretStr,
    field_validator,
    model_validator,
)

from smtp_transport.credentials import AuthMethod, CredentialKind, Credentials, CredentialSource
from smtp_transport.observation import Observers
from smtp_transport.sasl import Mechanisms, SaslMechanism

__all__ = [
    "IMPLICIT_TLS_PORT",
    "AuthMethod",
    "CredentialKind",
    "Credentials",
    "PoolConfig",
    "SmtpConfig",
    "SmtpConfigBuilder",
    "TlsConfig",
    "TlsMode",
    "TlsVersion",
]

IMPLICIT_TLS_PORT = 465

_DAY = 86_400.0
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LAX_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # names in container networks hold underscores
_HOST = re.compile(rf"(?=.{{1,254}}\Z){_LAX_LABEL}(?:\.{_LAX_LABEL})*\.?")
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

Seconds = Annotated[float, Field(gt=0, le=_DAY, allow_inf_nan=False)]


class _Frozen(BaseModel):
    """Immutable, closed to unknown names, and silent about what it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)


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


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str | Path) else value


class TlsConfig(_Frozen):
    """How a server proves itself, and how this client does.

    `ca_certs`: files (PEM) or folders (hashed, as `openssl rehash` makes them) that replace the system's trust store;
    one path alone, and the name `ca_cert_path`, are taken too. `client_key_path` is not needed if the certificate's
    file holds the key. `server_name`: the name to ask for (SNI) and to check, if it is not the host connected to.
    """

    verify_certificates: bool = True
    verify_hostname: bool = True
    accept_invalid_certs: bool = False
    """Development only: any certificate from anyone is taken."""
    ca_certs: Annotated[tuple[Path, ...], BeforeValidator(_one_or_many)] = Field(
        default=(), validation_alias=AliasChoices("ca_certs", "ca_cert_path")
    )
    client_cert_path: Path | None = None
    client_key_path: Path | None = None
    min_version: TlsVersion = TlsVersion.TLS12
    allow_obsolete_versions: bool = False
    server_name: str | None = None

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
        return None if value is None else _checked_host(value)

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.min_version.is_obsolete and not self.allow_obsolete_versions:
            raise ValueError(
                f"min_version: {self.min_version.value} is broken (RFC 8996); use TLSv1.2, or set "
                "allow_obsolete_versions=True for a server that has nothing better"
            )
        if self.client_key_path is not None and self.client_cert_path is None:
            raise ValueError("client_key_path: a key proves nothing without a certificate; set client_cert_path too")
        if not self.verify_certificates and self.verify_hostname and not self.accept_invalid_certs:
            raise ValueError(
                "verify_certificates: a host name in an unchecked certificate proves nothing; set "
                "verify_hostname=False too, or leave both on and put the server's CA into ca_certs"
            )
        return self

    @property
    def checks_chain(self) -> bool:
        """Whether the certificate must come from a trusted authority."""
        return self.verify_certificates and not self.accept_invalid_certs

    @property
    def checks_hostname(self) -> bool:
        """Whether the certificate must be for the host that was asked for."""
        return self.verify_hostname and self.checks_chain


class PoolConfig(_Frozen):
    """How many connections are kept, and for how long.

    `idle_timeout`: a connection unused for longer is closed, save `min_idle` of them. `max_lifetime`: one older is not
    used again. `max_messages`: nor is one that carried so many mails (None: no bound). `health_check_after`: one unused
    for longer must answer a NOOP first.
    """

    max_connections: int = Field(default=5, ge=1, le=20)
    min_idle: int = Field(default=0, ge=0, le=20)
    acquire_timeout: Seconds = 30.0
    idle_timeout: Annotated[Seconds, Field(le=1_800)] = 300.0
    max_lifetime: Annotated[Seconds, Field(le=14_400)] = 3_600.0
    max_messages: int | None = Field(default=None, ge=1)
    health_check_after: float = Field(default=60.0, ge=0, le=_DAY, allow_inf_nan=False)

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.min_idle > self.max_connections:
            raise ValueError(
                f"min_idle: {self.min_idle} cannot be kept among max_connections={self.max_connections}; lower it"
            )
        return self


def _checked_host(host: str) -> str:
    """Give a host name or an IP address in ASCII and without brackets, or raise ValueError."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if _is_ip(bare):
        return bare
    if "://" in bare or re.search(r":\d+$", bare):
        raise ValueError("give the bare host name or IP address; the port and the TLS mode have fields of their own")
    if not bare.isascii():
        try:
            bare = idna.encode(bare, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise ValueError("this is not a host name (IDNA 2008); check its spelling") from None
    if not _HOST.fullmatch(bare):
        raise ValueError("give a host name such as smtp.example.com or an IP address")
    return bare


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _own_hostname() -> str:
    """The machine's name if EHLO can say it; servers take "localhost" from a submitting client just as well."""
    name = socket.gethostname()
    return name if _DOMAIN.fullmatch(name) and len(name) <= 255 else "localhost"


def _is_address_literal(text: str) -> bool:
    """RFC 5321 section 4.1.3."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else ""
    if inner.lower().startswith("ipv6:"):
        return _is_ip(inner[5:]) and ":" in inner[5:]
    return _is_ip(inner) and ":" not in inner


class SmtpConfig(_Frozen):
    """All about one server: where it is, how to speak to it, how many connections to keep.

    `tls` is STARTTLS unless told, and implicit on port 465. `connect_timeout` bounds name resolution, connecting and
    the TLS handshake of an implicit link; `io_timeout` (also taken as `command_timeout`) each wait for a reply and each
    write; `final_timeout`, if given, the wait for the reply to the final dot instead: giving up there leaves the mail
    in doubt, so RFC 5321 section 4.5.3.2.6 asks for ten minutes. `local_hostname` (also `client_id`) is what EHLO says.
    `auth_method` insists on one mechanism; `mechanisms` are SASL mechanisms of your own, tried first where offered.
    `max_message_size`, in octets, bounds mails besides what the server declares. `pipelining=False` holds the client
    to one command a round trip. `observers` are told what happens, as events of `smtp_transport.observation`.
    """

    host: str
    port: int = Field(default=587, ge=1, le=65_535)
    tls: TlsMode = TlsMode.STARTTLS
    tls_config: TlsConfig = TlsConfig()
    credentials: CredentialSource | None = None
    auth_method: AuthMethod | None = None
    mechanisms: Mechanisms = ()
    connect_timeout: Seconds = 30.0
    io_timeout: Seconds = Field(default=60.0, validation_alias=AliasChoices("io_timeout", "command_timeout"))
    final_timeout: Seconds | None = None
    local_hostname: str = Field(
        default_factory=_own_hostname, validation_alias=AliasChoices("local_hostname", "client_id")
    )
    max_message_size: int | None = Field(default=None, ge=1)
    pipelining: bool = True
    allow_plaintext: bool = False
    allow_plaintext_auth: bool = False
    pool: PoolConfig = PoolConfig()
    observers: Annotated[InstanceOf[Observers], BeforeValidator(Observers.of)] = Field(
        default=Observers(), repr=False, exclude=True
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_mode_of_port(cls, data: Any) -> Any:
        if isinstance(data, dict) and "tls" not in data and str(data.get("port")) == str(IMPLICIT_TLS_PORT):
            return data | {"tls": TlsMode.IMPLICIT}
        return data

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        return _checked_host(value)

    @field_validator("local_hostname")
    @classmethod
    def _is_an_ehlo_argument(cls, value: str) -> str:
        if len(value) <= 255 and (_DOMAIN.fullmatch(value) or _is_address_literal(value)):
            return value
        raise ValueError("give a domain such as app.example.com or an address literal such as [192.0.2.1] (RFC 5321)")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.tls is TlsMode.NONE and not self.may_be_plaintext:
            raise ValueError(
                "tls: 'none' would send mail in clear text over a network; use 'starttls' or 'implicit', or set "
                "allow_plaintext=True if nobody else is on that network"
            )
        if self.auth_method is not None and self.credentials is None:
            raise ValueError("auth_method: there is nothing to authenticate with; set credentials too, or drop it")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the host can only be this machine (RFC 6761 section 6.3 for the names)."""
        name = self.host.rstrip(".").lower()
        return (
            name == "localhost"
            or name.endswith(".localhost")
            or (_is_ip(name) and ipaddress.ip_address(name).is_loopback)
        )

    @property
    def may_be_plaintext(self) -> bool:
        """Whether mail may go out without TLS."""
        return self.allow_plaintext or self.is_loopback

    @property
    def may_authenticate_plaintext(self) -> bool:
        """Whether a password may go out without TLS."""
        return self.allow_plaintext_auth or self.is_loopback

    @property
    def server_name(self) -> str:
        """The name that the server's certificate must bear."""
        return self.tls_config.server_name or self.host.rstrip(".")

    @classmethod
    def builder(cls) -> "SmtpConfigBuilder":
        """Start a configuration that is told step by step."""
        return SmtpConfigBuilder()


class SmtpConfigBuilder:
    """Collects what it is told; `build` checks it all and raises `pydantic.ValidationError`."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}

    def _with(self, name: str, value: object) -> Self:
        self._told[name] = value
        return self

    def host(self, host: str) -> Self:
        """Name the server, by name or IP address."""
        return self._with("host", host)

    def port(self, port: int) -> Self:
        """Choose the port: 587 by default; 465 makes TLS implicit unless a mode is told."""
        return self._with("port", port)

    def credentials(self, username: str | CredentialSource, password: SecretStr | str | None = None) -> Self:
        """Authenticate with a user's name and password, or with ready credentials, or with a provider of them."""
        if isinstance(username, str):
            return self._with("credentials", {"username": username, "secret": password})
        return self._with("credentials", username)

    def auth_method(self, method: AuthMethod) -> Self:
        """Insist on one mechanism."""
        return self._with("auth_method", method)

    def mechanisms(self, *mechanisms: SaslMechanism) -> Self:
        """Add SASL mechanisms of your own."""
        return self._with("mechanisms", mechanisms)

    def tls(self, tls: TlsConfig | TlsMode) -> Self:
        """Set the TLS mode, or what is checked about a certificate."""
        return self._with("tls" if isinstance(tls, TlsMode) else "tls_config", tls)

    def tls_mode(self, mode: TlsMode) -> Self:
        """Set the TLS mode."""
        return self._with("tls", mode)

    def connect_timeout(self, seconds: float) -> Self:
        """Bound the time until the server is reached."""
        return self._with("connect_timeout", seconds)

    def io_timeout(self, seconds: float) -> Self:
        """Bound each wait for a reply and each write."""
        return self._with("io_timeout", seconds)

    def command_timeout(self, seconds: float) -> Self:
        """Do the same as `io_timeout`."""
        return self.io_timeout(seconds)

    def max_message_size(self, octets: int) -> Self:
        """Refuse bigger mails before the server sees them."""
        return self._with("max_message_size", octets)

    def client_id(self, name: str) -> Self:
        """Choose what EHLO says."""
        return self._with("local_hostname", name)

    def allow_plaintext(self) -> Self:
        """Let mail go over a network without TLS."""
        return self._with("allow_plaintext", True)

    def pool(self, pool: PoolConfig) -> Self:
        """Set how many connections are kept, and for how long."""
        return self._with("pool", pool)

    def build(self) -> SmtpConfig:
        """Give the checked configuration."""
        return SmtpConfig(**self._told)
