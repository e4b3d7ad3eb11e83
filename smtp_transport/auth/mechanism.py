"""What a built-in mechanism is, and the one way in which text becomes octets for it."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import SecretStr

from smtp_transport.credentials import AuthMethod, CredentialKind, Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind
from smtp_transport.sasl import SaslContext, SaslExchange

_UNSPEAKABLE = re.compile("[\x00\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One row of the table of mechanisms; it satisfies `SaslMechanism`.

    `start(credentials, context)` begins an exchange. `takes`: the kind of credentials that it proves. `reveals_secret`:
    who reads the line reads the secret, so that it needs TLS. `verifies_server`: the server proves something as well.
    `binds_channel`: it works over TLS alone, and ties itself to that connection. `needs_username`: a secret is not
    enough.
    """

    method: AuthMethod
    takes: CredentialKind
    start: Callable[[Credentials, SaslContext], SaslExchange]
    reveals_secret: bool = False
    verifies_server: bool = False
    binds_channel: bool = False
    needs_username: bool = False

    @property
    def name(self) -> str:
        """The registered name."""
        return self.method.value


def octets(text: SecretStr, *, without_controls: bool = False) -> bytes:
    """Give a name or a secret in UTF-8. Raises `AuthenticationError` for NUL, or any control character, and non-text.

    It takes and keeps no bare text: a traceback that shows local variables shows none.
    """
    # NUL separates the parts of PLAIN, 0x01 those of OAuth: with one inside, the server would read other parts.
    if (_CONTROL if without_controls else _UNSPEAKABLE).search(text.get_secret_value()):
        raise AuthenticationError(
            "a user name or secret holds a character that cannot be sent", ErrorKind.CREDENTIALS_INVALID
        )
    return text.get_secret_value().encode()
