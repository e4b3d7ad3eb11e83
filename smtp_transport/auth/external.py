"""EXTERNAL (RFC 4422 appendix A): TLS has shown who we are, by a client certificate."""

from pydantic import SecretStr

from smtp_transport.auth.mechanism import octets
from smtp_transport.credentials import Credentials
from smtp_transport.sasl import SaslContext, SaslExchange


def external(credentials: Credentials, _: SaslContext) -> SaslExchange:
    """Name whom to act as; nobody named means whom the certificate names."""
    yield octets(SecretStr(credentials.username))
