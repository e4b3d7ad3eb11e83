"""The content of a mail in the form that DATA wants: CRLF line ends, dots doubled (RFC 5321 section 4.5.2).

Law: a bare CR or LF is repaired before dots are doubled, never after: the other order lets a lone dot be smuggled in.
Only whole-buffer operations, so that 25 MB cost milliseconds. What comes in pieces is not repaired but checked: its
size was announced by then.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.phase import Phase

_DOTTED: Final = re.compile(rb"\n\.")


def canonical(data: bytes) -> bytes:
    r"""Make every line end CRLF, the last line's too: a bare CR and a bare LF are each a line end.

    Data that already is so comes back as it is, not copied.
    """
    line_ends = data.count(b"\r\n")
    if data.count(b"\n") != line_ends or data.count(b"\r") != line_ends:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    return data if not data or data.endswith(b"\r\n") else data + b"\r\n"


def dot_stuffed(data: bytes) -> bytes:
    """Double the dot that begins a line of canonical data; what follows may be the final dot."""
    # Most content has no such line. To search for one costs less than half of a replacement of nothing, and what is in
    # base64 behind the last dot is not searched.
    is_dotted = _DOTTED.search(data, 0, data.rfind(b".") + 1) is not None
    stuffed = data.replace(b"\r\n.", b"\r\n..") if is_dotted else data
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def checked(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Let canonical chunks pass that have `size` octets together and end with a line end.

    Raises `MessageError` (encoding_failed) as soon as they do not, so that nobody takes a part for the whole. A CR that
    ends a chunk is given with the next one.
    """
    passed, held, line_ended = 0, b"", False
    for chunk in chunks:
        piece = held + chunk if held else chunk
        held = b"\r" if piece.endswith(b"\r") else b""
        if held:
            piece = piece[:-1]
        if not piece:
            continue
        line_ends = piece.count(b"\r\n")
        if piece.count(b"\n") != line_ends or piece.count(b"\r") != line_ends:
            raise _broken("holds a bare CR or LF")
        passed += len(piece)
        if passed > size:
            raise _broken("is longer than was announced")
        line_ended = piece.endswith(b"\r\n")
        yield piece
    if held or not line_ended:
        raise _broken("does not end with a line end")
    if passed != size:
        raise _broken("is shorter than was announced")


def measured(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Let chunks of binary content pass that have `size` octets together. Raises `MessageError` as soon as not."""
    passed = 0
    for chunk in chunks:
        passed += len(chunk)
        if passed > size:
            raise _broken("is longer than was announced")
        yield chunk
    if passed != size:
        raise _broken("is shorter than was announced")


def dot_stuffed_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Double the dots that begin lines, in chunks that never cut a CRLF: those of `checked`."""
    at_line_start = True
    for chunk in chunks:
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        yield b"." + stuffed if at_line_start and stuffed.startswith(b".") else stuffed
        at_line_start = chunk.endswith(b"\r\n")


def _broken(what: str) -> MessageError:
    return MessageError(f"the content {what}", ErrorKind.ENCODING_FAILED, phase=Phase.BODY)
