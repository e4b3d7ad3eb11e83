"""The mails of a chaos run: made from a tag alone, so that whoever knows the tag knows what must arrive where.

A tag is a name for one mail, told in its sender, its recipients and its last line. `nobody` and `later` at the begin of
an address are wishes that the sink grants: 550 always, and 451 the first time.
"""

import zlib

from mailworker import Email

LANES = ("default", "bulk", "held")
HELD = "held"
"""The lane that parks what may have been delivered: nothing may arrive twice there."""

_LAST_LINE = "This was all of "


def recipients_of(tag: str) -> list[str]:
    """One to three addresses; some mails have one that is refused, or taken at the second try."""
    chance = zlib.crc32(tag.encode())
    count = 1 if chance % 10 < 7 else 2 + chance % 2
    names = ["user"] * count
    if chance % 97 < 3:
        names[-1] = "nobody"
    elif chance % 89 < 3:
        names[-1] = "later"
    return [f"{name}-{place}-{tag}@example.org" for place, name in enumerate(names)]


def lane_of_tag(tag: str) -> str:
    return LANES[(0, 0, 0, 1, 2)[zlib.crc32(f"lane {tag}".encode()) % 5]]


def email_of(tag: str) -> Email:
    """From 200 octets to 8 kB, mostly short."""
    size = (3, 10, 30, 100)[zlib.crc32(f"size {tag}".encode()) % 4]
    return Email(
        from_=f"shop+{tag}@example.com",
        to=recipients_of(tag),
        subject=f"Invoice {tag}",
        text_body="Please pay this invoice in time. Thank you for your order, and for your patience with us.\n" * size
        + _LAST_LINE
        + tag,
    )


def tag_of_sender(address: str) -> str:
    return address.partition("+")[2].partition("@")[0]


def tag_of_recipient(address: str) -> str:
    return address.partition("@")[0].split("-", 2)[-1]


def is_whole(content: bytes, tag: str) -> bool:
    """Whether this content ends as that mail does."""
    return content.rstrip().endswith(f"{_LAST_LINE}{tag}".encode())
