"""What a SASL mechanism is to this client (RFC 4422): the seam for mechanisms of your own.

class Hello:
    name = "X-HELLO"

    def start(self, credentials, context):
        challenge = yield None  # the server speaks first
        yield b"hello " + challenge

SmtpConfig(host="smtp.example.com", credentials=..., mechanisms=(Hello(),))
"""

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import PlainSerializer, PlainValidator

from smtp_transport.credentials import Credentials

_NAME = re.compile(r"[A-Z0-9_-]{1,20}")  # RFC 4422 section 3.1

SaslExchange = Generator[bytes | None, bytes, None]
"""Yields the initial response, or None if the server speaks first; then is sent challenges and yields the responses.

When it ends, the mechanism has nothing more to say: a further challenge means that client and server lost each other.
"""


@dataclass(frozen=True, slots=True)
class ChannelBinding:
    """What both ends of one TLS connection know of it, and of no other (RFC 5056). `kind` is the registered name."""

    kind: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SaslContext:
    """What a mechanism may know of the connection it works for.

    `nonce`: fresh randomness, printable ASCII without a comma. `offered`: the mechanisms' names that the server said.
    `binding`: of the TLS connection, or None. The host and port are those that were asked for.
    """

    host: str
    port: int
    nonce: str = field(repr=False)
    offered: frozenset[str] = frozenset()
    binding: ChannelBinding | None = None


@runtime_checkable
class SaslMechanism(Protocol):
    """A mechanism of your own. It is tried first when the server offers its name.

    Besides what stands here it may have `reveals_secret = False`, if nobody who reads the lines learns the secret: else
    it is used under TLS only. And `verifies_server = True`, if the server has to prove something too: then the exchange
    is sent one more, empty, challenge once the server has said yes, and raises unless that proof was seen.
    """

    @property
    def name(self) -> str:
        """The name in EHLO: at most 20 capital letters, digits, hyphens and underscores."""
        ...

    def start(self, credentials: Credentials, context: SaslContext, /) -> SaslExchange:
        """Begin an exchange. What it raises should be an `AuthenticationError`, with no secret in its text."""
        ...


def _checked_mechanisms(value: Any) -> tuple[SaslMechanism, ...]:
    mechanisms = tuple(value)
    for mechanism in mechanisms:
        name = getattr(mechanism, "name", None)
        if not isinstance(mechanism, SaslMechanism) or not _NAME.fullmatch(str(name)):
            raise ValueError("a mechanism has start(credentials, context), and a name of 20 capital letters at most")
    return mechanisms


Mechanisms = Annotated[
    tuple[SaslMechanism, ...],
    PlainValidator(_checked_mechanisms),
    PlainSerializer(lambda mechanisms: [mechanism.name for mechanism in mechanisms]),
]
"""SASL mechanisms of your own; see `SaslMechanism`."""
