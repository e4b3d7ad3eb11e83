"""The header of a message that another program wrote, as fields of octets (RFC 5322 section 2.2).

Law: a field that is not to be changed goes out as it came in, white space before its colon excepted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import headers
from smtp_transport.message.address import Address
from smtp_transport.message.mailbox_list import address_list
from smtp_transport.message.transfer import LONGEST_LINE

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
ADDRESS_FIELDS = frozenset(
    {"from", "sender", "reply-to", "to", "cc", "bcc"}
    | {"resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc", "resent-bcc"}
)
_UNSTRUCTURED = frozenset({"subject", "comments", "resent-comments", "organization", "thread-topic", "user-agent"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name in lower case, and all of its octets, the last CRLF included."""

    name: str
    octets: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The value, unfolded. Raises MessageError(INVALID_HEADER) if it is no UTF-8."""
        try:
            value = self.octets.partition(b":")[2].decode()
        except UnicodeDecodeError:
            raise _wrong(f"the {self.name} header is neither ASCII nor UTF-8") from None
        return value.replace("\r\n", "").strip(" \t")


def split(data: bytes) -> tuple[tuple[Field, ...], int]:
    """Cut canonical data into header fields, and tell where the body begins. Raises MessageError(INVALID_HEADER)."""
    blank = data.find(b"\r\n\r\n")
    head = (data.removesuffix(b"\r\n") if blank < 0 else data[:blank]) + b"\r\n"
    fields: list[Field] = []
    place = 0
    while place < len(head):
        found = _FIELD.match(head, place)
        if found is None:
            raise _wrong(f"what should be header field {len(fields) + 1} is none")
        name = found[1].decode("ascii")
        if max(map(len, found[0].split(b"\r\n"))) > LONGEST_LINE or b"\0" in found[0]:
            raise _wrong(f"header field {len(fields) + 1} holds NUL or a line of more than {LONGEST_LINE} octets")
        # White space before the colon is obsolete (RFC 5322 section 4.5), and readers differ over what it means.
        fields.append(Field(name.lower(), b"%b:%b\r\n" % found.groups()))
        place = found.end()
    return tuple(fields), len(data) if blank < 0 else blank + len(b"\r\n\r\n")


def read_addresses(name: str, text: str) -> tuple[Address, ...]:
    """Read the addresses of one field's text. Raises MessageError."""
    try:
        return address_list(text)
    except ValueError:
        kind = ErrorKind.INVALID_FROM_ADDRESS if name in _OF_SENDERS else ErrorKind.INVALID_RECIPIENT_ADDRESS
        raise MessageError(f"the {name} header is no list of addresses that can be understood", kind) from None


_OF_SENDERS = frozenset({"from", "sender", "resent-from", "resent-sender"})


def in_ascii(one: Field) -> Field:
    """Write a field with raw UTF-8 in ASCII if that keeps what it says; else give it as it is.

    Free text becomes encoded-words (RFC 2047), domains become A-labels. Local parts, and the structure of other fields,
    cannot be written so: they need SMTPUTF8 (RFC 6532).
    """
    if one.octets.isascii():
        return one
    name, text = one.octets.partition(b":")[0].decode("ascii").strip(" \t"), one.text
    if one.name in _UNSTRUCTURED or one.name.startswith("x-"):
        return replace(one, octets=headers.unstructured(name, text.replace("\t", " ")).encode())
    if one.name in ADDRESS_FIELDS and "=?" not in text and ";" not in text:
        return replace(one, octets=_mailboxes_in_ascii(name, one))
    return one


def _mailboxes_in_ascii(name: str, one: Field) -> bytes:
    try:
        found = address_list(one.text, names=True)
    except ValueError:
        return one.octets
    if not found or not all(address.email.isascii() for address in found):
        return one.octets
    return headers.mailboxes(name, found).encode()


def joined(fields: Sequence[Field]) -> bytes:
    """Put fields together again."""
    return b"".join(one.octets for one in fields)


def _wrong(what: str) -> MessageError:
    return MessageError(what, ErrorKind.INVALID_HEADER)
