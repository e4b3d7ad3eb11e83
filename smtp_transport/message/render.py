"""From an email to the bytes of its message.

Law: deterministic. The same stamped email and the same `eight_bit` give the same bytes, in every process, at every
attempt. Bcc is never among them.
"""

from collections.abc import Iterator

from smtp_transport.envelope import Content
from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import headers, mime
from smtp_transport.message.email import Email, Priority
from smtp_transport.message.mime import Part
from smtp_transport.message.transfer import TransferEncoding

_IMPORTANCE = {
    Priority.HIGHEST: "high",
    Priority.HIGH: "high",
    Priority.NORMAL: "normal",
    Priority.LOW: "low",
    Priority.LOWEST: "low",
}


def render(email: Email, *, eight_bit: bool) -> Content:
    """Write the message in canonical form; 8-bit bodies only if `eight_bit`.

    Raises MessageError(INVALID_HEADER) if the email lacks Message-ID or Date: `Email.stamped` fixes them.
    """
    top = _structure(email, eight_bit=eight_bit)
    head = "".join(_fields(email)) + "MIME-Version: 1.0\r\n" + top.head + "\r\n"
    data = b"".join((head.encode(), *top.chunks))
    if not data.endswith(b"\r\n"):
        data += b"\r\n"
    utf8_headers = not head.isascii()
    return Content(
        data, eight_bit=utf8_headers or top.encoding is TransferEncoding.EIGHT_BIT, utf8_headers=utf8_headers
    )


def _fields(email: Email) -> Iterator[str]:
    """Write the header fields in the order that RFC 5322 section 3.6 shows them."""
    if email.message_id is None or email.date is None:
        raise MessageError("the email has no Message-ID or no Date yet: it must be stamped", ErrorKind.INVALID_HEADER)
    yield f"Date: {headers.date_time(email.date)}\r\n"
    yield from _address_fields(email)
    yield f"Message-ID: {email.message_id}\r\n"
    if email.in_reply_to:
        yield f"In-Reply-To: {email.in_reply_to}\r\n"
    if email.references:
        yield headers.identifiers("References", email.references)
    if email.subject:
        yield headers.unstructured("Subject", email.subject)
    if email.priority is not None:
        yield f"X-Priority: {email.priority.value}\r\nImportance: {_IMPORTANCE[email.priority]}\r\n"
    for name, value in email.headers:
        yield headers.unstructured(name, value)


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


def _structure(email: Email, *, eight_bit: bool) -> Part:
    """Nest the parts: mixed(alternative(text, related(html, images)), attachments), without the layers not needed."""
    bodies = []
    if email.text_body is not None or email.html_body is None:
        bodies.append(mime.text_part("plain", email.text_body or "", eight_bit=eight_bit))
    if email.html_body is not None:
        bodies.append(mime.text_part("html", email.html_body, eight_bit=eight_bit))
    files = [mime.attachment_part(attachment) for attachment in email.attachments]
    boundaries = mime.boundaries(email.message_id or "", [*bodies, *files])
    if email.inline_images:  # an Email has them only with HTML, which stands last: readers show the last that they can
        images = [mime.image_part(image) for image in email.inline_images]
        bodies[-1] = mime.multipart('related; type="text/html"', [bodies[-1], *images], next(boundaries))
    body = bodies[0] if len(bodies) == 1 else mime.multipart("alternative", bodies, next(boundaries))
    return mime.multipart("mixed", [body, *files], next(boundaries)) if files else body
