from datetime import UTC, datetime, timedelta, timezone

import msgpack
import pytest

from smtp_transport.errors import ErrorKind, MessageError
from smtp_transport.message import (
    Attachment,
    AutoSubmitted,
    Calendar,
    Email,
    InlineImage,
    Priority,
    Unsubscribe,
    pack,
    unpack,
)

LEAST = Email(from_="a@example.com", bcc="b@example.com")
FULL = Email(
    from_="Zoë <a@example.com>",
    sender="s@example.com",
    to=["B <b@example.com>", "ü@bücher.example"],
    cc="c@example.com",
    bcc="d@example.com",
    reply_to="e@example.com",
    subject="Grüße",
    text_body="t",
    html_body="",
    attachments=[Attachment("a", "text/plain", b"\x00\xff", "f"), Attachment("b", "text/plain", b"")],
    inline_images=InlineImage("i", "image/png", b"\x89"),
    headers=[("X-B", "1"), ("X-A", "2"), ("X-B", "3")],
    message_id="m@example.com",
    in_reply_to="<r@example.com>",
    references=["<q@example.com>"],
    priority=Priority.HIGH,
    envelope_sender="bounce+17@example.com",
    calendar=Calendar("BEGIN:VCALENDAR\nMETHOD:CANCEL\nEND:VCALENDAR", "CANCEL", "i.ics"),
    unsubscribe=Unsubscribe("https://example.com/u", "leave@example.com", one_click=True),
    auto_submitted=AutoSubmitted.GENERATED,
    date=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
)


@pytest.mark.parametrize("email", [LEAST, FULL, LEAST.stamped("m@example.com", datetime.now(UTC))])
def test_a_packed_email_comes_back_equal_through_msgpack(email: Email) -> None:
    came_back = unpack(msgpack.unpackb(msgpack.packb(pack(email))))
    assert came_back == email
    assert hash(came_back) == hash(email)  # tuples again, not lists
    assert came_back.to_dict() == email.to_dict()
    assert pack(came_back) == pack(email)


def test_what_is_empty_takes_no_room() -> None:
    packed = {"from_": ["a@example.com", None], "bcc": [["b@example.com", None]], "subject": ""}
    assert pack(LEAST) == packed


def test_what_earlier_versions_packed_is_still_read() -> None:
    stored = {
        "from_": ["a@example.com", "A"],
        "to": [["b@example.com", None]],
        "subject": "s",
        "text_body": "t",
        "attachments": [["f.txt", "text/plain", b"x", None]],
        "inline_images": [],
        "headers": [["X-A", "1"]],
        "message_id": "<m@example.com>",
        "priority": 1,
        "date": "2026-11-21T12:30:00+00:00",
    }
    assert unpack(stored) == Email(
        from_="A <a@example.com>",
        to="b@example.com",
        subject="s",
        text_body="t",
        attachments=Attachment("f.txt", "text/plain", b"x"),
        headers={"X-A": "1"},
        message_id="m@example.com",
        priority=1,
        date=datetime(2026, 11, 21, 12, 30, tzinfo=UTC),
    )


def test_every_field_of_an_email_is_packed() -> None:
    assert pack(FULL).keys() == Email.model_fields.keys()


def test_a_field_of_a_later_version_is_refused_not_dropped() -> None:
    with pytest.raises(MessageError) as caught:
        unpack({**pack(LEAST), "later": "secret"})
    assert caught.value.kind is ErrorKind.ENCODING_FAILED
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "damage", [{"from_": None}, {"attachments": [["a", "b"]]}, {"priority": 9}, {"date": "x"}, {"to": [["a"]]}]
)
def test_a_damaged_store_is_noticed(damage: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError, LookupError)):
        unpack({**pack(FULL), **damage})
