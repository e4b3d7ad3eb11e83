"""Mechanisms that carry an OAuth 2.0 access token: OAUTHBEARER (RFC 7628) and XOAUTH2 (of Google, before it).

Both are told why a token is refused in a challenge, which has to be answered before the refusal comes.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from typing import Final

from pydantic import SecretStr

from smtp_transport.auth.mechanism import octets
from smtp_transport.credentials import Credentials
from smtp_transport.sasl import SaslContext, SaslExchange

_TOLD: Final = ("status", "schemes", "scope")
# Visible ASCII without "@": what a server says here ends up in an error, which holds no address.
_HARMLESS: Final = re.compile(r"[\x20-\x3f\x41-\x7e]{1,200}")


def oauthbearer(credentials: Credentials, context: SaslContext) -> SaslExchange:
    """Say the token, and who and where we think we are (RFC 7628 section 3.1)."""
    yield (
        b"n,"
        + (b"a=" + escaped(_name(credentials)) if credentials.username else b"")
        + f",\x01host={context.host}\x01port={context.port}\x01auth=Bearer ".encode()
        + octets(credentials.secret, without_controls=True)
        + b"\x01\x01"
    )
    yield b"\x01"


def xoauth2(credentials: Credentials, _: SaslContext) -> SaslExchange:
    """Say user and token."""
    yield (
        b"user="
        + _name(credentials)
        + b"\x01auth=Bearer "
        + octets(credentials.secret, without_controls=True)
        + b"\x01\x01"
    )
    yield b""


def escaped(name: bytes) -> bytes:
    """Write a name where "," and "=" have a meaning of their own (RFC 5801 section 4)."""
    return name.replace(b"=", b"=3D").replace(b",", b"=2C")


def reasons(texts: Iterable[bytes], secret: SecretStr) -> str:
    """Find a provider's JSON, plain or in base64, in what came with a refusal: ` (status 400, scope ...)`, or nothing.

    Only what the law of errors allows is repeated: no address, and nothing that holds the token.
    """
    for text in texts:
        document = _document(text)
        told = {key: str(document[key]) for key in _TOLD if isinstance(document.get(key), str | int)}
        shown = [f"{key} {value}" for key, value in told.items() if _is_harmless(value, secret)]
        if shown:
            return f" ({', '.join(shown)})"
    return ""


def _name(credentials: Credentials) -> bytes:
    return octets(SecretStr(credentials.username), without_controls=True)


def _is_harmless(value: str, secret: SecretStr) -> bool:
    return _HARMLESS.fullmatch(value) is not None and secret.get_secret_value() not in value


def _document(text: bytes) -> dict[str, object]:
    try:
        found = json.loads(text if text.startswith(b"{") else base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
