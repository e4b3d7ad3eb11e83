"""Mechanisms that send the password itself: PLAIN (RFC 4616) and LOGIN (which never became a standard)."""

from pydantic import SecretStr

from smtp_transport.auth.mechanism import octets
from smtp_transport.credentials import Credentials
from smtp_transport.sasl import SaslContext, SaslExchange


def plain(credentials: Credentials, _: SaslContext) -> SaslExchange:
    """Say name and password at once; the authorization identity is left to the server (RFC 4616 section 2)."""
    yield b"\0" + octets(SecretStr(credentials.username)) + b"\0" + octets(credentials.secret)


def login(credentials: Credentials, _: SaslContext) -> SaslExchange:
    """Answer two questions. Their wording differs from server to server, their order does not."""
    yield None
    yield octets(SecretStr(credentials.username))
    yield octets(credentials.secret)
