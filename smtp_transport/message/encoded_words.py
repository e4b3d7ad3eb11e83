"""Header text in ASCII: encoded-words (RFC 2047) and phrases (RFC 5322 section 3.2.5).

Law: decoding gives back exactly the text that came in. An encoded-word is at most 75 characters long and holds whole
characters.
"""

import binascii
import re

_OVERHEAD = len("=?utf-8?q?") + len("?=")
LINE = 76
"""The longest line with an encoded-word in it (RFC 2047 section 2); we fold everything there."""
_ROOM = LINE - len(" ") - _OVERHEAD  # for the payload of an encoded-word on a continuation line
_LEAST_ROOM = 12  # One character of four octets in Q, if a long field name leaves less.

# RFC 2047 section 5 (3): the characters that are themselves in Q wherever an encoded-word may stand, phrases included.
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!*+-/")
_Q = tuple(chr(octet) if octet in _PLAIN else "_" if octet == 0x20 else f"={octet:02X}" for octet in range(256))
_GOES_ON = ("=8", "=9", "=A", "=B")  # an octet that is not the first of its character

_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LONGEST_PLAIN_PHRASE = 60
_QUOTED_PAIR = re.compile(r'(["\\])')


def is_plain(text: str) -> bool:
    """Whether a line of text can stand in a header as it is, and cannot be taken for an encoded-word."""
    return text.isascii() and "=?" not in text and text.strip(" \t") == text


def encode_words(text: str, used: int = 1) -> list[str]:
    """Write text as one or more encoded-words, in B or Q, whichever is shorter.

    `used` is how many characters the line of the first one already has; the others are for continuation lines.
    """
    octets = text.encode()
    room = max(LINE - used - _OVERHEAD, _LEAST_ROOM)
    in_q = "".join(map(_Q.__getitem__, octets))
    return _cut_q(in_q, room) if len(in_q) <= (len(octets) + 2) // 3 * 4 else _cut_b(octets, room)


def _cut_b(octets: bytes, room: int) -> list[str]:
    made = []
    start = 0
    while start < len(octets):
        end = start + room // 4 * 3
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # the next octet would go on with a character
            end -= 1
        made.append(f"=?utf-8?b?{binascii.b2a_base64(octets[start:end], newline=False).decode()}?=")
        start, room = end, _ROOM
    return made


def _cut_q(payload: str, room: int) -> list[str]:
    made = []
    start = 0
    while start < len(payload):
        end = start + room
        if end < len(payload):
            cut = payload.find("=", end - 2, end)
            end = end if cut < 0 else cut  # not inside "=XX"
            while payload.startswith(_GOES_ON, end):
                end -= len("=XX")
        made.append(f"=?utf-8?q?{payload[start:end]}?=")
        start, room = end, _ROOM
    return made


def phrase(name: str, used: int = 1) -> list[str]:
    """Write a display name: bare if it is made of atoms, else quoted, else as encoded-words; in pieces for folding."""
    # A decoder may take "=?" for an encoded-word even between quotes; a long quoted-string could not be folded.
    if name.isascii() and "=?" not in name:
        is_short, is_bare = len(name) <= _LONGEST_PLAIN_PHRASE, _ATOMS.fullmatch(name) is not None
        if is_short:
            return [name if is_bare else '"' + _QUOTED_PAIR.sub(r"\\\1", name) + '"']
        words = name.split(" ")
        if is_bare and max(map(len, words)) <= _LONGEST_PLAIN_PHRASE:
            return words
    return encode_words(name, used)
