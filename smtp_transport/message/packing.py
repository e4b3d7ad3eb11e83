"""A quick way in and out of a store for emails that were checked when they were made.

Law: `unpack` trusts its input and checks nothing but the names of the fields. Only what `pack` made, kept where nobody
else can write, may come in; everything else goes through `Email`. Later versions read it too: a field may be added,
never renamed.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message.address import Address
from smtp_transport.message.attachment import Attachment, InlineImage
from smtp_transport.message.email import Email, Priority

_PLAIN = ("subject", "text_body", "html_body", "message_id", "in_reply_to")
_ADDRESS_LISTS = ("to", "cc", "bcc", "reply_to")
_FIELDS = frozenset(
    (
        *_PLAIN,
        *_ADDRESS_LISTS,
        "from_",
        "sender",
        "attachments",
        "inline_images",
        "headers",
        "references",
        "priority",
        "date",
    )
)


def pack(email: Email) -> dict[str, Any]:
    """Return the email as str, bytes, int, lists and None, as msgpack takes them; empty fields are left out."""
    fields = vars(email)
    packed: dict[str, Any] = {name: fields[name] for name in _PLAIN if fields[name] is not None}
    packed["from_"] = _pair(email.from_)
    for name in _ADDRESS_LISTS:
        if fields[name]:
            packed[name] = [_pair(address) for address in fields[name]]
    if email.sender is not None:
        packed["sender"] = _pair(email.sender)
    if email.attachments:
        packed["attachments"] = [[a.filename, a.content_type, a.data, a.content_id] for a in email.attachments]
    if email.inline_images:
        packed["inline_images"] = [[i.content_id, i.content_type, i.data] for i in email.inline_images]
    if email.headers:
        packed["headers"] = [list(pair) for pair in email.headers]
    if email.references:
        packed["references"] = list(email.references)
    if email.priority is not None:
        packed["priority"] = email.priority.value
    if email.date is not None:
        packed["date"] = email.date.isoformat()
    return packed


def unpack(packed: Mapping[str, Any]) -> Email:
    """Build the email again without checking it.

    Raises MessageError(ENCODING_FAILED) if a field is unknown: a newer version wrote it, and to drop it loses content.
    """
    if not packed.keys() <= _FIELDS:
        raise MessageError("the stored email has a field that this version does not know", ErrorKind.ENCODING_FAILED)
    get = packed.get
    priority, date, sender = get("priority"), get("date"), get("sender")
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
    }
    return Email.model_construct(_fields_set=set(packed), **fields)


def _pair(address: Address) -> list[str | None]:
    return [address.email, address.name]


# The dataclasses' own __init__ would check again; their slots are frozen for everyone but object.
_new, _set = object.__new__, object.__setattr__


def _address(pair: Sequence[str | None]) -> Address:
    made = _new(Address)
    _set(made, "email", pair[0])
    _set(made, "name", pair[1])
    return made


def _attachment(values: Sequence[Any]) -> Attachment:
    made = _new(Attachment)
    for name, value in zip(("filename", "content_type", "data", "content_id"), values, strict=True):
        _set(made, name, value)
    return made


def _image(values: Sequence[Any]) -> InlineImage:
    made = _new(InlineImage)
    for name, value in zip(("content_id", "content_type", "data"), values, strict=True):
        _set(made, name, value)
    return made
