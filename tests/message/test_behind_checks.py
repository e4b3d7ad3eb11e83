"""Emails that were made or changed behind their checks: headers are written in one place, which lets nothing by."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import Address, Attachment, Calendar, Email, InlineImage, Priority, Unsubscribe, render

ICS = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
BREAKS = ["\r", "\n", "\r\n", "\0", "\x0b", "\r\n ", "\r\n\r\n"]
NAME = re.compile(rb"(?m)^([!-9;-~]+):")


def whole() -> Email:
    """An email that writes every header there is."""
    return Email(
        from_=Address("a@example.com", "Ann"),
        sender="s@example.com",
        to=[Address("b@example.com", "Bob")],
        cc="c@example.com",
        reply_to="r@example.com",
        subject="Hi",
        text_body="hi",
        html_body="<p>",
        attachments=[Attachment("a.txt", "text/plain", b"x", "one@x")],
        inline_images=[InlineImage("two@x", "image/png", b"x")],
        calendar=Calendar(ICS),
        headers=[("X-A", "v")],
        message_id="m@example.com",
        in_reply_to="q@example.com",
        references=["p@example.com"],
        priority=Priority.HIGH,
        unsubscribe=Unsubscribe(url="https://example.com/u", mailto="u@example.com"),
        auto_submitted="no",
        date=datetime(2026, 11, 21, tzinfo=UTC),
    )


def field(name: str) -> Callable[[Email, str], None]:
    return lambda email, text: vars(email).__setitem__(name, text)


def inner(find: Callable[[Email], Any], name: str) -> Callable[[Email, str], None]:
    return lambda email, text: object.__setattr__(find(email), name, text)


SABOTAGE: dict[str, Callable[[Email, str], None]] = {
    **{name: field(name) for name in ("subject", "message_id", "in_reply_to")},
    "references": lambda email, text: vars(email).__setitem__("references", ("<a@b>", text)),
    "a header": lambda email, text: vars(email).__setitem__("headers", (("X-A", text),)),
    "a header's name": lambda email, text: vars(email).__setitem__("headers", ((text, "v"),)),
    "auto_submitted": lambda email, text: vars(email).__setitem__("auto_submitted", SimpleNamespace(value=text)),
    "author": inner(lambda email: email.from_, "email"),
    "author's name": inner(lambda email: email.from_, "name"),
    "sender": inner(lambda email: email.sender, "email"),
    "to": inner(lambda email: email.to[0], "email"),
    "to's name": inner(lambda email: email.to[0], "name"),
    "cc": inner(lambda email: email.cc[0], "email"),
    "reply_to": inner(lambda email: email.reply_to[0], "name"),
    **{f"file's {n}": inner(lambda e: e.attachments[0], n) for n in ("filename", "content_type", "content_id")},
    **{f"image's {n}": inner(lambda e: e.inline_images[0], n) for n in ("content_type", "content_id")},
    "calendar's method": inner(lambda email: email.calendar, "method"),
    **{f"unsubscribe's {n}": inner(lambda e: e.unsubscribe, n) for n in ("url", "mailto")},
}


ENCODED = {"author's name", "to's name", "reply_to"}


@pytest.mark.parametrize("where", SABOTAGE)
@given(st.text("ab ", max_size=5), st.sampled_from(BREAKS), st.sampled_from(["Bcc: x@y.example", "ü"]))
def test_nothing_that_ends_a_line_comes_into_a_header(where: str, start: str, end: str, text: str) -> None:
    """NF-SEC-04."""
    email = whole()
    had = render(email, eight_bit=True).data
    SABOTAGE[where](email, f"{start}{end}{text}")
    if text.isascii() or where not in ENCODED:
        with pytest.raises(MessageError) as caught:
            render(email, eight_bit=True)
        assert caught.value.kind is ErrorKind.INVALID_HEADER
        assert "y.example" not in str(caught.value)
        return
    # In encoded-words, or percent-encoded: no line end is left of it.
    has = render(email, eight_bit=True).data
    assert NAME.findall(has) == NAME.findall(had)
    assert has.count(b"\r") == has.count(b"\n") == has.count(b"\r\n")


@pytest.mark.parametrize("name", ["Bcc", "bCC", "From", "Content-Type", "Resent-Bcc", "Return-Path"])
def test_no_header_of_the_email_comes_in_as_one_of_the_author_s(name: str) -> None:
    """NF-SEC-04."""
    email = Email.model_construct(**(vars(whole()) | {"headers": ((name, "x@y.example"),)}))
    with pytest.raises(MessageError, match="is written by Email itself"):
        render(email, eight_bit=True)
