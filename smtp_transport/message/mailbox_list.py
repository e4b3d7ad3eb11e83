"""Addresses out of a header that another program wrote (RFC 5322 section 3.4).

Law: what is not understood is refused, never guessed: a guess here would send a mail to a stranger. Names, groups and
comments are passed over; an address counts only where the grammar has one, so that none can hide in a name.
"""

import re
from collections.abc import Iterator

from pydantic_core import PydanticCustomError

from smtp_transport.message import rules
from smtp_transport.message.address import Address

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<word>"(?:[^"\\]|\\.)*" | \[[^\[\]\\]*\] | [^ \t\r\n()<>\[\],:;@"]+)
      | (?P<special>[(<>,:;@])""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_SPECIAL = frozenset("<>:;")
_IN_COMMENT = re.compile(r"[^()\\]*(?:\\.[^()\\]*)*", re.DOTALL)


def address_list(text: str, *, names: bool = False) -> tuple[Address, ...]:
    """Read the addresses of an address list, folded or not; with their names only if asked for.

    Encoded-words in names are not decoded. Raises pydantic.ValidationError, which does not repeat the text.
    """
    try:
        return tuple(Address(spec, name if names and name else None) for spec, name in _mailboxes(text))
    except PydanticCustomError as reason:
        raise rules.refused("Address", reason) from None


def _mailboxes(text: str) -> Iterator[tuple[str, str]]:
    """Give each addr-spec as it is written and the name before it, white space and comments left out."""
    bare: list[str] = []
    angle: list[str] | None = None
    is_open = in_group = False
    for piece in _tokens(text):
        if is_open and angle is not None:
            is_open = piece != ">"
            angle += [piece] * is_open
        elif piece == "," or (piece == ";" and in_group):
            yield from _one(bare, angle)
            bare, angle = [], None
            in_group = in_group and piece == ","
        elif piece == "<" and angle is None:
            angle, is_open = [], True
        elif piece == ":" and bare and angle is None and not in_group:
            bare, in_group = [], True
        elif piece != " " and (angle is not None or piece in _SPECIAL):
            raise _unclear()
        else:
            bare.append(piece)
    if is_open or in_group:
        raise _unclear()
    yield from _one(bare, angle)


def _one(bare: list[str], angle: list[str] | None) -> Iterator[tuple[str, str]]:
    pieces = bare if angle is None else angle
    if angle is not None and "@" in bare:  # two addresses, and nothing says which one is meant
        raise _unclear()
    if angle and angle[0] == "@" and ":" in angle:  # a source route, to be ignored (RFC 5321 section 4.1.1.3)
        pieces = angle[len(angle) - angle[::-1].index(":") :]
    near = [pieces[max(place - 1, 0) : place + 2] for place in range(len(pieces))]
    # White space beside the "@" is allowed and means nothing; elsewhere it is left for Address to refuse.
    spec = "".join(p for p, around in zip(pieces, near, strict=True) if p != " " or "@" not in around).strip(" ")
    if spec:
        words = [_QUOTED_PAIR.sub(r"\1", word[1:-1]) if word.startswith('"') else word for word in bare]
        yield spec, "" if angle is None else "".join(words).strip(" ")
    elif angle is not None:
        raise _unclear()


def _tokens(text: str) -> Iterator[str]:
    """Cut into words, specials, and one space for each run of white space and comments."""
    place, spaced = 0, True
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise _unclear()
        place = found.end()
        if found[0] == "(":
            place = _after_comment(text, place)
        if found["space"] or found[0] == "(":
            if not spaced:
                yield " "
            spaced = True
            continue
        spaced = False
        yield found[0]


def _after_comment(text: str, place: int) -> int:
    depth = 1
    while depth:
        found = _IN_COMMENT.match(text, place)
        place = found.end() if found else place
        if place >= len(text) or text[place] == "\\":
            raise _unclear()
        depth += 1 if text[place] == "(" else -1
        place += 1
    return place


def _unclear() -> PydanticCustomError:
    return PydanticCustomError("address_list", "is no list of addresses that can be understood (RFC 5322 section 3.4)")
