import copy
import json
import pickle
import pprint
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from smtp_transport.envelope import Envelope
from smtp_transport.message import (
    MAX_ATTACHMENTS,
    MAX_RECIPIENTS,
    Address,
    Attachment,
    Email,
    InlineImage,
    Priority,
    envelope_of,
    make_message_id,
)

WHEN = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
FILE = Attachment("a.txt", "text/plain", b"x")


def an_email(**fields: Any) -> Email:
    return Email(**{"from_": "a@example.com", "to": "b@example.com", **fields})


def refusal(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        an_email(**fields)
    return str(caught.value)


def test_one_address_stands_for_a_list_of_one() -> None:
    one = an_email(to="B <b@example.com>", cc={"email": "c@example.com"}, bcc=Address("d@example.com"), reply_to=None)
    many = an_email(to=[Address("b@example.com", "B")], cc=["c@example.com"], bcc=("d@example.com",), reply_to=[])
    assert one == many
    assert one.to == (Address("b@example.com", "B"),)


def test_the_other_names_of_the_fields_are_read() -> None:
    email = Email.model_validate({"from": "a@example.com", "to": "b@example.com", "text": "t", "html": "h"})
    assert (email.from_.email, email.text_body, email.html_body) == ("a@example.com", "t", "h")
    assert an_email(text="t", html="h") == an_email(text_body="t", html_body="h")


def test_headers_keep_their_order_and_may_come_as_a_mapping() -> None:
    pairs = (("X-B", "1"), ("X-A", "2"))
    assert an_email(headers=dict(pairs)) == an_email(headers=pairs) == an_email(headers=[list(p) for p in pairs])
    assert an_email(headers=[*pairs, ("X-B", "3")]).headers == (*pairs, ("X-B", "3"))


def test_a_references_header_may_be_copied_as_it_is() -> None:
    assert an_email(references=" <a@b>  <c@d> ").references == ("<a@b>", "<c@d>")
    assert an_email(references=["a@b"]).references == ("<a@b>",)
    assert an_email(references="").references == ()


@pytest.mark.parametrize("fields", [{}, {"to": []}, {"to": None, "cc": ()}])
def test_an_email_needs_a_recipient(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="to, cc, bcc"):
        Email(from_="a@example.com", **fields)
    for name in ("to", "cc", "bcc"):
        assert Email(from_="a@example.com", **{name: "b@example.com"}).recipients == ("b@example.com",)


def test_an_email_needs_an_author() -> None:
    with pytest.raises(ValidationError, match="from_"):
        Email(to="b@example.com")


def test_the_hard_maxima_hold_for_all_lists_together() -> None:
    addresses = [f"r{n}@example.com" for n in range(MAX_RECIPIENTS)]
    assert len(an_email(to=addresses[:50], cc=addresses[50:90], bcc=addresses[90:]).recipients) == MAX_RECIPIENTS
    assert "to, cc, bcc: 101 recipients" in refusal(to=addresses, bcc="one@example.com")
    assert len(an_email(attachments=[FILE] * MAX_ATTACHMENTS).attachments) == MAX_ATTACHMENTS
    image = InlineImage("i", "image/png", b"")
    assert "attachments" in refusal(attachments=[FILE] * MAX_ATTACHMENTS, inline_images=image, html_body="x")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from_", "secret\n@example.com"),
        ("sender", "secret@@example.com"),
        ("to", ["b@example.com", "secret"]),
        ("cc", "secret@exa mple.com"),
        ("bcc", ["secret@example.com\r\nRCPT TO:<x@example.com>"]),
        ("reply_to", {"email": "b@example.com", "name": "secret\x00"}),
        ("subject", "secret\r\nBcc: x@example.com"),
        ("subject", "secret\rx"),
        ("subject", "secret\nx"),
        ("subject", "secret\0"),
        ("subject", "secret\x1b[2J"),
        ("subject", "secret\u2028"),
        ("subject", "secret\ud800"),
        ("subject", b"secret"),
        ("text_body", "secret\0"),
        ("text_body", "secret\udfff"),
        ("html_body", "secret\0"),
        ("headers", {"X-A": "secret\r\nBcc: x@example.com"}),
        ("headers", {"X-A": "secret\x07"}),
        ("headers", {"X-secret\r\nBcc": "x"}),
        ("headers", {"X secret": "x"}),
        ("headers", {"X-secret:": "x"}),
        ("headers", {"": "secret"}),
        ("headers", {"X-ü": "secret"}),
        ("headers", {"X-" + "A" * 75: "secret"}),
        ("headers", {"X-A": "secret" * 200}),
        ("headers", [("X-A", "secret", "more")]),
        ("message_id", "secret"),
        ("message_id", "<secret@example.com>\r\nX: y"),
        ("message_id", "<sec ret@example.com>"),
        ("message_id", "<" + "secret" * 100 + "@example.com>"),
        ("in_reply_to", "<secret\n@example.com>"),
        ("in_reply_to", "<secret> <secret>"),
        ("references", ["<a@b>", "<secret\r@x>"]),
        ("priority", 6),
        ("date", datetime(2026, 1, 1)),  # noqa: DTZ001 - a naive moment is what is refused
        ("date", datetime(1899, 12, 31, tzinfo=UTC)),
        ("attachments", [{"filename": "secret\n", "content_type": "text/plain", "data": b""}]),
        ("inline_images", {"content_id": "secret x", "content_type": "image/png", "data": b""}),
        ("subjct", "secret"),
    ],
)
def test_bad_input_is_refused_with_the_field_and_without_the_value(field: str, value: object) -> None:
    """NF-SEC-04."""
    text = refusal(**{field: value})
    assert field in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("From", "from_"),
        ("sender", "sender"),
        ("TO", "to"),
        ("Cc", "cc"),
        ("Bcc", "bcc"),
        ("Resent-Bcc", "bcc"),
        ("Reply-To", "reply_to"),
        ("Subject", "subject"),
        ("Date", "date"),
        ("Message-ID", "message_id"),
        ("In-Reply-To", "in_reply_to"),
        ("References", "references"),
        ("MIME-Version", "always written"),
        ("Content-Type", "attachments"),
        ("content-transfer-encoding", "attachments"),
        ("Return-Path", "sender"),
    ],
)
def test_a_header_that_email_writes_is_refused_with_a_hint_to_the_field(name: str, hint: str) -> None:
    text = refusal(headers={name: "x"})
    assert "headers.0" in text
    assert hint in text


def test_priority_is_said_once() -> None:
    assert an_email(headers={"X-Priority": "1"}).headers == (("X-Priority", "1"),)
    assert "headers" in refusal(headers={"x-priority": "1"}, priority=1)
    assert an_email(priority=1).priority is Priority.HIGHEST


def test_inline_images_need_html_and_their_own_names() -> None:
    image = InlineImage("logo", "image/png", b"")
    assert "inline_images" in refusal(inline_images=image, text_body="x")
    assert "content_id" in refusal(inline_images=[image, image], html_body="x")
    attached = Attachment("a.png", "image/png", b"", "logo")
    assert "content_id" in refusal(inline_images=image, attachments=attached, html_body="x")


def test_recipients_come_once_each_in_the_order_of_to_cc_bcc() -> None:
    email = Email(
        from_="a@example.com",
        to=["x@example.com", "Y@example.com"],
        cc=["X <x@EXAMPLE.com>", "y@example.com"],
        bcc=["z@example.com", "x@example.com"],
    )
    assert email.recipients == ("x@example.com", "Y@example.com", "y@example.com", "z@example.com")


def test_the_envelope_has_the_sender_if_there_is_one_and_blind_recipients_too() -> None:
    email = an_email(bcc="c@example.com")
    assert envelope_of(email) == Envelope("a@example.com", ("b@example.com", "c@example.com"))
    assert envelope_of(an_email(sender="S <bounces@example.com>")).sender == "bounces@example.com"
    assert not envelope_of(an_email(to="x@bücher.example")).needs_smtputf8
    assert envelope_of(an_email(to="ü@bücher.example")).needs_smtputf8


def test_a_stamp_fixes_what_the_author_left_open() -> None:
    plain = an_email()
    stamped = plain.stamped("id@example.com", WHEN)
    assert (stamped.message_id, stamped.date) == ("<id@example.com>", WHEN)
    assert (plain.message_id, plain.date) == (None, None)
    own = an_email(message_id="<own@example.com>", date=WHEN - timedelta(days=1))
    assert own.stamped("id@example.com", WHEN) == own


@pytest.mark.parametrize(
    ("message_id", "date", "field"),
    [("secret", WHEN, "message_id"), ("a\n@b", WHEN, "message_id"), ("a@b", datetime(2026, 1, 1), "date")],  # noqa: DTZ001 - naive
)
def test_a_bad_stamp_is_refused_with_its_field(message_id: str, date: datetime, field: str) -> None:
    with pytest.raises(ValidationError, match=field) as caught:
        an_email().stamped(message_id, date)
    assert "secret" not in str(caught.value)


def test_a_message_id_is_made_of_a_token_and_a_domain() -> None:
    """F-MIME-06."""
    assert make_message_id("01J.abc-1", "mail.example.com") == "<01J.abc-1@mail.example.com>"
    assert make_message_id("a", "[192.0.2.1]") == "<a@[192.0.2.1]>"
    for token, domain in [("", "b"), ("a b", "c"), ("a", ""), ("a\r\n", "b"), ("ü", "b"), ("a@b", "c")]:
        with pytest.raises(ValueError, match=r"Message-ID|control"):
            make_message_id(token, domain)


@pytest.mark.parametrize(
    "zone",
    [UTC, ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=-9, minutes=-30)), timezone(timedelta(seconds=3208))],
)
def test_a_date_keeps_its_moment_and_gets_an_offset_in_whole_minutes(zone: Any) -> None:
    moment = datetime(2026, 7, 1, 12, 0, 30, tzinfo=zone)
    kept = an_email(date=moment).date
    assert kept == moment
    offset = kept.utcoffset()
    assert offset is not None
    assert not offset % timedelta(minutes=1)
    assert pickle.loads(pickle.dumps(kept)) == moment  # noqa: S301 - our own bytes


def test_the_end_of_time_is_refused_where_it_has_no_utc() -> None:
    far = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1, seconds=-30)))
    assert "date" in refusal(date=far)


def test_no_repr_shows_an_address_a_subject_or_a_body() -> None:
    email = an_email(
        to=["secret1@example.com", "x@example.com"], bcc="y@example.com", subject="secret2", text="secret3"
    )
    for shown in (
        repr(email),
        str(email),
        f"{email}",
        pprint.pformat(email),
        repr([email]),
        str(email.__rich_repr__()),
    ):
        assert "secret" not in shown
    assert repr(email) == "<Email to 3 recipients>"
    assert repr(an_email(attachments=FILE)) == "<Email to 1 recipient, 1 attachment>"
    assert list(email.__rich_repr__()) == [("recipients", 3), ("attachments", 0)]


def test_an_email_cannot_be_changed_and_the_refusal_does_not_show_the_value() -> None:
    email = an_email()
    with pytest.raises(ValidationError) as caught:
        email.subject = "secret"
    assert "secret" not in str(caught.value)
    assert email.subject == ""


def test_a_changed_copy_is_checked_too() -> None:
    """NF-SEC-04."""
    email = an_email(subject="old").stamped("a@b", WHEN)
    assert email.model_copy(update={"subject": "new"}).subject == "new"
    assert email.model_copy() == email
    with pytest.raises(ValidationError, match="subject"):
        email.model_copy(update={"subject": "new\r\nBcc: x@example.com"})


def full_email() -> Email:
    return Email(
        from_="Zoë <a@bücher.example>",
        sender="bounce@example.com",
        to=["B <b@example.com>", "ü@example.com"],
        cc="c@example.com",
        bcc="d@example.com",
        reply_to=["e@example.com"],
        subject="Grüße 🎉",
        text_body="line\r\nline\rline\n",
        html_body="<img src='cid:i'>",
        attachments=[Attachment("ü.bin", "application/octet-stream", bytes(range(256)), "f")],
        inline_images=[InlineImage("i", "image/png", b"\x89PNG")],
        headers=[("X-B", "1"), ("X-A", "ü")],
        message_id="m@example.com",
        in_reply_to="<r@example.com>",
        references=["<q@example.com>", "<r@example.com>"],
        priority=Priority.LOW,
        date=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2))),
    )


@pytest.mark.parametrize("email", [an_email(), full_email()], ids=["least", "full"])
def test_an_email_survives_pickle_json_and_copy(email: Email) -> None:
    assert pickle.loads(pickle.dumps(email)) == email  # noqa: S301 - our own bytes
    assert Email.from_dict(json.loads(json.dumps(email.to_dict()))) == email
    assert Email.model_validate_json(json.dumps(email.to_dict())) == email
    assert copy.deepcopy(email) == email
    assert hash(copy.copy(email)) == hash(email)


def test_the_plain_form_has_the_specification_s_names_and_no_empty_field() -> None:
    assert an_email(subject="s").to_dict() == {
        "from": {"email": "a@example.com"},
        "to": [{"email": "b@example.com"}],
        "subject": "s",
    }


def test_a_foreign_application_may_write_the_plain_form_by_hand() -> None:
    plain = {
        "from": "Shop <shop@example.com>",
        "to": "ann@example.com",
        "text": "Hello",
        "headers": {"X-A": "1"},
        "attachments": {"filename": "a.txt", "content_type": "text/plain", "data": "aGk="},
        "priority": 2,
        "date": "2026-11-21T12:30:00Z",
    }
    email = Email.from_dict(plain)
    assert (email.from_.name, email.attachments[0].data, email.date) == ("Shop", b"hi", WHEN)


@given(
    st.dictionaries(
        st.sampled_from([*Email.model_fields, "text", "html", "from", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
)
def test_whatever_comes_in_is_an_email_or_a_validation_error(plain: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Email.from_dict({**plain, "to": "no address"})
    try:
        Email.from_dict({"from": "a@example.com", "to": "b@example.com", **plain})
    except ValidationError as error:
        assert "input_value" not in str(error)  # noqa: PT017 - most inputs are refused, some are not
