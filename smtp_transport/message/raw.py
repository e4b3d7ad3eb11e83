"""Messages that another program made: of the standard library's email package, or bytes.

Law: they go out as they came in, save what must not: Bcc is taken out, line ends become CRLF, headers in raw UTF-8 are
written in ASCII where they can be, and parts that a server cannot carry are encoded anew. The envelope is what the
caller says, or else what the header says; nothing is guessed.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.generator import BytesGenerator
from email.headerregistry import Address as HeaderAddress
from email.headerregistry import Group
from email.message import Message
from email.policy import EmailPolicy
from io import BytesIO
from typing import Any, Self

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from smtp_transport.envelope import Content, Envelope
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import headers, rules
from smtp_transport.message.address import Address
from smtp_transport.message.header_block import ADDRESS_FIELDS, Field, in_ascii, joined, read_addresses, split
from smtp_transport.message.reencoding import is_fit, is_signed, reencoded
from smtp_transport.message.transfer import canonical_octets

_BLIND = frozenset({"bcc", "resent-bcc"})
_SENDERS = frozenset({"from", "sender", "resent-from", "resent-sender"})
_RECIPIENTS = _BLIND | {"to", "cc", "resent-to", "resent-cc"}
_NONE: frozenset[str] = frozenset()
# RFC 5322 section 2.2.3: a value goes on behind a line end only with white space, and not with white space alone.
_BROKEN_VALUE = re.compile(r"(?:\r\n|\r|\n)(?![ \t]+[^ \t\r\n])")

Said = Sequence[tuple[str, tuple[Address, ...]]]
"""The address fields of a message in their order, with what stands in them."""


@dataclass(frozen=True, slots=True)
class RawEmail:
    """A whole message with its envelope. `data` is canonical and has no Bcc; `message_id` is "" if it has none.

    Made by `of`; `RawEmail(...)` itself checks nothing.
    """

    envelope: Envelope
    data: bytes = field(repr=False)
    message_id: str = ""

    @classmethod
    def of(
        cls,
        message: "Message[Any, Any] | bytes",
        sender: Address | str | None = None,
        recipients: Iterable[Address | str] | Address | str | None = None,
    ) -> Self:
        """Take a message and its envelope: `sender` ("" for none) and `recipients`, or else what the header says.

        The header says it in Sender or From, and in To, Cc and Bcc; in Resent-* if it was sent before. Raises
        MessageError for what is no message or no envelope, pydantic.ValidationError for a wrong argument. Fields that
        the envelope does not come from need not be understood. What has NUL or a line of more than 998 octets, and
        cannot be encoded anew, is no message that could arrive: ENCODING_FAILED.
        """
        needed = (_SENDERS if sender is None else _NONE) | (_RECIPIENTS if recipients is None else _NONE)
        if isinstance(message, Message):
            said = _said_by(message, needed)
            data = _serialized(message, said)
            fields, body = split(data)
            fields = _as_meant(message, fields, said)
        else:
            data = canonical_octets(_octets(message))
            fields, body = split(data)
            said = _written(fields, needed)
        envelope = Envelope(
            _sender(said) if sender is None else reverse_path(sender),
            _recipients(said, fields) if recipients is None else forward_paths(recipients),
        )
        if not envelope.recipients:
            raise MessageError("the message names no recipient", ErrorKind.INVALID_RECIPIENT_ADDRESS)
        fields = tuple(one for one in fields if one.name not in _BLIND)
        if not is_signed(fields, b""):
            fields = tuple(map(in_ascii, fields))
        ids = [own for one in fields if one.name == "message-id" for own in rules.foreign_ids(one.text)]
        made = cls(envelope, _whole(fields, data, body), ids[0] if ids else "")
        made._check_lines()
        return made

    def stamped(self, message_id: str, date: datetime) -> "RawEmail":
        """Return the message with a Message-ID and a Date if it has none. `date` is aware.

        Raises MessageError(INVALID_HEADER) for an id that ends its line.
        """
        names = {one.name for one in split(self.data)[0]}
        added = "" if "date" in names else f"Date: {headers.date_time(date)}\r\n"
        added += "" if "message-id" in names else headers.identifiers("Message-ID", (message_id,))
        return replace(self, data=added.encode() + self.data, message_id=self.message_id or message_id)

    def render(self, eight_bit: bool) -> Content:  # noqa: FBT001 - the signature of `Transaction.render`
        """Give the message for a server that does or does not take 8-bit bodies (RFC 6152).

        What cannot be encoded anew comes as it is, and says that it is 8-bit.
        """
        data = self.data
        if not is_fit(data, eight_bit=eight_bit):
            data = self._reencoded(eight_bit=eight_bit) or data
        utf8_headers = not data[: data.find(b"\r\n\r\n") + 1].isascii()
        return Content(data, eight_bit=utf8_headers or not data.isascii(), utf8_headers=utf8_headers)

    def _reencoded(self, *, eight_bit: bool) -> bytes | None:
        fields, start = split(self.data)
        body = self.data[start:]
        anew = None if is_signed(fields, body) else reencoded(fields, body, eight_bit=eight_bit)
        return None if anew is None else _whole(anew[0], anew[1], 0)

    def _check_lines(self) -> None:
        """Refuse what servers on the way would change or refuse, and what cannot be encoded anew."""
        if not is_fit(self.data, eight_bit=True) and self._reencoded(eight_bit=True) is None:
            told = "the body has NUL or a line of more than 998 octets (RFC 5322 section 2.1.1), and is"
            told += " signed or malformed, so that it cannot be encoded anew; encode it before it is signed"
            raise MessageError(told, ErrorKind.ENCODING_FAILED)


def _octets(message: object) -> bytes:
    if not isinstance(message, bytes | bytearray | memoryview):  # of a number bytes() would make that many NULs
        told = "a mail is an Email, a RawEmail, a message of the email package, or the bytes of one"
        raise TypeError(f"{told}; this is {type(message).__name__}")
    return bytes(message)


def reverse_path(given: Address | str) -> str:
    """Read where bounces go; "" is nowhere (RFC 5321 section 4.5.5). Raises pydantic.ValidationError."""
    return "" if given == "" else _address(given).email


def forward_paths(given: Iterable[Address | str] | Address | str) -> tuple[str, ...]:
    """Read recipients, each once; one alone needs no list. Raises pydantic.ValidationError."""
    return _unique(map(_address, (given,) if isinstance(given, Address | str) else given))


def _address(given: object) -> Address:
    if isinstance(given, Address):
        return given
    if not isinstance(given, str):
        raise rules.refused("Address", PydanticCustomError("email_address", "is neither text nor an Address"))
    return Address.parse(given)


def _whole(fields: Sequence[Field], data: bytes, start: int) -> bytes:
    """Put a header before the body that starts there in `data`; what is so already is not copied."""
    head = joined(fields) + b"\r\n"
    end = b"" if start == len(data) or data.endswith(b"\r\n") else b"\r\n"
    is_so = not end and start == len(head) and data.startswith(head)
    return data if is_so else b"".join((head, memoryview(data)[start:], end))


def _unique(found: Iterable[Address]) -> tuple[str, ...]:
    unique: dict[tuple[str, str], str] = {}
    for address in found:
        unique.setdefault((address.local_part, address.domain.lower()), address.email)
    return tuple(unique.values())


def _named(said: Said, *names: str) -> list[Address]:
    return [address for name in names for field, found in said if field == name for address in found]


def _sender(said: Said) -> str:
    for names in (("resent-sender",), ("resent-from",), ("sender",), ("from",)):
        found = _named(said, *names)
        if len(found) > 1:
            raise MessageError(f"the {names[0]} header names several senders", ErrorKind.INVALID_FROM_ADDRESS)
        if found:
            return found[0].email
    raise MessageError("the message names no sender", ErrorKind.INVALID_FROM_ADDRESS)


def _recipients(said: Said, fields: Sequence[Field]) -> tuple[str, ...]:
    resent = any(name in {"resent-to", "resent-cc", "resent-bcc"} for name, _ in said)
    if resent and sum(one.name == "resent-date" for one in fields) > 1:
        told = "the message was sent again several times, and which recipients are meant is not clear: name them"
        raise MessageError(told, ErrorKind.INVALID_RECIPIENT_ADDRESS)
    again = "resent-" if resent else ""
    return _unique(_named(said, f"{again}to", f"{again}cc", f"{again}bcc"))


def _read(name: str, text: str, needed: AbstractSet[str]) -> tuple[Address, ...]:
    """Read one field; what cannot be understood names nobody, unless the envelope is to come from there."""
    try:
        return read_addresses(name, text)
    except MessageError:
        if name in needed:
            raise
        return ()


def _written(fields: Sequence[Field], needed: AbstractSet[str]) -> Said:
    return [(one.name, _read(one.name, one.text, needed)) for one in fields if one.name in ADDRESS_FIELDS]


def _items(message: "Message[Any, Any]") -> Iterator[tuple[str, Any]]:
    """Give the header as the package reads it, and as text what its parsers stumble over."""
    for name, source in message.raw_items():
        try:
            yield name, message.policy.header_fetch_parse(name, source)
        except Exception:  # noqa: BLE001 - of CPython 3.11 an IndexError for "b@", and others
            yield name, str(source)


def _said_by(message: "Message[Any, Any]", needed: AbstractSet[str]) -> Said:
    said = []
    for name, value in _items(message):
        lowered = name.lower()
        if lowered not in ADDRESS_FIELDS:
            continue
        parsed = getattr(value, "addresses", None)
        if parsed is None:  # the legacy API: text, or an encoded Header that must not be decoded before it is read
            text = value.encode() if hasattr(value, "encode") and not isinstance(value, str) else str(value)
        else:
            text = ", ".join(f"<{address.addr_spec}>" for address in parsed)
        said.append((lowered, _read(lowered, text, needed)))
    return said


def _serialized(message: "Message[Any, Any]", said: Said) -> bytes:
    """Write a message of the email package. Raises MessageError(ENCODING_FAILED), INVALID_HEADER."""
    shown = copy.copy(message)
    for name in _BLIND:
        del shown[name]  # makes a list of headers that is the copy's own
    policy = message.policy.clone(linesep="\r\n")
    if isinstance(policy, EmailPolicy):
        policy = policy.clone(utf8=not all(address.email.isascii() for _, found in said for address in found))
        if not policy.utf8:
            _use_a_labels(shown)
    if any(isinstance(value, str) and _BROKEN_VALUE.search(value) for _, value in shown.raw_items()):
        raise MessageError("a header's value holds a line end", ErrorKind.INVALID_HEADER)
    made = BytesIO()
    try:
        BytesGenerator(made, mangle_from_=False, policy=policy).flatten(shown)
    except Exception as error:  # noqa: BLE001 - the package raises much; its text may hold parts of the mail
        told = f"the email package could not write the message: {type(error).__name__}"
        raise MessageError(told, ErrorKind.ENCODING_FAILED) from None
    return canonical_octets(made.getvalue())


def _use_a_labels(message: "Message[Any, Any]") -> None:
    """Rewrite address headers with international domains: the package would encode the whole address as a word."""
    for name, value in list(_items(message)):
        groups = getattr(value, "groups", ())
        if name.lower() not in ADDRESS_FIELDS or all(a.domain.isascii() for g in groups for a in g.addresses):
            continue
        with suppress(ValidationError):  # what cannot be an address is no business of ours, see `_read`
            message.replace_header(name, tuple(map(_with_a_labels, groups)))


def _with_a_labels(group: Group) -> Group:
    named = [HeaderAddress(a.display_name, a.username, Address(a.addr_spec).domain) for a in group.addresses]
    return Group(group.display_name, tuple(named))


def _as_meant(message: "Message[Any, Any]", fields: Sequence[Field], said: Said) -> tuple[Field, ...]:
    """Make sure that the header, as it was written, names those whom the message names.

    Older versions of the package lose the quotes of a long name, and what is behind a comma becomes an address then:
    such a field is written anew.
    """
    values = [value for name, value in _items(message) if name.lower() in ADDRESS_FIELDS]
    meant = [pair for pair in zip(said, values, strict=True) if pair[0][0] not in _BLIND]
    left = iter(meant)
    anew = [_field_as_meant(one, next(left, None)) if one.name in ADDRESS_FIELDS else one for one in fields]
    if _written(anew, _NONE) != [entry for entry, _ in meant]:
        told = "the email package would write other addresses than were given; use email.policy.default"
        raise MessageError(told, ErrorKind.INVALID_HEADER)
    return tuple(anew)


def _field_as_meant(one: Field, meant: tuple[tuple[str, tuple[Address, ...]], Any] | None) -> Field:
    groups = () if meant is None else getattr(meant[1], "groups", ())
    if meant is None or _read(one.name, one.text, _NONE) == meant[0][1] or any(g.display_name for g in groups):
        return one
    try:
        named = [Address(a.addr_spec, a.display_name or None) for group in groups for a in group.addresses]
    except ValidationError:
        return one
    name = one.octets.partition(b":")[0].decode("ascii")
    return replace(one, octets=headers.mailboxes(name, named).encode()) if named else one
