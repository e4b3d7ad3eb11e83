"""Which mechanism to use: the best that server, credentials and link allow, or none."""

from collections.abc import Collection
from typing import Final

from smtp_transport.auth.mechanism import Mechanism
from smtp_transport.auth.password import login, plain
from smtp_transport.config import AuthMethod, CredentialKind, Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind

MECHANISMS: Final = (
    Mechanism(AuthMethod.PLAIN, CredentialKind.PASSWORD, reveals_secret=True, begin=plain),
    Mechanism(AuthMethod.LOGIN, CredentialKind.PASSWORD, reveals_secret=True, begin=login),
)
"""Best first. PLAIN stands before LOGIN because it is a standard and costs one round trip."""


def choose(
    credentials: Credentials, offered: Collection[str], *, may_reveal_secret: bool, insist: AuthMethod | None = None
) -> Mechanism:
    """Pick the first mechanism that takes these credentials and that the server offers.

    `may_reveal_secret`: the link is encrypted, or it was explicitly allowed. `insist`: this mechanism or none. Raises
    `AuthenticationError` with kind AUTH_METHOD_NOT_SUPPORTED and what would help.
    """
    fitting = [m for m in MECHANISMS if insist in {None, m.method} and m.takes is credentials.kind]
    shared = [m for m in fitting if m.name in offered]
    for mechanism in shared:
        if may_reveal_secret or not mechanism.reveals_secret:
            return mechanism
    if shared:
        raise _unsupported("the password would be readable on this link without TLS; use a TLS mode")
    known = ", ".join(m.name for m in fitting) or "none"
    theirs = ", ".join(sorted(offered)[:16]) or "no authentication"
    raise _unsupported(f"the server offers {theirs}; these credentials can be proven by {known}")


def _unsupported(what: str) -> AuthenticationError:
    return AuthenticationError(what, ErrorKind.AUTH_METHOD_NOT_SUPPORTED)
