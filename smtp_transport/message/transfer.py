"""Transfer encodings (RFC 2045 section 6): how the bytes of a part become lines that a relay can carry.

Law: input text is canonical (CRLF only) and so is the output. The content alone, and whether the relay takes 8BITMIME,
decide on the encoding. Everything that grows with a mail is done in C.
"""

import binascii
import enum
from collections.abc import Iterable, Iterator
from itertools import chain
from struct import Struct

LONGEST_LINE = 998
"""Octets of a line without its CRLF (RFC 5322 section 2.1.1)."""

_ASCII = bytes(range(128))
_BLOCK = Struct("76s" * 64)  # 64 lines of base64 cut by one call: a third faster than slicing each


class TransferEncoding(enum.StrEnum):
    """The values of Content-Transfer-Encoding that a mail may use without BINARYMIME."""

    SEVEN_BIT = "7bit"
    EIGHT_BIT = "8bit"
    QUOTED_PRINTABLE = "quoted-printable"
    BASE64 = "base64"

    @property
    def keeps_octets(self) -> bool:
        """Whether the content stands there as it is, so that it could be taken for a boundary."""
        return self in (TransferEncoding.SEVEN_BIT, TransferEncoding.EIGHT_BIT)


def canonical(text: str) -> bytes:
    """Turn text into UTF-8 with CRLF for each of CRLF, CR and LF (RFC 2046 section 4.1.1)."""
    return canonical_octets(text.encode())


def canonical_octets(octets: bytes) -> bytes:
    """Do the same with text that is encoded already; what is canonical comes back as it is, not copied."""
    if b"\r" in octets:
        if octets.count(b"\r") == octets.count(b"\n") == octets.count(b"\r\n"):
            return octets
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return octets.replace(b"\n", b"\r\n")


def canonical_blocks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Do the same with text that comes in blocks; no line end is cut."""
    held = b""
    for block in blocks:
        text = held + block
        held = b"\r" if text.endswith(b"\r") else b""
        yield canonical_octets(text[:-1] if held else text)
    if held:
        yield b"\r\n"


def unencoded(pieces: Iterable[bytes], *, eight_bit: bool) -> "tuple[int, TransferEncoding] | None":
    """Tell how long a canonical message is that comes in pieces, and how it can stand in another; None if it cannot.

    Its header is ASCII: with raw UTF-8 it would be another type (RFC 6532 section 3.7).
    """
    size, begun, in_header, encoding = 0, b"", True, TransferEncoding.SEVEN_BIT
    for piece in pieces:
        text = begun + piece
        if in_header:
            blank = 0 if text.startswith(b"\r\n") else text.find(b"\r\n\r\n")
            in_header = blank < 0
            if not (text if in_header else text[:blank]).isascii():
                return None
        if not piece.isascii():
            encoding = TransferEncoding.EIGHT_BIT
        if b"\0" in piece or has_long_line(text) or (encoding is TransferEncoding.EIGHT_BIT and not eight_bit):
            return None
        size += len(piece)
        line_end = text.rfind(b"\r\n")
        begun = text if line_end < 0 else text[line_end + len(b"\r\n") :]
    return size, encoding


def has_long_line(octets: bytes) -> bool:
    """Whether some line of canonical text is longer than 998 octets."""
    start = 0
    while len(octets) - start > LONGEST_LINE:
        # From a line's start to the last line end within reach of it: nothing is copied, however short the lines are.
        line_end = octets.rfind(b"\r\n", start, start + LONGEST_LINE + len(b"\r\n"))
        if line_end < 0:
            return True
        start = line_end + len(b"\r\n")
    return False


def choose(octets: bytes, *, eight_bit: bool) -> TransferEncoding:
    """Pick the simplest encoding that can carry canonical text; 8bit only if the relay takes it."""
    ascii_only = octets.isascii()
    if (ascii_only or eight_bit) and not has_long_line(octets):
        return TransferEncoding.SEVEN_BIT if ascii_only else TransferEncoding.EIGHT_BIT
    # Quoted-printable writes three octets for "=" and for each above 127, base64 four for every three: they are even at
    # a sixth. Up to a quarter quoted-printable still wins, because people and filters can read it.
    costly = octets.count(b"=") + (0 if ascii_only else len(octets.translate(None, _ASCII)))
    return TransferEncoding.QUOTED_PRINTABLE if costly * 4 <= len(octets) else TransferEncoding.BASE64


def encode(octets: bytes, encoding: TransferEncoding) -> bytes:
    """Encode a part's content. For quoted-printable the octets are canonical text; base64 takes anything."""
    if encoding is TransferEncoding.BASE64:
        return base64_lines(octets)
    if encoding is TransferEncoding.QUOTED_PRINTABLE:
        encoded = binascii.b2a_qp(octets)  # takes its line end from the first one that it meets
        return encoded if b"\r\n" in octets else encoded.replace(b"\n", b"\r\n")
    return octets


LARGE = 4 << 20
"""Octets from which on a content is made in pieces: all of it and its encoded form at once would need memory."""
PIECE = 1 << 18


def encoded_lines(octets: bytes) -> Iterator[bytes]:
    """Encode canonical text in quoted-printable as `encode` does, piece by piece, cut at line ends."""
    start = 0
    while start < len(octets):
        line_end = octets.find(b"\r\n", start + PIECE)
        end = len(octets) if line_end < 0 else line_end + len(b"\r\n")
        yield encode(octets[start:end], TransferEncoding.QUOTED_PRINTABLE)
        start = end


def base64_lines(octets: bytes) -> bytes:
    """Encode in base64, 76 characters a line, with CRLF between the lines and none after the last."""
    encoded = memoryview(binascii.b2a_base64(octets, newline=False))
    whole = len(encoded) // _BLOCK.size * _BLOCK.size
    lines = chain(
        chain.from_iterable(_BLOCK.iter_unpack(encoded[:whole])),
        [encoded[start : start + 76] for start in range(whole, len(encoded), 76)],
    )
    return b"\r\n".join(lines)


BASE64_BLOCK = 57 * 4096
"""Octets for `base64_stream`: 57 make one line."""


def base64_size(octets: int) -> int:
    """Tell how long `base64_lines` makes so many octets."""
    encoded = (octets + 2) // 3 * 4
    return encoded + 2 * max((encoded - 1) // 76, 0)


def base64_stream(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Encode as `base64_lines` does, block by block; each but the last has BASE64_BLOCK octets."""
    opening = b""
    for block in blocks:
        yield opening + base64_lines(block)
        opening = b"\r\n"
