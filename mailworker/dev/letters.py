"""The emails of the demo: of every shape that mail has in practice, and the same for the same seed.

Law: what is to become of each letter is known before it is sent, so that the mailbox can be checked against it.
"""

import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from smtp_transport.message import Address, Attachment, Email, InlineImage, Priority

NUMBER_HEADER = "X-Letter"
_DOMAIN = "mailbox.example"
_SENDER = Address("noreply@shop.example", "Shop, Café & Söhne")
_WORDS = (
    *("order", "parcel", "invoice", "tomorrow", "grüße", "naïve", "смета", "注文", "ありがとう", "ελληνικά", "עברית"),
    *("emoji", "📦", "résumé", "=", "%", ".dot", "From", "comma,", "semicolon;", "quote '", "two  blanks", "a	tab"),
)
_NAMES = ("Ann Lee", "Jörg Müller", 'Zoë, the "Quick"', "Мария Иванова", "山田 太郎", "O'Neil (Bob)", "李雷")
_PUT_OFF_EVERY = 40


@dataclass(frozen=True, slots=True)
class Letter:
    """An email, and what is to become of it: who gets it, who is put off at first, who is refused."""

    number: int
    email: Email
    delivered_to: tuple[str, ...]
    put_off: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def letters(count: int, seed: int = 1) -> Iterator[Letter]:
    """Write `count` letters. One (the middle one) is refused; each fortieth, but at least one, is put off at first."""
    for number in range(count):
        pen = random.Random(f"{seed}/{number}")  # noqa: S311 - chosen to be repeatable
        fields = _SHAPES[number % len(_SHAPES)](pen, number)
        put_off: tuple[str, ...] = ()
        refused: tuple[str, ...] = ()
        if number == count // 2:
            refused = (f"nobody{number}+refuse@{_DOMAIN}",)
            fields |= {"to": refused, "cc": (), "bcc": ()}
        elif number % _PUT_OFF_EVERY == 0:
            put_off = (f"reader{number}+later@{_DOMAIN}",)
            fields["to"] = (*fields["to"], *put_off)
        if number % 2:
            fields["message_id"] = f"<letter-{number}.{seed}@shop.example>"
        email = Email(from_=_SENDER, headers=((NUMBER_HEADER, str(number)),), **fields)
        delivered = tuple(address for address in email.recipients if address not in refused)
        yield Letter(number, email, delivered, put_off, refused)


def _prose(pen: random.Random, lines: int) -> str:
    return "".join(" ".join(pen.choices(_WORDS, k=pen.randint(1, 14))).strip() + "\n" for _ in range(lines))


def _reader(pen: random.Random, number: int, name: str) -> Address:
    return Address(f"{name}{number}@{_DOMAIN}", pen.choice(_NAMES))


def _plain(pen: random.Random, number: int) -> dict[str, Any]:
    return {
        "to": (_reader(pen, number, "reader"),),
        "subject": f"Your order {number}",
        "text_body": f"Letter {number}\n.\n..two dots\n" + _prose(pen, 12),
    }


def _html(pen: random.Random, number: int) -> dict[str, Any]:
    body = _prose(pen, 20)
    return _plain(pen, number) | {"html_body": f"<!doctype html><p>Letter {number}</p><pre>{body}</pre>\n"}


def _attached(pen: random.Random, number: int) -> dict[str, Any]:
    files = (
        Attachment(
            f"Rechnung für {number}.pdf", "application/pdf", b"%PDF-1.4\n" + pen.randbytes(pen.randint(1, 20_000))
        ),
        Attachment("notes.txt", "text/plain", _prose(pen, 30).encode()),
    )
    return _plain(pen, number) | {"attachments": files}


def _pictured(pen: random.Random, number: int) -> dict[str, Any]:
    picture = InlineImage("logo@shop.example", "image/png", _png(pen.randbytes(3)))
    html = f'<p>Letter {number} <img src="{picture.cid_reference()}" alt="logo"></p>\n'
    return _plain(pen, number) | {"html_body": html, "inline_images": (picture,)}


def _foreign(pen: random.Random, number: int) -> dict[str, Any]:
    subject = f"Bestellung {number}: «Grüße» — 注文を受け付けました, спасибо! " + "🎉" * pen.randint(1, 20)
    return _plain(pen, number) | {"subject": subject, "reply_to": (Address("hilfe@shop.example", "Hilfe für Käufer"),)}


def _many(pen: random.Random, number: int) -> dict[str, Any]:
    return _plain(pen, number) | {"to": tuple(_reader(pen, number, f"reader{place}.") for place in range(12))}


def _copied(pen: random.Random, number: int) -> dict[str, Any]:
    return _html(pen, number) | {
        "cc": tuple(_reader(pen, number, f"copy{place}.") for place in range(3)),
        "bcc": tuple(_reader(pen, number, f"blind{place}.") for place in range(2)),
    }


def _blind(pen: random.Random, number: int) -> dict[str, Any]:
    """To hidden readers alone, urgent, with lines too long for the wire as they are."""
    return {
        "to": (),
        "bcc": tuple(_reader(pen, number, f"blind{place}.") for place in range(3)),
        "subject": "",
        "text_body": f"Letter {number}\n" + "long " * 400 + "\n",
        "priority": Priority.HIGHEST,
    }


_SHAPES: tuple[Callable[[random.Random, int], dict[str, Any]], ...] = (
    _plain,
    _html,
    _attached,
    _pictured,
    _foreign,
    _many,
    _copied,
    _blind,
)


def _png(colour: bytes) -> bytes:
    """Draw a picture of one pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" + colour))
        + chunk(b"IEND", b"")
    )
