"""Which mechanism to use: the best that server, credentials and link allow, or none."""

from collections.abc import Collection, Sequence
from typing import Final

from smtp_transport.auth.bearer import oauthbearer, xoauth2
from smtp_transport.auth.cram import cram_md5
from smtp_transport.auth.external import external
from smtp_transport.auth.mechanism import Mechanism
from smtp_transport.auth.password import login, plain
from smtp_transport.auth.scram import scram_sha_1, scram_sha_1_plus, scram_sha_256, scram_sha_256_plus
from smtp_transport.credentials import AuthMethod, CredentialKind, Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind
from smtp_transport.sasl import SaslMechanism

_PASSWORD, _TOKEN = CredentialKind.PASSWORD, CredentialKind.TOKEN

MECHANISMS: Final = (
    Mechanism(AuthMethod.EXTERNAL, CredentialKind.EXTERNAL, external),
    Mechanism(AuthMethod.OAUTHBEARER, _TOKEN, oauthbearer, reveals_secret=True),
    Mechanism(AuthMethod.XOAUTH2, _TOKEN, xoauth2, reveals_secret=True, needs_username=True),
    Mechanism(AuthMethod.SCRAM_SHA_256_PLUS, _PASSWORD, scram_sha_256_plus, verifies_server=True, binds_channel=True),
    Mechanism(AuthMethod.SCRAM_SHA_1_PLUS, _PASSWORD, scram_sha_1_plus, verifies_server=True, binds_channel=True),
    Mechanism(AuthMethod.SCRAM_SHA_256, _PASSWORD, scram_sha_256, verifies_server=True),
    Mechanism(AuthMethod.SCRAM_SHA_1, _PASSWORD, scram_sha_1, verifies_server=True),
    Mechanism(AuthMethod.CRAM_MD5, _PASSWORD, cram_md5),
    Mechanism(AuthMethod.PLAIN, _PASSWORD, plain, reveals_secret=True),
    Mechanism(AuthMethod.LOGIN, _PASSWORD, login, reveals_secret=True),
)
"""Best first, within each kind of credentials.

Binding the channel comes before the better digest: with it, whoever shortens the server's offer is found out either
way. PLAIN stands before LOGIN because it is a standard and costs one round trip.
"""


def choose(
    credentials: Credentials,
    offered: Collection[str],
    *,
    may_reveal_secret: bool,
    insist: AuthMethod | None = None,
    own: Sequence[SaslMechanism] = (),
    can_bind: bool = False,
) -> SaslMechanism:
    """Pick the first mechanism that takes these credentials and that the server offers.

    `may_reveal_secret`: the link is encrypted, or it was explicitly allowed. `insist`: this mechanism or none. `own`:
    mechanisms of the caller's, which come first. `can_bind`: the link has a channel binding. Raises
    `AuthenticationError` with kind AUTH_METHOD_NOT_SUPPORTED and what would help.
    """
    wanted = [m for m in own if insist is None or m.name == insist.value]
    wanted += [m for m in MECHANISMS if insist in {None, m.method} and m.takes is credentials.kind]
    shared = [m for m in wanted if m.name in offered]
    possible = [m for m in shared if _is_possible(m, credentials, can_bind=can_bind)]
    for mechanism in possible:
        # What does not say that it keeps the secret is taken to show it.
        if may_reveal_secret or not getattr(mechanism, "reveals_secret", True):
            return mechanism
    if possible:
        raise _unsupported("the secret would be readable on this link without TLS; use a TLS mode")
    if any(getattr(m, "needs_username", False) for m in shared):
        raise _unsupported("XOAUTH2 needs a user name beside the token")
    if shared:
        raise _unsupported(f"{shared[0].name} needs TLS, and a certificate that a channel can be bound to")
    known = ", ".join(m.name for m in wanted) or "none of the mechanisms allowed"
    theirs = ", ".join(sorted(offered)[:16]) or "no authentication"
    raise _unsupported(f"the server offers {theirs}; these credentials can be proven by {known}")


def _is_possible(mechanism: SaslMechanism, credentials: Credentials, *, can_bind: bool) -> bool:
    if not isinstance(mechanism, Mechanism):
        return True
    return (can_bind or not mechanism.binds_channel) and bool(credentials.username or not mechanism.needs_username)


def _unsupported(what: str) -> AuthenticationError:
    return AuthenticationError(what, ErrorKind.AUTH_METHOD_NOT_SUPPORTED)
