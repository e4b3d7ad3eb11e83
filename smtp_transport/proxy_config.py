"""A proxy on the way to the server."""

import enum
import re
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from smtp_transport.credentials import NotPickled
from smtp_transport.fields import Frozen, checked_host

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class ProxyKind(enum.Enum):
    """How a proxy is asked."""

    HTTP = "http"
    """CONNECT (RFC 9110 section 9.3.6), in clear text as far as the proxy."""
    SOCKS5 = "socks5"
    """RFC 1928, with RFC 1929 if there is a user. Names are resolved by the proxy."""


class Proxy(NotPickled, Frozen):
    """A proxy, from its URL: `http://proxy.example:3128`, `socks5://user:secret@proxy.example`.

    The port is 8080 for `http` and 1080 for `socks5` unless told; `socks5h` is another name of `socks5`.
    """

    kind: ProxyKind
    host: str
    port: int = Field(ge=1, le=65_535)
    username: str | None = Field(default=None, min_length=1, max_length=255, repr=False)
    password: SecretStr = Field(default=SecretStr(""), max_length=255)

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, data: Any) -> Any:
        return _parts(data) if isinstance(data, str) else data

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str) -> str:
        return checked_host(value)

    @model_validator(mode="after")
    def _can_be_said(self) -> Self:
        secret = self.password.get_secret_value()
        if _CONTROL.search((self.username or "") + secret):
            raise ValueError("proxy: user and password hold control characters")
        if max(len((self.username or "").encode()), len(secret.encode())) > 255:
            raise ValueError("proxy: user and password have at most 255 octets each (RFC 1929)")
        if self.kind is ProxyKind.HTTP and ":" in (self.username or ""):
            raise ValueError("proxy: a user's name with a colon cannot be told to an HTTP proxy (RFC 7617)")
        return self


def _parts(url: str) -> dict[str, Any]:
    """Take a URL apart; no complaint repeats it, for it may hold a password."""
    known = {"http": (ProxyKind.HTTP, 8_080), "socks5": (ProxyKind.SOCKS5, 1_080), "socks5h": (ProxyKind.SOCKS5, 1_080)}
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("proxy: this is not a URL; are special characters in user and password quoted?") from None
    if parts.scheme == "https":
        raise ValueError(
            "proxy: TLS on the way to a proxy is not spoken; give its http:// port (TLS with the mail server goes "
            "through it from end to end all the same, only a proxy's own password would be readable on the way there)"
        )
    if parts.scheme not in known or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("proxy: give a URL such as http://proxy.example:3128 or socks5://user:password@proxy.example")
    kind, usual_port = known[parts.scheme]
    return {
        "kind": kind,
        "host": parts.hostname,
        "port": usual_port if port is None else port,
        "username": unquote(parts.username) if parts.username else None,
        "password": SecretStr(unquote(parts.password or "")),
    }
