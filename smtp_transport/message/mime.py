"""Parts and their nesting (RFC 2045, 2046): mixed around alternative around related.

Law: the same email makes the same bytes. A boundary is drawn from the Message-ID and checked against every part that
stands there unencoded; "=_" at its start keeps it out of the encoded ones (RFC 2045 section 6.7).
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import count

from smtp_transport.message import headers, transfer
from smtp_transport.message.attachment import Attachment, FileAttachment, InlineImage
from smtp_transport.message.cache import EncodedFiles
from smtp_transport.message.calendar import Calendar
from smtp_transport.message.transfer import TransferEncoding


@dataclass(frozen=True, slots=True)
class InBase64:
    """The place of a file, or of many octets, in a message: it is read and encoded when its turn comes.

    `blocks` gives the `octets` in blocks of the size that it is asked for.
    """

    octets: int
    blocks: Callable[[int], Iterable[bytes]]

    @classmethod
    def of(cls, data: bytes) -> "InBase64":
        """Encode what is in memory already."""
        return cls(len(data), lambda size: (data[start : start + size] for start in range(0, len(data), size)))

    @property
    def size(self) -> int:
        """Octets that it will have in base64."""
        return transfer.base64_size(self.octets)

    def __iter__(self) -> Iterator[bytes]:
        return transfer.base64_stream(self.blocks(transfer.BASE64_BLOCK))


@dataclass(frozen=True, slots=True)
class InLines:
    """The place of a text file that stands unencoded in a message, `size` octets in canonical form."""

    size: int
    file: FileAttachment

    def __iter__(self) -> Iterator[bytes]:
        return _lines_of(self.file)

    def __contains__(self, octets: bytes) -> bool:
        before = b""
        for piece in self:
            text = before + piece
            if octets in text:
                return True
            before = text[-len(octets) :]
        return False


Chunk = bytes | InBase64 | InLines


def _lines_of(file: FileAttachment) -> Iterator[bytes]:
    return transfer.canonical_blocks(file.blocks(transfer.PIECE))


@dataclass(frozen=True, slots=True)
class Part:
    """A MIME entity: its Content-* fields, each ending with CRLF, and its content in chunks, joined once at the end."""

    head: str
    chunks: tuple[Chunk, ...]
    encoding: TransferEncoding


def text_part(subtype: str, text: str, *, eight_bit: bool) -> Part:
    """Make a text/plain or text/html part of a body."""
    octets = transfer.canonical(text)
    encoding = transfer.choose(octets, eight_bit=eight_bit)
    head = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding.value}\r\n"
    return Part(head, tuple(_encoded(octets, encoding)), encoding)


def _encoded(octets: bytes, encoding: TransferEncoding) -> Iterable[Chunk]:
    if len(octets) < transfer.LARGE or encoding.keeps_octets:
        return (transfer.encode(octets, encoding),)
    if encoding is TransferEncoding.BASE64:
        return (InBase64.of(octets),)
    return transfer.encoded_lines(octets)


def calendar_part(calendar: Calendar, *, eight_bit: bool) -> Part:
    """Make the part that readers offer to accept or decline (RFC 6047 section 2.4)."""
    part = text_part("calendar", calendar.ics_text, eight_bit=eight_bit)
    kind = headers.field("Content-Type", ("text/calendar; charset=utf-8;", f" method={calendar.method}"))
    return Part(kind + part.head.partition("\r\n")[2], part.chunks, part.encoding)


def attachment_part(attachment: Attachment, cache: EncodedFiles, *, eight_bit: bool) -> Part:
    """Make the part of a file (RFC 2183). Raises MessageError(ATTACHMENT_ERROR) if it cannot be read any more."""
    if attachment.content_type.lower().startswith("message/"):
        return _message_part(attachment, eight_bit=eight_bit) or _file_part(
            attachment, "application/octet-stream", cache
        )
    return _file_part(attachment, attachment.content_type, cache)


def _file_part(attachment: Attachment, content_type: str, cache: EncodedFiles) -> Part:
    head = _file_head(attachment, content_type)
    if not isinstance(attachment, FileAttachment):
        return _base64_part(head, attachment.data, cache)
    attachment.check()
    head += "Content-Transfer-Encoding: base64\r\n"
    return Part(head, (InBase64(attachment.size, attachment.blocks),), TransferEncoding.BASE64)


def _message_part(attachment: Attachment, *, eight_bit: bool) -> Part | None:
    """Make the part of an attached message, which stands unencoded (RFC 2046 section 5.2.1); None if it cannot."""
    if isinstance(attachment, FileAttachment) and attachment.size >= transfer.LARGE:
        found = transfer.unencoded(_lines_of(attachment), eight_bit=eight_bit)
        chunk: Chunk = InLines(found[0] if found else 0, attachment)
    else:
        chunk = transfer.canonical_octets(attachment.data)
        found = transfer.unencoded((chunk,), eight_bit=eight_bit)
    if found is None:
        return None
    head = _file_head(attachment, attachment.content_type)
    return Part(f"{head}Content-Transfer-Encoding: {found[1].value}\r\n", (chunk,), found[1])


def _file_head(attachment: Attachment, content_type: str) -> str:
    kind = [content_type]
    if not attachment.filename.isascii() and "name=" not in content_type.lower():
        # Readers that do not know RFC 2231 show this instead of nothing.
        kind = [f"{content_type};", *headers.parameter("name", _ascii_name(attachment.filename))]
    first, *others = headers.parameter("filename", attachment.filename)
    disposition = ["attachment;", first]
    for section in others:
        disposition[-1] += ";"
        disposition.append(section)
    head = headers.field("Content-Type", kind) + headers.field("Content-Disposition", disposition)
    return head + (_content_id(attachment.content_id) if attachment.content_id else "")


def _content_id(content_id: str) -> str:
    return headers.identifiers("Content-ID", (f"<{content_id}>",))


def image_part(image: InlineImage, cache: EncodedFiles) -> Part:
    """Make the part of an image that the HTML shows (RFC 2387, RFC 2392)."""
    head = headers.field("Content-Type", (image.content_type,)) + "Content-Disposition: inline\r\n"
    return _base64_part(head + _content_id(image.content_id), image.data, cache)


def _base64_part(head: str, data: bytes, cache: EncodedFiles) -> Part:
    head += "Content-Transfer-Encoding: base64\r\n"
    is_large = len(data) >= transfer.LARGE and not cache.takes(data)
    return Part(head, (InBase64.of(data) if is_large else cache.base64_lines(data),), TransferEncoding.BASE64)


def _ascii_name(filename: str) -> str:
    """Reduce a file name to what every reader can show, and its ending to what tells how to open it."""
    stem, dot, ending = filename.rpartition(".") if "." in filename else (filename, "", "")
    return (_ascii(stem)[:60].strip(" ._-") or "attachment") + dot + _ascii(ending)[:20]


def _ascii(text: str) -> str:
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def boundaries(seed: str, parts: Sequence[Part]) -> Iterator[str]:
    """Draw boundaries, each its own, that stand in none of the leaf parts."""
    kept = (chunk for part in parts if part.encoding.keeps_octets for chunk in part.chunks)
    bare = [chunk for chunk in kept if not isinstance(chunk, InBase64)]
    for number in count():
        boundary = "=_" + blake2b(f"{number} {seed}".encode(), digest_size=15).hexdigest()
        if not any(boundary.encode() in chunk for chunk in bare):
            yield boundary


def multipart(subtype: str, parts: Sequence[Part], boundary: str) -> Part:
    """Put parts into one. `subtype` may carry further parameters, as in `related; type="text/html"`."""
    # A container may not claim less than what is in it (RFC 2045 section 6.4).
    eight_bit = any(part.encoding is TransferEncoding.EIGHT_BIT for part in parts)
    encoding = TransferEncoding.EIGHT_BIT if eight_bit else TransferEncoding.SEVEN_BIT
    head = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"\r\n'
    head += f"Content-Transfer-Encoding: {encoding.value}\r\n"
    chunks: list[Chunk] = []
    opening = f"--{boundary}\r\n"
    for part in parts:
        chunks += [f"{opening}{part.head}\r\n".encode(), *part.chunks]
        opening = f"\r\n--{boundary}\r\n"
    chunks.append(f"\r\n--{boundary}--\r\n".encode())
    return Part(head, tuple(chunks), encoding)
