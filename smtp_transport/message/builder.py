"""An email put together step by step.

Law: the builder only collects; `build` makes the Email, and every check is made there.
"""

import os
from collections.abc import Iterable
from email.message import Message
from typing import Any, Self, overload

from smtp_transport.message.address import Address
from smtp_transport.message.attachment import Attachment, FileAttachment, InlineImage
from smtp_transport.message.calendar import Calendar
from smtp_transport.message.email import AutoSubmitted, Email, Priority
from smtp_transport.message.unsubscribe import Unsubscribe


def _each(addresses: Iterable[Address | str]) -> Iterable[Address | str]:
    """Give one alone as a list of one: text would be taken for a list of its letters."""
    return (addresses,) if isinstance(addresses, str | Address) else addresses


class EmailBuilder:
    """Collects the fields of an Email; every method returns the builder, `build` the email."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._parent: Email | Message[Any, Any] | None = None

    def _set(self, name: str, value: object) -> Self:
        self._fields[name] = value
        return self

    def _add(self, name: str, *values: object) -> Self:
        self._fields.setdefault(name, []).extend(values)
        return self

    def from_(self, address: Address | str) -> Self:
        """Set the author."""
        return self._set("from_", address)

    def sender(self, address: Address | str) -> Self:
        """Set who sends on the author's behalf, and receives the bounces."""
        return self._set("sender", address)

    def to(self, address: Address | str) -> Self:
        """Add a recipient."""
        return self._add("to", address)

    def to_many(self, addresses: Iterable[Address | str]) -> Self:
        """Add recipients."""
        return self._add("to", *_each(addresses))

    def cc(self, address: Address | str) -> Self:
        """Add a recipient of a copy."""
        return self._add("cc", address)

    def cc_many(self, addresses: Iterable[Address | str]) -> Self:
        """Add recipients of a copy."""
        return self._add("cc", *_each(addresses))

    def bcc(self, address: Address | str) -> Self:
        """Add a recipient whom no header names."""
        return self._add("bcc", address)

    def bcc_many(self, addresses: Iterable[Address | str]) -> Self:
        """Add recipients whom no header names."""
        return self._add("bcc", *_each(addresses))

    def reply_to(self, address: Address | str) -> Self:
        """Add an address for answers."""
        return self._add("reply_to", address)

    def subject(self, subject: str) -> Self:
        """Set the subject."""
        return self._set("subject", subject)

    def text_body(self, body: str) -> Self:
        """Set the plain text body."""
        return self._set("text_body", body)

    text = text_body

    def html_body(self, body: str) -> Self:
        """Set the HTML body."""
        return self._set("html_body", body)

    html = html_body

    def attachment(self, attachment: Attachment) -> Self:
        """Add a file."""
        return self._add("attachments", attachment)

    def attach_file(self, path: str | os.PathLike[str], *, filename: str | None = None) -> Self:
        """Add a file from disk, read now. Raises MessageError(ATTACHMENT_ERROR) if it cannot be read."""
        return self.attachment(Attachment.from_file(path, filename=filename))

    def attach_streamed(self, path: str | os.PathLike[str], *, filename: str | None = None) -> Self:
        """Add a file from disk, read while it is sent. Raises MessageError(ATTACHMENT_ERROR) if it is not there."""
        return self.attachment(FileAttachment.from_path(path, filename=filename))

    def attach_bytes(self, filename: str, content_type: str, data: bytes) -> Self:
        """Add a file from memory."""
        fields = {"filename": filename, "content_type": content_type, "data": _octets(data)}
        return self._add("attachments", fields)

    @overload
    def inline_image(self, image: InlineImage, /) -> Self: ...
    @overload
    def inline_image(self, content_id: str, content_type: str, data: bytes) -> Self: ...
    def inline_image(self, content_id: str | InlineImage, content_type: str = "", data: bytes = b"") -> Self:
        """Add an image that the HTML shows as `cid:<content_id>`, whole or by its fields."""
        if isinstance(content_id, InlineImage):
            return self._add("inline_images", content_id)
        fields = {"content_id": content_id, "content_type": content_type, "data": _octets(data)}
        return self._add("inline_images", fields)

    def header(self, name: str, value: str) -> Self:
        """Add a header of one's own; the order is kept."""
        return self._add("headers", (name, value))

    def message_id(self, message_id: str) -> Self:
        """Set the Message-ID instead of having one made."""
        return self._set("message_id", message_id)

    def in_reply_to(self, message_id: str) -> Self:
        """Set which mail this one answers."""
        return self._set("in_reply_to", message_id)

    def references(self, message_ids: Iterable[str]) -> Self:
        """Set the mails of the thread, oldest first."""
        return self._set("references", message_ids)

    def priority(self, priority: Priority) -> Self:
        """Set how urgent it is."""
        return self._set("priority", priority)

    def replying_to(self, parent: "Email | Message[Any, Any]") -> Self:
        """Set In-Reply-To and References for an answer to this mail. Raises ValueError if it has no Message-ID."""
        self._parent = parent
        return self

    def envelope_sender(self, path: Address | str) -> Self:
        """Set where bounces go: an address, or "" for nowhere."""
        return self._set("envelope_sender", path)

    def calendar(self, calendar: Calendar) -> Self:
        """Set the invitation."""
        return self._set("calendar", calendar)

    def unsubscribe(self, unsubscribe: Unsubscribe) -> Self:
        """Set how to leave the list."""
        return self._set("unsubscribe", unsubscribe)

    def auto_submitted(self, auto_submitted: AutoSubmitted) -> Self:
        """Set that a program sends."""
        return self._set("auto_submitted", auto_submitted)

    def build(self) -> Email:
        """Make the email. Raises pydantic.ValidationError that names each wrong field, the reason and the cure."""
        email = Email.model_validate(self._fields)
        return email if self._parent is None else email.replying_to(self._parent)

    def __repr__(self) -> str:
        return f"<EmailBuilder with {len(self._fields)} fields>"


def _octets(data: object) -> object:
    """Let all pass but text, which would be read as base64 where the email is made."""
    if isinstance(data, str):
        raise TypeError("data: is text; give bytes, as in text.encode()")
    return data
