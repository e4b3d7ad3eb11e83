"""Mechanisms that send the password itself: PLAIN (RFC 4616) and LOGIN (which never became a standard)."""

from smtp_transport.auth.mechanism import SaslExchange
from smtp_transport.config import Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind


def plain(credentials: Credentials) -> SaslExchange:
    """Say name and password at once; the authorization identity is left to the server (RFC 4616 section 2)."""
    yield b"\0" + _octets(credentials.username) + b"\0" + _octets(credentials.secret.get_secret_value())


def login(credentials: Credentials) -> SaslExchange:
    """Answer two questions. Their wording differs from server to server, their order does not."""
    yield None
    yield _octets(credentials.username)
    yield _octets(credentials.secret.get_secret_value())


def _octets(text: str) -> bytes:
    if "\0" in text:
        # NUL separates the parts: with one inside, the server would read another name or password.
        raise AuthenticationError("a user name or password cannot hold NUL", ErrorKind.CREDENTIALS_INVALID)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # The exception's text would hold the secret.
        raise AuthenticationError("a user name or password is not text", ErrorKind.CREDENTIALS_INVALID) from None
