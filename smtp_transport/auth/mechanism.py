"""What a SASL mechanism is to this client."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

from smtp_transport.config import AuthMethod, CredentialKind, Credentials

SaslExchange = Generator[bytes | None, bytes, None]
"""Yields the initial response, or None if the server speaks first; then is sent challenges and yields the responses.

When it ends, the mechanism has nothing more to say: a further challenge means that client and server lost each other.
"""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One row of the table of mechanisms.

    `begin(credentials)` starts an exchange. `takes`: the kind of credentials that it proves. `reveals_secret`: who
    reads the line reads the secret, so that it needs TLS.
    """

    method: AuthMethod
    takes: CredentialKind
    reveals_secret: bool
    begin: Callable[[Credentials], SaslExchange]

    @property
    def name(self) -> str:
        """The registered name."""
        return self.method.value
