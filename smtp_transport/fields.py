"""What the parts of a configuration have in common: how strict they are, and how a host or a time is written."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any

import idna
from pydantic import BaseModel, ConfigDict, Field

DAY = 86_400.0

_LAX_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # names in container networks hold underscores
_HOST = re.compile(rf"(?=.{{1,254}}\Z){_LAX_LABEL}(?:\.{_LAX_LABEL})*\.?")

Seconds = Annotated[float, Field(gt=0, le=DAY, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Immutable, closed to unknown names, and silent about what it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=True)


def one_or_many(value: Any) -> Any:
    """Let one stand where several may: a tuple of it."""
    return (value,) if isinstance(value, str | Path) else value


def checked_host(host: str) -> str:
    """Give a host name or an IP address in ASCII and without brackets, or raise ValueError."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if is_ip(bare):
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


def is_ip(text: str) -> bool:
    """Whether this is an IP address, of version 4 or 6, without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
