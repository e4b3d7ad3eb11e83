"""Tenants of a lane: whose a mail is, and how many turns each gets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_SHARE: Final = 100
# It stands in Redis in clear, so it is not to be an address.
TENANT_NAMES: Final = "1 to 64 characters of A-Z, a-z, 0-9 and _ . : -"
_TENANT: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SHARE: Final = re.compile(r"(?P<tenant>[A-Za-z0-9_.:-]{1,64})\s*\*\s*(?P<share>\d{1,3})")


def is_tenant(name: str) -> bool:
    """Whether a tenant can be named so."""
    return _TENANT.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant that gets so many turns where one without a share of its own gets one."""

    tenant: str
    share: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read e.g. "big*5". Raises ValueError that shows how it is written."""
        found = _SHARE.fullmatch(text.strip())
        if not found or not 1 <= int(found["share"]) <= MOST_SHARE:
            raise ValueError(f"{text!r} gives no tenant a share; write e.g. 'big*5', from 1 to {MOST_SHARE}")
        return cls(found["tenant"], int(found["share"]))

    def __str__(self) -> str:
        return f"{self.tenant}*{self.share}"


def no_tenant_twice(shares: Sequence[Share]) -> tuple[Share, ...]:
    """Give the shares back. Raises ValueError where a tenant has two."""
    if len({share.tenant for share in shares}) < len(shares):
        raise ValueError("a tenant is named twice")
    return tuple(shares)
