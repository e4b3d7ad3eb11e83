"""SCRAM-SHA-1 and SCRAM-SHA-256, and both with channel binding (RFC 5802, RFC 7677).

The password is shown to be known without being shown, the server shows that it knew it before, and, with channel
binding, both show that nobody sits between them. Whoever takes the -PLUS mechanisms out of the server's offer is found
out: the client says that it would have used one (RFC 5802 section 6).
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from smtp_transport.auth.bearer import escaped
from smtp_transport.auth.saslprep import saslprep
from smtp_transport.credentials import Credentials
from smtp_transport.errors import AuthenticationError, ErrorKind, ProtocolError
from smtp_transport.sasl import SaslContext, SaslExchange

MIN_ITERATIONS: Final = 4096
"""Fewer are a way to have the password guessed (RFC 5802 section 5.1, RFC 7677 section 4)."""
MAX_ITERATIONS: Final = 2_000_000
"""More are a way to keep this machine busy: these take about a second."""

_SERVER_FIRST: Final = re.compile(
    rb"r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+),s=(?P<salt>[A-Za-z0-9+/=]+),i=(?P<iterations>[1-9][0-9]{0,9})(?:,.*)?",
    re.DOTALL,
)
_SERVER_FINAL: Final = re.compile(rb"v=(?P<signature>[A-Za-z0-9+/=]+)(?:,.*)?", re.DOTALL)
# RFC 5802 section 7; what else a server says is not repeated.
_BINDING_TROUBLE: Final = (
    "the server did not take the channel binding: either it supports another type, and auth_method can name a "
    "mechanism without -PLUS, or somebody sits in between"
)
_ERRORS: Final = {
    b"e=channel-bindings-dont-match": (ErrorKind.AUTHENTICATION, _BINDING_TROUBLE),
    b"e=unsupported-channel-binding-type": (ErrorKind.AUTHENTICATION, _BINDING_TROUBLE),
    b"e=channel-binding-not-supported": (ErrorKind.AUTHENTICATION, _BINDING_TROUBLE),
    b"e=server-does-support-channel-binding": (
        ErrorKind.AUTHENTICATION,
        "the server supports channel binding, and its offer came without: somebody may have changed it on the way",
    ),
    b"e=invalid-proof": (ErrorKind.CREDENTIALS_INVALID, "the server did not accept the credentials"),
    b"e=unknown-user": (ErrorKind.CREDENTIALS_INVALID, "the server did not accept the credentials"),
}
_OTHER_ERROR: Final = (ErrorKind.AUTHENTICATION, "the server ended SCRAM with an error")


def scram_sha_1(credentials: Credentials, context: SaslContext) -> SaslExchange:
    """RFC 5802, without channel binding."""
    return _scram("sha1", credentials, context, _flag_without_binding(context), b"")


def scram_sha_256(credentials: Credentials, context: SaslContext) -> SaslExchange:
    """RFC 7677, without channel binding."""
    return _scram("sha256", credentials, context, _flag_without_binding(context), b"")


def scram_sha_1_plus(credentials: Credentials, context: SaslContext) -> SaslExchange:
    """RFC 5802, bound to the TLS connection."""
    return _bound("sha1", credentials, context)


def scram_sha_256_plus(credentials: Credentials, context: SaslContext) -> SaslExchange:
    """RFC 7677, bound to the TLS connection."""
    return _bound("sha256", credentials, context)


def _bound(digest: str, credentials: Credentials, context: SaslContext) -> SaslExchange:
    if context.binding is None:
        raise AuthenticationError("this link has no channel to bind to", ErrorKind.AUTH_METHOD_NOT_SUPPORTED)
    return _scram(digest, credentials, context, f"p={context.binding.kind}".encode(), context.binding.data)


def _flag_without_binding(context: SaslContext) -> bytes:
    """Say whether we would have bound the channel had the server offered it (RFC 5802 section 6)."""
    offered = any(name.startswith("SCRAM-") and name.endswith("-PLUS") for name in context.offered)
    return b"n" if context.binding is None or offered else b"y"


def _scram(digest: str, credentials: Credentials, context: SaslContext, flag: bytes, bound: bytes) -> SaslExchange:
    header = flag + b",,"
    first_bare = b"n=" + escaped(_prepared(SecretStr(credentials.username))) + b",r=" + context.nonce.encode()
    server_first = yield header + first_bare
    asked = _ServerFirst.parse(server_first, context.nonce.encode())
    final_bare = b"c=" + base64.b64encode(header + bound) + b",r=" + asked.nonce
    proofs = _Proofs.make(digest, credentials, asked, b",".join((first_bare, server_first, final_bare)))
    server_final = yield final_bare + b",p=" + base64.b64encode(proofs.ours)
    _verify(server_final, proofs.theirs)
    yield b""


def _prepared(text: SecretStr) -> bytes:
    prepared = SecretStr(saslprep(text.get_secret_value()) or "")
    if not prepared:
        raise AuthenticationError(
            "a user name or secret holds a character that SCRAM cannot have (RFC 4013); PLAIN could, as auth_method",
            ErrorKind.CREDENTIALS_INVALID,
        )
    return prepared.get_secret_value().encode()


@dataclass(frozen=True, slots=True)
class _ServerFirst:
    nonce: bytes
    salt: bytes
    iterations: int

    @classmethod
    def parse(cls, message: bytes, our_nonce: bytes) -> "_ServerFirst":
        if message.startswith(b"e="):
            raise _ended(message)
        found = _SERVER_FIRST.fullmatch(message)
        if found is None:
            raise _malformed()
        nonce, iterations = found["nonce"], int(found["iterations"])
        if not nonce.startswith(our_nonce) or nonce == our_nonce:
            raise AuthenticationError("the server did not take up our nonce: it answers somebody else")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise AuthenticationError(
                f"the server asks for {iterations} iterations, {MIN_ITERATIONS} to {MAX_ITERATIONS} are sane"
            )
        return cls(nonce, _decoded(found["salt"]), iterations)


@dataclass(frozen=True, slots=True)
class _Proofs:
    """What we show, and what the server has to."""

    ours: bytes = field(repr=False)
    theirs: bytes = field(repr=False)

    @classmethod
    def make(cls, digest: str, credentials: Credentials, asked: _ServerFirst, conversation: bytes) -> "_Proofs":
        """RFC 5802 section 3."""
        salted = hashlib.pbkdf2_hmac(digest, _prepared(credentials.secret), asked.salt, asked.iterations)
        client_key = hmac.digest(salted, b"Client Key", digest)
        signature = hmac.digest(hashlib.new(digest, client_key).digest(), conversation, digest)
        ours = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return cls(ours, hmac.digest(hmac.digest(salted, b"Server Key", digest), conversation, digest))


def _verify(message: bytes, theirs: bytes) -> None:
    if message.startswith(b"e="):
        raise _ended(message)
    if not message:
        raise AuthenticationError("the server accepted the password and did not prove that it knows it: leave it alone")
    found = _SERVER_FINAL.fullmatch(message)
    if found is None:
        raise _malformed()
    if not hmac.compare_digest(_decoded(found["signature"]), theirs):
        raise AuthenticationError("the server's signature is wrong: it does not know the password it asks for")


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _malformed() from None


def _malformed() -> ProtocolError:
    return ProtocolError("the server's SCRAM message cannot be read", ErrorKind.INVALID_RESPONSE)


def _ended(message: bytes) -> AuthenticationError:
    kind, told = _ERRORS.get(message.partition(b",")[0], _OTHER_ERROR)
    return AuthenticationError(told, kind)
