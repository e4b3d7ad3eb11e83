"""Messages of others, made fit for a server: parts that it could not carry are encoded anew (RFC 6152 section 3).

Law: what readers see stays what it was; only transfer encodings change. What is signed is not touched: the signature
would break. The email package takes the message apart and puts it together.
"""

from collections.abc import Sequence
from email.generator import BytesGenerator
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from io import BytesIO
from typing import Any

from smtp_transport.message.header_block import Field, joined, split
from smtp_transport.message.transfer import TransferEncoding, choose, encode, has_long_line

_POLICY = compat32.clone(linesep="\r\n", max_line_length=0)
_ENCODING = "content-transfer-encoding"


def is_fit(octets: bytes, *, eight_bit: bool) -> bool:
    """Whether a body can go as it is: no long line, no NUL, nothing above 127 unless `eight_bit`."""
    return (eight_bit or octets.isascii()) and b"\0" not in octets and not has_long_line(octets)


def is_signed(fields: Sequence[Field], body: bytes) -> bool:
    """Whether a change could break a signature: DKIM, or multipart/signed at any depth (RFC 1847)."""
    if any(one.name in {"dkim-signature", "arc-message-signature"} for one in fields):
        return True
    signed = b"multipart/signed"
    top = joined([one for one in fields if one.name == "content-type"])
    return signed in top.lower() or signed in body.lower()


def reencoded(fields: Sequence[Field], body: bytes, *, eight_bit: bool) -> tuple[tuple[Field, ...], bytes] | None:
    """Encode anew what does not fit, and give header and body; None if that is not possible without loss."""
    fields = _declared(fields, body)
    try:
        written = _written(joined(fields) + b"\r\n" + body, eight_bit=eight_bit)
        if written is None:
            return None
        anew, start = split(written)
    except Exception:  # noqa: BLE001 - the package raises much over malformed parts; then they stay as they are
        return None
    body = written[start:]
    if not is_fit(body, eight_bit=eight_bit):
        return None
    encoding = tuple(one for one in anew if one.name == _ENCODING)
    return (*(one for one in fields if one.name != _ENCODING), *encoding), body


def _written(data: bytes, *, eight_bit: bool) -> bytes | None:
    parsed = BytesParser(policy=_POLICY).parsebytes(data)
    if not all(_fit(part, eight_bit=eight_bit) for part in parsed.walk()):
        return None
    made = BytesIO()
    BytesGenerator(made, mangle_from_=False, policy=_POLICY).flatten(parsed)
    return made.getvalue()


def _declared(fields: Sequence[Field], body: bytes) -> tuple[Field, ...]:
    """Say what a message without MIME header is, so that it can be encoded at all (RFC 2045 sections 4, 5.2)."""
    there = {one.name for one in fields}
    added = []
    if "mime-version" not in there:
        added.append(Field("mime-version", b"MIME-Version: 1.0\r\n"))
    if "content-type" not in there:
        charset = b"unknown-8bit"
        try:
            body.decode()
            charset = b"utf-8"
        except UnicodeDecodeError:
            pass
        added.append(Field("content-type", b"Content-Type: text/plain; charset=" + charset + b"\r\n"))
    return (*fields, *added)


def _fit(part: "Message[Any, Any]", *, eight_bit: bool) -> bool:
    """Encode one part anew if it has to be; whether it fits then."""
    written = str(part.get(_ENCODING, "7bit")).strip().lower()
    is_bare = written in {"7bit", "8bit", "binary"}
    if part.is_multipart():
        _declare_bare(part, eight_bit=eight_bit)
        return is_bare
    octets = part.get_payload(decode=True)
    # Encoded text is ASCII, or wrong; get_payload() would take anything else for text in the part's charset.
    as_sent = octets if is_bare else str(part.get_payload()).encode("utf-8", "surrogateescape")
    if isinstance(as_sent, bytes) and is_fit(as_sent, eight_bit=eight_bit):
        _declare_bare(part, eight_bit=eight_bit)
        return True
    if not isinstance(octets, bytes) or part.defects or part.get_content_maintype() == "message":
        return False
    encoding = TransferEncoding.BASE64
    if part.get_content_maintype() == "text" and b"\0" not in octets and _has_line_ends_of_text(octets):
        encoding = choose(octets, eight_bit=False)
    if encoding is TransferEncoding.SEVEN_BIT:  # decoded, it needs no encoding; but its lines may not end as they did
        encoding = TransferEncoding.QUOTED_PRINTABLE
    del part[_ENCODING]
    part[_ENCODING] = encoding.value
    part.set_payload(encode(octets, encoding).decode("ascii"))
    return True


def _declare_bare(part: "Message[Any, Any]", *, eight_bit: bool) -> None:
    """Claim no more than there may be (RFC 2045 section 6.4)."""
    if str(part.get(_ENCODING, "")).strip().lower() in {"8bit", "binary"}:
        part.replace_header(_ENCODING, "8bit" if eight_bit else "7bit")


def _has_line_ends_of_text(octets: bytes) -> bool:
    line_ends = octets.count(b"\r\n")
    return octets.count(b"\n") == line_ends == octets.count(b"\r")
