"""From an email to the bytes of its message.

Law: deterministic. The same stamped email and the same `eight_bit` give the same bytes, in every process, at every
attempt. Bcc is never among them.
"""

from collections.abc import Iterator

from smtp_transport.envelope import Content, StreamedContent
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import headers, mime
from smtp_transport.message.attachment import Attachment
from smtp_transport.message.cache import EncodedFiles
from smtp_transport.message.calendar import Calendar
from smtp_transport.message.email import Email, Priority
from smtp_transport.message.mime import Chunk, Part
from smtp_transport.message.transfer import LARGE, TransferEncoding, canonical

_IMPORTANCE = {
    Priority.HIGHEST: "high",
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
    Priority.LOWEST: "low",
}


def render(email: Email, *, eight_bit: bool, cache: EncodedFiles | None = None) -> Content:
    """Write the message in canonical form; 8-bit bodies only if `eight_bit`.

    With a `cache`, files that it has seen are not encoded again. What is large, and what has a `FileAttachment`, is a
    `StreamedContent`: it is read and encoded on its way to the wire. Raises MessageError(INVALID_HEADER) if the email
    lacks Message-ID or Date, which `Email.stamped` fixes; MessageError(ATTACHMENT_ERROR) if such a file is not what it
    was.
    """
    top = _structure(email, EncodedFiles(0) if cache is None else cache, eight_bit=eight_bit)
    head = "".join(_fields(email)) + "MIME-Version: 1.0\r\n" + top.head + "\r\n"
    chunks: tuple[Chunk, ...] = (head.encode(), *top.chunks)
    utf8_headers = not head.isascii()
    eight_bit = utf8_headers or top.encoding is TransferEncoding.EIGHT_BIT
    last = chunks[-1]
    if not (isinstance(last, bytes) and last.endswith(b"\r\n")):
        chunks += (b"\r\n",)
    size = sum([len(chunk) if isinstance(chunk, bytes) else chunk.size for chunk in chunks])
    whole = [chunk for chunk in chunks if isinstance(chunk, bytes)]
    if len(whole) < len(chunks) or size >= LARGE:
        return StreamedContent(lambda: _flat(chunks), size, eight_bit=eight_bit, utf8_headers=utf8_headers)
    return Content(b"".join(whole), eight_bit=eight_bit, utf8_headers=utf8_headers, is_proven=True)


def _flat(chunks: tuple[Chunk, ...]) -> Iterator[bytes]:
    for chunk in chunks:
        if isinstance(chunk, bytes):
            yield chunk
        else:
            yield from chunk


def _fields(email: Email) -> Iterator[str]:
    """Write the header fields in the order that RFC 5322 section 3.6 shows them."""
    if email.message_id is None or email.date is None:
        raise MessageError("the email has no Message-ID or no Date yet: it must be stamped", ErrorKind.INVALID_HEADER)
    yield f"Date: {headers.date_time(email.date)}\r\n"
    yield from _address_fields(email)
    yield headers.identifiers("Message-ID", (email.message_id,))
    if email.in_reply_to:
        yield headers.identifiers("In-Reply-To", (email.in_reply_to,))
    if email.references:
        yield headers.identifiers("References", email.references)
    if email.subject:
        yield headers.unstructured("Subject", email.subject)
    if email.priority is not None:
        yield f"X-Priority: {email.priority:d}\r\nImportance: {_IMPORTANCE[email.priority]}\r\n"
    if email.auto_submitted is not None:
        yield headers.unstructured("Auto-Submitted", email.auto_submitted.value)
    if email.unsubscribe is not None:
        yield headers.link_list("List-Unsubscribe", email.unsubscribe.links)
        if email.unsubscribe.one_click:
            yield "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    for name, value in email.headers:
        yield headers.custom(name, value)


def _address_fields(email: Email) -> Iterator[str]:
    sender = (email.sender,) if email.sender and email.sender.email != email.from_.email else ()
    named = (
        ("From", (email.from_,)),
        ("Sender", sender),
        ("Reply-To", email.reply_to),
        ("To", email.to),
        ("Cc", email.cc),
    )
    for name, addresses in named:
        if addresses:
            yield headers.mailboxes(name, addresses)
    if not (email.to or email.cc):
        yield "To: undisclosed-recipients:;\r\n"  # an empty group, RFC 5322 section 3.4


def _structure(email: Email, cache: EncodedFiles, *, eight_bit: bool) -> Part:
    """Nest the parts, without the layers not needed.

    mixed(alternative(text, related(html, images), calendar), attachments)
    """
    bodies = []
    if email.text_body is not None or email.html_body is None:
        bodies.append(mime.text_part("plain", email.text_body or "", eight_bit=eight_bit))
    if email.html_body is not None:
        bodies.append(mime.text_part("html", email.html_body, eight_bit=eight_bit))
    invitation = []
    files = [mime.attachment_part(attachment, cache, eight_bit=eight_bit) for attachment in email.attachments]
    if email.calendar is not None:
        invitation.append(mime.calendar_part(email.calendar, eight_bit=eight_bit))
        files += [mime.attachment_part(file, cache, eight_bit=eight_bit) for file in _calendar_file(email.calendar)]
    boundaries = mime.boundaries(email.message_id or "", [*bodies, *invitation, *files])
    if email.inline_images:  # an Email has them only with HTML, and only there they are shown
        images = [mime.image_part(image, cache) for image in email.inline_images]
        bodies[-1] = mime.multipart('related; type="text/html"', [bodies[-1], *images], next(boundaries))
    bodies += invitation  # readers show the last alternative that they can
    body = bodies[0] if len(bodies) == 1 else mime.multipart("alternative", bodies, next(boundaries))
    return mime.multipart("mixed", [body, *files], next(boundaries)) if files else body


def _calendar_file(calendar: Calendar) -> Iterator[Attachment]:
    if calendar.filename is not None:
        yield Attachment(calendar.filename, "application/ics", canonical(calendar.ics_text))
