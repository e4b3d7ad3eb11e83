"""What a client must know before it meets a server: where, how safely, as whom, how patiently.

Law: a configuration is checked when it is made, never when it is used, and a complaint names the field and the cure.
Times are in seconds. No secret shows in a repr or in a complaint.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypedDict, Unpack

from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    InstanceOf,
    IPvAnyAddress,
    SecretStr,
    field_validator,
    model_validator,
)

from smtp_transport.credentials import (
    AuthMethod,
    CredentialKind,
    CredentialProvider,
    Credentials,
    CredentialSource,
    TokenLike,
)
from smtp_transport.fields import Frozen, Seconds, checked_host, is_ip
from smtp_transport.observation import Observer, Observers
from smtp_transport.pool_config import PoolConfig
from smtp_transport.proxy_config import Proxy, ProxyKind
from smtp_transport.resilience_config import (
    CircuitBreakerConfig,
    RateLimitBehavior,
    RateLimitConfig,
    RetryConditions,
    RetryConfig,
)
from smtp_transport.sasl import Mechanisms, SaslMechanism
from smtp_transport.tls_config import TlsConfig, TlsMode, TlsVersion
from smtp_transport.wire import WireMode, WireProtocol

__all__ = [
    "IMPLICIT_TLS_PORT",
    "AuthMethod",
    "CircuitBreakerConfig",
    "CredentialKind",
    "Credentials",
    "PoolConfig",
    "Proxy",
    "ProxyKind",
    "RateLimitBehavior",
    "RateLimitConfig",
    "RetryConditions",
    "RetryConfig",
    "SmtpConfig",
    "SmtpConfigBuilder",
    "TlsConfig",
    "TlsMode",
    "TlsVersion",
]

IMPLICIT_TLS_PORT = 465

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_UNIX = "unix:"


def _own_hostname() -> str:
    """The machine's name if EHLO can say it; servers take "localhost" from a submitting client just as well."""
    name = socket.gethostname()
    return name if _DOMAIN.fullmatch(name) and len(name) <= 255 else "localhost"


def _is_address_literal(text: str) -> bool:
    """RFC 5321 section 4.1.3."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else ""
    if "%" in inner:  # a scope means nothing to another machine
        return False
    if inner.lower().startswith("ipv6:"):
        return is_ip(inner[5:]) and ":" in inner[5:]
    return is_ip(inner) and ":" not in inner


if TYPE_CHECKING:
    # What is taken is wider than what the fields hold; a caller's type checker hears it from here.
    AnyOf = Mapping[str, Any]

    class SmtpConfigFields(TypedDict, total=False):
        """What `SmtpConfig` may be given. `host` may be left out beside a `unix_socket`."""

        host: str
        port: int
        unix_socket: Path | str | None
        proxy: Proxy | AnyOf | str | None
        source_address: IPvAnyAddress | IPv4Address | IPv6Address | str | None
        tls: TlsMode | str
        tls_config: TlsConfig | AnyOf
        credentials: Credentials | CredentialProvider | Callable[[], TokenLike] | AnyOf | None
        auth_method: AuthMethod | str | None
        mechanisms: Iterable[SaslMechanism]
        connect_timeout: float
        io_timeout: float
        command_timeout: float
        final_timeout: float | None
        local_hostname: str
        client_id: str
        max_message_size: int | None
        pipelining: bool
        protocol: WireProtocol | str
        mode: WireMode | str | None
        window_mails: int
        window_octets: int
        allow_plaintext: bool
        allow_plaintext_auth: bool
        pool: PoolConfig | AnyOf
        retry: RetryConfig | AnyOf | None
        circuit_breaker: CircuitBreakerConfig | AnyOf | None
        rate_limit: RateLimitConfig | AnyOf | None
        observers: Iterable[Observer] | Observer | Observers


class SmtpConfig(Frozen):
    """All about one server: where it is, how to speak to it, how many connections to keep.

    `tls` is STARTTLS unless told, and implicit on port 465. `connect_timeout` bounds name resolution, connecting and
    the TLS handshake of an implicit link; `io_timeout` (also taken as `command_timeout`) each wait for a reply and each
    write; `final_timeout`, if given, the wait for the reply to the final dot instead: giving up there leaves the mail
    in doubt, so RFC 5321 section 4.5.3.2.6 asks for ten minutes. `local_hostname` (also `client_id`) is what EHLO says.
    `auth_method` insists on one mechanism; `mechanisms` are SASL mechanisms of your own, tried first where offered.
    `max_message_size`, in octets, bounds mails besides what the server declares. `mode` is the fastest way of sending
    that is used if the server offers it (None: any), `pipelining=False` the same as LOCKSTEP. `window_mails` and
    `window_octets` bound what is in flight in mode CHUNKED. `protocol` is LMTP for a mail store.
    `observers` are told what happens, as events of `smtp_transport.observation`.

    `unix_socket` (also `host="unix:/run/lmtp"`) is the socket of a server on this machine: `host`, "localhost" unless
    told, is then only the name that its certificate bears, and `tls` is "none" unless told. `proxy` is the URL of a
    proxy that connects for us: `http://...` or `socks5://...`. `source_address` is the address of this machine to
    connect from, to the server or to the proxy.

    `retry`, `circuit_breaker` and `rate_limit` are for a client that is used alone, see there; None is off.
    """

    host: str
    port: int = Field(default=587, ge=1, le=65_535)
    unix_socket: Path | None = None
    proxy: Proxy | None = None
    source_address: IPvAnyAddress | None = None
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
    protocol: WireProtocol = WireProtocol.SMTP
    mode: WireMode | None = None
    window_mails: int = Field(default=10, ge=1, le=30)
    window_octets: int = Field(default=1_048_576, ge=1)
    allow_plaintext: bool = False
    allow_plaintext_auth: bool = False
    pool: PoolConfig = PoolConfig()
    retry: RetryConfig | None = None
    circuit_breaker: CircuitBreakerConfig | None = None
    rate_limit: RateLimitConfig | None = None
    observers: Annotated[InstanceOf[Observers], BeforeValidator(Observers.of)] = Field(
        default=Observers(), repr=False, exclude=True
    )

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[SmtpConfigFields]) -> None:
            """Check the fields. Raises pydantic.ValidationError."""

    @model_validator(mode="before")
    @classmethod
    def _usual_road(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        host = data.get("host")
        if isinstance(host, str) and host.startswith(_UNIX):
            data = {"unix_socket": host.removeprefix(_UNIX)} | data | {"host": "localhost"}
        if data.get("unix_socket") is not None:
            return {"host": "localhost", "tls": TlsMode.NONE} | data
        if "tls" not in data and str(data.get("port")) == str(IMPLICIT_TLS_PORT):
            return data | {"tls": TlsMode.IMPLICIT}
        return data

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        return checked_host(value)

    @field_validator("local_hostname")
    @classmethod
    def _is_an_ehlo_argument(cls, value: str) -> str:
        if len(value) <= 255 and (_DOMAIN.fullmatch(value) or _is_address_literal(value)):
            return value
        raise ValueError("give a domain such as app.example.com or an address literal such as [192.0.2.1] (RFC 5321)")

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.unix_socket is not None and self.proxy is not None:
            raise ValueError("proxy: no proxy leads to a unix_socket; drop one of them")
        if self.unix_socket is not None and self.source_address is not None:
            raise ValueError("source_address: a unix_socket is reached without an address; drop one of them")
        if self.tls is TlsMode.NONE and not self.may_be_plaintext:
            raise ValueError(
                "tls: 'none' would send mail in clear text over a network; use 'starttls' or 'implicit', or set "
                "allow_plaintext=True if nobody else is on that network"
            )
        if self.protocol is WireProtocol.LMTP and self.port == 25:
            raise ValueError("port: 25 is SMTP's alone (RFC 2033 section 5); name the port of the LMTP server")
        if self.auth_method is not None and self.credentials is None:
            raise ValueError("auth_method: there is nothing to authenticate with; set credentials too, or drop it")
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether the server can only be this machine (RFC 6761 section 6.3 for the names)."""
        if self.unix_socket is not None or self.proxy is not None:
            # A proxy's own loopback is behind a network.
            return self.proxy is None
        name = self.host.rstrip(".").lower()
        return (
            name == "localhost"
            or name.endswith(".localhost")
            or (is_ip(name) and ipaddress.ip_address(name).is_loopback)
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
    def place(self) -> str:
        """Where the server is, in words for errors and logs: `host:port`, or the path of a Unix socket."""
        return f"{self.host}:{self.port}" if self.unix_socket is None else f"{_UNIX}{self.unix_socket}"

    @property
    def server_name(self) -> str:
        """The name that the server's certificate must bear."""
        # A scope means something on this machine alone (RFC 6874 section 1).
        return self.tls_config.server_name or self.host.rstrip(".").partition("%")[0]

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

    def tls(self, tls: TlsConfig | TlsMode | str) -> Self:
        """Set the TLS mode, or what is checked about a certificate."""
        return self._with("tls" if isinstance(tls, TlsMode | str) else "tls_config", tls)

    def tls_mode(self, mode: TlsMode) -> Self:
        """Set the TLS mode."""
        return self._with("tls", mode)

    def no_tls(self) -> Self:
        """Speak in clear text, to a server on this machine; over a network `allow_plaintext` is needed too."""
        return self._with("tls", TlsMode.NONE)

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

    def retry(self, retry: RetryConfig) -> Self:
        """Try again what was refused for now, or not reached."""
        return self._with("retry", retry)

    def circuit_breaker(self, breaker: CircuitBreakerConfig) -> Self:
        """Leave a server alone that fails time and again."""
        return self._with("circuit_breaker", breaker)

    def rate_limit(self, limit: RateLimitConfig) -> Self:
        """Send no more than so much in any window of time."""
        return self._with("rate_limit", limit)

    def unix_socket(self, path: Path | str) -> Self:
        """Reach a server on this machine by its Unix socket."""
        return self._with("unix_socket", path)

    def proxy(self, url: str | Proxy) -> Self:
        """Have a proxy connect: `http://...` or `socks5://...`."""
        return self._with("proxy", url)

    def source_address(self, address: str) -> Self:
        """Connect from this address of this machine."""
        return self._with("source_address", address)

    def build(self) -> SmtpConfig:
        """Give the checked configuration."""
        return SmtpConfig(**self._told)
