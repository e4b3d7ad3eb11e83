"""Header fields: from values to lines that end with CRLF (RFC 5322 section 2.2).

Law: fields are folded at 76 characters where white space allows it, never after the colon, and no line is longer than
998. The text is ASCII, except for addresses whose local part is not: only they need SMTPUTF8. Every field is written by
`field`, which lets no line end through, whatever came past the checks of an Email.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import quote

from pydantic_core import PydanticCustomError

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import rules
from smtp_transport.message.address import Address
from smtp_transport.message.encoded_words import LINE, encode_words, is_plain, phrase
from smtp_transport.message.mailbox_list import address_list
from smtp_transport.message.rules import cut_at_spaces, has_endless_word

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

# RFC 2231 section 7: attribute-char, of which these besides letters, digits and "-._~".
_ATTRIBUTE_CHAR = "!#$&+^`{|}"
_PARAMETER_ROOM = 60

_ADDRESSED = frozenset(
    {"resent-from", "resent-sender", "resent-to", "resent-cc", "resent-reply-to", "errors-to"}
    | {"disposition-notification-to", "return-receipt-to", "mail-followup-to", "mail-reply-to"}
)
"""What an author may write himself and holds addresses."""
_LIST_ID = re.compile(r"[ \t]*([^<>]*?[^<> \t])[ \t]*(<[!-;=?-~]+>)[ \t]*")


def field(name: str, pieces: Sequence[str]) -> str:
    """Write `name: pieces`, folded between pieces. The first stays beside the name; others begin with white space.

    Raises MessageError(INVALID_HEADER) for what could end a line: an Email has no such value, unless somebody made or
    changed it behind its back (`model_construct`, `object.__setattr__`).
    """
    line = f"{name}: {pieces[0]}"
    whole = line if len(pieces) == 1 else line + "".join(pieces[1:])
    if not (whole.isprintable() and whole.isascii()):
        _refuse_line_ends(whole)
    if len(pieces) == 1:
        return line + "\r\n"
    done = []
    for piece in pieces[1:]:
        if len(line) + len(piece) > LINE:
            done.append(line)
            line = piece
        else:
            line += piece
    done.append(line)
    return "\r\n".join(done) + "\r\n"


def _refuse_line_ends(text: str) -> None:
    try:
        rules.line(text)
    except PydanticCustomError as reason:
        raise MessageError(f"a header {reason.message()}", ErrorKind.INVALID_HEADER) from None


def checked(pair: tuple[str, str]) -> tuple[str, str]:
    """Let a header of the author's own pass. Raises PydanticCustomError if it may not be one."""
    name, value = rules.header(pair)
    if not is_plain(value):
        try:
            _structured(name, value)
        except ValueError:
            wanted = "an id in angle brackets" if name.lower() == "list-id" else "addresses, without groups"
            raise PydanticCustomError(
                "header_structure", "{name} must hold {wanted}", {"name": name, "wanted": wanted}
            ) from None
    return pair


def custom(name: str, value: str) -> str:
    """Write a header of the author's own. Raises MessageError(INVALID_HEADER) if it may not be one (see `checked`)."""
    try:
        checked((name, value))
    except PydanticCustomError as reason:
        raise MessageError(f"a header of one's own: {reason.message()}", ErrorKind.INVALID_HEADER) from None
    return (None if is_plain(value) else _structured(name, value)) or unstructured(name, value)


def _structured(name: str, value: str) -> str | None:
    """Write a header in which only names may be encoded-words (RFC 2047 section 5); None for any other.

    Raises ValueError for a value without the structure.
    """
    if name.lower() == "list-id":  # RFC 2919 section 3
        parts = _LIST_ID.fullmatch(value)
        if parts is None:
            raise ValueError
        first, *others = phrase(parts[1], len(name) + len(": "))
        return field(name, [first, *(f" {word}" for word in others), f" {parts[2]}"])
    if name.lower() not in _ADDRESSED:
        return None
    found = () if ";" in value else address_list(value, names=True)
    if not found:
        raise ValueError
    return mailboxes(name, found)


def unstructured(name: str, text: str) -> str:
    """Write text that means nothing but itself: as it is where ASCII lines can carry it, else as encoded-words."""
    if is_plain(text):
        if not text or len(name) + len(": ") + len(text) <= LINE:
            return field(name, (text,))
        if not has_endless_word(text):
            return field(name, cut_at_spaces(text))
    _refuse_line_ends(text)
    first, *others = encode_words(text, len(name) + len(": "))
    return field(name, [first, *(f" {word}" for word in others)])


def mailboxes(name: str, addresses: Sequence[Address]) -> str:
    """Write a list of addresses with their names."""
    pieces: list[str] = []
    for address in addresses:
        if pieces:
            pieces[-1] += ","
        lead = " " if pieces else ""
        if address.name is None:
            pieces.append(lead + address.email)
            continue
        first, *others = phrase(address.name, len(lead) if pieces else len(name) + len(": "))
        pieces += [lead + first, *(f" {word}" for word in others), f" <{address.email}>"]
    return field(name, pieces)


def identifiers(name: str, message_ids: Sequence[str]) -> str:
    """Write Message-IDs, which stand in their angle brackets already (RFC 5322 section 3.6.4)."""
    first, *others = message_ids
    return field(name, [first, *(f" {one}" for one in others)])


def link_list(name: str, links: Sequence[str]) -> str:
    """Write URLs, which stand in their angle brackets already (RFC 2369 section 2)."""
    return field(
        name, [f"{' ' * (place > 0)}{link}{',' * (link is not links[-1])}" for place, link in enumerate(links)]
    )


def date_time(moment: datetime) -> str:
    """Write an aware moment as RFC 5322 section 3.3 has it. English whatever the locale."""
    offset = (moment.utcoffset() or timedelta()) // timedelta(minutes=1)
    hours, minutes = divmod(abs(offset), 60)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment.hour:02}:{moment.minute:02}:{moment.second:02} {'-' if offset < 0 else '+'}{hours:02}{minutes:02}"
    )


def parameter(name: str, value: str) -> list[str]:
    """Write a MIME parameter in pieces for `field`, without semicolons: those belong to the piece before each.

    ASCII is quoted, unless it could be taken for an encoded-word; everything else is percent-encoded UTF-8, in as many
    sections as its length needs (RFC 2231 sections 3, 4).
    """
    if value.isascii() and "=?" not in value:  # which many readers decode, quoted or not
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return [f' {name}="{escaped}"']
    sections = [""]
    for character in value:
        piece = quote(character, safe=_ATTRIBUTE_CHAR)
        if len(sections[-1]) + len(piece) > _PARAMETER_ROOM:
            sections.append("")
        sections[-1] += piece
    if len(sections) == 1:
        return [f" {name}*=utf-8''{sections[0]}"]
    sections[0] = "utf-8''" + sections[0]
    return [f" {name}*{number}*={section}" for number, section in enumerate(sections)]
