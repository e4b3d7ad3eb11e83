"""A quick way in and out of a store for emails that were checked when they were made.

Law: `unpack` trusts its input and checks nothing but the names of the fields. Only what `pack` made, kept where nobody
else can write, may come in; everything else goes through `Email`. Later versions read it too: a field may be added,
never renamed.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from smtp_transport.envelope import Envelope
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message.address import Address
from smtp_transport.message.attachment import Attachment, InlineImage
from smtp_transport.message.calendar import Calendar
from smtp_transport.message.email import AutoSubmitted, Email, Priority
from smtp_transport.message.raw import RawEmail
from smtp_transport.message.unsubscribe import Unsubscribe

_T = TypeVar("_T")
_PLAIN = ("subject", "text_body", "html_body", "message_id", "in_reply_to", "envelope_sender")
_ADDRESS_LISTS = ("to", "cc", "bcc", "reply_to")
_UNSUBSCRIBE = ("url", "mailto", "one_click")


def pack(email: Email) -> dict[str, Any]:
    """Return the email as str, bytes, int, lists and None, as msgpack takes them; empty fields are left out."""
    fields = vars(email)
    packed: dict[str, Any] = {name: fields[name] for name in _PLAIN if fields[name] is not None}
    packed["from_"] = _pair(email.from_)
    for name in _ADDRESS_LISTS:
        if fields[name]:
            packed[name] = [_pair(address) for address in fields[name]]
    for name, plain in _PLAIN_FORMS:
        value = fields[name]
        if value is not None and value != ():
            packed[name] = plain(value)
    return packed


def pack_raw(message: RawEmail) -> dict[str, Any]:
    """Return a message of another program in a form that `unpack` of older versions refuses to guess at."""
    return {"raw": message.data, "message_id": message.message_id, "eight_bit": not message.data.isascii()}


def unpack_raw(packed: Mapping[str, Any], envelope: Envelope) -> RawEmail:
    """Build what `pack_raw` packed; the envelope is kept beside it. Raises as `unpack`."""
    if not packed.keys() <= _RAW_FIELDS:
        raise MessageError("the stored message has a field that this version does not know", ErrorKind.ENCODING_FAILED)
    return RawEmail(envelope, packed["raw"], packed["message_id"])


_RAW_FIELDS = frozenset({"raw", "message_id", "eight_bit"})


def unpack(packed: Mapping[str, Any]) -> Email:
    """Build the email again without checking it.

    Raises MessageError(ENCODING_FAILED) if a field is unknown: a newer version wrote it, and to drop it loses content.
    """
    if not packed.keys() <= _FIELDS:
        raise MessageError("the stored email has a field that this version does not know", ErrorKind.ENCODING_FAILED)
    get = packed.get
    priority, date, sender = get("priority"), get("date"), get("sender")
    calendar, unsubscribe, automatic = get("calendar"), get("unsubscribe"), get("auto_submitted")
    fields = {
        "from_": _address(packed["from_"]),
        "sender": None if sender is None else _address(sender),
        "to": tuple([_address(pair) for pair in get("to", ())]),
        "cc": tuple([_address(pair) for pair in get("cc", ())]),
        "bcc": tuple([_address(pair) for pair in get("bcc", ())]),
        "reply_to": tuple([_address(pair) for pair in get("reply_to", ())]),
        "subject": get("subject", ""),
        "text_body": get("text_body"),
        "html_body": get("html_body"),
        "attachments": tuple([_attachment(values) for values in get("attachments", ())]),
        "inline_images": tuple([_image(values) for values in get("inline_images", ())]),
        "headers": tuple([(name, value) for name, value in get("headers", ())]),
        "message_id": get("message_id"),
        "in_reply_to": get("in_reply_to"),
        "references": tuple(get("references", ())),
        "priority": None if priority is None else Priority(priority),
        "date": None if date is None else datetime.fromisoformat(date),
        "envelope_sender": get("envelope_sender"),
        "calendar": None if calendar is None else _built(Calendar, ("ics_text", "method", "filename"), calendar),
        "unsubscribe": None if unsubscribe is None else _built(Unsubscribe, _UNSUBSCRIBE, unsubscribe),
        "auto_submitted": None if automatic is None else AutoSubmitted(automatic),
    }
    return Email.model_construct(_fields_set=set(packed), **fields)


def _pair(address: Address) -> list[str | None]:
    return [address.email, address.name]


_PLAIN_FORMS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("sender", _pair),
    ("attachments", lambda files: [[a.filename, a.content_type, a.data, a.content_id] for a in files]),
    ("inline_images", lambda images: [[i.content_id, i.content_type, i.data] for i in images]),
    ("headers", lambda pairs: [list(pair) for pair in pairs]),
    ("references", list),
    ("priority", lambda priority: priority.value),
    ("calendar", lambda calendar: [calendar.ics_text, calendar.method, calendar.filename]),
    ("unsubscribe", lambda links: [links.url, links.mailto, links.one_click]),
    ("auto_submitted", lambda word: word.value),
    ("date", datetime.isoformat),
)


_FIELDS = frozenset((*_PLAIN, *_ADDRESS_LISTS, "from_", *(name for name, _ in _PLAIN_FORMS)))

# The dataclasses' own __init__ would check again; their slots are frozen for everyone but object.
_new, _set = object.__new__, object.__setattr__


def _address(pair: Sequence[str | None]) -> Address:
    made = _new(Address)
    _set(made, "email", pair[0])
    _set(made, "name", pair[1])
    return made


def _attachment(values: Sequence[Any]) -> Attachment:
    return _built(Attachment, ("filename", "content_type", "data", "content_id"), values)


def _image(values: Sequence[Any]) -> InlineImage:
    return _built(InlineImage, ("content_id", "content_type", "data"), values)


def _built(kind: type[_T], names: Sequence[str], values: Sequence[Any]) -> _T:
    made = _new(kind)
    for name, value in zip(names, values, strict=True):
        _set(made, name, value)
    return made
