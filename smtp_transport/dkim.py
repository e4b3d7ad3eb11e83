"""DKIM signatures (RFC 6376, RFC 8301, RFC 8463): relaxed/relaxed, RSA-SHA256 and Ed25519-SHA256.

Law: the content is not changed, one field is put before it. The same content, key and time make the same signature.
The key is in no repr, no error and no pickle. Needs the extra `dkim`.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from smtp_transport.envelope import Content, StreamedContent
from smtp_transport.errors import ErrorKind, MessageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

SIGNED_HEADERS: Final = (
    *("from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding", "auto-submitted"),
    *("list-id", "list-unsubscribe", "list-unsubscribe-post"),
)
"""What a reader sees or acts upon (RFC 6376 section 5.4.1); List-Unsubscribe because RFC 8058 asks for it."""

_LEAST_RSA_BITS: Final = 1024  # RFC 8301 section 3.2
_LABELS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}))*")
_HEADER_NAME = re.compile(r"[!-9<-~]+")  # ftext without ";", which ends a tag
_FIELD = re.compile(rb"([^:\r\n]+):([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_SPACE_AT_END = re.compile(rb"[ \t]+\r\n")
_SPACE = re.compile(rb"[ \t]+")
_ROOM: Final = 72


class Signer(Protocol):
    """What signs a rendered message just before it is sent; `timestamp` is in seconds since the epoch."""

    def sign(self, content: Content, timestamp: int | None) -> Content:
        """Return the message with a signature before it."""
        ...


class DkimSigner:
    """Signs for `domain` with the key that DNS shows under `<selector>._domainkey.<domain>`.

    `key`: a private key in PEM, or an RSA or Ed25519 key of `cryptography`. `headers`: which fields are signed, where
    they are there. `oversigned`: which are signed once more than they are there, so that none can be added.
    Raises ValueError for what can be no signer, ImportError without the extra.
    """

    def __init__(
        self,
        domain: str,
        selector: str,
        key: "str | bytes | RSAPrivateKey | Ed25519PrivateKey",
        *,
        headers: Iterable[str] = SIGNED_HEADERS,
        oversigned: Iterable[str] = ("from",),
    ) -> None:
        for what, value in (("domain", domain), ("selector", selector)):
            if not _LABELS.fullmatch(value) or len(value) > 253:
                raise ValueError(f"the {what} is no name in DNS; write international ones as A-labels")
        self.domain, self.selector = domain, selector
        self._oversigned = _lowered(oversigned)
        self._headers = tuple(dict.fromkeys([*_lowered(headers), *self._oversigned]))
        if "from" not in self._headers or not all(map(_HEADER_NAME.fullmatch, self._headers)):
            raise ValueError("headers must be names of header fields, and From among them (RFC 6376 section 5.4)")
        self._key = _loaded(key)

    @property
    def algorithm(self) -> str:
        """The `a=` tag."""
        return "rsa-sha256" if hasattr(self._key, "key_size") else "ed25519-sha256"

    def sign(self, content: Content, timestamp: int | None) -> Content:
        """Return the message with its signature before it; `timestamp` (seconds) becomes `t=`, None leaves it out.

        A streamed content is made once for its hash, and again when it is sent. Raises MessageError(INVALID_HEADER)
        for a message without From.
        """
        head, body_hash = _read(content)
        fields = [(found[1].strip(b" \t").lower(), found[2]) for found in _FIELD.finditer(head)]
        names, signed = self._chosen(fields)
        time = "" if timestamp is None else f" t={timestamp};"
        value = (
            f" v=1; a={self.algorithm}; c=relaxed/relaxed;\r\n d={self.domain}; s={self.selector};{time}\r\n"
            f" h={_folded_names(names)};\r\n bh={body_hash};\r\n b="
        )
        to_sign = b"".join([*signed, _relaxed(b"dkim-signature", value.encode()).removesuffix(b"\r\n")])
        signature = base64.b64encode(self._signature(to_sign)).decode()
        lines = [signature[start : start + _ROOM] for start in range(0, len(signature), _ROOM)]
        field = f"DKIM-Signature:{value}" + "\r\n ".join(lines) + "\r\n"
        return _with_field(field.encode(), content)

    def _chosen(self, fields: list[tuple[bytes, bytes]]) -> tuple[list[str], list[bytes]]:
        """Pick what is signed: of several fields with one name the last first (RFC 6376 section 5.4.2)."""
        names, signed = [], []
        for name in self._headers:
            values = [value for key, value in reversed(fields) if key == name.encode()]
            if name == "from" and not values:
                raise MessageError("a message without From cannot be signed", ErrorKind.INVALID_HEADER)
            names += [name] * (len(values) + (name in self._oversigned))
            signed += [_relaxed(name.encode(), value) for value in values]
        return names, signed

    def _signature(self, data: bytes) -> bytes:
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415 - the same
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - the same

        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self._key.sign(hashlib.sha256(data).digest())  # RFC 8463 section 3: of the hash, not of the data

    def __repr__(self) -> str:
        return f"<DkimSigner {self.algorithm} {self.selector}._domainkey.{self.domain}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer holds a private key and is not pickled; make it where it is used")


def _lowered(names: Iterable[str]) -> tuple[str, ...]:
    """Give names in lower case; one alone may stand without a list, or its letters would be taken for names."""
    return tuple(name.lower() for name in ((names,) if isinstance(names, str) else names))


def _loaded(key: "str | bytes | RSAPrivateKey | Ed25519PrivateKey") -> "RSAPrivateKey | Ed25519PrivateKey":
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415 - the same
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ImportError("DKIM needs the package cryptography: install the extra `dkim`") from error
    read: object = key
    if isinstance(key, str | bytes):
        try:
            read = load_pem_private_key(key.encode() if isinstance(key, str) else key, password=None)
        except (ValueError, TypeError):
            raise ValueError("the key is no unencrypted private key in PEM") from None
    if isinstance(read, RSAPrivateKey):
        if read.key_size < _LEAST_RSA_BITS:
            raise ValueError(f"an RSA key for DKIM needs {_LEAST_RSA_BITS} bits, better 2048 (RFC 8301)")
        return read
    if isinstance(read, Ed25519PrivateKey):
        return read
    raise ValueError("a key for DKIM is an RSA or an Ed25519 key")


def _relaxed(name: bytes, value: bytes) -> bytes:
    """RFC 6376 section 3.4.2."""
    return name + b":" + _SPACE.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ") + b"\r\n"


def relaxed_body(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Give a canonical body in the form that is hashed, piece by piece (RFC 6376 section 3.4.4)."""
    rest, blank_lines, is_begun = b"", 0, False
    for chunk in chunks:
        lines, line_end, rest = (rest + chunk).rpartition(b"\r\n")
        text = _SPACE.sub(b" ", _SPACE_AT_END.sub(b"\r\n", lines + line_end))
        kept = text.rstrip(b"\r\n")
        if kept:
            yield b"\r\n" * blank_lines + kept
            blank_lines, is_begun = 0, True
        blank_lines += (len(text) - len(kept)) // 2
    last = _SPACE.sub(b" ", rest).rstrip(b" ")
    if last:
        yield b"\r\n" * blank_lines + last
    if last or is_begun:
        yield b"\r\n"


def _read(content: Content) -> tuple[bytes, str]:
    """Give the header, the last CRLF included, and the hash of the body in base64."""
    chunks = content.chunks()
    head = b""
    for chunk in chunks:
        head += chunk
        if b"\r\n\r\n" in head:
            break
    head, _, body = head.partition(b"\r\n\r\n")
    digest = hashlib.sha256()
    for piece in relaxed_body(_then(body, chunks)):
        digest.update(piece)
    return head + b"\r\n", base64.b64encode(digest.digest()).decode()


def _then(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others


def _with_field(field: bytes, content: Content) -> Content:
    if isinstance(content, StreamedContent):
        return StreamedContent(
            lambda: _then(field, content.chunks()),
            len(field) + content.size,
            eight_bit=content.eight_bit,
            utf8_headers=content.utf8_headers,
        )
    return Content(field + content.data, content.eight_bit, content.utf8_headers)


def _folded_names(names: list[str]) -> str:
    lines = [""]
    for place, name in enumerate(names):
        piece = name + ":" * (place < len(names) - 1)
        if len(lines[-1]) + len(piece) > _ROOM:
            lines.append("")
        lines[-1] += piece
    return "\r\n  ".join(lines)
