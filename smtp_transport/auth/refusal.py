"""What the server's answers to AUTH mean (RFC 4954 sections 4 and 6).

Law: a reply's text never enters an error here as it is, for a server may echo what it was sent.
"""

import base64
import binascii
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from smtp_transport.auth.bearer import reasons
from smtp_transport.credentials import CredentialKind, Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind, ProtocolError
from smtp_transport.phase import Phase
from smtp_transport.reply import Reply

_MEANING: Final[Mapping[int, tuple[ErrorKind, str]]] = MappingProxyType(
    {
        432: (ErrorKind.CREDENTIALS_EXPIRED, "the server wants the password to be changed first"),
        454: (ErrorKind.AUTHENTICATION, "the server cannot authenticate at the moment"),
        504: (ErrorKind.AUTH_METHOD_NOT_SUPPORTED, "the server does not know the mechanism that it offered"),
        530: (ErrorKind.AUTHENTICATION_REQUIRED, "the server wants something else before authentication"),
        534: (ErrorKind.AUTH_METHOD_NOT_SUPPORTED, "the server wants a stronger mechanism, or another password"),
        535: (ErrorKind.CREDENTIALS_INVALID, "the server did not accept the credentials"),
        538: (ErrorKind.AUTH_METHOD_NOT_SUPPORTED, "the server wants TLS before this mechanism"),
    }
)
_OF_THIS_MECHANISM: Final = frozenset({504, 534, 535})
"""Codes that another mechanism may not meet."""
_OTHER: Final = (ErrorKind.AUTHENTICATION, "the server refused to authenticate")


def refusal(
    reply: Reply, credentials: Credentials | None = None, challenge: bytes = b"", bound: str = "", by: str = ""
) -> AuthenticationError | ProtocolError:
    """Turn a 4xx or 5xx reply to AUTH, or to a response, into an error.

    With a token, what its provider said against it in the last challenge or in the reply is told in the error: status,
    schemes and scope, and nothing else. `bound`: the type of channel binding that went with the credentials. `by`: the
    mechanism, if the server offers to be shown the password instead.
    """
    if reply.code == 421:
        return ProtocolError(
            "the server closes the connection", ErrorKind.SERVER_SHUTDOWN, reply.code, reply.enhanced, Phase.AUTH
        )
    kind, what = _MEANING.get(reply.code, _OTHER)
    if credentials is not None and credentials.kind is CredentialKind.TOKEN:
        what += reasons((challenge, *(word.encode() for word in reply.text.split())), credentials.secret)
    if bound:
        # Types are not negotiated, and few servers say which of the two they refuse.
        what += f", or not their binding by {bound}; auth_method can name a mechanism without -PLUS"
    elif by and reply.code in _OF_THIS_MECHANISM:
        # Servers that keep passwords hashed may offer what they cannot check then.
        what += f", by {by}; auth_method can name another that it offers"
    return AuthenticationError(what, kind, reply.code, reply.enhanced, Phase.AUTH)


def decode_challenge(reply: Reply) -> bytes:
    """Read the challenge in a 334 reply; `ProtocolError` if it is not base64."""
    try:
        return base64.b64decode(reply.text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ProtocolError(
            "the server sent a challenge that is not base64", ErrorKind.INVALID_RESPONSE, phase=Phase.AUTH
        ) from None
