"""Invitations: an alternative that calendars understand, and nothing that contradicts itself."""

import email.policy
from datetime import UTC, datetime
from email.parser import BytesParser
from typing import Any

import pytest
from pydantic import ValidationError

from smtp_transport.message import Calendar, Email, EmailBuilder, render

ICS = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"
INVITATION = Calendar(ICS)


def parsed(eight_bit: bool = True, **fields: Any) -> Any:  # noqa: FBT001, FBT002 - as in render
    stamped = Email(
        **{"from_": "a@example.com", "to": "b@example.com", "calendar": INVITATION, **fields},
        message_id="m@example.com",
        date=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return BytesParser(policy=email.policy.default).parsebytes(render(stamped, eight_bit=eight_bit).data)


def kinds(message: Any) -> Any:
    parts = [kinds(part) for part in message.iter_parts()] if message.is_multipart() else []
    return (message.get_content_type(), *parts) if parts else message.get_content_type()


def test_an_invitation_is_the_last_alternative_and_names_its_method() -> None:
    message = parsed(text_body="Come!", html_body="<p>Come!</p>")
    assert kinds(message) == ("multipart/alternative", "text/plain", "text/html", "text/calendar")
    part = list(message.iter_parts())[-1]
    assert part["Content-Type"].params == {"charset": "utf-8", "method": "REQUEST"}
    assert part.get_content() == ICS


def test_the_same_calendar_can_be_attached_as_a_file() -> None:
    message = parsed(text_body="Come!", calendar=Calendar(ICS, filename="invite.ics"))
    assert kinds(message) == (
        "multipart/mixed",
        ("multipart/alternative", "text/plain", "text/calendar"),
        "application/ics",
    )
    file = list(message.iter_attachments())[-1]
    assert (file.get_filename(), file.get_content()) == ("invite.ics", ICS.encode())


def test_images_stay_with_the_html() -> None:
    image = {"content_id": "i", "content_type": "image/png", "data": b"x"}
    message = parsed(html_body="<img src=cid:i>", inline_images=[image])
    assert kinds(message) == ("multipart/alternative", ("multipart/related", "text/html", "image/png"), "text/calendar")


@pytest.mark.parametrize("eight_bit", [True, False])
def test_a_calendar_in_any_language_comes_out_as_it_went_in(eight_bit: bool) -> None:  # noqa: FBT001 - a parameter
    text = ICS.replace("END:", "SUMMARY:Besprechung \u2013 日本語\r\nEND:")
    part = list(parsed(eight_bit, calendar=Calendar(text)).iter_parts())[-1]
    assert part.get_content() == text


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (("hello",), "ics_text"),
        ((ICS + "\0",), "ics_text"),
        ((ICS, "CANCEL"), "method"),
        ((ICS.replace("METHOD:REQUEST\r\n", ""),), "method"),
        ((ICS, "REQUEST; x=y"), "method"),
        ((ICS, "REQUEST\r\nX-A: b"), "method"),
        ((ICS, "REQUEST", "a\nb.ics"), "filename"),
    ],
)
def test_a_calendar_that_contradicts_itself_is_refused(values: tuple[str, ...], field: str) -> None:
    """NF-SEC-04."""
    with pytest.raises(ValidationError, match=field):
        Calendar(*values)


def test_the_method_is_read_in_any_case_and_shown_in_capitals() -> None:
    assert Calendar(ICS.replace("METHOD:REQUEST", "method:request"), "request").method == "REQUEST"


def test_an_invitation_travels_as_plain_values_and_hides_its_text() -> None:
    email = EmailBuilder().from_("a@example.com").to("b@example.com").calendar(INVITATION).build()
    assert Email.from_dict(email.to_dict()) == email
    assert "VERSION" not in repr(email.calendar)
