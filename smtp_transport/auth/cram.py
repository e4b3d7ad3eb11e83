"""CRAM-MD5 (RFC 2195): the password is shown to be known, not shown. Better than clear text, and no more than that."""

import hmac

from pydantic import SecretStr

from smtp_transport.auth.mechanism import octets
from smtp_transport.credentials import Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind
from smtp_transport.sasl import SaslContext, SaslExchange


def cram_md5(credentials: Credentials, _: SaslContext) -> SaslExchange:
    """Answer the server's challenge with a digest of it and the password."""
    challenge = yield None
    yield octets(SecretStr(credentials.username)) + b" " + _digest(credentials.secret, challenge)


def _digest(secret: SecretStr, challenge: bytes) -> bytes:
    try:
        return hmac.new(octets(secret), challenge, "md5").hexdigest().encode()
    except ValueError:
        # OpenSSL in FIPS mode has no MD5.
        raise AuthenticationError(
            "CRAM-MD5 needs MD5, which this machine's OpenSSL does not allow; choose another auth_method",
            ErrorKind.AUTH_METHOD_NOT_SUPPORTED,
        ) from None
